//! Who may speak: at most one response is active, and a new one is asked for only when none is.
//!
//! The service makes a response by itself when it has committed the caller's utterance; ours are for the greeting,
//! after a function's output, and where the service could not make one (reference: OpenAI Realtime, "Function calling").

use super::Millis;

/// The service answers a committed utterance at once; where it has not by now, it is asked to.
const ANSWER_EXPECTED_MS: Millis = 5_000;
/// A session that took the place of another is given what the caller said meanwhile; if that is something to answer, the
/// service knows by now.
const CATCH_UP_MS: Millis = 500;
/// A response that was asked for or is being made shows progress within this time, or the session is stuck.
const PROGRESS_WITHIN_MS: Millis = 8_000;
/// A response that fails so many times in a row will not succeed.
const MAX_FAILURES: u32 = 3;
/// The pause after a request that was refused because another response is active. Each further refusal doubles it.
const REFUSED_PAUSE_MS: Millis = 250;
/// More refusals in a row than this mean that the active response never ends.
const MAX_REFUSALS: u32 = 5;

/// The responses of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Responses {
    stage: Stage,
    /// Another response is to be asked for as soon as none is active.
    wanted: bool,
    greeting_due: bool,
    /// Function outputs the service has not acknowledged: a response made before it did does not know them.
    outputs_unseen: u32,
    asked: u32,
    failures: u32,
    /// Requests in a row that were refused because another response is active.
    refusals: u32,
    not_before: Millis,
    /// When something was asked for, or the service last said something.
    progress_at: Millis,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Idle,
    /// We asked; the service has not said that it began.
    Requested {
        greeting: bool,
        cancelled: bool,
    },
    /// The caller's utterance is committed; the service is about to answer.
    Expected {
        until: Millis,
    },
    Active {
        id: String,
        greeting: bool,
        cancelled: bool,
    },
}

/// Which response to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub number: u32,
    pub greeting: bool,
}

/// The response to cancel; its id where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel(pub Option<String>);

/// What to make of a response that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It will be asked for again.
    Retry,
    GiveUp,
}

impl Default for Responses {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            wanted: false,
            greeting_due: false,
            outputs_unseen: 0,
            asked: 0,
            failures: 0,
            refusals: 0,
            not_before: 0,
            progress_at: 0,
        }
    }
}

impl Responses {
    /// The session is ready: the agent opens the conversation.
    pub fn greet(&mut self) {
        self.greeting_due = true;
        self.wanted = true;
    }

    /// The agent is to speak as soon as it can.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// A function's output was sent: the agent is to go on with it.
    pub fn output_sent(&mut self) {
        self.outputs_unseen += 1;
        self.wanted = true;
    }

    /// The service has the output in its conversation.
    pub fn output_seen(&mut self) {
        self.outputs_unseen = self.outputs_unseen.saturating_sub(1);
    }

    /// The caller waits for a word: the agent is to speak soon, unless the service answers something by itself.
    pub fn break_silence(&mut self, now: Millis) {
        if self.stage == Stage::Idle && !self.wanted {
            self.stage = Stage::Expected { until: now + CATCH_UP_MS };
        }
    }

    /// The caller's utterance became an item: the service answers it by itself, unless a response is active. It need
    /// not tell us that it could not.
    pub fn utterance_committed(&mut self, now: Millis) {
        match self.stage {
            Stage::Idle | Stage::Expected { .. } => {
                self.stage = Stage::Expected { until: now + ANSWER_EXPECTED_MS };
            }
            Stage::Active { .. } => self.wanted = true,
            Stage::Requested { .. } => {}
        }
    }

    /// The service began a response. Answers it if it must be cancelled at once.
    pub fn created(&mut self, id: &str, caller_speaking: bool) -> Option<Cancel> {
        let (greeting, cancelled) = match self.stage {
            Stage::Requested { greeting, cancelled } => (greeting, cancelled),
            _ => (false, false),
        };
        if self.outputs_unseen == 0 {
            self.wanted = false;
        }
        self.stage = Stage::Active { id: id.to_owned(), greeting, cancelled };
        if caller_speaking && !cancelled { self.cancel() } else { None }
    }

    /// The service said something.
    pub fn progress(&mut self, now: Millis) {
        self.progress_at = now;
    }

    /// A response was asked for or begun, and nothing comes of it.
    pub fn is_stuck(&self, now: Millis) -> bool {
        self.is_under_way() && self.progress_at + PROGRESS_WITHIN_MS <= now
    }

    fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Requested { .. } | Stage::Active { .. })
    }

    /// The service owes the caller something: a response is active, asked for, expected or wanted.
    pub fn is_due(&self) -> bool {
        self.wanted || !matches!(self.stage, Stage::Idle | Stage::Active { cancelled: true, .. })
    }

    /// The session is gone, and with it whatever was active or asked for. `again`: another response is wanted once
    /// there is a session.
    pub fn session_lost(&mut self, again: bool) {
        if let Stage::Requested { greeting, .. } | Stage::Active { greeting, .. } = self.stage {
            self.greeting_due |= greeting && again;
        }
        self.stage = Stage::Idle;
        self.outputs_unseen = 0;
        self.refusals = 0;
        self.wanted = again;
    }

    /// Whether audio of this response is meant for the caller.
    pub fn plays(&self, response_id: &str) -> bool {
        matches!(&self.stage, Stage::Active { id, cancelled: false, .. } if id == response_id)
    }

    /// Stops what is active or asked for. Its late audio is not played any more.
    pub fn cancel(&mut self) -> Option<Cancel> {
        match &mut self.stage {
            Stage::Active { id, cancelled: cancelled @ false, .. } => {
                *cancelled = true;
                Some(Cancel(Some(id.clone())))
            }
            Stage::Requested { cancelled: cancelled @ false, .. } => {
                *cancelled = true;
                Some(Cancel(None))
            }
            _ => None,
        }
    }

    /// A response ended well enough: completed, incomplete or cancelled.
    pub fn done(&mut self, response_id: &str) {
        if matches!(&self.stage, Stage::Active { id, .. } if id == response_id) {
            self.stage = Stage::Idle;
            self.failures = 0;
            self.refusals = 0;
        }
    }

    /// A response failed; it may be asked for again after `delay`. The late failure of an earlier response does not end
    /// the active one.
    pub fn failed(&mut self, response_id: &str, delay: Millis, now: Millis) -> AfterFailure {
        if matches!(&self.stage, Stage::Active { id, .. } if id != response_id) {
            return AfterFailure::Retry;
        }
        let greeting = matches!(self.stage, Stage::Active { greeting: true, .. });
        self.stage = Stage::Idle;
        self.again(greeting, delay, now)
    }

    fn again(&mut self, greeting: bool, delay: Millis, now: Millis) -> AfterFailure {
        self.failures += 1;
        if self.failures > MAX_FAILURES {
            return AfterFailure::GiveUp;
        }
        self.greeting_due |= greeting;
        self.wanted = true;
        self.not_before = now + delay;
        AfterFailure::Retry
    }

    /// The service refused a response because one is active: ours, or its own answer to the caller.
    pub fn refused(&mut self, now: Millis) -> AfterFailure {
        if let Stage::Requested { greeting, .. } = self.stage {
            self.greeting_due |= greeting;
            self.not_before =
                self.not_before.max(now + (REFUSED_PAUSE_MS << self.refusals.min(MAX_REFUSALS)));
            self.refusals += 1;
        }
        if !matches!(self.stage, Stage::Active { .. }) {
            self.stage = Stage::Idle;
        }
        self.wanted = true;
        if self.refusals > MAX_REFUSALS { AfterFailure::GiveUp } else { AfterFailure::Retry }
    }

    /// The service could not begin the response we asked for, whatever the reason; it may be asked for again after
    /// `delay`.
    pub fn not_begun(&mut self, delay: Millis, now: Millis) -> AfterFailure {
        let greeting = matches!(self.stage, Stage::Requested { greeting: true, .. });
        if matches!(self.stage, Stage::Requested { .. }) {
            self.stage = Stage::Idle;
        }
        self.again(greeting, delay, now)
    }

    /// The response to ask for now, if one is wanted and none is active or on its way. While the caller speaks the
    /// next one is the service's own.
    pub fn ask(&mut self, caller_speaking: bool, now: Millis) -> Option<Ask> {
        if matches!(self.stage, Stage::Expected { until } if until <= now) {
            self.stage = Stage::Idle;
            self.wanted = true;
        }
        if !self.wanted || self.stage != Stage::Idle || caller_speaking || now < self.not_before {
            return None;
        }
        self.wanted = false;
        self.progress_at = now;
        self.asked += 1;
        let greeting = std::mem::take(&mut self.greeting_due);
        self.stage = Stage::Requested { greeting, cancelled: false };
        Some(Ask { number: self.asked, greeting })
    }

    /// When [`ask`](Self::ask) or [`is_stuck`](Self::is_stuck) may answer otherwise though nothing has happened. While
    /// the caller speaks nothing is asked for.
    pub fn deadline(&self, caller_speaking: bool) -> Option<Millis> {
        match self.stage {
            Stage::Expected { until } => Some(until),
            Stage::Idle if self.wanted && !caller_speaking => Some(self.not_before),
            Stage::Idle => None,
            Stage::Requested { .. } | Stage::Active { .. } => Some(self.progress_at + PROGRESS_WITHIN_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_response_waits_for_the_first() {
        let mut responses = Responses::default();
        responses.greet();
        assert_eq!(responses.ask(false, 0), Some(Ask { number: 1, greeting: true }));
        responses.output_sent();
        assert_eq!(responses.ask(false, 0), None, "requested");
        responses.created("r1", false);
        assert_eq!(responses.ask(false, 0), None, "active");
        responses.done("r1");
        assert_eq!(responses.ask(false, 0), Some(Ask { number: 2, greeting: false }));
    }

    #[test]
    fn the_services_own_answer_makes_ours_needless_if_it_knew_the_output() {
        let mut responses = Responses::default();
        responses.utterance_committed(0);
        responses.output_sent();
        responses.output_seen();
        responses.created("r1", false);
        responses.done("r1");
        assert_eq!(responses.ask(false, 10), None);

        responses.utterance_committed(20);
        responses.output_sent();
        responses.created("r2", false);
        responses.output_seen();
        responses.done("r2");
        assert!(responses.ask(false, 30).is_some(), "the answer was made before the output came");
    }

    #[test]
    fn an_answer_that_does_not_come_is_asked_for() {
        let mut responses = Responses::default();
        responses.utterance_committed(1_000);
        assert_eq!(responses.ask(false, 1_100), None);
        assert_eq!(responses.deadline(false), Some(6_000));
        assert!(responses.ask(false, 6_000).is_some());
    }

    #[test]
    fn an_utterance_that_ends_while_a_response_is_active_is_answered_after_it() {
        let mut responses = Responses::default();
        responses.utterance_committed(0);
        responses.created("r1", false);
        responses.utterance_committed(100);
        assert_eq!(responses.ask(false, 100), None);
        responses.done("r1");
        assert!(responses.ask(false, 200).is_some());
    }

    #[test]
    fn what_begins_while_the_caller_speaks_is_cancelled() {
        let mut responses = Responses::default();
        responses.utterance_committed(0);
        assert_eq!(responses.created("r1", true), Some(Cancel(Some("r1".into()))));
        assert!(!responses.plays("r1"));
    }

    #[test]
    fn a_request_can_be_cancelled_before_it_has_a_name() {
        let mut responses = Responses::default();
        responses.greet();
        responses.ask(false, 0);
        assert_eq!(responses.cancel(), Some(Cancel(None)));
        assert_eq!(responses.cancel(), None);
        assert_eq!(responses.created("r1", false), None);
        assert!(!responses.plays("r1"));
    }

    #[test]
    fn a_refusal_because_of_an_active_response_asks_again_later() {
        let mut responses = Responses::default();
        responses.greet();
        responses.ask(false, 0);
        responses.refused(0);
        assert_eq!(responses.ask(false, 249), None);
        assert_eq!(responses.ask(false, 250), Some(Ask { number: 2, greeting: true }), "still the greeting");
        responses.created("r1", false);
        responses.refused(250);
        assert_eq!(responses.ask(false, 250), None);
        responses.done("r1");
        assert!(responses.ask(false, 250).is_some());
    }

    #[test]
    fn refusals_in_a_row_are_followed_by_doubling_pauses_and_then_given_up() {
        let mut responses = Responses::default();
        responses.want();
        let (mut now, mut asked_at) = (0, vec![]);
        loop {
            assert!(responses.ask(false, now).is_some());
            asked_at.push(now);
            if responses.refused(now) == AfterFailure::GiveUp {
                break;
            }
            now = responses.deadline(false).unwrap();
        }
        assert_eq!(asked_at, [0, 250, 750, 1_750, 3_750, 7_750]);
    }

    #[test]
    fn the_late_failure_of_an_earlier_response_does_not_silence_the_active_one() {
        let mut responses = Responses::default();
        responses.created("r1", false);
        responses.created("r2", false);
        assert_eq!(responses.failed("r1", 1_000, 0), AfterFailure::Retry);
        assert!(responses.plays("r2"));
        responses.done("r2");
        assert_eq!(responses.ask(false, 5_000), None, "nothing is owed");
    }

    #[test]
    fn what_waits_for_the_caller_to_finish_waits_for_no_moment() {
        let mut responses = Responses::default();
        responses.greet();
        assert_eq!(responses.deadline(true), None);
        assert_eq!(responses.deadline(false), Some(0));
    }

    #[test]
    fn a_response_that_makes_no_progress_is_stuck() {
        let mut responses = Responses::default();
        responses.greet();
        assert!(!responses.is_stuck(100_000), "nothing was asked for");
        responses.ask(false, 0);
        assert!(!responses.is_stuck(7_999) && responses.is_stuck(8_000));
        responses.progress(7_000);
        responses.created("r1", false);
        assert_eq!((responses.is_stuck(14_999), responses.deadline(false)), (false, Some(15_000)));
        responses.done("r1");
        assert!(!responses.is_stuck(100_000));
    }

    #[test]
    fn a_failed_response_is_retried_a_few_times_and_not_too_soon() {
        let mut responses = Responses::default();
        responses.greet();
        for attempt in 1..=4u64 {
            let ask = responses.ask(false, 10_000 * attempt).unwrap();
            assert!(ask.greeting);
            responses.created("r", false);
            let after = responses.failed("r", 3_000, 10_000 * attempt);
            assert_eq!(after == AfterFailure::GiveUp, attempt == 4);
            assert_eq!(responses.ask(false, 10_000 * attempt + 2_999), None);
        }
    }
}
