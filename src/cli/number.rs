//! Numbers and addresses on the command line: what they must be is said in words that need no second look.

use std::net::SocketAddr;

use jiff::Span;

use crate::unit::grouped;

const TOO_LARGE: &str = "the number is too large";

fn whole(text: &str, least: u64) -> Result<u64, String> {
    let digits = text.replace(['_', ','], "");
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u64>() {
        Ok(number) if is_whole && number >= least => Ok(number),
        Err(_) if is_whole => Err(TOO_LARGE.to_owned()),
        _ => Err(format!("write a whole number, {} or more", grouped(least))),
    }
}

/// Reads a number of things of which there is at least one.
pub(super) fn some(text: &str) -> Result<u64, String> {
    whole(text, 1)
}

/// Reads a number of things that may be none.
pub(super) fn any(text: &str) -> Result<usize, String> {
    usize::try_from(whole(text, 0)?).map_err(|_| TOO_LARGE.to_owned())
}

/// Reads how long ago something was.
pub(super) fn ago(text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        Ok(span) if !span.is_negative() => Ok(span),
        _ => Err("write how long ago, such as `30d`, `2 weeks` or `12h`".to_owned()),
    }
}

/// Reads an address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port up to 65535, such as `127.0.0.1:9464`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_in_our_words() {
        assert_eq!((some("1"), some("10_000")), (Ok(1), Ok(10_000)));
        assert_eq!((any("0"), any("7")), (Ok(0), Ok(7)));
        for wrong in ["0", "-1", "1.5", "", "many", "+1"] {
            assert_eq!(some(wrong).unwrap_err(), "write a whole number, 1 or more");
        }
        for wrong in ["-1", "1.5", "many"] {
            assert_eq!(any(wrong).unwrap_err(), "write a whole number, 0 or more");
        }
        assert_eq!(some("99999999999999999999").unwrap_err(), TOO_LARGE);
        assert!(ago("30d").is_ok() && ago("2 weeks").is_ok() && ago("0d").is_ok());
        for wrong in ["0", "30", "-1d", "99999999d", "99999999999999999999d"] {
            assert!(ago(wrong).unwrap_err().contains("`30d`"), "{wrong}");
        }
        for wrong in ["9464", ":9464", "127.0.0.1:99999", "localhost:9464"] {
            assert!(
                address(wrong).unwrap_err().contains("127.0.0.1:9464"),
                "{wrong}"
            );
        }
    }
}
