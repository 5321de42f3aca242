//! The process is killed in mid-call: another one goes on from what was written, with sockets of its own.

use super::*;

impl World<'_> {
    /// A turn gets the next ordinal.
    pub(super) fn commits(&mut self, turn: Turn) {
        if !self.ended {
            self.last_ordinal += 1;
            self.turns.insert(self.last_ordinal, turn);
        }
    }

    pub(super) fn restart(&mut self, back_after: Millis, blind: bool) {
        self.is_urgent = false; // the next process does not know
        self.hang_up();
        self.caller_falls_silent();
        self.stream = None;
        self.service_drops();
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Connect | Happening::ToolDone(_)));
        self.held.clear();
        self.silence_next = false;
        self.somebody_speaks();
        self.restarts += 1;
        self.report.restarts += 1;

        let past = self.past(blind);
        self.last_ordinal = past.last_ordinal();
        self.turns.retain(|ordinal, _| *ordinal <= self.last_ordinal || blind);
        let settled = |update: &TurnUpdate| update.speaker == Speaker::Caller || update.heard_ms.is_some();
        let untold = self.turns.keys().filter(|ordinal| !self.updates.get(ordinal).is_some_and(settled));
        self.forsaken.extend(untold);

        let rules = self.scenario.rules();
        let (mut effects, mut again) = (vec![], vec![]);
        self.conversation = Conversation::resume(rules.clone(), &past, self.now, &mut effects);
        let twin = Conversation::resume(rules, &past, self.now, &mut again);
        if effects != again || self.conversation != twin {
            self.fault(Property::Determinism, "a call was taken up in two ways");
        }
        self.journal = Journal::new(twin, LIMITS);
        self.records(Some(&past), &effects);
        self.carry_out(effects);
        self.service.owe(self.now); // the caller has heard nothing since
        self.later(self.now + back_after, Happening::Act(Act::OpenStream));
    }

    /// What another process can know.
    fn past(&self, blind: bool) -> Past {
        let said = |turn: &TurnUpdate| crate::conversation::history::Said {
            ordinal: turn.ordinal,
            speaker: turn.speaker,
            text: turn.text.clone(),
        };
        let said = if blind { vec![] } else { self.updates.values().map(said).collect() };
        Past { epoch: self.restarts, said, is_whole: !blind }
    }
}
