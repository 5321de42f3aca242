//! What was said, in order: each turn has a call-wide ordinal, given when it is committed (the caller's
//! utterance became an item; the agent's first sound goes out), and a text that is known later, or cut back
//! to what was heard.

use serde::Serialize;

use super::heard_part::heard_part;
use super::playback::Cut;
use super::unheard::Unheard;
use crate::Millis;
use crate::conversation::speaker::Speaker;
use crate::realtime::events::{AudioDelta, Item, Response};

/// The turns of a call that are still being written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turns {
    last_ordinal: u32,
    /// How many of them were before this process had the call.
    before: u32,
    agent: Vec<AgentTurn>,
    caller: Vec<CallerTurn>,
    /// The words of an item whose audio has not begun: item id and text.
    early_words: Option<(String, String)>,
    unheard: Unheard,
}

#[derive(Debug, Clone, PartialEq)]
struct AgentTurn {
    ordinal: u32,
    response_id: String,
    item_id: String,
    content_index: u32,
    transcript: String,
    started_at: Millis,
    /// All audio the service made of it, also what was not played any more.
    made_bytes: u64,
    heard: Heard,
    response_done: bool,
    /// The session in use knows the item.
    known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Heard {
    NotYet,
    Whole { ms: u32 },
    Until { ms: u32 },
}

#[derive(Debug, Clone, PartialEq)]
struct CallerTurn {
    ordinal: u32,
    item_id: String,
    started_at: Millis,
}

/// A turn as it is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TurnUpdate {
    pub ordinal: u32,
    pub speaker: Speaker,
    pub text: String,
    pub started_at: Millis,
    /// Of an agent's turn, once playback has ended.
    pub heard_ms: Option<u32>,
    pub cut_off: bool,
}

/// Where the service keeps the audio of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPlace {
    pub item_id: String,
    pub content_index: u32,
}

/// What the service is to take back of a turn, as the caller did not hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeBack {
    Rest(AudioPlace),
    /// The item whose id this is: nothing of it was heard.
    Item(String),
}

impl AgentTurn {
    fn update(&self) -> TurnUpdate {
        let (text, heard_ms, cut_off) = match self.heard {
            Heard::NotYet => (self.transcript.as_str(), None, false),
            Heard::Whole { ms } => (self.transcript.as_str(), Some(ms), false),
            Heard::Until { ms } => {
                (heard_part(&self.transcript, u64::from(ms), self.made_bytes / 8), Some(ms), true)
            }
        };
        TurnUpdate {
            ordinal: self.ordinal,
            speaker: Speaker::Agent,
            text: text.to_owned(),
            started_at: self.started_at,
            heard_ms,
            cut_off,
        }
    }

    fn is_written(&self) -> bool {
        self.response_done && self.heard != Heard::NotYet
    }
}

impl CallerTurn {
    fn update(&self, text: String) -> TurnUpdate {
        TurnUpdate {
            ordinal: self.ordinal,
            speaker: Speaker::Caller,
            text,
            started_at: self.started_at,
            heard_ms: None,
            cut_off: false,
        }
    }
}

impl Turns {
    /// The turns of a call that has had some before.
    pub fn after(last_ordinal: u32) -> Self {
        Self { last_ordinal, before: last_ordinal, ..Self::default() }
    }

    /// How many turns the call has had.
    pub fn count(&self) -> u32 {
        self.last_ordinal
    }

    /// Audio of the agent that will be played; answers its turn's ordinal.
    pub fn audio(&mut self, delta: &AudioDelta<'_>, bytes: u64, now: Millis) -> u32 {
        let at = self.agent.iter().rposition(|turn| turn.item_id == delta.item_id).unwrap_or_else(|| {
            self.last_ordinal += 1;
            let early_words = self.early_words.take().filter(|(item_id, _)| item_id == delta.item_id);
            self.agent.push(AgentTurn {
                ordinal: self.last_ordinal,
                response_id: delta.response_id.to_owned(),
                item_id: delta.item_id.to_owned(),
                content_index: delta.content_index,
                transcript: early_words.map(|(_, text)| text).unwrap_or_default(),
                started_at: now,
                made_bytes: 0,
                heard: Heard::NotYet,
                response_done: false,
                known: true,
            });
            self.agent.len() - 1
        });
        self.agent[at].made_bytes += bytes;
        self.agent[at].ordinal
    }

    /// Whether this item's playback has ended, or audio of a later item has already arrived. More audio of
    /// this item would be played out of order.
    pub fn is_past(&self, item_id: &str) -> bool {
        match self.agent.last() {
            Some(last) if last.item_id == item_id => last.heard != Heard::NotYet,
            Some(_) => self.agent.iter().any(|turn| turn.item_id == item_id),
            None => false,
        }
    }

    /// Audio that came too late to be played. Answers the item to delete, if this is the first audio of it
    /// and its response is final already.
    pub fn late_audio(&mut self, delta: &AudioDelta<'_>, bytes: u64) -> Option<String> {
        if let Some(turn) = self.agent.iter_mut().find(|turn| turn.item_id == delta.item_id) {
            turn.made_bytes += bytes;
            return None;
        }
        self.unheard.late(delta.response_id, delta.item_id).then(|| delta.item_id.to_owned())
    }

    /// More of what the agent says, in writing; it may come before its audio.
    pub fn transcript_delta(&mut self, item_id: &str, delta: &str) {
        if let Some(turn) = self.agent.iter_mut().find(|turn| turn.item_id == item_id) {
            return turn.transcript.push_str(delta);
        }
        match &mut self.early_words {
            Some((early, text)) if early == item_id => text.push_str(delta),
            early_words => *early_words = Some((item_id.to_owned(), delta.to_owned())),
        }
    }

    /// The ordinal of an item's turn that is still being written.
    pub fn ordinal_of(&self, item_id: &str) -> Option<u32> {
        self.agent.iter().find(|turn| turn.item_id == item_id).map(|turn| turn.ordinal)
    }

    /// Playback of a turn has ended: at its end, or cut. Answers what the service is to take back, which may
    /// be audio that was never sent. An item of which nothing was heard is kept until its response is final:
    /// see [`unheard`](Self::unheard).
    pub fn heard(&mut self, cut: Cut, mut updated: impl FnMut(TurnUpdate)) -> Option<TakeBack> {
        let turn = self.agent.iter_mut().find(|turn| turn.ordinal == cut.ordinal)?;
        let whole = cut.heard_in_full() && u64::from(cut.heard_ms) >= turn.made_bytes / 8;
        turn.heard =
            if whole { Heard::Whole { ms: cut.heard_ms } } else { Heard::Until { ms: cut.heard_ms } };
        updated(turn.update());
        let take_back = match turn.heard {
            _ if whole || !turn.known => None,
            Heard::Until { ms: 0 } if !turn.response_done => None,
            Heard::Until { ms: 0 } => {
                self.unheard.deleted(&turn.response_id, &turn.item_id);
                Some(TakeBack::Item(turn.item_id.clone()))
            }
            _ => Some(TakeBack::Rest(AudioPlace {
                item_id: turn.item_id.clone(),
                content_index: turn.content_index,
            })),
        };
        self.agent.retain(|turn| !turn.is_written());
        take_back
    }

    /// The messages of a response that is final now of which nothing was heard nor will be; each is named
    /// once. To be called before [`response_done`](Self::response_done), which may forget its turns.
    pub fn unheard(&mut self, response: &Response) -> Vec<String> {
        let Some(mut items) = self.unheard.finish(&response.id) else { return vec![] };
        let says_something = |item: &&Item| item.transcript().is_some_and(|text| !text.is_empty());
        let messages = response.output.iter().filter(|item| item.kind == "message").filter(says_something);
        let begun = self.agent.iter().filter(|turn| turn.response_id == response.id);
        for id in messages.map(|item| &item.id).chain(begun.map(|turn| &turn.item_id)) {
            if !items.contains(id) {
                items.push(id.clone());
            }
        }
        items.retain(|id| match self.agent.iter().find(|turn| turn.item_id == *id) {
            Some(turn) => turn.known && turn.heard == Heard::Until { ms: 0 },
            None => true,
        });
        items.iter().for_each(|id| self.unheard.deleted(&response.id, id));
        items
    }

    /// A response is final: its items' transcripts are whole. Answers the ordinals of its turns.
    pub fn response_done(&mut self, response: &Response, mut updated: impl FnMut(TurnUpdate)) -> Vec<u32> {
        let mut ordinals = vec![];
        for turn in self.agent.iter_mut().filter(|turn| turn.response_id == response.id) {
            let written = response.output.iter().find(|item| item.id == turn.item_id);
            if let Some(text) = written.and_then(|item| item.transcript())
                && text.len() >= turn.transcript.len()
            {
                text.clone_into(&mut turn.transcript);
            }
            turn.response_done = true;
            ordinals.push(turn.ordinal);
            updated(turn.update());
        }
        self.agent.retain(|turn| !turn.is_written());
        ordinals
    }

    /// The session is gone: what it made is all there will be, and what it was to write down it never will.
    /// Answers the ordinals of the agent's turns whose audio ends here.
    pub fn session_lost(&mut self, mut updated: impl FnMut(TurnUpdate)) -> Vec<u32> {
        self.unheard = Unheard::default();
        self.caller.drain(..).for_each(|turn| updated(turn.update(String::new())));
        for turn in &mut self.agent {
            turn.known = false;
            turn.response_done = true;
            updated(turn.update());
        }
        let ordinals = self.agent.iter().map(|turn| turn.ordinal).collect();
        self.agent.retain(|turn| !turn.is_written());
        ordinals
    }

    /// The caller's utterance became an item of the conversation.
    pub fn committed(&mut self, item_id: &str, started_at: Millis) {
        self.last_ordinal += 1;
        self.caller.push(CallerTurn { ordinal: self.last_ordinal, item_id: item_id.to_owned(), started_at });
    }

    /// What the caller said is known, or never will be (then `text` is empty).
    pub fn transcribed(&mut self, item_id: &str, text: &str) -> Option<TurnUpdate> {
        let at = self.caller.iter().position(|turn| turn.item_id == item_id)?;
        Some(self.caller.remove(at).update(text.trim().to_owned()))
    }

    /// The service has not said yet what all utterances of the caller were.
    pub fn awaits_words(&self) -> bool {
        !self.caller.is_empty()
    }

    /// The call is over: every turn that is still open is written as it is known. What the caller said last
    /// may be known later.
    pub fn close(&mut self, mut updated: impl FnMut(TurnUpdate)) {
        self.caller.iter().for_each(|turn| updated(turn.update(String::new())));
        for mut turn in self.agent.drain(..) {
            if turn.heard == Heard::NotYet {
                turn.heard = Heard::Until { ms: 0 };
            }
            updated(turn.update());
        }
    }
}

mod check;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::events::Content;
    use bytes::Bytes;

    fn delta<'a>(response_id: &'a str, item_id: &'a str) -> AudioDelta<'a> {
        AudioDelta { response_id, item_id, content_index: 0, payload: Bytes::new() }
    }

    fn done(id: &str, item_id: &str, transcript: &str) -> Response {
        let content = vec![Content { transcript: Some(transcript.into()) }];
        let output = vec![Item { id: item_id.into(), kind: "message".into(), content, ..Item::default() }];
        Response { id: id.into(), status: "completed".into(), output, ..Response::default() }
    }

    #[test]
    fn a_turn_is_written_whole_when_it_was_heard_whole() {
        let mut turns = Turns::default();
        assert_eq!(turns.audio(&delta("r", "i"), 8_000, 5), 1);
        let mut updates = vec![];
        turns.response_done(&done("r", "i", "All of it."), |update| updates.push(update));
        turns.heard(Cut { ordinal: 1, heard_ms: 1000, sent_ms: 1000, complete: true }, |update| {
            updates.push(update);
        });
        let told: Vec<_> =
            updates.iter().map(|u| (u.ordinal, u.text.as_str(), u.heard_ms, u.cut_off)).collect();
        assert_eq!(told, [(1, "All of it.", None, false), (1, "All of it.", Some(1000), false)]);
        assert!(turns.agent.is_empty());
    }

    #[test]
    fn an_interrupted_turn_ends_where_the_hearing_did_even_if_more_is_written_later() {
        let mut turns = Turns::default();
        turns.audio(&delta("r", "i"), 16_000, 0);
        turns.transcript_delta("i", "one two ");
        let mut last = None;
        turns.heard(Cut { ordinal: 1, heard_ms: 1000, sent_ms: 2000, complete: false }, |update| {
            last = Some(update);
        });
        assert_eq!(turns.late_audio(&delta("r", "i"), 16_000), None);
        turns.response_done(&done("r", "i", "one two three four five six seven eight"), |update| {
            last = Some(update);
        });
        let last = last.unwrap();
        assert_eq!((last.text.as_str(), last.heard_ms, last.cut_off), ("one two", Some(1000), true));
    }

    #[test]
    fn words_that_come_before_their_audio_are_kept() {
        let mut turns = Turns::default();
        turns.transcript_delta("dropped", "never spoken ");
        turns.transcript_delta("i", "one ");
        turns.transcript_delta("i", "two ");
        turns.audio(&delta("r", "i"), 8_000, 0);
        turns.transcript_delta("i", "three");
        let mut closed = vec![];
        turns.heard(Cut { ordinal: 1, heard_ms: 1000, sent_ms: 1000, complete: true }, |_| {});
        turns.close(|update| closed.push(update.text));
        assert_eq!(closed, ["one two three"]);
    }

    #[test]
    fn ordinals_are_dense_whatever_order_the_texts_come_in() {
        let mut turns = Turns::default();
        turns.audio(&delta("r1", "a1"), 8, 0);
        turns.committed("u1", 1);
        turns.audio(&delta("r2", "a2"), 8, 2);
        turns.committed("u2", 3);
        assert_eq!(turns.transcribed("u2", " second ").unwrap().ordinal, 4);
        assert_eq!(turns.transcribed("u1", "first").unwrap().ordinal, 2);
        assert_eq!(turns.transcribed("u1", "again"), None);
        let mut closed = vec![];
        turns.close(|update| closed.push(update.ordinal));
        assert_eq!((closed, turns.count()), (vec![1, 3], 4));
    }
}
