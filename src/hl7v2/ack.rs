//! Acknowledgements: what an answer says of a message, and answers of our own.

use super::BOM;
use super::control_id::ControlId;
use super::header::MessageHeader;
use super::segment::{Segment, segments};
use super::separators::{Separators, split};
use super::split::{Beginning, beginning};

/// MSA-1: what became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// AA: the application has accepted it.
    Accepted,
    /// AE: the application found an error in it.
    Error,
    /// AR: the application has refused it (its type, its version, or the system is down).
    Refused,
    /// CA: it has been received, and is safe.
    Committed,
    /// CE: received, and cannot be committed for an error.
    CommitError,
    /// CR: refused at reception.
    CommitRefused,
}

/// Returns what a code of table 0357 says is wrong.
pub fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "100" => "its segments stand in a wrong order, or one is missing",
        "101" => "a required field is missing",
        "102" => "a field holds data of another type",
        "103" => "a field holds a value that its table does not have",
        "104" => "a value is too long",
        "105" => "what is said is not what the profile wants",
        "200" => "the receiver does not take this type of message",
        "201" => "the receiver does not take this event",
        "202" => "the receiver does not take this processing id (MSH-11)",
        "203" => "the receiver does not take this version of HL7 (MSH-12)",
        "204" => "it names something that the receiver does not know",
        "205" => "it names something that the receiver has already",
        "206" => "what it is about is locked there",
        "207" => "an error inside of the receiving application",
        _ => return None,
    })
}

impl Code {
    const ALL: [(&'static str, Self); 6] = [
        ("AA", Self::Accepted),
        ("AE", Self::Error),
        ("AR", Self::Refused),
        ("CA", Self::Committed),
        ("CE", Self::CommitError),
        ("CR", Self::CommitRefused),
    ];

    /// Returns the code as it is written.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, code)| *code == self);
        found.map_or("", |(text, _)| *text)
    }

    fn of(text: &[u8]) -> Result<Self, NoAck> {
        let found = |text: &[u8]| {
            let found = Self::ALL.iter().find(|(name, _)| name.as_bytes() == text);
            found.map(|(_, code)| *code)
        };
        found(text).ok_or_else(|| match found(&text.to_ascii_uppercase()) {
            Some(_) => NoAck::SmallLetters,
            None => NoAck::UnknownCode,
        })
    }

    /// Tells whether the message is taken.
    pub fn is_taken(self) -> bool {
        matches!(self, Self::Accepted | Self::Committed)
    }

    /// Tells whether it is a commit of enhanced mode, after which the application may still answer.
    pub fn is_commit(self) -> bool {
        matches!(
            self,
            Self::Committed | Self::CommitError | Self::CommitRefused
        )
    }
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack<'a> {
    /// MSA-1
    pub code: Code,
    /// MSA-2: the control id of the message that is answered.
    pub control_id: &'a [u8],
    /// MSA-3: a text; content.
    pub text: &'a [u8],
    /// The segments ERR; where there is none, what MSA-6 says.
    pub errors: Vec<Trouble<'a>>,
    /// The separators of the message that it stands in.
    separators: Separators,
}

/// An ERR segment: of 2.5 and later by fields of its own, before that by the components of ERR-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// The place in the message: segment, its number, field, … by the separators of the answer.
    pub location: &'a [u8],
    /// ERR-3.1, a code of table 0357, such as 207.
    pub code: &'a [u8],
    /// ERR-4: E, W, I or F; empty before 2.5.
    pub severity: &'a [u8],
    /// ERR-8, or else ERR-7 or the text of ERR-3; content.
    pub text: &'a [u8],
}

/// The reason why an answer is no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAck {
    /// The answer has no MSH that can be read.
    #[error("the answer is no HL7v2 message")]
    NoMessage,
    /// It has no MSA.
    #[error("the answer has no MSA, so it acknowledges nothing")]
    NoMsa,
    /// MSA-1 is none of the six codes.
    #[error("MSA-1 of the answer is none of AA, AE, AR, CA, CE, CR")]
    UnknownCode,
    /// MSA-1 is one of the six codes in small letters, which table 0008 does not have.
    #[error("MSA-1 of the answer is in small letters, and no code of table 0008")]
    SmallLetters,
    /// It has several MSA, of which one says taken and another refused, or which name different messages.
    #[error("the answer has several MSA that contradict each other")]
    Contradiction,
    /// It is written in UTF-16, where no byte of a frame can be trusted.
    #[error("the answer is in UTF-16")]
    Utf16,
}

/// The circumstance that may be another when a refused message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// The subject of the message: a key is locked, an error inside of the application (table 0357: 206, 207).
    Record,
    /// The receiver: it refuses all messages for the moment.
    Receiver,
}

/// Codes of table 0357 about the content of a message: it would be refused again.
const CONTENT: [&[u8]; 12] = [
    b"100", b"101", b"102", b"103", b"104", b"105", b"200", b"201", b"202", b"203", b"204", b"205",
];

impl Ack<'_> {
    /// Returns which message it names.
    pub fn names(&self) -> ControlId {
        ControlId::of(self.control_id, &self.separators)
    }

    /// Tells whether a refusal may pass. One about the content of the message never does: sequence, fields, types,
    /// versions, keys.
    pub fn may_pass(&self) -> Option<Passing> {
        let has = |wanted: &[&[u8]]| self.errors.iter().any(|error| wanted.contains(&error.code));
        if has(&CONTENT) {
            None
        } else if has(&[b"206", b"207"]) {
            Some(Passing::Record)
        } else {
            let is_refused = matches!(self.code, Code::Refused | Code::CommitRefused);
            is_refused.then_some(Passing::Receiver)
        }
    }
}

impl<'a> Ack<'a> {
    /// Reads an answer. Only MSA counts: some receivers answer with a message of their own type. Of several that agree, the
    /// first word of the application counts. An answer in a batch is what the batch holds.
    pub fn parse(answer: &'a [u8]) -> Result<Self, NoAck> {
        let answer = begun(answer);
        let mut found: Option<(Msa<'a>, Code)> = None;
        let mut errors = Vec::new();
        let mut is_message = false;
        for message in messages(answer) {
            let header = MessageHeader::of(message).map_err(|_| no_message(answer))?;
            is_message = true;
            let separators = header.separators;
            let mut msa: Vec<Segment<'a>> = Vec::new();
            for segment in segments(message) {
                match segment.name() {
                    b"MSA" => msa.push(segment),
                    b"ERR" => errors.push(Trouble::of(&segment, &separators)),
                    _ => {}
                }
            }
            if msa.is_empty() {
                msa.extend(in_small_letters(message, separators.field));
            }
            for segment in msa {
                let code = Code::of(segment.field(1, &separators).trim_ascii())?;
                let msa = Msa {
                    segment,
                    separators,
                };
                match &found {
                    Some((first, before))
                        if before.is_taken() != code.is_taken()
                            || first.named().trim_ascii() != msa.named().trim_ascii() =>
                    {
                        return Err(NoAck::Contradiction);
                    }
                    Some((_, before)) if !before.is_commit() || code.is_commit() => {}
                    _ => found = Some((msa, code)),
                }
            }
        }
        if !is_message {
            return Err(no_message(answer));
        }
        let (msa, code) = found.ok_or(NoAck::NoMsa)?;
        if errors.is_empty() {
            errors.extend(Trouble::of_msa(&msa.segment, &msa.separators));
        }
        Ok(Self {
            code,
            control_id: msa.named(),
            text: msa.segment.field(3, &msa.separators),
            errors,
            separators: msa.separators,
        })
    }
}

/// A segment MSA, with the separators of its message.
struct Msa<'a> {
    segment: Segment<'a>,
    separators: Separators,
}

impl<'a> Msa<'a> {
    fn named(&self) -> &'a [u8] {
        self.segment.field(2, &self.separators)
    }
}

/// Returns the messages of an answer: those of a batch (FHS, BHS, MSH …, BTS, FTS), each with separators of its own, or else the
/// whole.
fn messages(answer: &[u8]) -> Vec<&[u8]> {
    if !matches!(beginning(answer), Some(Beginning::Envelope(_))) {
        return vec![answer];
    }
    let mut found = Vec::new();
    let mut open = None;
    let line_starts = memchr::memchr2_iter(b'\r', b'\n', answer).map(|at| at + 1);
    for start in std::iter::once(0).chain(line_starts) {
        let Some(begins) = answer.get(start..).and_then(beginning) else {
            continue;
        };
        let is_message = begins == Beginning::Message;
        let before = open.take();
        found.extend(before.and_then(|open: usize| answer.get(open..start)));
        open = is_message.then_some(start);
    }
    found.extend(open.and_then(|open| answer.get(open..)));
    found
}

/// Finds a segment whose name is MSA in small letters, which is no segment otherwise.
fn in_small_letters(message: &[u8], field: u8) -> Option<Segment<'_>> {
    let line_starts = memchr::memchr2_iter(b'\r', b'\n', message).map(|at| at + 1);
    line_starts.into_iter().find_map(|start| {
        let line = message.get(start..)?;
        let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len());
        let bytes = line.get(..end)?;
        let is_msa = bytes.get(..3)?.eq_ignore_ascii_case(b"MSA") && bytes.get(3) == Some(&field);
        is_msa.then_some(Segment { start, bytes })
    })
}

/// Says why an answer without a header that can be read is no message.
fn no_message(answer: &[u8]) -> NoAck {
    let wide: [&[u8]; 4] = [b"\xff\xfe", b"\xfe\xff", b"M\0S\0", b"\0M\0S"];
    if wide.iter().any(|begin| answer.starts_with(begin)) {
        NoAck::Utf16
    } else {
        NoAck::NoMessage
    }
}

/// Returns an answer from where it begins: some receivers put line ends, blanks or a byte order mark before MSH.
fn begun(answer: &[u8]) -> &[u8] {
    let mut rest = answer;
    loop {
        let next = rest.strip_prefix(BOM).unwrap_or(rest).trim_ascii_start();
        if next.len() == rest.len() {
            return rest;
        }
        rest = next;
    }
}

impl<'a> Trouble<'a> {
    /// Reads MSA-6, where versions before 2.5 may have the code and nothing else.
    fn of_msa(msa: &Segment<'a>, separators: &Separators) -> Option<Self> {
        let mut parts = split(msa.field(6, separators), separators.component);
        let code = parts.next().filter(|code| !code.is_empty())?;
        Some(Self {
            location: b"",
            code,
            severity: b"",
            text: parts.next().unwrap_or_default(),
        })
    }

    fn of(segment: &Segment<'a>, separators: &Separators) -> Self {
        let field = |number| segment.field(number, separators);
        let old = field(1);
        if field(3).is_empty() && !old.is_empty() {
            // `segment^sequence^field^code&text&system` of 2.4 and before.
            let code = split(old, separators.component).nth(3).unwrap_or_default();
            let mut parts = split(code, separators.subcomponent);
            return Self {
                location: old,
                code: parts.next().unwrap_or_default(),
                severity: b"",
                text: parts.next().unwrap_or_default(),
            };
        }
        let mut code = split(field(3), separators.component);
        let number = code.next().unwrap_or_default();
        let words = code.next().unwrap_or_default();
        let texts = [field(8), field(7), words];
        Self {
            location: field(2),
            code: number,
            severity: field(4),
            text: texts
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
        }
    }
}

/// Writes the acknowledgement of a message: sender and receiver change places, MSH-10 is `id`, MSH-11 and MSH-12 are the
/// message's. As in the answers of the Healthcare API, the last segment is not ended, and MSH-9 is `ACK`.
pub fn build(header: &MessageHeader<'_>, code: Code, time: &str, id: &str, text: &str) -> Vec<u8> {
    let field = header.separators.field;
    let mut made = Vec::new();
    let segment = |made: &mut Vec<u8>, parts: &[&[u8]]| {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                made.push(field);
            }
            made.extend_from_slice(part);
        }
    };
    let msh: [&[u8]; 12] = [
        b"MSH",
        header.encoding,
        header.field(5),
        header.field(6),
        header.field(3),
        header.field(4),
        time.as_bytes(),
        b"",
        b"ACK",
        id.as_bytes(),
        header.field(11),
        header.field(12),
    ];
    segment(&mut made, &msh);
    made.push(b'\r');
    let msa: [&[u8]; 4] = [
        b"MSA",
        code.as_str().as_bytes(),
        header.control_id,
        text.as_bytes(),
    ];
    let parts = if text.is_empty() { 3 } else { 4 };
    segment(&mut made, msa.get(..parts).unwrap_or_default());
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_before_the_header_is_passed_over() {
        let ack = "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|AA|m1\r";
        for before in [
            "",
            "\r",
            "\r\n",
            "\u{feff}",
            "\u{feff}\r\n",
            "\n\u{feff}",
            " \r ",
        ] {
            let answer = format!("{before}{ack}");
            let read = Ack::parse(answer.as_bytes()).unwrap();
            assert_eq!((read.code, read.control_id), (Code::Accepted, &b"m1"[..]));
        }
        assert_eq!(Ack::parse("\u{feff}\r".as_bytes()), Err(NoAck::NoMessage));
    }

    #[test]
    fn the_answer_is_the_published_one() {
        let message = b"MSH|^~\\&|A|SEND_FACILITY|A|A|20180101000000||TYPE^A|20180101000000|T|0.0|||AA||00|ASCII\rEVN|A00\r";
        let header = MessageHeader::of(message).unwrap();
        let id = "1f2d5243-1a9a-4a83-9fb9-ce52315ff963";
        let made = build(&header, Code::Accepted, "20200214212005", id, "");
        assert_eq!(
            String::from_utf8(made.clone()).unwrap(),
            "MSH|^~\\&|A|A|A|SEND_FACILITY|20200214212005||ACK|1f2d5243-1a9a-4a83-9fb9-ce52315ff963|T|0.0\rMSA|AA|20180101000000"
        );
        let read = Ack::parse(&made).unwrap();
        assert_eq!(
            (read.code, read.control_id),
            (Code::Accepted, &b"20180101000000"[..])
        );
        let refused = build(&header, Code::Error, "2020", id, "why");
        assert_eq!(Ack::parse(&refused).unwrap().text, b"why");
    }

    #[test]
    fn answers_of_receivers() {
        let hapi = b"MSH|^~\\&|RCV|FAC2|SEND|FAC|20261125143128.868+0000||ACK^A01^ACK|2|P|2.5\rMSA|AE|AE2\rERR||PID^1^3|207^Application internal error^HL70357^^^^^^asked for AE|E\r";
        let ack = Ack::parse(hapi).unwrap();
        assert_eq!((ack.code, ack.control_id), (Code::Error, &b"AE2"[..]));
        let [trouble] = &ack.errors[..] else {
            panic!("one error");
        };
        assert_eq!((trouble.code, trouble.severity), (&b"207"[..], &b"E"[..]));
        assert_eq!(trouble.location, b"PID^1^3");
        assert_eq!(trouble.text, b"Application internal error");
        let old = b"MSH|^~\\&|||||||ACK|1|P|2.3\nMSA|AR|7|no\nERR|PID^1^11^103&Table value not found&HL70357\n";
        let ack = Ack::parse(old).unwrap();
        assert_eq!((ack.code, ack.text), (Code::Refused, &b"no"[..]));
        assert_eq!(
            (ack.errors[0].code, ack.errors[0].text),
            (&b"103"[..], &b"Table value not found"[..])
        );
        assert!(!ack.code.is_taken() && !ack.code.is_commit());
        // Another type of message, other separators, no MSA-2.
        let other = b"MSH$%~\\&$$$$$$$ORR%O02$1$P$2.3\rMSA$CA\r";
        let ack = Ack::parse(other).unwrap();
        assert_eq!((ack.code, ack.control_id), (Code::Committed, &b""[..]));
        assert!(ack.code.is_taken() && ack.code.is_commit());
    }

    #[test]
    fn what_may_pass_is_told_by_the_code() {
        use Passing::{Receiver, Record};
        let passes = |msa: &str, rest: &str| {
            let text = format!("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|{msa}\r{rest}");
            Ack::parse(text.as_bytes()).unwrap().may_pass()
        };
        for (msa, rest, expected) in [
            ("AR|1", "", Some(Receiver)),
            ("CR|1", "ERR|||0^fine\r", Some(Receiver)),
            ("AR|1", "ERR|||999^its own\r", Some(Receiver)),
            ("AR|1", "ERR|||203^version\r", None),
            ("AR|1", "ERR|||207^inside\rERR|||101^missing\r", None),
            ("AR|1||||203^version", "", None),
            ("AE|1", "", None),
            ("AE|1", "ERR|||206^locked\r", Some(Record)),
            ("CE|1", "ERR|PID^1^3^207&inside\r", Some(Record)),
            ("AE|1||||207^inside", "", Some(Record)),
            ("AE|1", "ERR|||205^there\r", None),
        ] {
            assert_eq!(passes(msa, rest), expected, "{msa} {rest:?}");
        }
        assert!(
            CONTENT
                .iter()
                .all(|code| meaning(std::str::from_utf8(code).unwrap()).is_some())
        );
    }

    #[test]
    fn what_is_no_acknowledgement() {
        assert_eq!(Ack::parse(b""), Err(NoAck::NoMessage));
        assert_eq!(
            Ack::parse(b"HTTP/1.1 400 Bad Request\r\n"),
            Err(NoAck::NoMessage)
        );
        assert_eq!(Ack::parse(b"MSH|^~\\&|\rPID|1\r"), Err(NoAck::NoMsa));
        assert_eq!(
            Ack::parse(b"MSH|^~\\&|\rMSA|OK|1\r"),
            Err(NoAck::UnknownCode)
        );
        assert_eq!(Ack::parse(b"MSH|^~\\&|\rMSA\r"), Err(NoAck::UnknownCode));
        assert_eq!(
            Ack::parse(b"MSH|^~\\&|\rMSA|aa|1\r"),
            Err(NoAck::SmallLetters)
        );
        for text in [&b"\xff\xfeM\0S\0H\0"[..], b"M\0S\0H\0|\0", b"\0M\0S\0H\0|"] {
            assert_eq!(Ack::parse(text), Err(NoAck::Utf16));
        }
    }

    #[test]
    fn an_answer_in_a_batch_is_what_the_batch_holds() {
        let named = |text: &str| {
            let ack = Ack::parse(text.as_bytes()).unwrap();
            (ack.code, ack.names())
        };
        let m1 = ControlId::plain("m1");
        let ack = "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|AA|m1\r";
        let batches = [
            format!("BHS|^~\\&|R\r{ack}BTS|1\r"),
            format!("FHS|^~\\&|R\rBHS|^~\\&|R\r{ack}BTS|1\rFTS|1"),
            format!(
                "\u{feff}\r\nBHS|^~\\&|R\r\n{}BTS|1\r\n",
                ack.replace('\r', "\r\n")
            ),
            format!("BHS|^~\\&|R\n{}BTS\n", ack.replace('\r', "\n")),
            // Separators of its own, of the batch and of the message.
            format!("BHS#*~\\&#R\r{ack}BTS#1\r"),
            format!("BHS|^~\\&|R\r{}BTS|1\r", ack.replace('|', "$")),
            // No trailer, and one message twice.
            format!("BHS|^~\\&|R\r{ack}"),
            format!("BHS|^~\\&|R\r{ack}{ack}BTS|2\r"),
        ];
        for batch in &batches {
            let (code, id) = named(batch);
            assert!(code == Code::Accepted && id.is(&m1), "{batch:?}");
        }
        let refused = ack.replace("AA", "AE") + "ERR||PID^1^5|101^Required|E\r";
        let batch = format!("BHS|^~\\&|R\r{refused}BTS|1\r");
        let read = Ack::parse(batch.as_bytes()).unwrap();
        assert_eq!((read.code, read.errors[0].code), (Code::Error, &b"101"[..]));
        assert_eq!(read.errors[0].severity, b"E");
        for (batch, why) in [
            ("BHS|^~\\&|R\rBTS|0\r".to_owned(), NoAck::NoMessage),
            (
                "BHS|^~\\&|R\rMSA|AA|m1\rBTS|0\r".to_owned(),
                NoAck::NoMessage,
            ),
            ("BHS|^~\\&|R\rMSH|^~\\&|R\rBTS|1\r".to_owned(), NoAck::NoMsa),
            (
                format!("BHS|^~\\&|R\r{ack}{refused}BTS|2\r"),
                NoAck::Contradiction,
            ),
            (
                format!("BHS|^~\\&|R\r{ack}{}BTS|2\r", ack.replace("m1", "m2")),
                NoAck::Contradiction,
            ),
        ] {
            assert_eq!(Ack::parse(batch.as_bytes()), Err(why), "{batch:?}");
        }
    }

    #[test]
    fn a_segment_in_small_letters_is_one_where_there_is_no_other() {
        let of = |rest: &str| {
            let text = format!("MSH|^~\\&|\r{rest}");
            Ack::parse(text.as_bytes()).map(|ack| ack.code)
        };
        assert_eq!(of("SFT|x\rmsa|AA|1\nnte|x\r"), Ok(Code::Accepted));
        assert_eq!(of("MSA|AE|1|said\rmsa|AA|1\r"), Ok(Code::Error));
        assert_eq!(of("msa|aa|1\r"), Err(NoAck::SmallLetters));
        assert_eq!(of("msa^AA^1\rmsa"), Err(NoAck::NoMsa));
    }

    #[test]
    fn several_msa_count_where_they_agree() {
        let of = |all: &str| {
            let text = format!("MSH|^~\\&|\r{all}");
            Ack::parse(text.as_bytes()).map(|ack| ack.code)
        };
        assert_eq!(of("MSA|AA|1\rMSA|AA|1 \r"), Ok(Code::Accepted));
        assert_eq!(of("MSA|CA|1\rMSA|AA|1\r"), Ok(Code::Accepted));
        assert_eq!(of("MSA|AE|1\rMSA|AR|1\r"), Ok(Code::Error));
        for all in [
            "MSA|AA|1\rMSA|AE|1\r",
            "MSA|AE|1\rMSA|AA|1\r",
            "MSA|CA|1\rMSA|AR|1\r",
            "MSA|AA|1\rMSA|AA|2\r",
        ] {
            assert_eq!(of(all), Err(NoAck::Contradiction), "{all}");
        }
        assert_eq!(of("MSA|AA|1\rMSA|OK|1\r"), Err(NoAck::UnknownCode));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(BHS[|]\r)?MSH[|](\\^~\\\\&)?([A-Z|^~&0-9]|\rMSA[|]A|\nERR[|]){0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Ack::parse(text.as_bytes());
            let _ = Ack::parse(&bytes);
        }
    }
}
