//! The calls of one instance, from the first ring until the agent's part is over: who gets a slot, whose
//! stream is awaited, and which answer Twilio gets after a stream.
//!
//! [`Slots`] holds the calls that have an agent. A call that has none is remembered for a minute after its
//! last request, with what was decided about it. All waits are deadlines of this machine: one timer for the
//! next of them is enough.

use std::collections::HashMap;

use super::NextStep;
use crate::Millis;
use crate::ceiling::slots::{NotClaimed, Reserved, Resumed, Slots};
use crate::conversation::end::{CallEnd, Outcome, Reason};
use crate::machine::Machine;
use crate::twilio::sid::CallSid;

/// How long a call without an agent is remembered after its last request. Twilio sends `after-stream` right
/// after the stream has ended.
const REMEMBER: Millis = 60_000;
/// How many calls without an agent are remembered. Of one more, the database knows what was decided.
pub const MAX_REMEMBERED: usize = 1_000;
/// Of these, callers who were turned away.
const MAX_REFUSED: usize = MAX_REMEMBERED / 2;
/// A caller for whom Twilio has not asked within this time has hung up.
const ASKED_WITHIN: Millis = 5_000;
/// How long a drain waits for a caller who is with a person or at the voicemail box.
const WITH_A_PERSON: Millis = 60_000;
/// How many times a caller is sent to another instance before a person takes the call, or it is refused.
const ASKS_ELSEWHERE: u32 = 5;

/// The calls of one instance.
pub struct CallFlows {
    slots: Slots<Agent>,
    without_agent: HashMap<CallSid, WithoutAgent>,
    draining: bool,
    next_serial: u64,
}

/// What a slot holds for its call.
struct Agent {
    serial: u64,
    /// Twilio was answered that a person takes the caller: the agent's part ends with that.
    is_with_person: bool,
    /// The caller has hung up.
    gone: bool,
}

/// A call that has no agent here.
#[derive(Debug)]
struct WithoutAgent {
    state: State,
    /// Of the decision, or of the last request.
    since: Millis,
}

#[derive(Debug)]
enum State {
    /// The caller was turned away, and hears that the lines are busy.
    Refused,
    Decided {
        next: NextStep,
        /// No slot was free, which is written and counted.
        turned_away: bool,
        /// The highest epoch that another process used, of a call that had no agent here.
        used: Option<u32>,
        /// How many times Twilio has asked.
        asked: u32,
        /// The caller has hung up.
        gone: bool,
        /// How the call ends if no other instance takes it: written, and not counted yet.
        end: Option<CallEnd>,
    },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// [`Effect::Answer`] follows.
    Rings(Ring),
    /// A stream shows the token of this epoch. [`Effect::Claim`] follows.
    StreamOpens { call_sid: CallSid, epoch: u32 },
    /// Twilio sends `after-stream`. `epoch`: that of the stream, if the request names it.
    /// [`Effect::Answer`] or [`Effect::Unknown`] follows.
    StreamEnded { call_sid: CallSid, epoch: Option<u32> },
    /// The open stream is gone. An `after-stream` request may follow.
    StreamLost { call_sid: CallSid, epoch: u32 },
    /// Twilio says that the call has ended.
    CallOver { call_sid: CallSid },
    /// The agent's part is over.
    AgentDone { call_sid: CallSid, serial: u64, end: CallEnd, next: NextStep },
    /// The agent is gone, and its part was not over.
    AgentDied { call_sid: CallSid, serial: u64 },
    /// An operator gives the call to a person.
    ToPerson { call_sid: CallSid },
    /// No new calls from now on.
    Drain,
    /// New calls are taken again.
    Resume,
    /// The calls that are left are to go on at another instance.
    HandOver,
    /// Time has passed.
    Tick,
}

/// A call that asks for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    pub call_sid: CallSid,
    /// The highest epoch that is known to be used; 0 for a call that nobody has had.
    pub used: u32,
    /// The caller has talked with an agent of another process, or was about to.
    pub came_back: bool,
    /// The account at the Realtime service carries another call.
    pub has_headroom: bool,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What Twilio is answered.
    Answer(Answer),
    /// This instance does not know the call that Twilio asks about.
    Unknown,
    /// Whether the stream is the one that was promised.
    Claim(Result<(), NotClaimed>),
    /// The call has a slot: its agent starts, and the call is written as of this epoch.
    StartAgent { call_sid: CallSid, serial: u64, epoch: u32 },
    /// The agent is to know.
    Tell { call_sid: CallSid, serial: u64, news: News },
    /// The slot is free. The end of the call, unless it is for whoever has it next.
    Release { call_sid: CallSid, serial: u64, end: Option<CallEnd> },
    /// A call was sent to another instance for the first time.
    SentElsewhere { call_sid: CallSid },
    /// The end of a call that has no agent to write it. `is_new`: nobody has written its beginning, either.
    WriteEnd { call_sid: CallSid, epoch: u32, end: CallEnd, is_new: bool },
    /// A call without an agent has ended so, and is counted.
    CountEnd(CallEnd),
}

/// What Twilio is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The media stream of this epoch.
    Connect { epoch: u32 },
    /// No slot is free for a new call.
    FullHouse,
    /// What was decided.
    Next(NextStep),
}

/// What an agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A promised stream did not come, or streams were lost too often.
    NoStream,
    /// Twilio says that the call has ended.
    CallOver,
    /// The process is going down.
    HandOver,
    /// An operator gives the call to a person.
    ToPerson,
}

impl Machine for CallFlows {
    type Input<'a> = Input;
    type Effect = Effect;

    fn step(&mut self, input: &Input, now: Millis, effects: &mut Vec<Effect>) {
        match *input {
            Input::Rings(ring) => {
                let answer = self.rings(ring, now, effects);
                effects.push(Effect::Answer(answer));
            }
            Input::StreamOpens { call_sid, epoch } => {
                effects.push(Effect::Claim(self.slots.claim(call_sid, epoch).map(drop)));
            }
            Input::StreamEnded { call_sid, epoch } => {
                let answer = self.stream_ended(call_sid, epoch, now, effects);
                effects.push(answer.map_or(Effect::Unknown, Effect::Answer));
            }
            Input::StreamLost { call_sid, epoch } => self.stream_lost(call_sid, epoch, now, effects),
            Input::CallOver { call_sid } => self.call_over(call_sid, effects),
            Input::AgentDone { call_sid, serial, end, next } if self.has_agent(call_sid, serial) => {
                self.agent_done(call_sid, end, next, now, effects);
            }
            Input::AgentDied { call_sid, serial } if self.has_agent(call_sid, serial) => {
                self.agent_died(call_sid, now, effects);
            }
            Input::AgentDone { .. } | Input::AgentDied { .. } => {}
            Input::ToPerson { call_sid } => self.tell(call_sid, News::ToPerson, effects),
            Input::Drain => self.draining = true,
            Input::Resume => self.resume(),
            Input::HandOver => {
                self.draining = true;
                let all: Vec<_> = self.agents().collect();
                let tell = |(call_sid, serial)| Effect::Tell { call_sid, serial, news: News::HandOver };
                effects.extend(all.into_iter().map(tell));
            }
            Input::Tick => self.expire(now, effects),
        }
    }

    /// When the next promised stream is late.
    fn deadline(&self) -> Option<Millis> {
        self.slots.next_expiry()
    }
}

impl CallFlows {
    /// At most `limit` calls have an agent at a time.
    pub fn new(limit: usize) -> Self {
        Self { slots: Slots::new(limit), without_agent: HashMap::new(), draining: false, next_serial: 0 }
    }

    pub fn limit(&self) -> usize {
        self.slots.limit()
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Slots held for a stream that has not come, and slots with a stream or a lost one.
    pub fn reserved_and_active(&self) -> (usize, usize) {
        self.slots.reserved_and_active()
    }

    /// The calls that have an agent, each with its agent's serial.
    pub fn agents(&self) -> impl Iterator<Item = (CallSid, u64)> {
        self.slots.iter().map(|(&call_sid, slot)| (call_sid, slot.call.serial))
    }

    pub fn has_agent(&self, call_sid: CallSid, serial: u64) -> bool {
        self.slots.get(call_sid).is_some_and(|slot| slot.call.serial == serial)
    }

    /// How many calls without an agent are remembered.
    pub fn remembered(&self) -> usize {
        self.without_agent.len()
    }

    /// Whether no caller needs this process any more.
    pub fn is_idle(&self, now: Millis) -> bool {
        self.slots.iter().next().is_none() && !self.without_agent.values().any(|call| call.needs_us(now))
    }

    fn rings(&mut self, ring: Ring, now: Millis, effects: &mut Vec<Effect>) -> Answer {
        let Ring { call_sid, used, .. } = ring;
        if self.draining && self.slots.get(call_sid).is_none() {
            return self.send_elsewhere(ring, now, effects);
        }
        if !ring.has_headroom && !ring.came_back && self.slots.get(call_sid).is_none() {
            return self.turn_away(ring, Reason::NoHeadroom, now, effects);
        }
        let serial = self.next_serial;
        match self.slots.reserve(call_sid, used, now, |_| Agent {
            serial,
            is_with_person: false,
            gone: false,
        }) {
            Reserved::Slot { epoch, fresh } => {
                if fresh {
                    self.next_serial += 1;
                    self.without_agent.remove(&call_sid); // what was decided before is void
                    effects.push(Effect::StartAgent { call_sid, serial, epoch });
                }
                Answer::Connect { epoch }
            }
            Reserved::Full => self.turn_away(ring, Reason::FullHouse, now, effects),
        }
    }

    /// A caller who was sent to another instance, and was not taken there, gets an agent here.
    fn resume(&mut self) {
        self.draining = false;
        self.without_agent.retain(|_, call| !call.waits_elsewhere());
    }

    /// A call that another instance has to take: if none does, it is turned away here.
    fn send_elsewhere(&mut self, ring: Ring, now: Millis, effects: &mut Vec<Effect>) -> Answer {
        let call_sid = ring.call_sid;
        let is_known = self.without_agent.contains_key(&call_sid);
        if !is_known && self.remember(call_sid, State::sent_elsewhere(ring.used), now) {
            effects.push(Effect::SentElsewhere { call_sid });
        }
        match self.without_agent.get_mut(&call_sid) {
            Some(WithoutAgent { state: State::Decided { next, asked, .. }, since })
                if *next != NextStep::HandedOver || *asked < ASKS_ELSEWHERE =>
            {
                *asked += 1;
                *since = now;
                Answer::Next(*next)
            }
            _ => self.turn_away(ring, Reason::Shutdown, now, effects),
        }
    }

    /// A new call is refused. A caller who has talked with an agent is given to a person.
    fn turn_away(&mut self, ring: Ring, reason: Reason, now: Millis, effects: &mut Vec<Effect>) -> Answer {
        let Ring { call_sid, used, came_back, .. } = ring;
        let is_new = used == 0;
        let end = CallEnd::new(if is_new { Outcome::Refused } else { Outcome::Failed }, reason);
        let known = self.without_agent.get(&call_sid).map(|call| &call.state);
        if !matches!(known, Some(State::Refused | State::Decided { turned_away: true, .. })) {
            effects.push(Effect::CountEnd(end)); // Twilio may deliver a webhook twice
        }
        effects.push(Effect::WriteEnd { call_sid, epoch: used.max(1), end, is_new });
        if came_back {
            let next = NextStep::Human;
            let (turned_away, used) = (true, None);
            self.remember(
                call_sid,
                State::Decided { next, turned_away, used, asked: 1, gone: false, end: None },
                now,
            );
            Answer::Next(next)
        } else {
            self.remember(call_sid, State::Refused, now);
            Answer::FullHouse
        }
    }

    fn stream_ended(
        &mut self,
        call_sid: CallSid,
        epoch: Option<u32>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Option<Answer> {
        if let Some(WithoutAgent { state: State::Decided { next, used, asked, end, .. }, since }) =
            self.without_agent.get_mut(&call_sid)
        {
            (*asked, *since) = (*asked + 1, now);
            if *next == NextStep::HandedOver && *asked > ASKS_ELSEWHERE {
                *next = NextStep::Human;
                effects.extend(end.take().map(Effect::CountEnd));
                if let Some(used) = used.take() {
                    let end = CallEnd::new(Outcome::Failed, Reason::Shutdown);
                    effects.push(Effect::CountEnd(end));
                    effects.push(Effect::WriteEnd { call_sid, epoch: used.max(1), end, is_new: false });
                }
            }
            return Some(Answer::Next(*next));
        }
        match self.slots.resume(call_sid, epoch, now) {
            Resumed::Epoch(epoch) => Some(Answer::Connect { epoch }),
            Resumed::TooOften => {
                if let Some(agent) = self.slots.call_mut(call_sid) {
                    agent.is_with_person = true;
                }
                self.tell(call_sid, News::NoStream, effects);
                Some(Answer::Next(NextStep::Human))
            }
            Resumed::NoSlot => None,
        }
    }

    fn stream_lost(&mut self, call_sid: CallSid, epoch: u32, now: Millis, effects: &mut Vec<Effect>) {
        if !self.slots.get(call_sid).is_some_and(|slot| slot.epoch == epoch && slot.claimed) {
            return;
        }
        match self.slots.resume(call_sid, Some(epoch), now) {
            Resumed::Epoch(_) => {}
            Resumed::TooOften | Resumed::NoSlot => self.tell(call_sid, News::NoStream, effects),
        }
    }

    fn call_over(&mut self, call_sid: CallSid, effects: &mut Vec<Effect>) {
        if let Some(agent) = self.slots.call_mut(call_sid) {
            agent.gone = true;
            self.tell(call_sid, News::CallOver, effects);
        } else if let Some(call) = self.without_agent.get_mut(&call_sid)
            && let State::Decided { gone, end, .. } = &mut call.state
        {
            *gone = true;
            effects.extend(end.take().map(Effect::CountEnd)); // nobody else has had the call
        }
    }

    fn agent_done(
        &mut self,
        call_sid: CallSid,
        end: CallEnd,
        next: NextStep,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Agent { serial, is_with_person, gone }) = self.slots.release(call_sid, now) else { return };
        let is_handed_over = next == NextStep::HandedOver;
        let counted = if is_handed_over { None } else { Some(end) };
        effects.push(Effect::Release { call_sid, serial, end: counted });
        if next == NextStep::HangUp && !end.reason.leaves_the_caller_on_the_line() {
            return;
        }
        // Of a caller who has hung up, nobody else will count the end.
        let pending = is_handed_over.then_some(end).filter(|_| !gone);
        let (turned_away, used, asked) = (false, None, u32::from(is_with_person));
        let decided = State::Decided { next, turned_away, used, asked, gone, end: pending };
        let is_remembered = self.remember(call_sid, decided, now);
        if is_handed_over && (gone || !is_remembered) {
            effects.push(Effect::CountEnd(end));
        }
    }

    fn agent_died(&mut self, call_sid: CallSid, now: Millis, effects: &mut Vec<Effect>) {
        let Some(epoch) = self.slots.get(call_sid).map(|slot| slot.epoch) else { return };
        let end = CallEnd::new(Outcome::Failed, Reason::ActorFailed);
        self.agent_done(call_sid, end, NextStep::Human, now, effects);
        // Last: whatever happens to the record, the slot is free.
        effects.push(Effect::WriteEnd { call_sid, epoch, end, is_new: false });
    }

    /// The agents whose stream did not come decide what that means, and are told again if that did not end
    /// the call.
    fn expire(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for (call_sid, epoch) in self.slots.expired(now) {
            if self.slots.revoke(call_sid, epoch, now).is_some() {
                self.tell(call_sid, News::NoStream, effects);
            }
        }
    }

    fn tell(&self, call_sid: CallSid, news: News, effects: &mut Vec<Effect>) {
        let slot = self.slots.get(call_sid);
        effects.extend(slot.map(|slot| Effect::Tell { call_sid, serial: slot.call.serial, news }));
    }

    /// Whether there was room for it.
    fn remember(&mut self, call_sid: CallSid, state: State, now: Millis) -> bool {
        self.without_agent.retain(|_, call| now.saturating_sub(call.since) < REMEMBER);
        let has_room = self.without_agent.contains_key(&call_sid) || self.makes_room(&state);
        if has_room {
            self.without_agent.insert(call_sid, WithoutAgent { state, since: now });
        }
        has_room
    }

    /// Whether there is room for one more. A decision takes that of the oldest refusal.
    fn makes_room(&mut self, state: &State) -> bool {
        let refused = || self.without_agent.iter().filter(|(_, call)| matches!(call.state, State::Refused));
        if matches!(state, State::Refused) {
            return self.without_agent.len() < MAX_REMEMBERED && refused().count() < MAX_REFUSED;
        }
        if self.without_agent.len() < MAX_REMEMBERED {
            return true;
        }
        let oldest = refused().min_by_key(|(_, call)| call.since).map(|(call_sid, _)| *call_sid);
        oldest.is_some_and(|oldest| self.without_agent.remove(&oldest).is_some())
    }
}

impl State {
    /// Of a call that another process had up to the epoch `used`; 0 for a new one.
    fn sent_elsewhere(used: u32) -> Self {
        let (next, turned_away, gone) = (NextStep::HandedOver, false, false);
        Self::Decided { next, turned_away, used: Some(used), asked: 0, gone, end: None }
    }
}

impl WithoutAgent {
    /// It had no agent here, and is asked for at another instance.
    fn waits_elsewhere(&self) -> bool {
        matches!(self.state, State::Decided { next: NextStep::HandedOver, used: Some(_), .. })
    }

    /// Whether the caller may still need this process.
    fn needs_us(&self, now: Millis) -> bool {
        let State::Decided { next, asked, gone: false, .. } = self.state else { return false };
        let is_here = next != NextStep::HandedOver && asked > 0;
        now.saturating_sub(self.since) < if is_here { WITH_A_PERSON } else { ASKED_WITHIN }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
