//! One session, without its socket: client events, audio and time go in, server events come out. The hearing
//! is in `hearing`, the talking in `responses`.
//!
//! Time is [`monotonic_us`](crate::sim::tag::monotonic_us), the clock of the tags. No audio is kept: a
//! retrieved item has none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::config::Config;
use super::events::{self, ClientEvent, Refusal};
use super::faults::{Ending, Faults, strikes};
use super::record::Record;
use super::schema;
use super::vad::Vad;
use conversation::{Conversation, Item, Tokens};
use hearing::{Transcript, Utterance};
use responses::{Asked, Response};

mod check;
mod conversation;
mod hearing;
mod outbox;
mod responses;
#[cfg(test)]
mod tests;

pub use outbox::{Out, Outbox};

/// The longest a session lasts.
const MAX_AGE_US: u64 = 60 * 60 * 1_000_000;
/// How long a session has to live after a function call for the missing answer to count.
const ANSWER_WITHIN_US: u64 = 5_000_000;

/// What all sessions of a service have in common.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    pub think_us: u64,
    pub transcript_delay_us: u64,
    pub faults: Faults,
    /// Responses of all sessions that could fail of [`Faults::errors_percent`] so far.
    pub responses: Arc<AtomicU64>,
}

impl Manners {
    /// Whether the next response fails: the first does, and of the others as many as it takes.
    fn next_response_fails(&self) -> bool {
        let percent = u64::from(self.faults.errors_percent);
        percent > 0 && self.responses.fetch_add(1, Ordering::Relaxed) * percent % 100 < percent
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    manners: Arc<Manners>,
    record: Record,
    config: Config,
    out: Outbox,
    expires_at: u64,
    /// When the fault that ends the session strikes; known from the first `session.updated` on.
    ends_at: Option<u64>,
    /// When it hears no more speech; known likewise.
    deaf_at: Option<u64>,
    /// `response.create` events so far.
    asked: u32,
    over: bool,
    updates: VecDeque<PendingUpdate>,
    client_events: u32,
    next_id: u32,

    conversation: Conversation,
    /// Audio that is not yet a whole frame.
    partial: Vec<u8>,
    /// Frames since the session began: the position in the input audio.
    frames: u32,
    /// Frames since the last commit or clear.
    buffered: u32,
    /// Clips heard since then, each once.
    clips: Vec<u16>,
    vad: Vad,
    utterance: Option<Utterance>,
    idle_at: Option<u64>,
    transcripts: VecDeque<Transcript>,
    transcribed: u32,

    /// At most one of them in the conversation.
    responses: Vec<Response>,
    /// `response.done` events that are told late, and when.
    ends: VecDeque<(u64, Value)>,
    /// Responses created so far.
    turns: u32,
    /// The clip of the caller that has not been answered.
    question: Option<u16>,
    /// Input tokens of the last response, which the next one finds in the cache.
    cached: Tokens,
    calls: Vec<FunctionCall>,
}

/// A `session.update` that has not been applied.
#[derive(Debug)]
struct PendingUpdate {
    due: u64,
    event_id: Option<String>,
    patch: Value,
    checked: Box<schema::Session>,
}

/// A function call in the conversation.
#[derive(Debug)]
struct FunctionCall {
    call_id: String,
    /// When the service made it; `None` for one that the client put into the history.
    made_at: Option<u64>,
    answered: bool,
}

impl Session {
    /// Begins a session: `session.created` and `conversation.created` are already waiting. `unix_s` is the
    /// calendar's time.
    pub fn new(number: u16, model: String, manners: Arc<Manners>, now: u64, unix_s: i64) -> Self {
        let out = Outbox::new(&manners.faults);
        let mut session = Self {
            manners,
            record: Record::new(number),
            config: Config::new(format!("sess_{number:05}"), model, unix_s + (MAX_AGE_US / 1_000_000) as i64),
            out,
            expires_at: now + MAX_AGE_US,
            ends_at: None,
            deaf_at: None,
            asked: 0,
            over: false,
            updates: VecDeque::new(),
            client_events: 0,
            next_id: 0,
            conversation: Conversation::default(),
            partial: Vec::new(),
            frames: 0,
            buffered: 0,
            clips: Vec::new(),
            vad: Vad::default(),
            utterance: None,
            idle_at: None,
            transcripts: VecDeque::new(),
            transcribed: 0,
            responses: Vec::new(),
            ends: VecDeque::new(),
            turns: 0,
            question: None,
            cached: Tokens::default(),
            calls: Vec::new(),
        };
        let id = session.conversation_id();
        session.out.event("session.created", json!({"session": session.config.json()}));
        let conversation = json!({"id": id, "object": "realtime.conversation"});
        session.out.event("conversation.created", json!({ "conversation": conversation }));
        session
    }

    /// What is known of it for the report.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Takes what there is to send.
    pub fn take_out(&mut self) -> Vec<Out> {
        self.out.take()
    }

    /// A text frame of the client.
    pub fn receive(&mut self, text: &str, now: u64) {
        if self.over {
            return;
        }
        let (event_id, event) = events::parse(text);
        if let Err(refusal) = event.and_then(|event| self.act(event, event_id.as_deref(), now)) {
            self.refuse(&refusal, event_id.as_deref());
        }
        self.client_events += 1;
        let errs = self.manners.faults.benign_errors && self.client_events.is_multiple_of(10);
        if errs && !self.over {
            self.refuse(&Refusal::benign("response_cancel_not_active", responses::NOT_ACTIVE), None);
        }
        self.check();
    }

    /// A binary frame of the client.
    pub fn receive_binary(&mut self) {
        if self.over {
            return;
        }
        let message = "The service takes text frames only.";
        self.refuse(&Refusal::new("binary-frame", "invalid_event", message), None);
    }

    /// When [`Self::tick`] is wanted next.
    pub fn wake_at(&self) -> u64 {
        [
            self.ends_at,
            self.idle_at,
            self.updates.front().map(|update| update.due),
            self.ends.front().map(|(due, _)| *due),
            self.transcripts.front().map(|transcript| transcript.due),
            self.responses.iter().map(Response::due).min(),
        ]
        .into_iter()
        .flatten()
        .fold(self.expires_at, u64::min)
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: u64) {
        if self.over {
            return;
        }
        while self.updates.front().is_some_and(|update| update.due <= now)
            && let Some(update) = self.updates.pop_front()
        {
            self.apply(update, now);
        }
        while self.transcripts.front().is_some_and(|transcript| transcript.due <= now)
            && let Some(transcript) = self.transcripts.pop_front()
        {
            self.transcribe(transcript);
        }
        if self.idle_at.is_some_and(|due| due <= now) {
            self.nobody_speaks(now);
        }
        while let Some(position) = self.responses.iter().position(|response| response.due() <= now) {
            self.advance(position, now);
        }
        while self.ends.front().is_some_and(|(due, _)| *due <= now)
            && let Some((_, done)) = self.ends.pop_front()
        {
            self.out.event("response.done", json!({ "response": done }));
        }
        if self.ends_at.is_some_and(|due| due <= now) {
            self.over = true;
            self.out.push_end(match self.manners.faults.ending {
                Some((_, Ending::Stall)) => Out::Stall,
                Some((_, Ending::Reset)) => Out::Reset,
                _ => Out::Close(1001, "going away"),
            });
        } else if self.expires_at <= now {
            self.over = true;
            let message = "Your session hit the maximum duration of 60 minutes.";
            self.out.error(&Refusal::benign("session_expired", message), None);
            self.out.push_end(Out::Close(1001, "session expired"));
        }
        self.check();
    }

    /// The socket is gone. Only the record is kept.
    pub fn end(&mut self, now: u64) {
        self.over = true;
        self.record.report.open = false;
        self.record.report.corrupted += u64::from(!self.partial.is_empty());
        for call in std::mem::take(&mut self.calls) {
            let overdue = call.made_at.is_some_and(|made_at| now.saturating_sub(made_at) > ANSWER_WITHIN_US);
            if overdue && !call.answered {
                self.record.violation("function-call-unanswered", call.call_id);
            }
        }
        self.conversation = Conversation::default();
        self.responses = Vec::new();
        self.ends = VecDeque::new();
        self.partial = Vec::new();
    }

    fn refuse(&mut self, refusal: &Refusal, event_id: Option<&str>) {
        if let Some(kind) = refusal.kind {
            self.record.violation(kind, refusal.message.as_str());
        }
        self.out.error(refusal, event_id);
    }

    fn act(&mut self, event: ClientEvent<'_>, event_id: Option<&str>, now: u64) -> Result<(), Refusal> {
        match event {
            ClientEvent::SessionUpdate { patch, checked } => {
                let due = now + self.manners.faults.session_delay.as_micros() as u64;
                let event_id = event_id.map(str::to_owned);
                self.updates.push_back(PendingUpdate { due, event_id, patch, checked });
                if due == now {
                    self.tick(now);
                }
                Ok(())
            }
            ClientEvent::Append(audio) => self.append(&audio, now),
            ClientEvent::Commit => self.commit_by_client(now),
            ClientEvent::Clear => {
                self.empty_buffer();
                self.out.event("input_audio_buffer.cleared", json!({}));
                Ok(())
            }
            ClientEvent::ItemCreate { item, checked, previous } => self.create_item(item, &checked, previous),
            ClientEvent::Truncate(truncate) => self.truncate(&truncate),
            ClientEvent::Delete(id) => {
                let gone = self.conversation.remove(&id);
                gone.ok_or_else(|| unknown_item("item_delete_invalid_item_id", &id))?;
                self.out.event("conversation.item.deleted", json!({"item_id": id}));
                Ok(())
            }
            ClientEvent::Retrieve(id) => {
                let item = self.conversation.find(&id);
                let item = item.ok_or_else(|| unknown_item("item_retrieve_invalid_item_id", &id))?;
                self.out.event("conversation.item.retrieved", json!({"item": item.json}));
                Ok(())
            }
            ClientEvent::ResponseCreate { response, checked } => {
                let asked = Asked::by_client(&self.config, response, &checked)?;
                checked.input.iter().flatten().try_for_each(|item| self.check_reference(item))?;
                self.asked += 1;
                if strikes(self.manners.faults.already_active_percent, self.asked) {
                    let message = "Conversation already has an active response in progress.";
                    return Err(Refusal::benign("conversation_already_has_active_response", message));
                }
                self.respond(asked, now)
            }
            ClientEvent::Cancel(id) => self.cancel(id.as_deref(), now),
        }
    }

    fn apply(&mut self, update: PendingUpdate, now: u64) {
        let spoken = !self.record.report.responses.is_empty();
        if let Err(refusal) = self.config.update(&update.patch, &update.checked, spoken) {
            return self.refuse(&refusal, update.event_id.as_deref());
        }
        if self.config.detection().is_none() {
            self.vad = Vad::default();
            self.utterance = None;
        }
        if self.config.detection().and_then(|detection| detection.idle_timeout_ms).is_none() {
            self.idle_at = None;
        }
        let mut session = self.config.json();
        if self.manners.faults.other_format {
            session["audio"]["output"]["format"] = json!({"type": "audio/pcm", "rate": 24_000});
        }
        self.out.event("session.updated", json!({ "session": session }));
        let deaf = self.manners.faults.deaf.map(|after| now + after.as_micros() as u64);
        self.deaf_at = self.deaf_at.or(deaf);
        if let (None, Some((after, _))) = (self.ends_at, self.manners.faults.ending) {
            self.ends_at = Some(now + after.as_micros() as u64);
        }
    }

    fn create_item(
        &mut self,
        mut json: Value,
        item: &schema::Item,
        previous: Option<String>,
    ) -> Result<(), Refusal> {
        let id = item.id().map_or_else(|| self.new_id("item"), str::to_owned);
        if self.conversation.find(&id).is_some() {
            let message = format!("Item with id '{id}' already exists.");
            return Err(
                Refusal::new("duplicate-item", "item_create_duplicate_item_id", message).on("item.id")
            );
        }
        if let Some(previous) = previous.as_deref()
            && previous != "root"
            && self.conversation.find(previous).is_none()
        {
            return Err(unknown_item("item_create_invalid_previous_item_id", previous));
        }
        match item {
            schema::Item::FunctionCall { call_id, .. } => {
                let call_id = call_id.clone().unwrap_or_else(|| self.new_id("call"));
                json["call_id"] = call_id.as_str().into();
                self.calls.push(FunctionCall { call_id, made_at: None, answered: false });
            }
            schema::Item::FunctionCallOutput { call_id, .. } => self.answer_call(call_id)?,
            _ => self.record.told(&json),
        }
        json["id"] = id.into();
        json["object"] = "realtime.item".into();
        json["status"] = "completed".into();
        for part in json["content"].as_array_mut().into_iter().flatten() {
            part.as_object_mut().map(|part| part.remove("audio"));
        }
        self.add_item(Item::new(json), previous.as_deref());
        Ok(())
    }

    fn answer_call(&mut self, call_id: &str) -> Result<(), Refusal> {
        match self.calls.iter_mut().find(|call| call.call_id == call_id) {
            Some(call) if !call.answered => {
                call.answered = true;
                Ok(())
            }
            Some(_) => {
                let message = format!("Tool call '{call_id}' already has an output.");
                Err(Refusal::new("function-call-answered-twice", "invalid_value", message).on("item.call_id"))
            }
            None => {
                let message = format!("Tool call ID '{call_id}' not found in conversation.");
                let code = "invalid_tool_call_id";
                Err(Refusal::new("unknown-function-call", code, message).on("item.call_id"))
            }
        }
    }

    /// Puts a finished item into the conversation, at the end or after `previous`, which has to be there.
    fn add_item(&mut self, item: Item, previous: Option<&str>) {
        let (id, json) = (item.id.clone(), item.json.clone());
        match previous {
            Some(previous) => self.conversation.insert_after(previous, item),
            None => self.conversation.push(item),
        }
        let fields = json!({"previous_item_id": self.conversation.before(&id), "item": json});
        self.out.event("conversation.item.added", fields.clone());
        self.out.event("conversation.item.done", fields);
    }

    fn truncate(&mut self, truncate: &schema::Truncate) -> Result<(), Refusal> {
        let schema::Truncate { item_id, content_index, audio_end_ms } = truncate;
        let item = self.conversation.find(item_id);
        let item = item.ok_or_else(|| unknown_item("item_truncate_invalid_item_id", item_id))?;
        if !item.is_assistant_message() {
            let message = "Only model output audio messages can be truncated.";
            return Err(Refusal::new("truncate-not-assistant", "invalid_value", message).on("item_id"));
        }
        let millis = item.speech.map_or(0, |speech| speech.millis);
        if *content_index != 0 {
            let message = format!("The item has no content of index {content_index}.");
            return Err(Refusal::new("truncate-content-index", "invalid_value", message).on("content_index"));
        }
        if *audio_end_ms > millis {
            let message = format!("Audio content of {millis}ms is already shorter than {audio_end_ms}ms");
            return Err(Refusal::new("truncate-beyond-audio", "invalid_value", message));
        }
        item.truncate(*audio_end_ms);
        if let Some(speech) = item.speech
            && let Some(response) = self.record.response_mut(speech.response)
        {
            response.truncated_at_ms = Some(*audio_end_ms);
        }
        let fields = json!({"item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms});
        self.out.event("conversation.item.truncated", fields);
        Ok(())
    }

    fn check_reference(&mut self, item: &schema::Item) -> Result<(), Refusal> {
        match item {
            schema::Item::Reference { id: Some(id) } if self.conversation.find(id).is_none() => {
                Err(unknown_item("item_reference_invalid_item_id", id))
            }
            _ => Ok(()),
        }
    }

    fn number(&self) -> u16 {
        self.record.report.session
    }

    fn conversation_id(&self) -> String {
        format!("conv_{:05}", self.number())
    }

    fn new_id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}_{:05}x{:06}", self.number(), self.next_id)
    }
}

fn unknown_item(code: &'static str, id: &str) -> Refusal {
    Refusal::new("unknown-item", code, format!("Item with id '{id}' does not exist.")).on("item_id")
}
