//! Pure knowledge of HL7v2's bytes: messages in files, their headers, character sets, acknowledgements, MLLP.
//!
//! Nothing here reads a file or sends anything, and nothing looks further into a message than loading it needs: `split` finds the
//! messages of a file, `header` reads MSH (and the patients' identifiers), `segment` goes through the segments and makes their ends
//! alike, `charset` says in which characters a message is written and writes it in UTF-8, `ack` reads and builds
//! acknowledgements, `control_id` compares the ids of messages, `mllp` frames, `wire` says what is sent. The bytes of a message are carried: they are looked at, and changed only where a user asks
//! for that.
//!
//! The meaning of a message's fields is left to its receivers.

pub mod ack;
pub mod charset;
pub mod control_id;
pub mod digest;
pub mod header;
pub mod mllp;
pub mod segment;
pub mod separators;
pub mod split;
pub mod time;
pub mod wire;

use self::separators::is_separator;

/// The byte order mark of UTF-8.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a file that [`looks_like`] wants to see.
pub const ENOUGH: usize = 512;

/// Tells whether the beginning of a file looks like HL7v2: a message, a batch, or either in MLLP's frame. A byte order mark and
/// blank space before it are borne. [`ENOUGH`] bytes are enough.
pub fn looks_like(beginning: &[u8]) -> bool {
    let mut rest = beginning.strip_prefix(BOM).unwrap_or(beginning);
    let is_before = |byte: &u8| b" \t\r\n".contains(byte) || *byte == mllp::START;
    while let Some((_, behind)) = rest.split_first().filter(|(byte, _)| is_before(byte)) {
        rest = behind;
    }
    let rest = rest.strip_prefix(BOM).unwrap_or(rest);
    let named = ["MSH", "FHS", "BHS"]
        .iter()
        .find_map(|name| rest.strip_prefix(name.as_bytes()));
    let Some((&field, rest)) = named.and_then(<[u8]>::split_first) else {
        return false;
    };
    if field == b'|' {
        return true;
    }
    // Any other separator has to show that it is one: between it and the next stand the encoding characters.
    let end = rest.iter().take(6).position(|byte| *byte == field);
    let encoding = end.and_then(|end| rest.get(..end)).unwrap_or_default();
    is_separator(field) && encoding.len() >= 3 && encoding.iter().copied().all(is_separator)
}

/// Tells whether a message begins within the beginning of a file, at a line behind the first.
pub fn has_message_behind(beginning: &[u8]) -> bool {
    let ends = memchr::memchr2_iter(b'\r', b'\n', beginning);
    let mut behind = ends.filter_map(|at| beginning.get(at + 1..));
    behind.any(|line| line.starts_with(b"MSH") && looks_like(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_recognised_by_their_beginning() {
        for text in [
            "MSH|^~\\&|A|B\rPID|1",
            "\u{feff}MSH|^~\\&|",
            "\n\n  MSH|^~\\&|",
            "\u{b}MSH|^~\\&|A\r\u{1c}\r",
            "FHS|^~\\&|",
            "BHS|^~\\&|",
            "MSH$%~\\&$GHH LAB\r",
            "MSH!$r?@!".replace('r', "~").as_str(),
            "MSH|||||||",
        ] {
            assert!(looks_like(text.as_bytes()), "{text:?}");
        }
        for text in [
            "",
            "M",
            "MSH",
            "MSH.21.1.2.4",
            "MSHA|x",
            "{\"InputDataString\": \"MSH|^~",
            "<ADT_A01>",
            "PID|1||x",
            "msg\r",
            "\u{b}msg\u{1c}\r",
            "DICM",
            "MSH,a,b,c",
        ] {
            assert!(!looks_like(text.as_bytes()), "{text:?}");
        }
    }
}
