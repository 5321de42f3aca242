//! The link to the Realtime service: when to open a socket, when to try again, when to stop trusting one, and
//! when to give up. It does no I/O: the caller passes each event and its time.
//!
//! A session is "ready" once it is configured; until then nobody is heard. One that gives no sign of life, or
//! comes near its age limit at a turn boundary, is replaced like one that was lost (reference: OpenAI
//! Realtime, "Reconnecting and restoring a conversation").

use std::time::Duration;

use crate::Millis;
use crate::backoff::{Backoff, spread_of};

/// From connecting to a configured session.
const READY_WITHIN: Millis = 10_000;
/// How long the service may be away before a person takes over, from the first loss on.
const OUTAGE: Millis = 30_000;
/// The same for a caller who hears nothing meanwhile: nothing has been said yet, and no phrase is recorded.
const SILENT_OUTAGE: Millis = 8_000;
/// A session that lasts this long was a good one: the next is opened without a pause.
const GOOD_SESSION: Millis = 5_000;
/// A wait that the service asks for and that is longer than this is too long for a caller.
pub const LONGEST_WAIT: Millis = 20_000;
/// All connections of a call: a service that drops every session is no service.
const MAX_CONNECTS: u32 = 200;
/// The first pause, doubled at each retry. The longest leaves time to be back within a second of the
/// service's return.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(MAX_BACKOFF));
const MAX_BACKOFF: Millis = 800;
/// A service that says nothing for so long is asked whether it is there,
const PING_AFTER: Millis = 2_000;
/// and answers within this time. A service that stops reading for some seconds and goes on is not dead, and a
/// new session would not know the sound of what was said.
const PONG_WITHIN: Millis = 5_000;
/// Sessions end after 60 minutes; from here on the next turn boundary is used.
const ROTATE_AFTER: Millis = 55 * 60_000;
/// From here on any moment is.
const ROTATE_AT_LAST: Millis = 59 * 60_000;

/// The link of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    stage: Stage,
    jitter_seed: u64,
    /// Sockets asked for, in the whole call and since a session was ready.
    connects: u32,
    attempts: u32,
    /// Sessions in a row that did not last.
    short_sessions: u32,
    /// Since when there has been no session.
    lost_at: Option<Millis>,
    /// Callers hear something while the service is away.
    has_fillers: bool,
    /// Another process had the conversation.
    is_reopened: bool,
    heard_at: Millis,
    pinged_at: Option<Millis>,
    sessions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until the service has greeted us, nothing it says is about this session.
    Opening {
        until: Millis,
        greeted: bool,
    },
    Ready {
        since: Millis,
    },
}

/// What to do about a lost session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    Connect { after: Millis },
    GiveUp,
}

/// Why a session is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    NotReady,
    Stalled,
    /// A response was asked for or begun, and nothing came of it.
    Stuck,
    /// The caller spoke, and it noticed nothing.
    Deaf,
    Old,
}

impl Verdict {
    /// For the call's log.
    pub fn cause(self) -> &'static str {
        match self {
            Self::NotReady => "the session was not ready in time",
            Self::Stalled => "the service gave no sign of life",
            Self::Stuck => "nothing came of a response",
            Self::Deaf => "the service did not notice that the caller spoke",
            Self::Old => "the session is near its age limit",
        }
    }
}

fn age_limit(idle: bool) -> Millis {
    if idle { ROTATE_AFTER } else { ROTATE_AT_LAST }
}

impl Link {
    /// A socket is being opened now.
    pub fn open(jitter_seed: u64, now: Millis) -> Self {
        Self {
            stage: Stage::Opening { until: now + READY_WITHIN, greeted: false },
            jitter_seed,
            connects: 1,
            attempts: 1,
            short_sessions: 0,
            lost_at: None,
            has_fillers: false,
            is_reopened: false,
            heard_at: now,
            pinged_at: None,
            sessions: 0,
        }
    }

    /// The same for a conversation that was under way in another process: it is worth the same patience.
    pub fn reopen(jitter_seed: u64, now: Millis) -> Self {
        Self { lost_at: Some(now), is_reopened: true, ..Self::open(jitter_seed, now) }
    }

    /// A caller is on the line who hears something while the service is away.
    pub fn has_fillers(&mut self) {
        self.has_fillers = true;
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    /// A conversation is, or was, under way.
    pub fn has_been_ready(&self) -> bool {
        self.sessions > 0
    }

    /// Sessions that took the place of an earlier one.
    pub fn reconnects(&self) -> u32 {
        self.sessions.saturating_sub(1)
    }

    /// The service said something, if only that it is there.
    pub fn heard(&mut self, now: Millis) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// Whether to ask the service for a sign of life now; it is then taken as asked.
    pub fn ping(&mut self, now: Millis) -> bool {
        let due = self.is_ready() && self.pinged_at.is_none() && self.heard_at + PING_AFTER <= now;
        if due {
            self.pinged_at = Some(now);
        }
        due
    }

    /// The service has greeted us: what it says from here on is about the session that is being opened.
    pub fn greeted(&mut self) {
        if let Stage::Opening { greeted, .. } = &mut self.stage {
            *greeted = true;
        }
    }

    /// A session is being opened, and the service has greeted us.
    pub fn is_opening(&self) -> bool {
        matches!(self.stage, Stage::Opening { greeted: true, .. })
    }

    /// The session is configured. Answers how long a conversation that was under way had none.
    pub fn ready(&mut self, now: Millis) -> Millis {
        self.stage = Stage::Ready { since: now };
        self.heard(now);
        self.attempts = 0;
        self.sessions += 1;
        self.lost_at.take().map_or(0, |lost_at| now.saturating_sub(lost_at))
    }

    /// The session is gone, or could not be opened. `wait`: what the service says of when to try again.
    pub fn lost(&mut self, wait: Option<Millis>, now: Millis) -> AfterLoss {
        if let Stage::Ready { since } = self.stage {
            self.lost_at = Some(now);
            self.short_sessions = if since + GOOD_SESSION <= now { 0 } else { self.short_sessions + 1 };
            // The first one that does not last may be chance.
            self.attempts = self.short_sessions.saturating_sub(1);
        }
        let is_worth_it = self.has_been_ready() || self.is_reopened || self.has_fillers;
        let patience = if is_worth_it { OUTAGE } else { SILENT_OUTAGE };
        let given_up = now.saturating_sub(*self.lost_at.get_or_insert(now)) >= patience;
        let wait = wait.unwrap_or(0);
        if given_up || wait > LONGEST_WAIT || self.connects >= MAX_CONNECTS {
            return AfterLoss::GiveUp;
        }
        let after = if self.attempts == 0 { 0 } else { self.backoff() };
        let after = after.max(wait);
        self.connects += 1;
        self.attempts += 1;
        self.stage = Stage::Opening { until: now + after + READY_WITHIN, greeted: false };
        AfterLoss::Connect { after }
    }

    /// Why the session in use is to be given up now, if it is. `idle`: nobody speaks and nothing is being
    /// made.
    pub fn verdict(&self, idle: bool, now: Millis) -> Option<Verdict> {
        match self.stage {
            Stage::Opening { until, .. } => (until <= now).then_some(Verdict::NotReady),
            Stage::Ready { since } => {
                let gone = self.pinged_at.is_some_and(|at| at + PONG_WITHIN <= now);
                let old = since + age_limit(idle) <= now;
                gone.then_some(Verdict::Stalled).or(old.then_some(Verdict::Old))
            }
        }
    }

    /// When [`verdict`](Self::verdict) or [`ping`](Self::ping) may change by themselves.
    pub fn deadline(&self, idle: bool) -> Millis {
        match self.stage {
            Stage::Opening { until, .. } => until,
            Stage::Ready { since } => {
                let sign_of_life = self.pinged_at.map_or(self.heard_at + PING_AFTER, |at| at + PONG_WITHIN);
                sign_of_life.min(since + age_limit(idle))
            }
        }
    }

    /// Another moment for each call.
    fn backoff(&self) -> Millis {
        let pause = BACKOFF.pause_after(self.attempts, spread_of(self.jitter_seed, self.attempts));
        pause.as_millis() as Millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;

    fn ready() -> Link {
        let mut link = Link::open(7, 0);
        link.ready(100);
        link
    }

    #[test]
    fn a_caller_who_hears_nothing_at_all_is_not_kept_waiting_for_long() {
        for (has_fillers, limit) in [(true, 30_000), (false, 8_000)] {
            let mut link = Link::open(7, 0);
            if has_fillers {
                link.has_fillers();
            }
            let mut now = 200;
            while let AfterLoss::Connect { after } = link.lost(None, now) {
                now += after + 20;
            }
            assert!((limit..limit + 2_000).contains(&now), "{now}");
        }
    }

    #[test]
    fn the_service_says_when_to_try_again_and_a_caller_waits_for_twenty_seconds_at_most() {
        let mut link = Link::open(7, 0);
        assert_eq!(link.lost(Some(2_000), 100), AfterLoss::Connect { after: 2_000 });
        assert_eq!(link.lost(Some(20_001), 2_200), AfterLoss::GiveUp);
    }

    #[test]
    fn sessions_that_do_not_last_are_opened_at_growing_pauses() {
        let mut link = ready();
        let mut now = 1_000;
        let mut pauses = vec![];
        for _ in 0..6 {
            let AfterLoss::Connect { after } = link.lost(None, now) else { panic!("given up at {now}") };
            pauses.push(after);
            link.ready(now + after);
            now += after + 100;
        }
        assert!(pauses[0] == 0 && pauses[1] > 0 && pauses[5] >= 400, "{pauses:?}");
        link.ready(now);
        assert_eq!(link.lost(None, now + GOOD_SESSION), AfterLoss::Connect { after: 0 });
    }

    #[test]
    fn a_conversation_under_way_is_taken_up_at_once_and_for_half_a_minute() {
        let mut link = ready();
        assert_eq!(link.lost(None, 1_000), AfterLoss::Connect { after: 0 });
        let mut now = 1_000;
        let mut pauses = vec![];
        while let AfterLoss::Connect { after } = link.lost(None, now) {
            pauses.push(after);
            now += after.max(10);
        }
        assert!((31_000..34_000).contains(&now), "{now}");
        assert!(pauses.windows(2).all(|pair| pair[1] <= MAX_BACKOFF) && pauses[0] < 200, "{pauses:?}");
        let mut link = ready();
        link.lost(None, 1_000);
        assert_eq!((link.ready(1_500), link.reconnects()), (500, 1));
        assert_eq!(link.ready(9_000), 0, "it was not lost again");
    }

    #[test]
    fn a_service_that_drops_every_session_is_given_up() {
        let mut link = ready();
        let mut now = 0;
        while let AfterLoss::Connect { .. } = link.lost(None, now) {
            now += 10;
            link.ready(now);
        }
        assert_eq!(link.reconnects(), MAX_CONNECTS - 1);
    }

    #[test]
    fn a_conversation_of_another_process_is_given_the_time_of_an_outage() {
        let mut link = Link::reopen(7, 1_000);
        for tries in 0..20 {
            assert!(matches!(link.lost(None, 1_000 + tries * 1_000), AfterLoss::Connect { .. }), "{tries}");
        }
        assert_eq!(link.lost(None, 31_000), AfterLoss::GiveUp);
    }

    #[test]
    fn a_silent_service_is_asked_for_a_sign_of_life() {
        let mut link = ready();
        link.heard(1_000);
        assert_eq!((link.ping(2_999), link.deadline(true)), (false, 3_000));
        assert!(link.ping(3_000) && !link.ping(3_001), "once");
        link.heard(3_010);
        assert_eq!(link.verdict(true, 6_000), None);
        assert!(link.ping(6_000));
        assert_eq!(link.verdict(true, 10_999), None);
        assert_eq!(link.verdict(true, 11_000), Some(Verdict::Stalled));
    }

    #[test]
    fn an_old_session_is_replaced_at_a_turn_boundary_or_at_last_anyway() {
        let link = ready();
        assert_eq!(link.verdict(false, 56 * MINUTE), None);
        assert_eq!(link.verdict(true, 56 * MINUTE), Some(Verdict::Old));
        assert_eq!(link.verdict(false, 60 * MINUTE), Some(Verdict::Old));
    }
}
