//! The acknowledgement that is looked for among the answers to a message.

use super::flights::Flights;
use crate::hl7v2::header::{AcknowledgmentCondition, MessageHeader, Wants};

/// The acknowledgement that is looked for among the answers to a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'m> {
    /// MSH-10; empty where the message has none, and any acknowledgement is taken for its.
    pub(super) control_id: &'m [u8],
    pub(super) wants: Wants,
    /// Itself and the other messages on their way.
    pub(super) flights: &'m Flights,
}

impl<'m> Wanted<'m> {
    /// Returns what answers a message; `flights` are all messages on their way.
    pub(super) fn of(message: &'m [u8], flights: &'m Flights) -> Self {
        // A message without a header takes any acknowledgement.
        let header = MessageHeader::of(message).ok();
        let (control_id, wants) = header.map_or((&b""[..], Wants::Original), |header| {
            (header.control_id, header.wants)
        });
        Self {
            control_id,
            wants,
            flights,
        }
    }

    /// Tells whether the message asks for no answer at all.
    pub(super) fn is_nothing(&self) -> bool {
        let never = AcknowledgmentCondition::Never;
        matches!(self.wants, Wants::Enhanced { accept, application } if accept == never && application == never)
    }

    /// Tells whether an acknowledgement that names this control id is the one: blanks around it do not count, nor do capitals
    /// where no other message on its way has just that id.
    pub(super) fn is_named(&self, named: &[u8]) -> bool {
        let (named, control_id) = (named.trim_ascii(), self.control_id.trim_ascii());
        control_id.is_empty()
            || named == control_id
            || (named.eq_ignore_ascii_case(control_id) && !self.flights.has(named))
    }

    /// Tells whether the application answers with errors alone.
    pub(super) fn hears_of_errors_alone(&self) -> bool {
        matches!(self.wants, Wants::Enhanced { application, .. } if application == AcknowledgmentCondition::OnError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_capitals_name_the_message_unless_another_has_them() {
        let flights = Flights::default();
        let (ours, theirs) = (flights.begin(b"m1"), flights.begin(b"M2 "));
        let wanted = |control_id| Wanted {
            control_id,
            wants: Wants::Original,
            flights: &flights,
        };
        let names = |named: &[u8], id| wanted(id).is_named(named);
        assert!(names(b" m1 ", b"m1") && names(b"M1", b"m1") && names(b"any", b" "));
        assert!(!names(b"m2", b"m1") && !names(b"", b"m1"));
        assert!(!names(b"M2", b"m2"), "another has just that id");
        drop(theirs);
        assert!(names(b"M2", b"m2"));
        drop(ours);
        assert!(!flights.has(b"m1"));
    }
}
