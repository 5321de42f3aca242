//! Who may speak: at most one response is active, and a new one is asked for only when none is.
//!
//! The service makes a response by itself when it has committed the caller's utterance; ours are for the
//! greeting, after a function's output, and where the service could not make one (reference: OpenAI Realtime,
//! "Function calling"). Ours carry their number, so that they can be told from the service's own.

use std::collections::VecDeque;

use crate::Millis;

/// The service answers a committed utterance at once; where it has not by now, it is asked to.
const ANSWER_EXPECTED_MS: Millis = 5_000;
/// A session that took the place of another is given what the caller said meanwhile; if that is something to
/// answer, the service knows by now.
const CATCH_UP_MS: Millis = 500;
/// A response that was asked for begins, and one that is heard goes on, within this time. Otherwise the
/// session is stuck.
const PROGRESS_WITHIN_MS: Millis = 8_000;
/// A response that has begun and is not heard yet gets more patience: a busy service is slow to its first
/// sound.
const FIRST_SOUND_WITHIN_MS: Millis = 15_000;
/// A cancelled response that has not ended within this time counts as ended: its end may never be told.
const CANCELLED_WITHIN_MS: Millis = 3_000;
/// A response that fails more often than this in a row will not succeed.
const MAX_FAILURES: u32 = 3;
/// This many responses in a row that end without a sound are not followed by another one.
const MAX_SILENT: u32 = 3;
/// This many responses in a row call functions and say nothing. The agent is caught in a loop then.
const MAX_CALLING: u32 = 8;
/// The pause after a request that was refused because another response is active. Each further refusal
/// doubles it.
const REFUSED_PAUSE_MS: Millis = 250;
/// More refusals in a row than this mean that the active response never ends.
const MAX_REFUSALS: u32 = 5;
/// This many requests may follow each other at once while the caller hears nothing of them. Then pauses
/// begin.
const UNPACED_ASKS: u32 = 3;
const PACE_MS: Millis = 500;
const MAX_PACE_MS: Millis = 4_000;
/// So many responses are remembered, to know an event that is told twice.
const REMEMBERED: usize = 8;

/// The responses of one session.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// Responses in a row that called functions and said nothing.
    calling: u32,
    /// Requests since the caller last spoke or heard the agent.
    asks_unheard: u32,
    not_before: Millis,
    /// The last responses that began.
    begun: VecDeque<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Stage {
    #[default]
    Idle,
    /// We asked; the service has not said that it began.
    Requested {
        greeting: bool,
        cancelled: bool,
        /// The caller has said something since.
        overtaken: bool,
        until: Millis,
    },
    /// The caller's utterance is committed; the service is about to answer.
    Expected { until: Millis },
    Active {
        id: String,
        greeting: bool,
        cancelled: bool,
        /// Audio of it has come while it was wanted.
        sounded: bool,
        until: Millis,
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

/// What to make of a response that ended, other than by a failure that the service names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// Nobody cancelled it, it called no function, and the caller heard nothing of it: that is a failure.
    Silent(AfterFailure),
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

    /// A function's output was sent. A response that begins before the service has it does not know it.
    pub fn output_sent(&mut self) {
        self.outputs_unseen += 1;
    }

    /// The service has the output in its conversation.
    pub fn output_seen(&mut self) {
        self.outputs_unseen = self.outputs_unseen.saturating_sub(1);
    }

    /// The caller waits for a word: the agent is to speak soon, unless the service answers something by
    /// itself.
    pub fn break_silence(&mut self, now: Millis) {
        if self.stage == Stage::Idle && !self.wanted {
            self.stage = Stage::Expected { until: now + CATCH_UP_MS };
        }
    }

    /// The caller's utterance became an item: the service answers it by itself, unless a response is active.
    /// It need not tell us that it could not. A further utterance does not prolong the wait for an answer
    /// that is late.
    pub fn utterance_committed(&mut self, now: Millis) {
        self.asks_unheard = 0;
        match &mut self.stage {
            Stage::Idle => {
                let within = if self.wanted { CATCH_UP_MS } else { ANSWER_EXPECTED_MS };
                self.stage = Stage::Expected { until: now + within };
            }
            Stage::Active { .. } => self.wanted = true,
            Stage::Requested { overtaken, .. } => *overtaken = true,
            Stage::Expected { .. } => {}
        }
    }

    /// The service began a response; `number`: the request of ours that it names. Answers the one that must
    /// be cancelled at once.
    pub fn created(
        &mut self,
        id: &str,
        number: Option<u32>,
        caller_speaking: bool,
        now: Millis,
    ) -> Option<Cancel> {
        if self.has_begun(id) {
            return None; // told twice
        }
        self.begins(id);
        let until = now + FIRST_SOUND_WITHIN_MS;
        let (greeting, cancelled) = match self.stage {
            Stage::Requested { greeting, cancelled, overtaken, .. } => match number {
                Some(number) if number != self.asked => return Some(Cancel(Some(id.to_owned()))),
                // The service's own answer to what interrupted ours.
                None if cancelled && overtaken => (false, false),
                _ => (greeting, cancelled),
            },
            _ if number.is_some() => return Some(Cancel(Some(id.to_owned()))), // one that was given up
            _ => (false, false),
        };
        if self.outputs_unseen == 0 && !self.greeting_due {
            self.wanted = false;
        }
        let instead_of_greeting = self.greeting_due && !greeting;
        self.stage = Stage::Active { id: id.to_owned(), greeting, cancelled: false, sounded: false, until };
        if caller_speaking || cancelled || instead_of_greeting { self.cancel(now) } else { None }
    }

    fn has_begun(&self, id: &str) -> bool {
        self.begun.iter().any(|begun| begun == id)
    }

    fn begins(&mut self, id: &str) {
        if self.has_begun(id) {
            return;
        }
        if self.begun.len() == REMEMBERED {
            let is_active = |begun: &String| matches!(&self.stage, Stage::Active { id, .. } if id == begun);
            let oldest = self.begun.iter().position(|begun| !is_active(begun)).unwrap_or_default();
            self.begun.remove(oldest);
        }
        self.begun.push_back(id.to_owned());
    }

    /// The service said something about this response.
    pub fn progress(&mut self, response_id: &str, now: Millis) {
        if let Stage::Active { id, cancelled: false, sounded, until, .. } = &mut self.stage
            && id == response_id
        {
            *until = now + if *sounded { PROGRESS_WITHIN_MS } else { FIRST_SOUND_WITHIN_MS };
        }
    }

    /// Audio of a response has come. Answers whether it is meant for the caller.
    pub fn audio(&mut self, response_id: &str, now: Millis) -> bool {
        if let Stage::Active { id, cancelled, sounded, until, .. } = &mut self.stage {
            if *cancelled || id != response_id {
                return false;
            }
            *sounded = true;
            *until = now + PROGRESS_WITHIN_MS;
            self.asks_unheard = 0;
            return true;
        }
        if !self.is_awaited(response_id) {
            return false;
        }
        self.created(response_id, None, false, now); // the service has not said that it began
        matches!(self.stage, Stage::Active { cancelled: false, .. }) && self.audio(response_id, now)
    }

    /// Whether this response is active and something of it was meant for the caller.
    pub fn has_sounded(&self, response_id: &str) -> bool {
        matches!(&self.stage, Stage::Active { id, sounded: true, .. } if id == response_id)
    }

    /// Whether this response is active, and was cancelled.
    pub fn is_cancelled(&self, response_id: &str) -> bool {
        matches!(&self.stage, Stage::Active { id, cancelled: true, .. } if id == response_id)
    }

    /// Whether this response, of which nothing was told yet, can be the one that is waited for.
    fn is_awaited(&self, id: &str) -> bool {
        let waits = matches!(self.stage, Stage::Requested { cancelled: false, .. } | Stage::Expected { .. });
        waits && !self.has_begun(id)
    }

    /// A response was asked for or begun, and nothing comes of it.
    pub fn is_stuck(&self, now: Millis) -> bool {
        match self.stage {
            Stage::Requested { cancelled: false, until, .. }
            | Stage::Active { cancelled: false, until, .. } => until <= now,
            _ => false,
        }
    }

    /// The service owes the caller something: a response is active, asked for, expected or wanted.
    pub fn is_due(&self) -> bool {
        self.wanted || !matches!(self.stage, Stage::Idle | Stage::Active { cancelled: true, .. })
    }

    /// The service has not said yet how a response ended.
    pub fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// The session is gone, and with it whatever was active or asked for. `again`: another response is wanted
    /// once there is a session.
    pub fn session_lost(&mut self, again: bool) {
        if let Stage::Requested { greeting, .. } | Stage::Active { greeting, .. } = self.stage {
            self.greeting_due |= greeting;
        }
        self.greeting_due &= again;
        self.stage = Stage::Idle;
        self.outputs_unseen = 0;
        self.refusals = 0;
        self.wanted = again;
    }

    /// Stops what is active or asked for. Its late audio is not played any more. A greeting of which nothing
    /// has come is still due.
    pub fn cancel(&mut self, now: Millis) -> Option<Cancel> {
        let (cancel, unheard_greeting) = match &mut self.stage {
            Stage::Active { id, cancelled: cancelled @ false, until, greeting, sounded } => {
                *cancelled = true;
                *until = now + CANCELLED_WITHIN_MS;
                (Cancel(Some(id.clone())), *greeting && !*sounded)
            }
            Stage::Requested { cancelled: cancelled @ false, until, greeting, .. } => {
                *cancelled = true;
                *until = now + CANCELLED_WITHIN_MS;
                (Cancel(None), *greeting)
            }
            _ => return None,
        };
        if unheard_greeting {
            self.greet();
        }
        Some(cancel)
    }

    /// A response ended: completed, incomplete or cancelled. `calls`: it calls a function, so that another
    /// response follows. A silent one may be asked for again after `delay`.
    pub fn done(&mut self, response_id: &str, calls: bool, delay: Millis, now: Millis) -> Ended {
        let (greeting, cancelled, sounded) = match &self.stage {
            Stage::Active { id, greeting, cancelled, sounded, .. } if id == response_id => {
                (*greeting, *cancelled, *sounded)
            }
            Stage::Requested { greeting, .. } if self.is_awaited(response_id) => (*greeting, false, false),
            Stage::Expected { .. } if self.is_awaited(response_id) => (false, false, false),
            _ => return Ended::Well,
        };
        self.begins(response_id);
        self.stage = Stage::Idle;
        if sounded {
            (self.failures, self.refusals, self.calling) = (0, 0, 0);
        }
        if calls && !sounded {
            one_more(&mut self.calling, MAX_CALLING);
            if self.calling > MAX_CALLING {
                return Ended::Silent(AfterFailure::GiveUp);
            }
        }
        if sounded || cancelled || calls {
            return Ended::Well;
        }
        Ended::Silent(self.again(greeting, MAX_SILENT - 1, delay, now))
    }

    /// A response failed; it may be asked for again after `delay`. The late failure of an earlier response
    /// does not end the active one.
    pub fn failed(&mut self, response_id: &str, delay: Millis, now: Millis) -> AfterFailure {
        let (greeting, cancelled) = match &self.stage {
            Stage::Active { id, greeting, cancelled, .. } if id == response_id => (*greeting, *cancelled),
            Stage::Requested { greeting, .. } if self.is_awaited(response_id) => (*greeting, false),
            Stage::Expected { .. } if self.is_awaited(response_id) => (false, false),
            _ => return AfterFailure::Retry,
        };
        self.begins(response_id);
        self.stage = Stage::Idle;
        if cancelled {
            self.not_before = self.not_before.max(now + delay);
            return AfterFailure::Retry;
        }
        self.again(greeting, MAX_FAILURES, delay, now)
    }

    /// `limit`: the failures in a row that are followed by another request.
    fn again(&mut self, greeting: bool, limit: u32, delay: Millis, now: Millis) -> AfterFailure {
        one_more(&mut self.failures, MAX_FAILURES);
        if self.failures > limit {
            return AfterFailure::GiveUp;
        }
        self.greeting_due |= greeting;
        self.wanted = true;
        self.not_before = self.not_before.max(now + delay);
        AfterFailure::Retry
    }

    /// The service refused a response because one is active: ours, or its own answer to the caller. `number`:
    /// our request that it refused, where it says so.
    pub fn refused(&mut self, number: Option<u32>, now: Millis) -> AfterFailure {
        match self.stage {
            Stage::Requested { .. } if number.is_some_and(|number| number != self.asked) => {}
            Stage::Requested { greeting, cancelled, overtaken, .. } => {
                self.stage = match overtaken {
                    // The active one answers the caller.
                    true => Stage::Expected { until: now + ANSWER_EXPECTED_MS },
                    false => Stage::Idle,
                };
                self.wanted |= !cancelled;
                self.greeting_due |= greeting;
                let pause = REFUSED_PAUSE_MS << self.refusals.min(MAX_REFUSALS);
                self.not_before = self.not_before.max(now + pause);
                one_more(&mut self.refusals, MAX_REFUSALS);
                if self.refusals > MAX_REFUSALS {
                    return AfterFailure::GiveUp;
                }
            }
            Stage::Active { .. } | Stage::Idle | Stage::Expected { .. } => self.wanted = true,
        }
        AfterFailure::Retry
    }

    /// Whether the last refusal was the first in a row.
    pub fn is_first_refusal(&self) -> bool {
        self.refusals <= 1
    }

    /// The service could not begin the response with this number, whatever the reason; it may be asked for
    /// again after `delay`.
    pub fn not_begun(&mut self, number: Option<u32>, delay: Millis, now: Millis) -> AfterFailure {
        let Stage::Requested { greeting, cancelled, .. } = self.stage else { return AfterFailure::Retry };
        if number.is_some_and(|number| number != self.asked) {
            return AfterFailure::Retry;
        }
        self.stage = Stage::Idle;
        if cancelled {
            return AfterFailure::Retry;
        }
        self.again(greeting, MAX_FAILURES, delay, now)
    }

    /// What need not be waited for any more: an answer that does not come, the end of a cancelled response.
    fn expire(&mut self, now: Millis) {
        match self.stage {
            Stage::Expected { until } if until <= now => {
                self.stage = Stage::Idle;
                self.wanted = true;
            }
            Stage::Requested { cancelled: true, until, overtaken, .. } if until <= now => {
                self.stage = Stage::Idle;
                self.wanted |= overtaken; // nothing tells whether the service answers by itself
            }
            Stage::Active { cancelled: true, until, .. } if until <= now => self.stage = Stage::Idle,
            _ => {}
        }
    }

    /// The response to ask for now, if one is wanted and none is active or on its way. While the caller
    /// speaks the next one is the service's own.
    pub fn ask(&mut self, caller_speaking: bool, now: Millis) -> Option<Ask> {
        self.expire(now);
        if !self.wanted || self.stage != Stage::Idle || caller_speaking || now < self.not_before {
            return None;
        }
        self.wanted = false;
        self.asked += 1;
        self.asks_unheard += 1;
        self.not_before = now + pace(self.asks_unheard);
        let greeting = std::mem::take(&mut self.greeting_due);
        let until = now + PROGRESS_WITHIN_MS;
        self.stage = Stage::Requested { greeting, cancelled: false, overtaken: false, until };
        Some(Ask { number: self.asked, greeting })
    }

    /// When [`ask`](Self::ask) or [`is_stuck`](Self::is_stuck) may answer otherwise though nothing has
    /// happened. While the caller speaks nothing is asked for.
    pub fn deadline(&self, caller_speaking: bool) -> Option<Millis> {
        match self.stage {
            Stage::Idle if self.wanted && !caller_speaking => Some(self.not_before),
            Stage::Idle => None,
            Stage::Expected { until } | Stage::Requested { until, .. } | Stage::Active { until, .. } => {
                Some(until)
            }
        }
    }
}

/// The least time from one request to the next, when so many were made and the caller has heard nothing of
/// them.
fn pace(asks_unheard: u32) -> Millis {
    match asks_unheard.checked_sub(UNPACED_ASKS) {
        None => 0,
        Some(paced) => (PACE_MS << paced.min(10)).min(MAX_PACE_MS),
    }
}

/// Counts one more in a row, up to the first at which the agent is given up. Responses that are under way
/// then may still end.
fn one_more(in_a_row: &mut u32, most: u32) {
    *in_a_row = (*in_a_row + 1).min(most + 1);
}

mod check;

#[cfg(test)]
mod tests;
