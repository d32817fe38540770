//! Waits until a message is answered: by the acknowledgement of its own control id, in the phase that it asks for.
//!
//! Receivers answer in many ways: a commit first and the application's word later, a commit alone, other messages'
//! acknowledgements, twice, without a frame, in release 2's blocks of one byte, or not at all. Each is told by what it was; of
//! content nothing is told.

use tokio::time::Instant;

use super::{
    Wanted,
    connection::{Coming, Connection},
    interrupted,
};
use crate::{
    gate::transport::{Fault, FaultKind},
    hl7v2::{
        ack::Ack,
        header::{Condition, Wants},
        mllp::{COMMIT_ACK, COMMIT_NAK, Received},
    },
};

/// What has come that is not the answer.
#[derive(Debug, Default)]
struct Others {
    /// Acknowledgements of other messages.
    foreign: u32,
    /// Frames that did not end.
    cut: u32,
    /// Bytes outside of frames.
    junk: u64,
    /// The receiver has it, by a block of release 2.
    is_committed: bool,
    /// The commit of enhanced mode.
    commit: Option<Vec<u8>>,
}

/// Returns the block that answers a message, or what is no acknowledgement at all.
pub(super) async fn acknowledged(
    connection: &mut Connection,
    wanted: Wanted<'_>,
    until: Instant,
) -> Result<Vec<u8>, Fault> {
    let mut others = Others::default();
    loop {
        match connection.receive(until).await? {
            Coming::Received(Received::Block(block)) => match block.as_slice() {
                [COMMIT_ACK] => {
                    connection.commits();
                    others.is_committed = true;
                }
                [COMMIT_NAK] => {
                    connection.note_odd();
                    return Err(not_committed(connection.place()));
                }
                _ => {
                    connection.commit(until).await;
                    if let Some(answer) = judged(block, wanted, &mut others) {
                        return Ok(answer);
                    }
                    if others.commit.is_none() {
                        connection.note_odd();
                    }
                }
            },
            Coming::Received(Received::Junk { length, .. }) => {
                others.junk += length;
                connection.note_odd();
            }
            Coming::Received(Received::Cut(_)) => {
                others.cut += 1;
                connection.note_odd();
            }
            Coming::Nothing => {
                connection.note_odd();
                others.see(connection)?;
                // A commit says that the message is safe there; the application may answer elsewhere, or later.
                if let Some(commit) = others.commit {
                    return Ok(commit);
                }
                let begun = connection.is_inside();
                return Err(Fault {
                    kind: FaultKind::Timeout,
                    what: format!(
                        "{} did not acknowledge the message in time{}",
                        connection.place(),
                        others.words(begun, wanted.wants)
                    ),
                });
            }
            Coming::End => {
                connection.note_odd();
                others.see(connection)?;
                if let Some(commit) = others.commit {
                    return Ok(commit);
                }
                let begun = connection.is_inside();
                return Err(interrupted(format!(
                    "{} closed the connection without an acknowledgement{}",
                    connection.place(),
                    others.words(begun, wanted.wants)
                )));
            }
        }
    }
}

/// Returns the block if it answers the message; keeps a commit after which more is to come.
fn judged(block: Vec<u8>, wanted: Wanted<'_>, others: &mut Others) -> Option<Vec<u8>> {
    let Ok(ack) = Ack::parse(&block) else {
        // It is no acknowledgement; who asked says what that means.
        return Some(block);
    };
    let is_own = wanted.control_id.is_empty()
        || ack.control_id.trim_ascii() == wanted.control_id.trim_ascii();
    if !is_own {
        others.foreign += 1;
        return None;
    }
    if !ack.code.is_commit() || !ack.code.is_taken() {
        return Some(block);
    }
    let is_final = match wanted.wants {
        // Nobody asked for a commit: the application's word is what counts, and is waited for.
        Wants::Original => false,
        Wants::Enhanced { application, .. } => application != Condition::Always,
    };
    if is_final {
        return Some(block);
    }
    others.commit.get_or_insert(block);
    None
}

fn not_committed(place: &str) -> Fault {
    Fault {
        // It says so itself: the message has had no effect.
        kind: FaultKind::TurnedAway,
        what: format!("{place} did not take the message: it answered with a NAK of MLLP"),
    }
}

/// The beginning of an alert of TLS (RFC 8446 §5.1), which has no frame.
const ALERT: [u8; 2] = [0x15, 0x03];

impl Others {
    /// Looks at what came outside of frames.
    fn see(&mut self, connection: &mut Connection) -> Result<(), Fault> {
        let (length, first) = connection.junk();
        self.junk += length;
        if first.starts_with(&ALERT) {
            return Err(Fault {
                kind: FaultKind::Tls,
                what: format!(
                    "{} speaks TLS: write `mllp: {{ address: …, tls: true }}`",
                    connection.place()
                ),
            });
        }
        Ok(())
    }

    /// Says what came instead.
    fn words(&self, begun: bool, wants: Wants) -> String {
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
        if self.junk > 0 {
            words.push(format!(
                "{} bytes came that are in no MLLP frame",
                self.junk
            ));
        }
        if self.cut > 0 || begun {
            words.push("an answer began and did not end".to_owned());
        }
        if let Wants::Enhanced { accept, .. } = wants
            && matches!(accept, Condition::OnError | Condition::OnSuccess)
        {
            words.push(
                "the message asks for an answer in some cases only (MSH-15), so that silence does not tell"
                    .to_owned(),
            );
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
    use super::*;

    fn ack(code: &str, control_id: &str) -> Vec<u8> {
        format!("MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|{code}|{control_id}\r").into_bytes()
    }

    #[test]
    fn the_answer_is_told_by_control_id_and_phase() {
        let enhanced = |application| Wants::Enhanced {
            accept: Condition::Always,
            application,
        };
        let cases = [
            ("AA", "m1", Wants::Original, true),
            ("AE", "m1", Wants::Original, true),
            ("AA", "m2", Wants::Original, false),
            ("CA", "m1", Wants::Original, false),
            ("CE", "m1", Wants::Original, true),
            ("CA", "m1", enhanced(Condition::Never), true),
            ("CA", "m1", enhanced(Condition::Always), false),
            ("CR", "m1", enhanced(Condition::Always), true),
            ("AA", "m1", enhanced(Condition::Always), true),
        ];
        for (code, id, wants, is_answer) in cases {
            let mut others = Others::default();
            let wanted = Wanted {
                control_id: b"m1",
                wants,
            };
            let found = judged(ack(code, id), wanted, &mut others);
            assert_eq!(found.is_some(), is_answer, "{code} {id} {wants:?}");
        }
        // Without a control id there is only one message on the connection.
        let wanted = Wanted {
            control_id: b"",
            wants: Wants::Original,
        };
        assert!(judged(ack("AA", ""), wanted, &mut Others::default()).is_some());
        assert!(judged(b"hello".to_vec(), wanted, &mut Others::default()).is_some());
    }
}
