//! Waits until a message is answered: by the acknowledgement of its own control id, in the phase that it asks for.
//!
//! Receivers answer in many ways: a commit first and the application's word later, a commit alone, other messages'
//! acknowledgements, twice, without a frame, in release 2's blocks of one byte, or not at all. Each is told by what it was; of
//! content nothing is told.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    connection::{Coming, Connection},
    interrupted,
    wanted::Wanted,
};
use crate::{
    gate::transport::{Fault, FaultKind, Heard},
    hl7v2::{
        ack::Ack,
        header::{AcknowledgmentCondition, Wants},
        mllp::{COMMIT_ACK, COMMIT_NAK, Received},
    },
};

/// The blocks and bytes that have come and are not the answer.
#[derive(Debug, Default)]
struct Others {
    /// Acknowledgements of other messages.
    foreign: u32,
    /// Acknowledgements that name no message.
    nameless: u32,
    /// Frames that did not end.
    cut: u32,
    /// Frames with nothing in them.
    empty: u32,
    /// Bytes outside of frames.
    junk: u64,
    /// They begin like a message.
    is_bare: bool,
    /// They begin like an answer of HTTP.
    is_http: bool,
    /// The receiver has it, by a block of release 2.
    is_committed: bool,
    /// The commit of enhanced mode.
    commit: Option<Vec<u8>>,
    /// The bytes that came, up to [`KEPT`]: content.
    heard: Vec<u8>,
}

/// The number of bytes that are kept of what is no answer: enough for some acknowledgements.
const KEPT: usize = 4096;

/// The time for which an error is waited for behind a commit, where errors alone are told.
const ERRORS_COME: Duration = Duration::from_secs(1);

/// The result of waiting.
#[derive(Debug)]
pub(super) enum Answered {
    /// A block: the acknowledgement, or what is none at all.
    Block(Vec<u8>),
    /// The block by which a receiver of release 2 says that it has not taken the message.
    Nak,
    /// Nothing, where the message asks for an answer in some cases only; what that may mean, in words.
    Silence(&'static str),
}

/// Waits for what answers a message. A fault has with it what was heard instead.
pub(super) async fn acknowledged(
    connection: &mut Connection,
    wanted: &Wanted<'_>,
    until: Instant,
) -> Result<Answered, Fault> {
    let mut others = Others::default();
    let answered = answer(connection, wanted, until, &mut others).await;
    answered.map_err(|fault| {
        // The rest is looked at now; the fault is known already.
        let (length, first) = connection.junk();
        others.add_junk(length, &first);
        others.keep(connection.begun());
        Fault {
            heard: Heard(others.heard.into()),
            ..fault
        }
    })
}

async fn answer(
    connection: &mut Connection,
    wanted: &Wanted<'_>,
    mut until: Instant,
    others: &mut Others,
) -> Result<Answered, Fault> {
    loop {
        let coming = connection.receive(until).await?;
        let is_end = matches!(coming, Coming::End);
        match coming {
            Coming::Received(Received::Block(block)) => match block.as_slice() {
                [COMMIT_ACK] => {
                    connection.commits();
                    others.is_committed = true;
                }
                [COMMIT_NAK] => {
                    connection.note_odd();
                    return Ok(Answered::Nak);
                }
                // Some engines keep connections alive by such.
                block if block.trim_ascii().is_empty() => {
                    others.empty += 1;
                    connection.note_odd();
                }
                _ => {
                    connection.commit(until).await;
                    let had_commit = others.commit.is_some();
                    if let Some(answer) = judged(block, wanted, others) {
                        return Ok(Answered::Block(answer));
                    }
                    if others.commit.is_none() {
                        connection.note_odd();
                    } else if !had_commit && wanted.hears_of_errors_alone() {
                        until = std::cmp::min(until, Instant::now() + ERRORS_COME);
                    }
                }
            },
            Coming::Received(Received::Junk { length, first }) => {
                others.add_junk(length, &first);
                connection.note_odd();
            }
            Coming::Received(Received::Cut(part)) => {
                others.cut += 1;
                others.keep(&part);
                connection.note_odd();
            }
            Coming::Nothing | Coming::End => {
                connection.note_odd();
                others.see(connection)?;
                // A commit says that the message is safe there; the application may answer elsewhere, or later.
                if let Some(commit) = others.commit.take() {
                    return Ok(Answered::Block(commit));
                }
                let words = others.words(connection.is_inside());
                let place = connection.place();
                if is_end {
                    return Err(interrupted(format!(
                        "{place} closed the connection without an acknowledgement{words}"
                    )));
                }
                return match silence(wanted.wants) {
                    Some(silence) if words.is_empty() => Ok(Answered::Silence(silence)),
                    _ => Err(Fault::new(
                        FaultKind::Timeout,
                        format!("{place} did not acknowledge the message in time{words}"),
                    )),
                };
            }
        }
    }
}

/// Says what silence may mean, where a message asks for an answer in some cases only (table 0155).
fn silence(wants: Wants) -> Option<&'static str> {
    const SUCCESS: &str = "no answer came, and the message asks for one of errors only (MSH-15, MSH-16): it was taken, or the \
        answer was lost";
    const FAILURE: &str = "no answer came, and the message asks for one of successes only (MSH-15, MSH-16): it was refused, \
        or the answer was lost";
    let Wants::Enhanced {
        accept,
        application,
    } = wants
    else {
        return None;
    };
    match (accept, application) {
        (AcknowledgmentCondition::Always, _)
        | (_, AcknowledgmentCondition::Always)
        | (AcknowledgmentCondition::Never, AcknowledgmentCondition::Never) => None,
        (AcknowledgmentCondition::OnSuccess, _) | (_, AcknowledgmentCondition::OnSuccess) => {
            Some(FAILURE)
        }
        (AcknowledgmentCondition::OnError, _) | (_, AcknowledgmentCondition::OnError) => {
            Some(SUCCESS)
        }
    }
}

/// Returns the block if it answers the message; keeps a commit after which more is to come.
fn judged(block: Vec<u8>, wanted: &Wanted<'_>, others: &mut Others) -> Option<Vec<u8>> {
    let Ok(ack) = Ack::parse(&block) else {
        // It is no acknowledgement; who asked says what that means.
        return Some(block);
    };
    let named = ack.names();
    if !wanted.is_named(&named) {
        if named.is_empty() {
            others.nameless += 1;
        } else {
            others.foreign += 1;
        }
        others.keep(&block);
        return None;
    }
    if !ack.code.is_commit() || !ack.code.is_taken() {
        return Some(block);
    }
    let is_final = match wanted.wants {
        // Nobody asked for a commit: the application's word is what counts, and is waited for.
        Wants::Original => false,
        Wants::Enhanced { application, .. } => application == AcknowledgmentCondition::Never,
    };
    if is_final {
        return Some(block);
    }
    others.commit.get_or_insert(block);
    None
}

/// The beginning of an alert of TLS (RFC 8446 §5.1), which has no frame.
const ALERT: [u8; 2] = [0x15, 0x03];

impl Others {
    /// Looks at what came outside of frames.
    fn see(&mut self, connection: &mut Connection) -> Result<(), Fault> {
        let (length, first) = connection.junk();
        self.add_junk(length, &first);
        if first.starts_with(&ALERT) {
            return Err(Fault::new(
                FaultKind::Tls,
                format!(
                    "{} speaks TLS: write `mllp: {{ address: …, tls: true }}`",
                    connection.place()
                ),
            ));
        }
        Ok(())
    }

    fn add_junk(&mut self, length: u64, first: &[u8]) {
        self.is_bare |= self.junk == 0 && first.starts_with(b"MSH");
        self.is_http |= self.junk == 0 && first.starts_with(b"HTTP/");
        self.junk += length;
        self.keep(first);
    }

    /// Keeps what came, as far as there is room.
    fn keep(&mut self, bytes: &[u8]) {
        if !self.heard.is_empty() && !bytes.is_empty() {
            self.heard.push(b'\n');
        }
        let room = KEPT.saturating_sub(self.heard.len());
        self.heard.extend(bytes.iter().take(room));
    }

    /// Says what came instead.
    fn words(&self, begun: bool) -> String {
        let mut words = Vec::new();
        if self.is_committed {
            words.push("it has received the frame".to_owned());
        }
        if self.foreign > 0 {
            words.push(match self.foreign {
                1 => "an acknowledgement of another message came".to_owned(),
                count => format!("{count} acknowledgements of other messages came"),
            });
        }
        if self.nameless > 0 {
            words.push("an acknowledgement came that names no message (MSA-2 is empty)".to_owned());
        }
        if self.junk > 0 {
            let what = if self.is_bare {
                "an answer came without MLLP's frame"
            } else if self.is_http {
                "what came is an answer of HTTP, without MLLP's frame"
            } else {
                "what came is in no MLLP frame"
            };
            words.push(format!("{what} ({} bytes)", self.junk));
        }
        if self.empty > 0 {
            words.push("a frame came with nothing in it".to_owned());
        }
        if self.cut > 0 || begun {
            words.push("an answer began and did not end".to_owned());
        }
        if words.is_empty() {
            String::new()
        } else {
            format!("; {}", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::flights::Flights, *};
    use crate::hl7v2::control_id::ControlId;

    fn ack(code: &str, control_id: &str) -> Vec<u8> {
        format!("MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|{code}|{control_id}\r").into_bytes()
    }

    #[test]
    fn the_answer_is_told_by_control_id_and_phase() {
        let enhanced = |application| Wants::Enhanced {
            accept: AcknowledgmentCondition::Always,
            application,
        };
        let cases = [
            ("AA", "m1", Wants::Original, true),
            ("AE", "m1", Wants::Original, true),
            ("AA", "m2", Wants::Original, false),
            ("CA", "m1", Wants::Original, false),
            ("CE", "m1", Wants::Original, true),
            ("CA", "m1", enhanced(AcknowledgmentCondition::Never), true),
            ("CA", "m1", enhanced(AcknowledgmentCondition::Always), false),
            ("CR", "m1", enhanced(AcknowledgmentCondition::Always), true),
            (
                "CA",
                "m1",
                enhanced(AcknowledgmentCondition::OnError),
                false,
            ),
            ("AE", "", Wants::Original, false),
            ("AA", "m1", enhanced(AcknowledgmentCondition::Always), true),
        ];
        for (code, id, wants, is_answer) in cases {
            let mut others = Others::default();
            let wanted = Wanted {
                control_id: ControlId::plain("m1"),
                wants,
                flights: &Flights::default(),
            };
            let found = judged(ack(code, id), &wanted, &mut others);
            assert_eq!(found.is_some(), is_answer, "{code} {id} {wants:?}");
        }
        for (accept, application, word) in [
            (
                AcknowledgmentCondition::OnError,
                AcknowledgmentCondition::Never,
                Some("taken"),
            ),
            (
                AcknowledgmentCondition::Never,
                AcknowledgmentCondition::OnError,
                Some("taken"),
            ),
            (
                AcknowledgmentCondition::OnSuccess,
                AcknowledgmentCondition::Never,
                Some("refused"),
            ),
            (
                AcknowledgmentCondition::OnError,
                AcknowledgmentCondition::Always,
                None,
            ),
            (
                AcknowledgmentCondition::Never,
                AcknowledgmentCondition::Never,
                None,
            ),
        ] {
            let words = silence(Wants::Enhanced {
                accept,
                application,
            });
            assert_eq!(words.is_some(), word.is_some());
            assert!(words.is_none_or(|words| words.contains(word.unwrap_or_default())));
        }
        // Without a control id there is only one message on the connection.
        let wanted = Wanted {
            control_id: ControlId::default(),
            wants: Wants::Original,
            flights: &Flights::default(),
        };
        assert!(judged(ack("AA", ""), &wanted, &mut Others::default()).is_some());
        assert!(judged(b"hello".to_vec(), &wanted, &mut Others::default()).is_some());
    }
}
