//! What must hold of a session after each step: the service is not to be at fault where it judges others.
//! Checked in every build.

use super::Session;
use super::outbox::Out;
use crate::sim::tag::FRAME_BYTES;

impl Session {
    /// Panics where one of these does not hold:
    /// - At most one response is made in the conversation, and none of them twice.
    /// - Of a response no more is said than it is asked to say, and as much as the report tells.
    /// - What is told late is told in order.
    /// - Audio that waits for the rest of its frame is less than a frame, and what was not committed was
    ///   heard.
    /// - Nothing is sent after the end.
    pub(super) fn check(&self) {
        let in_conversation = self.responses.iter().filter(|response| response.is_in_conversation()).count();
        assert!(in_conversation <= 1, "{in_conversation} responses are made at once");
        for (at, response) in self.responses.iter().enumerate() {
            let is_again = self.responses[at + 1..].iter().any(|other| other.id() == response.id());
            assert!(!is_again, "the response {} is made twice", response.id());
            let (said, asked) = response.said_and_asked();
            assert!(said <= asked, "{said} frames were said of {asked}");
            let told =
                response.number().map(|number| self.record.report.responses[usize::from(number)].frames);
            assert!(told.is_none_or(|told| told == said), "{told:?} frames are told, and {said} were said");
        }
        let is_in_order = self.transcripts.iter().is_sorted_by_key(|transcript| transcript.due)
            && self.updates.iter().is_sorted_by_key(|update| update.due)
            && self.ends.iter().is_sorted_by_key(|(due, _)| *due);
        assert!(is_in_order, "what is told late is told out of order");
        assert!(self.partial.len() < FRAME_BYTES, "{} bytes wait for their frame", self.partial.len());
        assert!(self.buffered <= self.frames, "{} frames wait of {}", self.buffered, self.frames);
        let end = self.out.waiting().iter().position(|out| !matches!(out, Out::Event(_)));
        let is_last = end.is_none_or(|end| end + 1 == self.out.waiting().len());
        assert!(is_last, "something is sent after the end");
    }
}
