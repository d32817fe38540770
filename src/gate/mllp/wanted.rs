//! The acknowledgement that is looked for among the answers to a message.

use super::flights::Flights;
use crate::hl7v2::{
    control_id::ControlId,
    header::{AcknowledgmentCondition, MessageHeader, Wants},
};

/// The acknowledgement that is looked for among the answers to a message.
#[derive(Debug)]
pub(super) struct Wanted<'m> {
    /// MSH-10; empty where the message has none, and any acknowledgement is taken for its.
    pub(super) control_id: ControlId,
    pub(super) wants: Wants,
    /// Itself and the other messages on their way.
    pub(super) flights: &'m Flights,
}

impl<'m> Wanted<'m> {
    /// Returns what answers a message; `flights` are all messages on their way.
    pub(super) fn of(message: &[u8], flights: &'m Flights) -> Self {
        // A message without a header takes any acknowledgement.
        let header = MessageHeader::of(message).ok();
        let (control_id, wants) =
            header.map_or((ControlId::default(), Wants::Original), |header| {
                let id = ControlId::of(header.control_id, &header.separators);
                (id, header.wants)
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

    /// Tells whether an acknowledgement that names this control id is the one: blanks around it do not count, nor do capitals,
    /// further components and escapes, where no other message on its way may be meant.
    pub(super) fn is_named(&self, named: &ControlId) -> bool {
        let id = &self.control_id;
        id.is_empty() || named.is(id) || (named.may_be(id) && !self.flights.has_another(named, id))
    }

    /// Tells whether the application answers with errors alone.
    pub(super) fn hears_of_errors_alone(&self) -> bool {
        matches!(self.wants, Wants::Enhanced { application, .. } if application == AcknowledgmentCondition::OnError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::ack::Ack;

    #[test]
    fn an_id_that_is_written_otherwise_names_the_message_unless_another_may_be_meant() {
        let id = ControlId::plain;
        let flights = Flights::default();
        let (ours, theirs) = (flights.begin(&id("m1")), flights.begin(&id("M2")));
        let names = |named: &str, ours| {
            let message = format!("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA|{named}\r");
            let named = Ack::parse(message.as_bytes()).unwrap().names();
            let wanted = Wanted {
                control_id: id(ours),
                wants: Wants::Original,
                flights: &flights,
            };
            wanted.is_named(&named)
        };
        assert!(names(" m1 ", "m1") && names("M1", "m1") && names("m1^x", "m1"));
        assert!(names("any", "") && names("m2^x", "M2"));
        assert!(!names("m2", "m1") && !names("", "m1") && !names("x^m1", "m1"));
        assert!(!names("M2", "m2"), "another has just that id");
        assert!(!names("m2^x", "m2"), "another may be meant");
        drop(theirs);
        assert!(names("M2", "m2") && names("m2^x", "m2"));
        drop(ours);
        // Two on their way with one id: which of them is told by the connection.
        let both = (flights.begin(&id("m3")), flights.begin(&id("m3")));
        assert!(names("m3^x", "m3"));
        drop(both);
    }
}
