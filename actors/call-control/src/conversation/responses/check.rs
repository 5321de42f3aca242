//! What must hold of the responses after each step.

use super::{MAX_CALLING, MAX_FAILURES, MAX_REFUSALS, REMEMBERED, Responses, Stage};

impl Responses {
    /// Panics where one of these does not hold:
    /// - The active response is one of those that began. Others that began are given up, and their end does
    ///   not matter.
    /// - Of those that began a few are remembered, each once.
    /// - A greeting that is due is wanted.
    /// - Whatever fails in a row is given up in the end.
    pub(in crate::conversation) fn check(&self) {
        if let Stage::Active { id, .. } = &self.stage {
            assert!(self.begun.contains(id), "the active response {id} has not begun");
        }
        assert!(self.begun.len() <= REMEMBERED, "{} responses are remembered", self.begun.len());
        let mut begun = self.begun.iter().enumerate();
        let is_once = begun.all(|(at, id)| !self.begun.range(at + 1..).any(|other| other == id));
        assert!(is_once, "a response began twice: {:?}", self.begun);
        assert!(self.wanted || !self.greeting_due, "a greeting is due and no response wanted");
        let rows =
            [(self.failures, MAX_FAILURES), (self.refusals, MAX_REFUSALS), (self.calling, MAX_CALLING)];
        for (in_a_row, most) in rows {
            assert!(in_a_row <= most + 1, "{in_a_row} in a row, and {most} is the limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response is active.
    fn active() -> Responses {
        let mut responses = Responses::default();
        responses.greet();
        responses.ask(false, 0);
        responses.created("r1", Some(1), false, 10);
        responses.check();
        responses
    }

    #[test]
    #[should_panic(expected = "the active response r1 has not begun")]
    fn an_active_response_that_never_began_is_noticed() {
        let mut responses = active();
        responses.begun.clear();
        responses.check();
    }

    #[test]
    fn the_active_response_is_remembered_however_many_others_begin() {
        let mut responses = active();
        for number in 0..2 * REMEMBERED {
            let given_up = responses.created(&format!("other{number}"), Some(1_000), false, 20);
            assert!(given_up.is_some());
            responses.check();
        }
        assert_eq!(responses.created("r1", Some(1), false, 30), None, "it is told again, and goes on");
    }

    #[test]
    #[should_panic(expected = "a response began twice")]
    fn a_response_that_began_twice_is_noticed() {
        let mut responses = active();
        responses.begun.push_back("r1".to_owned());
        responses.check();
    }

    #[test]
    #[should_panic(expected = "a greeting is due and no response wanted")]
    fn a_greeting_that_nobody_asks_for_is_noticed() {
        let mut responses = active();
        responses.greeting_due = true;
        responses.check();
    }

    #[test]
    #[should_panic(expected = "7 in a row, and 5 is the limit")]
    fn refusals_without_end_are_noticed() {
        let mut responses = active();
        responses.refusals = 7;
        responses.check();
    }
}
