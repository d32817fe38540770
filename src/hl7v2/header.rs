//! The parts of a message that loading needs: MSH, and the patients' identifiers for the order.

use std::borrow::Cow;

use super::segment::{Fields, Segment, segments};
use super::separators::{Separators, split};
use super::time::Time;

/// The header of a message. All fields are bytes of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHeader<'a> {
    /// MSH-1 and MSH-2.
    pub separators: Separators,
    /// MSH-2, the encoding characters as they stand there.
    pub encoding: &'a [u8],
    /// MSH-3.1, who sends.
    pub sending_application: &'a [u8],
    /// MSH-4.1
    pub sending_facility: &'a [u8],
    /// MSH-5.1, who is to receive.
    pub receiving_application: &'a [u8],
    /// MSH-6.1
    pub receiving_facility: &'a [u8],
    /// MSH-7.1, when it was made; see [`MessageHeader::at`].
    pub time: &'a [u8],
    /// MSH-9.1, such as `ADT`.
    pub message_code: &'a [u8],
    /// MSH-9.2, such as `A01`.
    pub trigger_event: &'a [u8],
    /// MSH-10, which names the message among those of its sender.
    pub control_id: &'a [u8],
    /// MSH-11, production, training or debugging.
    pub processing_id: &'a [u8],
    /// MSH-12.1, the version of HL7.
    pub version: &'a [u8],
    /// MSH-15 and MSH-16: which acknowledgements the sender wants.
    pub wants: Wants,
    /// MSH-18: the names of the character sets, the default one first; none where it is empty.
    pub charsets: Vec<&'a [u8]>,
    /// MSH itself, for fields that are not above.
    segment: Segment<'a>,
}

/// The acknowledgements that the sender of a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// MSH-15 and MSH-16 are empty: one answer, AA, AE or AR.
    Original,
    /// Enhanced mode.
    Enhanced {
        /// MSH-15: whether a commit (CA, CE, CR) is wanted.
        accept: AcknowledgmentCondition,
        /// MSH-16: whether an application's answer (AA, AE, AR) is wanted, later.
        application: AcknowledgmentCondition,
    },
}

/// When an acknowledgement is wanted (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgmentCondition {
    /// AL
    Always,
    /// NE, and an empty field beside one that is not.
    Never,
    /// ER: only of errors.
    OnError,
    /// SU: only of successes.
    OnSuccess,
}

impl AcknowledgmentCondition {
    fn of(field: &[u8]) -> Self {
        match field {
            b"AL" => Self::Always,
            b"ER" => Self::OnError,
            b"SU" => Self::OnSuccess,
            _ => Self::Never,
        }
    }
}

/// The reason why a message has no header that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHeader {
    /// The first segment is not MSH.
    #[error("the message does not begin with MSH")]
    NoMsh,
    /// Behind `MSH` stands no separator.
    #[error("MSH ends before its field separator")]
    NoSeparator,
}

/// A fault of a header in something that receivers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// MSH-2 is empty, so that components cannot be told apart.
    #[error("MSH-2 names no encoding characters")]
    Encoding,
    /// Two separators are the same.
    #[error("MSH-1 and MSH-2 name one character for two purposes")]
    Ambiguous,
    /// MSH-9 is empty.
    #[error("MSH-9, the type of the message, is empty")]
    Type,
    /// MSH-10 is empty: an acknowledgement cannot be matched.
    #[error("MSH-10, the control id, is empty")]
    ControlId,
    /// MSH-7 is none of HL7's forms of a time.
    #[error("MSH-7 is no time")]
    Time,
}

impl<'a> MessageHeader<'a> {
    /// Reads the header of a message.
    pub fn of(message: &'a [u8]) -> Result<Self, NoHeader> {
        let segment = segments(message).next().ok_or(NoHeader::NoMsh)?;
        if segment.start != 0 || segment.name() != b"MSH" {
            return Err(NoHeader::NoMsh);
        }
        let separators = Separators::of(segment.bytes).ok_or(NoHeader::NoSeparator)?;
        let fields = Fields::<19>::of(&segment, &separators);
        let field = |number| fields.get(number);
        let first = |number| separators.first(field(number));
        let kind = split(field(9), separators.repetition).next();
        let mut kind = split(kind.unwrap_or_default(), separators.component);
        let (accept, application) = (first(15), first(16));
        let wants = if accept.is_empty() && application.is_empty() {
            Wants::Original
        } else {
            Wants::Enhanced {
                accept: AcknowledgmentCondition::of(accept),
                application: AcknowledgmentCondition::of(application),
            }
        };
        let charsets = split(field(18), separators.repetition)
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .collect();
        Ok(Self {
            encoding: field(2),
            sending_application: first(3),
            sending_facility: first(4),
            receiving_application: first(5),
            receiving_facility: first(6),
            time: first(7),
            message_code: kind.next().unwrap_or_default(),
            trigger_event: kind.next().unwrap_or_default(),
            control_id: field(10),
            processing_id: field(11),
            version: first(12),
            wants,
            charsets,
            separators,
            segment,
        })
    }

    /// Returns a field of MSH by its number.
    pub fn field(&self, number: usize) -> &'a [u8] {
        self.segment.field(number, &self.separators)
    }

    /// Returns the type of the message as people write it: `ADT^A01`, or `ACK` where there is no event; `None` where MSH-9
    /// is empty.
    pub fn kind(&self) -> Option<Cow<'a, str>> {
        let code = String::from_utf8_lossy(self.message_code);
        match (code.is_empty(), self.trigger_event) {
            (true, b"") => None,
            (false, b"") => Some(code),
            (_, event) => Some(format!("{code}^{}", String::from_utf8_lossy(event)).into()),
        }
    }

    /// Reads MSH-7.
    pub fn at(&self) -> Option<Time> {
        Time::parse(self.time)
    }

    /// Says what it lacks.
    pub fn faults(&self) -> Vec<HeaderFault> {
        let all = [
            (self.encoding.is_empty(), HeaderFault::Encoding),
            (self.separators.is_ambiguous(), HeaderFault::Ambiguous),
            (self.kind().is_none(), HeaderFault::Type),
            (self.control_id.is_empty(), HeaderFault::ControlId),
            (
                !self.time.is_empty() && self.at().is_none(),
                HeaderFault::Time,
            ),
        ];
        let lacks = all.into_iter().filter(|(lacks, _)| *lacks);
        lacks.map(|(_, lack)| lack).collect()
    }
}

/// Returns the identifiers of the patients that a message is about, each once: of every PID the first of PID-3, and of every MRG all
/// of MRG-1, by which a patient was known who is merged, moved or given another identifier (A18, A30, A34 to A36, A39 to
/// A51). A swap, a link and its end have a PID for each patient (A17, A24, A37). Messages of one sender that share one are
/// about one patient.
pub fn patients<'a>(message: &'a [u8], separators: &Separators) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut add = |id: &'a [u8]| {
        let id = id.trim_ascii();
        if !id.is_empty() {
            found.push(id);
        }
    };
    for segment in segments(message) {
        match segment.name() {
            b"PID" => add(separators.first(segment.field(3, separators))),
            b"MRG" => split(segment.field(1, separators), separators.repetition)
                .for_each(|identifier| add(separators.first(identifier))),
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADMISSION: &[u8] = b"MSH|^~\\&|APP^1.2^ISO|FAC|RAPP|RFAC|20250304081500-0500||ADT^A01^ADT_A01|M1|P|2.5.1|||AL|NE||UNICODE UTF-8~ASCII\nEVN|A01\nPID|1||TH-1^^^CLINIC&1.2&ISO^MR~9||X\nPID|2||other\n";

    #[test]
    fn an_admission() {
        let header = MessageHeader::of(ADMISSION).unwrap();
        assert_eq!(header.sending_application, b"APP");
        assert_eq!(header.receiving_facility, b"RFAC");
        assert_eq!(header.kind().unwrap(), "ADT^A01");
        assert_eq!(header.control_id, b"M1");
        assert_eq!(
            (header.processing_id, header.version),
            (&b"P"[..], &b"2.5.1"[..])
        );
        let accept = AcknowledgmentCondition::Always;
        let application = AcknowledgmentCondition::Never;
        assert_eq!(
            header.wants,
            Wants::Enhanced {
                accept,
                application
            }
        );
        assert_eq!(header.charsets, [&b"UNICODE UTF-8"[..], b"ASCII"]);
        assert_eq!(header.field(9), b"ADT^A01^ADT_A01");
        assert!(header.at().unwrap().offset.is_some());
        assert_eq!(header.faults(), []);
        assert_eq!(
            patients(ADMISSION, &header.separators),
            [&b"TH-1"[..], b"other"]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let header = MessageHeader::of(b"MSH|||||||||").unwrap();
        assert_eq!(
            header.faults(),
            [
                HeaderFault::Encoding,
                HeaderFault::Type,
                HeaderFault::ControlId
            ]
        );
        assert_eq!(header.wants, Wants::Original);
        assert_eq!(header.kind(), None);
        let header = MessageHeader::of(b"MSH|&&&&|||||soon||ACK|1").unwrap();
        assert_eq!(header.faults(), [HeaderFault::Ambiguous, HeaderFault::Time]);
        assert_eq!(header.kind().unwrap(), "ACK");
        assert_eq!(MessageHeader::of(b"MSH"), Err(NoHeader::NoSeparator));
        assert_eq!(MessageHeader::of(b"PID|1"), Err(NoHeader::NoMsh));
        assert_eq!(MessageHeader::of(b""), Err(NoHeader::NoMsh));
        let usual = Separators::of(b"MSH|^~\\&|").unwrap();
        assert!(patients(b"MSH|^~\\&|\rPID|1||^^^X\r", &usual).is_empty());
        assert!(patients(b"MSH|^~\\&|\r", &header.separators).is_empty());
    }

    #[test]
    fn a_merge_is_about_all_that_it_names() {
        let usual = Separators::of(b"MSH|^~\\&|").unwrap();
        let merge = b"MSH|^~\\&|\rPID|1||r^^^C~r2\rMRG|q^^^C~q2^^^C~~r\rPID|2||s\rMRG|t\r";
        assert_eq!(
            patients(merge, &usual),
            [&b"q"[..], b"q2", b"r", b"s", b"t"]
        );
        let swap = b"MSH|^~\\&|\rPID|1||a\rPV1|1\rPID|2||b\rPV1|1\r";
        assert_eq!(patients(swap, &usual), [&b"a"[..], b"b"]);
    }

    #[test]
    fn other_separators() {
        let header =
            MessageHeader::of(b"MSH$%~\\&$GHH LAB$$$$$$ORU%R01$7\rPID$$$555-44-4444$$X%Y\r")
                .unwrap();
        assert_eq!(header.kind().unwrap(), "ORU^R01");
        assert_eq!(header.control_id, b"7");
        let message = b"MSH$%~\\&$GHH LAB\rPID$$$555-44-4444$$X%Y\r";
        assert_eq!(patients(message, &header.separators), [&b"555-44-4444"[..]]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "MSH[|][\\^~|&]{0,9}([A-Z|^~]|\r|\nPID[|]){0,40}") {
            for message in [&bytes[..], text.as_bytes()] {
                if let Ok(header) = MessageHeader::of(message) {
                    let _ = (header.faults(), header.kind(), patients(message, &header.separators));
                }
            }
        }
    }
}
