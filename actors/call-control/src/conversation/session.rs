//! What becomes of the session: it is lost, it is asked for responses, and the clock shows that it hangs.

use serde_json::json;

use super::end::Reason;
use super::link::{AfterLoss, Verdict};
use super::{Conversation, Effect, MAX_FRUITLESS, write};
use crate::Millis;
use crate::realtime::requests::Request;

impl Conversation {
    pub(super) fn service_lost(
        &mut self,
        fatal: bool,
        cause: &str,
        wait: Option<Millis>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::WriteEvent { kind: "realtime-lost", data: json!({"cause": cause}) });
        if fatal {
            return self.hand_over(Reason::RealtimeRefused, now, effects);
        }
        let was_ready = self.link.is_ready();
        if was_ready && self.responses.is_due() {
            self.fruitless += 1;
        }
        if self.fruitless >= MAX_FRUITLESS {
            return self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
        match self.link.lost(wait, now) {
            AfterLoss::Connect { after } => {
                if was_ready {
                    self.session_gone(now, effects);
                }
                effects.push(Effect::Connect { after });
            }
            AfterLoss::GiveUp => self.hand_over(Reason::RealtimeUnavailable, now, effects),
        }
    }

    /// What the session was doing will not be finished. Audio that was made goes on to be heard.
    pub(super) fn session_gone(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let quiet_ms = self.quiet_ms(now);
        let caller_was_speaking = self.speaking_since.take().is_some() || self.unnoticed.is_recent(now);
        if caller_was_speaking {
            self.patience.owe_since(quiet_ms);
        }
        self.interrupt_at = None;
        let again = caller_was_speaking || self.owes();
        // What was heard of a goodbye is enough.
        self.responses.session_lost(again && self.farewell.is_none());
        self.tools.session_lost();
        let ended = self.turns.session_lost(|turn| write(&mut self.history, turn, effects));
        ended.into_iter().for_each(|ordinal| self.complete(ordinal, effects));
    }

    pub(super) fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.interrupt_at.is_some_and(|at| at <= now) {
            self.barge_in(now, effects);
        }
        for heard in self.playback.overdue(now) {
            self.settle(heard, effects);
        }
        self.give_up_tools(now, effects);
        self.end_speech(now);
        if self.patience.deadline().is_some_and(|due| due <= now) {
            effects.push(Effect::WriteEvent { kind: "no-answer", data: json!({}) });
            return self.hand_over(Reason::RealtimeUnavailable, now, effects);
        }
        let stuck = self.link.is_ready() && self.responses.is_stuck(now);
        let verdict = self.link.verdict(self.is_idle(), now).or(stuck.then_some(Verdict::Stuck));
        let verdict = verdict.or_else(|| self.deaf_verdict(now, effects));
        if let Some(verdict) = verdict {
            effects.push(Effect::Disconnect);
            self.service_lost(false, verdict.cause(), None, now, effects);
            if matches!(verdict, Verdict::Stalled | Verdict::Stuck | Verdict::Deaf) {
                // What the caller said to it is lost: the next session asks them to repeat.
                self.responses.want();
            }
        } else if self.link.ping(now) {
            effects.push(Effect::Ping);
        }
    }

    pub(super) fn ask(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.is_leaving() || !self.link.is_ready() {
            return;
        }
        if self.tools.take_due() {
            self.responses.want();
        }
        if let Some(ask) = self.responses.ask(self.speaking_since.is_some(), now) {
            let number = ask.number;
            if ask.greeting {
                self.greeting.asked();
            }
            let request = match ask.greeting {
                true => Request::Greet { number },
                false if self.urgency.take_ask() => Request::Warn { number },
                false => Request::Respond { number },
            };
            effects.push(Effect::Ask(request));
        }
    }
}
