//! What the lying service does, and how often.

use super::*;
use crate::realtime::events::{AudioDelta, Item, Response, ServiceError, StatusDetails};

/// How often, of a thousand, the peers do each wrong thing in this call.
#[derive(Debug)]
pub(super) struct Habits {
    omits: u64,
    delays: u64,
    longest_delay: Millis,
    pub(super) repeats: u64,
    pub(super) marks_lost: u64,
    pub(super) marks_late: u64,
    connect_fails: u64,
    never_ready: u64,
    closes: u64,
    falls_silent: u64,
    no_pong: u64,
    /// A `response.create` is refused because one is active.
    already_active: u64,
    /// It is refused for another reason.
    refuses: u64,
    ignores_requests: u64,
    /// An utterance is not answered without being asked to.
    leaves_unanswered: u64,
    ends_without_sound: u64,
    fails: u64,
    never_done: u64,
    slow_first_sound: u64,
    ignores_cancel: u64,
    calls_functions: u64,
    /// Events that belong to nothing.
    stray: u64,
    /// Responses do not say which request of ours they answer.
    forgets_metadata: bool,
}

impl Habits {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut often = || match dice.between(0, 9) {
            0..=4 => 0,
            5..=6 => 30,
            7..=8 => 250,
            _ => 1_000,
        };
        Self {
            omits: often().min(250),
            delays: often(),
            longest_delay: 1 + often() * 4, // what the caller does is not known before it is told
            repeats: often(),
            marks_lost: often(),
            marks_late: often(),
            connect_fails: often(),
            never_ready: often(),
            closes: often(),
            falls_silent: often(),
            no_pong: often(),
            already_active: often(),
            refuses: often(),
            ignores_requests: often(),
            leaves_unanswered: often(),
            ends_without_sound: often(),
            fails: often(),
            never_done: often(),
            slow_first_sound: often(),
            ignores_cancel: often(),
            calls_functions: often().min(250),
            stray: often(),
            forgets_metadata: often() == 1_000,
        }
    }
}

/// One event of the service.
#[derive(Debug, Clone)]
pub(super) enum Word {
    SessionCreated,
    SessionUpdated,
    /// The number of the utterance is not said.
    SpeechStarted {
        utterance: u32,
    },
    SpeechStopped,
    Committed {
        item: u32,
    },
    Transcript {
        item: u32,
    },
    Created {
        response: u32,
        number: Option<u32>,
    },
    Audio {
        response: u32,
        item: u32,
        bytes: u32,
    },
    Words {
        response: u32,
        item: u32,
    },
    AudioDone {
        response: u32,
        item: u32,
    },
    Call {
        call: u32,
    },
    Done {
        response: u32,
        items: Vec<u32>,
        status: &'static str,
        code: Option<&'static str>,
    },
    OutputAdded,
    Error {
        code: &'static str,
        about: Option<String>,
    },
}

fn error_of(code: &str, about: Option<String>) -> ServiceError {
    let message = (code == "rate_limit_exceeded").then(|| "Please try again in 1.5s.".to_owned());
    ServiceError { code: Some(code.into()), event_id: about, message, ..ServiceError::default() }
}

fn name(kind: char, number: u32) -> String {
    format!("{kind}{number}")
}

impl Call {
    /// Says it after so long, or does something else instead.
    fn say(&mut self, after: Millis, word: Word) {
        if self.dice.chance(self.habits.omits) {
            return;
        }
        self.surely_say(after, word);
    }

    fn surely_say(&mut self, after: Millis, word: Word) {
        let session = self.session;
        let mut at = self.now + after + 20;
        if self.dice.chance(self.habits.delays) {
            at += self.dice.between(0, self.habits.longest_delay);
        }
        if self.dice.chance(self.habits.repeats) {
            let again = at + self.dice.between(0, 2_000);
            self.later(again, Happening::Said { session, word: word.clone() });
        }
        self.later(at, Happening::Said { session, word });
    }

    pub(super) fn connect(&mut self, after: Millis) {
        self.count(|call| &mut call.connects, MAX_CONNECTS_A_MINUTE, "connects");
        self.forget_session();
        let session = self.session;
        self.silent_from = Millis::MAX;
        let at = self.now + after + self.dice.between(5, 300);
        let fails = self.dice.chance(self.habits.connect_fails);
        self.later(at, if fails { Happening::Lost { session } } else { Happening::Connected { session } });
    }

    pub(super) fn connected(&mut self) {
        let session = self.session;
        self.surely_say(10, Word::SessionCreated);
        if self.dice.chance(self.habits.closes) {
            let at = self.now + self.dice.between(0, 30_000);
            self.later(at, Happening::Lost { session });
        }
        if self.dice.chance(self.habits.falls_silent) {
            self.silent_from = self.now + self.dice.between(0, 30_000);
        }
        if self.dice.chance(self.habits.stray) {
            for word in [
                Word::Created { response: 900, number: None },
                Word::Audio { response: 901, item: 900, bytes: 800 },
                Word::Done { response: 902, items: vec![], status: "failed", code: Some("server_error") },
                Word::AudioDone { response: 900, item: 901 },
                Word::SpeechStopped,
            ] {
                let after = self.dice.between(100, 20_000);
                self.say(after, word);
            }
        }
    }

    pub(super) fn pinged(&mut self) {
        let session = self.session;
        if !self.dice.chance(self.habits.no_pong) {
            self.later(self.now + 40, Happening::Pong { session });
        }
    }

    pub(super) fn gate_opens(&mut self) {
        let utterance = self.utterances;
        self.gate = true;
        if self.speaking {
            self.surely_say(10, Word::SpeechStarted { utterance });
        } else if self.unheard.take().is_some_and(|ended_at| ended_at + RING >= self.now) {
            self.surely_say(10, Word::SpeechStarted { utterance });
            self.utterance_ends();
        }
    }

    pub(super) fn caller_begins(&mut self) {
        let utterance = self.utterances;
        if self.gate {
            self.say(100, Word::SpeechStarted { utterance });
        }
    }

    pub(super) fn caller_ends(&mut self) {
        if self.gate {
            self.utterance_ends();
        } else {
            self.unheard = Some(self.now);
        }
    }

    /// A service that never says that an utterance ended is deaf; this one says so in the end.
    fn utterance_ends(&mut self) {
        self.items += 1;
        let item = self.items;
        self.say(500, Word::SpeechStopped);
        self.surely_say(510, Word::Committed { item });
        let after = self.dice.between(600, 4_000);
        self.say(after, Word::Transcript { item });
        if !self.dice.chance(self.habits.leaves_unanswered) {
            self.respond(520, None);
        }
    }

    pub(super) fn asked(&mut self, request: &Request) {
        match request {
            Request::Configure if !self.dice.chance(self.habits.never_ready) => {
                self.surely_say(20, Word::SessionUpdated);
            }
            Request::Greet { number } | Request::Respond { number } | Request::Warn { number } => {
                self.count(|call| &mut call.asked, MAX_RESPONSES_A_MINUTE, "responses asked for");
                self.asked_to_respond(*number);
            }
            Request::Cancel { .. } if !self.dice.chance(self.habits.ignores_cancel) => {
                if let Some(response) = self.active.take() {
                    self.say(20, Word::Done { response, items: vec![], status: "cancelled", code: None });
                } else {
                    self.say(20, Word::Error { code: "response_cancel_not_active", about: None });
                }
            }
            Request::FunctionOutput { .. } => self.say(20, Word::OutputAdded),
            _ => {}
        }
    }

    fn asked_to_respond(&mut self, number: u32) {
        if self.dice.chance(self.habits.ignores_requests) {
            return;
        }
        let about = Some(format!("respond-{number}"));
        if self.dice.chance(self.habits.already_active) {
            return self.say(20, Word::Error { code: "conversation_already_has_active_response", about });
        }
        if self.dice.chance(self.habits.refuses) {
            let code =
                ["server_error", "rate_limit_exceeded", "invalid_value"][self.dice.between(0, 2) as usize];
            return self.say(20, Word::Error { code, about });
        }
        let number = Some(number).filter(|_| !self.habits.forgets_metadata);
        self.respond(30, number);
    }

    fn respond(&mut self, after: Millis, number: Option<u32>) {
        self.responses += 1;
        let response = self.responses;
        self.active = Some(response);
        self.say(after, Word::Created { response, number });
        if self.dice.chance(self.habits.fails) {
            let code = Some(["server_error", "rate_limit_exceeded"][self.dice.between(0, 1) as usize]);
            return self.say(after + 50, Word::Done { response, items: vec![], status: "failed", code });
        }
        if self.dice.chance(self.habits.ends_without_sound) {
            let status = ["completed", "incomplete"][self.dice.between(0, 1) as usize];
            return self.say(after + 50, Word::Done { response, items: vec![], status, code: None });
        }
        let slow = self.dice.chance(self.habits.slow_first_sound);
        let mut at = after + if slow { self.dice.between(3_000, 20_000) } else { 200 };
        let mut items = vec![];
        for _ in 0..self.dice.between(1, 2) {
            self.items += 1;
            let item = self.items;
            items.push(item);
            for _ in 0..self.dice.between(1, 6) {
                let bytes = self.dice.between(160, 6_000) as u32;
                self.say(at, Word::Words { response, item });
                self.say(at + 1, Word::Audio { response, item, bytes });
                at += self.dice.between(10, 400);
            }
            self.say(at, Word::AudioDone { response, item });
        }
        if self.dice.chance(self.habits.calls_functions) {
            self.say(at, Word::Call { call: response });
        }
        if !self.dice.chance(self.habits.never_done) {
            self.say(at + 5, Word::Done { response, items, status: "completed", code: None });
        }
    }

    /// An event of the service reaches the conversation.
    pub(super) fn hear(&mut self, word: &Word) {
        if self.now >= self.silent_from {
            return;
        }
        if let Word::Audio { response, item, bytes } = *word {
            let payload = Bytes::from(vec![b'A'; bytes as usize / 3 * 4]);
            let (response_id, item_id) = (name('r', response), name('i', item));
            let delta =
                AudioDelta { response_id: &response_id, item_id: &item_id, content_index: 0, payload };
            return self.feed(&Input::Service(ServerEvent::Audio(delta)));
        }
        match word {
            Word::SpeechStarted { utterance } => self.noticed |= *utterance == self.utterances,
            Word::Committed { .. } if !self.speaking && self.stream_open => {
                self.owed_since.get_or_insert(self.now);
            }
            _ => {}
        }
        if let Word::Done { response, .. } = word
            && self.active == Some(*response)
        {
            self.active = None;
        }
        self.feed(&Input::Service(event(word)));
    }
}

fn event(word: &Word) -> ServerEvent<'static> {
    match word {
        Word::SessionCreated => ServerEvent::SessionCreated,
        Word::SessionUpdated => ServerEvent::SessionUpdated,
        Word::SpeechStarted { .. } => ServerEvent::SpeechStarted,
        Word::SpeechStopped => ServerEvent::SpeechStopped,
        Word::Committed { item } => ServerEvent::Committed { item_id: name('u', *item) },
        Word::Transcript { item } => ServerEvent::TranscriptCompleted {
            item_id: name('u', *item),
            transcript: "words".into(),
            usage: Default::default(),
            urgent: None,
        },
        Word::Created { response, number } => {
            ServerEvent::ResponseCreated { id: name('r', *response), number: *number }
        }
        Word::Words { response, item } => ServerEvent::TranscriptDelta {
            response_id: name('r', *response),
            item_id: name('i', *item),
            delta: "word ".into(),
        },
        Word::AudioDone { response, item } => {
            ServerEvent::AudioDone { response_id: name('r', *response), item_id: name('i', *item) }
        }
        Word::Call { call } => {
            ServerEvent::OutputItemDone { response_id: name('r', *call), item: function_call(*call) }
        }
        Word::Done { response, items, status, code } => ServerEvent::ResponseDone(Box::new(Response {
            id: name('r', *response),
            status: (*status).into(),
            status_details: code.map(|code| StatusDetails { error: Some(error_of(code, None)) }),
            output: items.iter().map(|item| message(*item)).collect(),
            ..Response::default()
        })),
        Word::OutputAdded => {
            ServerEvent::ItemAdded { kind: "function_call_output".into(), call_id: Some("c1".into()) }
        }
        Word::Error { code, about } => ServerEvent::Error(error_of(code, about.clone())),
        Word::Audio { .. } => ServerEvent::Other,
    }
}

fn message(item: u32) -> Item {
    Item { id: name('i', item), kind: "message".into(), ..Item::default() }
}

fn function_call(call: u32) -> Item {
    let call_id = Some(name('c', call));
    Item {
        id: name('f', call),
        kind: "function_call".into(),
        call_id,
        name: Some("f".into()),
        ..Item::default()
    }
}
