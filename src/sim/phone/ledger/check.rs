//! What must hold of a conference after each step. Checked in every build.

use super::Conference;

impl Conference {
    /// Panics where one of these does not hold:
    /// - Nobody is in a conference that is over, and somebody is in one that is not.
    /// - A call is in it once, and so is a label.
    pub(super) fn check(&self) {
        let participants = self.participants.borrow();
        let count = participants.len();
        assert!(!self.ended.get() || count == 0, "{count} are in a conference that is over");
        assert!(self.ended.get() || count > 0, "nobody is in a conference that goes on");
        for (at, participant) in participants.iter().enumerate() {
            let mut others = participants[at + 1..].iter();
            let is_again = others.clone().any(|other| other.call.sid == participant.call.sid);
            assert!(!is_again, "a call is in the conference twice");
            let is_taken = others.any(|other| other.label.is_some() && other.label == participant.label);
            assert!(!is_taken, "two participants have one label");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::{Direction, Ledger};
    use super::*;
    use crate::sim::phone::line::Line;
    use crate::sim::phone::twiml::Room;

    fn conference() -> Rc<Conference> {
        let (ledger, line) = (Ledger::default(), Rc::new(Line::new(0)));
        let call = ledger.add_call(0, String::new(), String::new(), Direction::Inbound, &line);
        ledger.join(&Room { name: "room".into(), ..Room::default() }, &call).unwrap()
    }

    #[test]
    #[should_panic(expected = "1 are in a conference that is over")]
    fn somebody_who_is_left_in_a_conference_is_noticed() {
        let conference = conference();
        conference.ended.set(true);
        conference.check();
    }

    #[test]
    #[should_panic(expected = "a call is in the conference twice")]
    fn a_call_that_is_in_twice_is_noticed() {
        let conference = conference();
        let again = conference.participants.borrow()[0].clone();
        conference.participants.borrow_mut().push(again);
        conference.check();
    }
}
