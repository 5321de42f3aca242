//! What must hold of a call when it has come to rest, and at its end.

use super::*;

impl World<'_> {
    /// Nothing moves any more, and the call may still be live.
    pub(super) fn at_rest(&mut self) {
        if self.ended {
            return;
        }
        let session = self.service.session;
        let owed = |call: &FunctionCall| call.delivered && call.session == session && call.answers == 0;
        if let Some(call) = self.service.calls.iter().position(owed) {
            self.fault(Property::CallsAnswered, format!("call {call} was not answered"));
        }
        if self.service.owes() {
            let last = self.service.responses.last().map(|response| response.began_at);
            self.fault(
                Property::Liveness,
                format!("owed since {:?}, last {last:?}", self.service.owed_since),
            );
        }
        if let Some(active) = self.service.active {
            self.fault(Property::Liveness, format!("response {active} is still active"));
        }
        let unsettled = self.turns.iter().find(|(ordinal, turn)| {
            let update = self.updates.get(ordinal);
            self.stream.is_some()
                && self.ear.frame.is_none()
                && matches!(turn, Turn::Agent { .. })
                && !self.forsaken.contains(ordinal)
                && update.is_none_or(|update| update.heard_ms.is_none())
        });
        if let Some((ordinal, _)) = unsettled {
            self.fault(Property::Turns, format!("turn {ordinal} is not settled though all is quiet"));
        }
    }

    pub(super) fn judged(mut self) -> Report {
        if !self.ended {
            self.fault(Property::End, "there was none");
        }
        if self.conversation.summary().turns != self.last_ordinal {
            self.fault(Property::Turns, format!("not dense: {:?}", self.turns));
        }
        for (ordinal, turn) in self.turns.clone() {
            if self.forsaken.contains(&ordinal) {
                continue;
            }
            let Some(update) = self.updates.get(&ordinal).cloned() else {
                self.fault(Property::Turns, format!("turn {ordinal} was never written"));
                continue;
            };
            if let Turn::Agent { item } = turn {
                self.judge_agents_turn(item, &update);
            }
        }
        for item in std::mem::take(&mut self.deletions) {
            let heard = self.service.items[item].heard_bytes / 8;
            if heard > self.tolerance_ms() {
                self.fault(Property::Truncation, format!("item {item} is deleted, heard {heard} ms"));
            }
        }
        for (item, audio_end_ms) in std::mem::take(&mut self.truncations) {
            let error = audio_end_ms.abs_diff(self.service.items[item].heard_bytes / 8);
            self.report.truncation_errors_ms.push(error);
            if error > self.tolerance_ms() {
                let heard = self.service.items[item].heard_bytes / 8;
                self.fault(
                    Property::Truncation,
                    format!("item {item} at {audio_end_ms} ms, heard {heard} ms"),
                );
            }
        }
        self.report
    }

    /// A frame, and the way to the ear and back.
    fn tolerance_ms(&self) -> u32 {
        (FRAME_MS + 2 * self.scenario.ear_ms) as u32
    }

    fn judge_agents_turn(&mut self, item: usize, update: &TurnUpdate) {
        let Spoken { heard_bytes, delivered_bytes, cut_short, .. } = self.service.items[item];
        let (heard_ms, made_ms) = (heard_bytes / 8, delivered_bytes / 8);
        let told = update.heard_ms.unwrap_or_default();
        if told.abs_diff(heard_ms) > self.tolerance_ms() {
            self.fault(Property::Turns, format!("item {item}: {heard_ms} ms heard, {told} told"));
        }
        if !update.cut_off && told < made_ms {
            self.fault(Property::Turns, format!("item {item}: {told} of {made_ms} ms heard, not cut off"));
        }
        if !update.cut_off && !cut_short && update.text.trim() != self.service.items[item].said.trim() {
            self.fault(
                Property::Turns,
                format!("item {item} is not cut off, yet not whole: {:?}", update.text),
            );
        }
    }
}
