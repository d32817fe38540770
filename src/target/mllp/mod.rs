//! Receivers of HL7v2 messages over MLLP: a message is sent, and acknowledged.
//!
//! A receiver keeps no names that Stoker could know: nothing can be read, searched or compared. The transport
//! (`gate::mllp`) finds the answer that belongs to a message, and if it is to be sent again; what an acknowledgement says
//! of it is read here. Source: HL7 v2.5.1 chapter 2.9 (acknowledgements), table 0357.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::{
    Accepted, Answer, Difference, Little, Matches, Parcel, Refusal, Said, Target, Unbuilt,
    hl7v2::answer::of_ack, request::request,
};
use crate::{
    hl7v2::{
        ack::{Ack, NoAck},
        control_id::ControlId,
        mllp::COMMIT_NAK,
        wire::wire,
    },
    manifest::LoadSettings,
    record::{Outcome, Step},
};

/// A receiver.
#[derive(Debug, Clone)]
pub struct Mllp {
    base: String,
}

impl Mllp {
    /// Takes the address of a receiver, as `mllp://host:port/`.
    pub fn new(base: &url::Url) -> Self {
        Self {
            base: base.as_str().to_owned(),
        }
    }

    /// Makes the request that opens a connection and sends nothing.
    pub fn greeting(&self) -> Request<Bytes> {
        self.request(Method::GET, Bytes::new())
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Bytes> {
        request(method, &self.base, body)
    }
}

/// Stands beside an answer that did not come, and need not have: the message asks for one in some cases only. Says what that may
/// mean.
#[derive(Debug, Clone, Copy)]
pub struct Unanswered(pub &'static str);

/// Stands beside an acknowledgement whose MSA-2 is the control id of the message, written otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedOtherwise {
    /// In other capitals.
    Capitals,
    /// With other components, or escapes.
    Components,
}

impl NamedOtherwise {
    /// Tells how one id is written otherwise than the other, if it is.
    pub fn between(sent: &ControlId, named: &ControlId) -> Option<Self> {
        if named.is(sent) {
            None
        } else if named.is_but_for_capitals(sent) {
            Some(Self::Capitals)
        } else {
            Some(Self::Components)
        }
    }

    /// The note on a message that was acknowledged so.
    fn note(self) -> &'static str {
        match self {
            Self::Capitals => {
                "taken; the acknowledgement names it in other capitals than it was sent (MSA-2)"
            }
            Self::Components => {
                "taken; the acknowledgement names it with other components than it was sent (MSA-2)"
            }
        }
    }
}

/// The note on a message to which nothing was to be answered.
const SILENT: &str = "the message asks for no acknowledgement (MSH-15 and MSH-16): it was sent";

impl Target for Mllp {
    fn base(&self) -> &str {
        &self.base
    }

    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt> {
        let (step, body) = parcel.single(bodies)?;
        let settings = &parcel.settings.messages;
        // A message that cannot be converted is not planned to be sent.
        let sent =
            wire(&body, settings.segments, settings.charset).map_err(|_| Unbuilt::changed(step))?;
        let sent = match sent {
            Cow::Owned(made) => Bytes::from(made),
            // The bytes to send may be a part of the body.
            Cow::Borrowed(part) => body.slice_ref(part),
        };
        Ok(self.request(Method::POST, sent))
    }

    fn answers(
        &self,
        _: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String> {
        let taken = |note| {
            Said::Taken(Accepted {
                outcome: Some(Outcome::Created),
                note,
                ..Accepted::default()
            })
        };
        let said = match Ack::parse(answer.body()) {
            _ if answer.status() == StatusCode::NO_CONTENT => taken(Some(SILENT)),
            Ok(ack) if ack.code.is_taken() => {
                let is_warned = ack.errors.iter().any(|error| error.severity == b"W");
                taken(match (is_warned, ack.code.is_commit()) {
                    (true, _) => Some("taken, with a warning"),
                    (false, true) => {
                        Some("the receiver has it safe; its application may still answer elsewhere")
                    }
                    (false, false) => {
                        let otherwise = answer.extensions().get::<NamedOtherwise>();
                        otherwise.map(|otherwise| otherwise.note())
                    }
                })
            }
            Ok(_) => Said::Refused,
            Err(_) if let Some(Unanswered(why)) = answer.extensions().get() => {
                Said::Little(Little::Silence(why))
            }
            Err(why) => Said::Little(Little::Other(match why {
                NoAck::NoMessage => "the answer is no message of HL7v2",
                NoAck::NoMsa => "the answer has no MSA, so that it acknowledges nothing",
                NoAck::UnknownCode => "MSA-1 of the answer is none of AA, AE, AR, CA, CE, CR",
                NoAck::SmallLetters => {
                    "MSA-1 of the answer is in small letters, which no code of table 0008 is"
                }
                NoAck::Contradiction => "the answer has several MSA, which contradict each other",
                NoAck::Utf16 => "the answer is in UTF-16, and no message of HL7v2",
            })),
        };
        Ok(vec![Some(Answer {
            status: answer.status().as_u16(),
            said,
            outcome: None,
        })])
    }

    fn refusal(&self, _: Option<&str>, answer: &[u8]) -> Refusal {
        let text = String::from_utf8_lossy(answer).into_owned();
        let refusal = Refusal {
            text,
            ..Refusal::default()
        };
        match Ack::parse(answer) {
            Ok(ack) => of_ack(&ack, refusal),
            Err(_) if answer == [COMMIT_NAK] => Refusal {
                code: Some("NAK".to_owned()),
                ..refusal
            },
            Err(_) => refusal,
        }
    }

    fn words(&self, status: u16, answer: &[u8]) -> String {
        match (status, answer) {
            (_, [COMMIT_NAK]) => {
                "the receiver answered with a NAK of MLLP: it did not take it".to_owned()
            }
            (400, _) => "it holds a byte that frames messages in MLLP".to_owned(),
            (425, _) => "the receiver refused it for now".to_owned(),
            _ => "the receiver refused it".to_owned(),
        }
    }

    fn read(&self, _: &str, _: &str) -> Request<Bytes> {
        self.greeting()
    }

    fn search(&self, _: &str, _: &str) -> Request<Bytes> {
        self.greeting()
    }

    fn matches(&self, _: &str, _: &[u8]) -> Matches {
        Matches::Refused(200)
    }

    fn held(&self, _: &str, _: &HeaderMap, _: &[u8]) -> Accepted {
        Accepted::default()
    }

    fn differences(
        &self,
        _: &Step,
        _: &LoadSettings,
        _: &Bytes,
        _: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str> {
        Err("a receiver cannot be asked what it has")
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        Ok(self.greeting())
    }

    fn dry_run(&self, _: &Request<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    fn empty(&self, _: &Request<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}
