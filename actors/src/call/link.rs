//! The link to the Realtime service: when to open a socket, when to try again, when to stop trusting one, and when to
//! give up. Pure: it is told what happened and when.
//!
//! A session is "ready" once it is configured; until then nobody is heard. One that gives no sign of life, or comes near its age limit at a turn boundary, is replaced like one that was lost (reference: OpenAI Realtime,
//! "Reconnecting and restoring a conversation").

use super::Millis;

/// From connecting to a configured session.
const READY_WITHIN: Millis = 10_000;
/// A conversation that has not begun has a caller who hears nothing: they are not kept waiting long.
const MAX_FIRST_CONNECTS: u32 = 4;
/// A conversation that was under way is worth more patience.
const OUTAGE: Millis = 30_000;
/// All connections of a call: a service that drops every session is no service.
const MAX_CONNECTS: u32 = 200;
/// The first pause, doubled at each retry. The longest leaves time to be back within a second of the service's return.
const BACKOFF: Millis = 100;
const MAX_BACKOFF: Millis = 800;
/// A service that says nothing for so long is asked whether it is there,
const PING_AFTER: Millis = 2_000;
/// and answers within this time.
const PONG_WITHIN: Millis = 3_000;
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
    /// Since when a conversation that was under way has had no session.
    lost_at: Option<Millis>,
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
    Old,
}

impl Verdict {
    /// For the call's log.
    pub fn cause(self) -> &'static str {
        match self {
            Self::NotReady => "the session was not ready in time",
            Self::Stalled => "the service gave no sign of life",
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
            lost_at: None,
            heard_at: now,
            pinged_at: None,
            sessions: 0,
        }
    }

    /// The same for a conversation that was under way in another process: it is worth the same patience.
    pub fn reopen(jitter_seed: u64, now: Millis) -> Self {
        Self { lost_at: Some(now), ..Self::open(jitter_seed, now) }
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

    /// The session is gone, or could not be opened.
    pub fn lost(&mut self, now: Millis) -> AfterLoss {
        if self.is_ready() {
            self.lost_at = Some(now);
        }
        let given_up = match self.lost_at {
            Some(lost_at) => now.saturating_sub(lost_at) >= OUTAGE,
            None => self.attempts >= MAX_FIRST_CONNECTS,
        };
        if given_up || self.connects >= MAX_CONNECTS {
            return AfterLoss::GiveUp;
        }
        let after = if self.attempts == 0 { 0 } else { self.backoff() };
        self.connects += 1;
        self.attempts += 1;
        self.stage = Stage::Opening { until: now + after + READY_WITHIN, greeted: false };
        AfterLoss::Connect { after }
    }

    /// Why the session in use is to be given up now, if it is. `idle`: nobody speaks and nothing is being made.
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

    /// Between half of the doubled pause and all of it, another moment for each call.
    fn backoff(&self) -> Millis {
        let full = (BACKOFF << self.attempts.min(10)).min(MAX_BACKOFF);
        full / 2 + self.jitter_seed.wrapping_mul(u64::from(self.attempts)) % (full / 2)
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
    fn a_conversation_that_has_not_begun_gives_up_after_a_few_tries() {
        let mut link = Link::open(7, 0);
        let tries = (0..10).take_while(|_| matches!(link.lost(0), AfterLoss::Connect { .. })).count();
        assert_eq!(tries, 3);
    }

    #[test]
    fn a_conversation_under_way_is_taken_up_at_once_and_for_half_a_minute() {
        let mut link = ready();
        assert_eq!(link.lost(1_000), AfterLoss::Connect { after: 0 });
        let mut now = 1_000;
        let mut pauses = vec![];
        while let AfterLoss::Connect { after } = link.lost(now) {
            pauses.push(after);
            now += after.max(10);
        }
        assert!((31_000..34_000).contains(&now), "{now}");
        assert!(pauses.windows(2).all(|pair| pair[1] <= MAX_BACKOFF) && pauses[0] < 200, "{pauses:?}");
        let mut link = ready();
        link.lost(1_000);
        assert_eq!((link.ready(1_500), link.reconnects()), (500, 1));
        assert_eq!(link.ready(9_000), 0, "it was not lost again");
    }

    #[test]
    fn a_service_that_drops_every_session_is_given_up() {
        let mut link = ready();
        let mut now = 0;
        while let AfterLoss::Connect { .. } = link.lost(now) {
            now += 10;
            link.ready(now);
        }
        assert_eq!(link.reconnects(), MAX_CONNECTS - 1);
    }

    #[test]
    fn a_conversation_of_another_process_is_given_the_time_of_an_outage() {
        let mut link = Link::reopen(7, 1_000);
        for tries in 0..20 {
            assert!(matches!(link.lost(1_000 + tries * 1_000), AfterLoss::Connect { .. }), "{tries}");
        }
        assert_eq!(link.lost(31_000), AfterLoss::GiveUp);
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
        assert_eq!(link.verdict(true, 8_999), None);
        assert_eq!(link.verdict(true, 9_000), Some(Verdict::Stalled));
    }

    #[test]
    fn an_old_session_is_replaced_at_a_turn_boundary_or_at_last_anyway() {
        let link = ready();
        assert_eq!(link.verdict(false, 56 * MINUTE), None);
        assert_eq!(link.verdict(true, 56 * MINUTE), Some(Verdict::Old));
        assert_eq!(link.verdict(false, 60 * MINUTE), Some(Verdict::Old));
    }
}
