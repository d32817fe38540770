//! The meaning of an acknowledgement that refuses a message, in Stoker's own words.

use crate::{
    hl7v2::ack::meaning,
    target::{
        Explained, Refused,
        status::{self, Terms},
    },
};

const TERMS: Terms = Terms {
    records: "messages",
    record: "a message",
    address: "that of an HL7v2 store",
    smaller: "",
};

/// Says what an answer means that is no acknowledgement.
pub(in crate::target) fn explain(refused: &Refused<'_>, status: u16) -> Explained {
    status::explain(refused, status, &TERMS)
}

/// Says what is wrong by a code such as `AE 101`, `AR` or `NAK`, and the place that it is about; none where the code is none of
/// an acknowledgement.
pub fn what(code: &str, place: &str) -> Option<String> {
    let (word, number) = code.split_once(' ').unwrap_or((code, ""));
    let words = match (word, meaning(number)) {
        ("AE" | "AR" | "CE" | "CR", Some(words)) => words,
        ("AE", None) => {
            "the receiving application found an error, and does not say which in a code that is known"
        }
        ("AR", None) => {
            "the receiving application refuses it, and does not say why in a code that is known"
        }
        ("CE" | "CR", None) => {
            "the receiver does not commit it, and does not say why in a code that is known"
        }
        ("NAK", _) => "the receiver answered with a NAK of MLLP: it did not take the frame",
        _ => return None,
    };
    Some(match place {
        "" => words.to_owned(),
        place => format!("{place}: {words}"),
    })
}

/// Says what to do where an acknowledgement refuses a message and does not say why.
pub fn advice(code: &str) -> Option<&'static str> {
    let (word, number) = code.split_once(' ').unwrap_or((code, ""));
    let is_unsaid = matches!(word, "AE" | "AR" | "CE" | "CR") && meaning(number).is_none();
    is_unsaid.then_some(
        "the receiver's log says more, and `--show-content` what it answered. Where the plan warns of characters or of ends of \
         segments: `charset: convert` writes UTF-8, `segments: cr` ends segments in CR",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_an_acknowledgement_is_put_in_words() {
        let of = |code| what(code, "PID^1^5");
        assert_eq!(
            of("AE 101").unwrap(),
            "PID^1^5: a required field is missing"
        );
        assert!(of("AR").unwrap().contains("refuses it"));
        assert!(of("CE 9999").unwrap().contains("commit"));
        assert!(
            what("NAK", "")
                .unwrap()
                .starts_with("the receiver answered")
        );
        assert_eq!(of("invalid"), None);
        assert!(advice("AE").unwrap().contains("charset: convert"));
        assert_eq!(
            (advice("AE 101"), advice("NAK"), advice("invalid")),
            (None, None, None)
        );
    }
}
