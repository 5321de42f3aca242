//! The talking: a response from `response.created` to `response.done` (openai-realtime.md section 4).

use serde_json::{Map, Value, json};

use super::conversation::{Item, Speech, Tokens, text_tokens, usage};
use super::{FunctionCall, Session};
use crate::sim::realtime::config::Config;
use crate::sim::realtime::events::Refusal;
use crate::sim::realtime::faults::strikes;
use crate::sim::realtime::schema::{self, Format, Modality};
use crate::sim::realtime::voice::{self, Voice, pcm_24k};
use crate::sim::realtime::wishes::{self, Call};
use crate::sim::speech::Clip;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The `metadata.purpose` of a response that is said once, to be kept and heard in any call: it gets a clip
/// of [`PHRASES`](crate::sim::speech::PHRASES), and nothing else does, so that an ear can tell a phrase from
/// an answer.
pub const PHRASE: &str = "phrase";

/// That of a response which tries the service: nobody hears it either.
const TRIAL: &str = "trial";

pub const NOT_ACTIVE: &str = "Cancellation failed: no active response found";

/// Tokens that the account may use in a minute, unless it is told otherwise.
const PLENTY: u32 = 4_000_000;
/// How many times faster than real time the audio comes.
const SPEED: u64 = 4;
/// The function of the fault `function-call` and its arguments.
const FUNCTION: (&str, &str) = ("lookup_order", r#"{"order_number":"48213"}"#);

/// What a response is asked to be.
#[derive(Debug)]
pub struct Asked {
    by_client: bool,
    in_conversation: bool,
    text: bool,
    mulaw: bool,
    instructions_len: usize,
    /// It tries the service.
    trial: bool,
    /// The clip to say, where it is a phrase.
    phrase: Option<&'static Clip>,
    /// What `response.created` repeats of it.
    head: Map<String, Value>,
}

impl Asked {
    /// By turn detection: the session's own configuration.
    pub fn by_service(config: &Config) -> Self {
        let mut head = config.response_head();
        head.insert("metadata".into(), Value::Null);
        Self {
            by_client: false,
            in_conversation: true,
            text: config.writes(),
            mulaw: config.speaks_mulaw(),
            instructions_len: config.instructions_len(),
            trial: false,
            phrase: None,
            head,
        }
    }

    /// By a `response.create`.
    pub fn by_client(config: &Config, json: Value, checked: &schema::Response) -> Result<Self, Refusal> {
        config.check_reasoning(checked.reasoning.is_some() || checked.parallel_tool_calls.is_some())?;
        let mut asked = Self { by_client: true, ..Self::by_service(config) };
        asked.in_conversation = checked.conversation != Some(schema::Conversation::None);
        if let Some([modality]) = checked.output_modalities {
            asked.text = modality == Modality::Text;
        }
        let output = checked.audio.as_ref().and_then(|audio| audio.output.as_ref());
        if let Some(format) = output.and_then(|output| output.format) {
            asked.mulaw = format == Format::Pcmu {};
        }
        if let Some(instructions) = &checked.instructions {
            asked.instructions_len = instructions.len();
        }
        if json.pointer("/metadata/purpose").is_some_and(|purpose| purpose == PHRASE) {
            asked.phrase = Some(voice::phrase(checked.instructions.as_deref().unwrap_or_default()));
        }
        asked.trial = json.pointer("/metadata/purpose").is_some_and(|purpose| purpose == TRIAL);
        for name in ["output_modalities", "max_output_tokens", "metadata"] {
            if let Some(value) = json.get(name) {
                asked.head.insert(name.into(), value.clone());
            }
        }
        for name in ["format", "voice"] {
            if let Some(value) = json.pointer(&format!("/audio/output/{name}")) {
                asked.head["audio"]["output"][name] = value.clone();
            }
        }
        Ok(asked)
    }
}

/// A response in progress.
#[derive(Debug)]
pub struct Response {
    id: String,
    /// Counted from 1.
    turn: u32,
    asked: Asked,
    voice: Voice,
    /// The function that answers the caller's wish.
    call: Option<Call>,
    due: u64,
    /// Its message, once there is one.
    item_id: Option<String>,
    /// The number in its tags, once there is audio.
    number: Option<u16>,
    input: Tokens,
    cached: Tokens,
}

impl Response {
    /// When it goes on.
    pub fn due(&self) -> u64 {
        self.due
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number in its tags, once there is audio.
    pub fn number(&self) -> Option<u16> {
        self.number
    }

    pub fn is_in_conversation(&self) -> bool {
        self.asked.in_conversation
    }

    /// How many frames of it were said, and how many it has.
    pub fn said_and_asked(&self) -> (u32, u32) {
        (self.voice.spoken_frames(), self.voice.frames())
    }

    fn json(&self, conversation: &str, status: &str) -> Value {
        let mut response = Value::Object(self.asked.head.clone());
        response["object"] = "realtime.response".into();
        response["id"] = self.id.as_str().into();
        response["status"] = status.into();
        response["conversation_id"] =
            if self.asked.in_conversation { conversation.into() } else { Value::Null };
        response
    }

    /// The fields that place an event in it, with those of `more`.
    fn place(&self, more: Value) -> Value {
        let mut fields = json!({
            "response_id": self.id,
            "item_id": self.item_id,
            "output_index": 0,
            "content_index": 0,
        });
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        fields
    }

    /// Its message with this status and what has been said of it so far.
    fn message(&self, status: &str) -> Value {
        let content = match (status, self.asked.text) {
            ("in_progress", _) => json!([]),
            (_, true) => json!([{"type": "output_text", "text": self.voice.text()}]),
            (_, false) => json!([{"type": "output_audio", "transcript": self.voice.spoken_text()}]),
        };
        json!({
            "id": self.item_id,
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }
}

/// How a response ends.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Completed,
    /// With the reason.
    Cancelled(&'static str),
    /// With the code and the message.
    Failed(&'static str, &'static str),
}

impl Session {
    /// Begins a response, unless it would be the second one in the conversation.
    pub fn respond(&mut self, asked: Asked, now: u64) -> Result<(), Refusal> {
        if asked.in_conversation
            && let Some(position) = self.active()
        {
            let message = format!(
                "Conversation already has an active response in progress: {}. Wait until the response is finished \
                 before creating a new one.",
                self.responses[position].id
            );
            return Err(Refusal::new("second-response", "conversation_already_has_active_response", message));
        }
        self.turns += 1;
        let greets = asked.by_client && asked.in_conversation && self.conversation.is_empty();
        self.record.renders |= asked.phrase.is_some() || asked.trial;
        let question = self.question.take_if(|_| asked.in_conversation);
        let call = question.and_then(|heard| wishes::call(heard, &self.config));
        let clip = if let Some(phrase) = asked.phrase {
            phrase
        } else if greets {
            voice::greeting()
        } else {
            voice::answer(question, self.turns as usize)
        };
        let mut input = self.conversation.tokens();
        input.text += asked.instructions_len.div_ceil(4) as u32;
        if asked.in_conversation {
            self.idle_at = None;
        }
        let response = Response {
            id: self.new_id("resp"),
            turn: self.turns,
            asked,
            voice: Voice::new(clip),
            call,
            due: now + self.manners.think_us + self.manners.faults.slow_first_sound.as_micros() as u64,
            item_id: None,
            number: None,
            input,
            cached: Tokens {
                text: self.cached.text.min(input.text),
                audio: self.cached.audio.min(input.audio),
            },
        };
        self.cached = input;
        let mut created = response.json(&self.conversation_id(), "in_progress");
        created["status_details"] = Value::Null;
        created["output"] = json!([]);
        created["usage"] = Value::Null;
        self.responses.push(response);
        self.out.event("response.created", json!({ "response": created }));
        let limit = self.manners.faults.token_limit.unwrap_or(PLENTY);
        let taken = input.text.saturating_add(input.audio);
        let limits = json!([
            {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
            {"name": "tokens", "limit": limit, "remaining": limit.saturating_sub(taken), "reset_seconds": 5.126},
        ]);
        self.out.event("rate_limits.updated", json!({"rate_limits": limits}));
        Ok(())
    }

    /// `response.cancel`, of one response or of the active one.
    pub fn cancel(&mut self, id: Option<&str>, now: u64) -> Result<(), Refusal> {
        let position = match id {
            Some(id) => self.responses.iter().position(|response| response.id == id),
            None => self.active(),
        };
        let position = position.ok_or_else(|| Refusal::benign("response_cancel_not_active", NOT_ACTIVE))?;
        if strikes(self.manners.faults.ignores_cancel_percent, self.responses[position].turn) {
            return Ok(());
        }
        let response = self.responses.remove(position);
        self.finish(response, Outcome::Cancelled("client_cancelled"), now);
        Ok(())
    }

    /// Cancels the conversation's response, if there is one.
    pub fn cancel_active(&mut self, reason: &'static str, now: u64) {
        if let Some(position) = self.active() {
            let response = self.responses.remove(position);
            self.finish(response, Outcome::Cancelled(reason), now);
        }
    }

    /// Takes the response at `position` one step further.
    pub fn advance(&mut self, position: usize, now: u64) {
        let mut response = self.responses.remove(position);
        let faults = &self.manners.faults;
        if faults.quota {
            let message = "You exceeded your current quota, please check your plan and billing details.";
            return self.finish(response, Outcome::Failed("insufficient_quota", message), now);
        }
        if faults.rate_limit == Some(response.turn) {
            let message = "Rate limit reached. Please try again in 1s.";
            return self.finish(response, Outcome::Failed("rate_limit_exceeded", message), now);
        }
        if response.item_id.is_none() && !self.record.renders && self.manners.next_response_fails() {
            let message = "The server had an error while processing your request.";
            return self.finish(response, Outcome::Failed("server_error", message), now);
        }
        let has_no_sound = strikes(faults.no_sound_percent, response.turn) && !self.record.renders;
        if response.item_id.is_none() && has_no_sound {
            return self.finish(response, Outcome::Completed, now);
        }
        if response.item_id.is_none() {
            self.open_message(&mut response);
        }
        if response.asked.text {
            for word in response.voice.text().split_inclusive(' ') {
                self.out.event("response.output_text.delta", response.place(json!({"delta": word})));
            }
            return self.finish(response, Outcome::Completed, now);
        }
        self.speak(&mut response, now);
        if response.voice.is_over() {
            self.finish(response, Outcome::Completed, now);
        } else {
            self.responses.push(response);
        }
    }

    fn active(&self) -> Option<usize> {
        self.responses.iter().position(|response| response.asked.in_conversation)
    }

    fn open_message(&mut self, response: &mut Response) {
        response.item_id = Some(self.new_id("item"));
        let message = response.message("in_progress");
        self.open_item(response, 0, message);
        let part = if response.asked.text {
            json!({"type": "text", "text": ""})
        } else {
            json!({"type": "audio", "transcript": ""})
        };
        self.out.event("response.content_part.added", response.place(json!({ "part": part })));
    }

    fn open_item(&mut self, response: &Response, index: u32, json: Value) {
        let added = json!({"response_id": response.id, "output_index": index, "item": json});
        self.out.event("response.output_item.added", added);
        if response.asked.in_conversation {
            let fields = json!({"previous_item_id": self.conversation.last_id(), "item": json});
            self.conversation.push(Item::new(json));
            self.out.event("conversation.item.added", fields);
        }
    }

    fn close_item(&mut self, response: &Response, index: u32, json: &Value) {
        let id = json["id"].as_str().unwrap_or_default();
        if let Some(item) = self.conversation.find(id) {
            item.json = json.clone();
            let fields = json!({"previous_item_id": self.conversation.before(id), "item": json});
            self.out.event("conversation.item.done", fields);
        }
        let done = json!({"response_id": response.id, "output_index": index, "item": json});
        self.out.event("response.output_item.done", done);
    }

    /// The next delta; in a burst all of them.
    fn speak(&mut self, response: &mut Response, now: u64) {
        let number = *response.number.get_or_insert_with(|| self.record.response());
        let burst = self.manners.faults.burst;
        while let Some(delta) = response.voice.next((self.number(), number), burst, now) {
            if !delta.text.is_empty() {
                let fields = response.place(json!({"delta": delta.text}));
                self.out.event("response.output_audio_transcript.delta", fields);
            }
            let audio = match response.asked.mulaw && !self.manners.faults.other_format {
                true => STANDARD.encode(&delta.audio),
                false => STANDARD.encode(pcm_24k(&delta.audio)),
            };
            self.out.event("response.output_audio.delta", response.place(json!({"delta": audio})));
            response.due = now + delta.audio.len() as u64 / 8 * 1_000 / SPEED;
            if !burst {
                break;
            }
        }
        if let Some(report) = self.record.response_mut(number) {
            report.frames = response.voice.spoken_frames();
        }
        let item = response.item_id.as_deref().and_then(|id| self.conversation.find(id));
        if let Some(item) = item {
            item.speech = Some(Speech { response: number, millis: response.voice.spoken_ms() });
        }
    }

    fn finish(&mut self, response: Response, outcome: Outcome, now: u64) {
        let (status, details) = match outcome {
            Outcome::Completed => ("completed", Value::Null),
            Outcome::Cancelled(reason) => ("cancelled", json!({"type": "cancelled", "reason": reason})),
            Outcome::Failed(code, message) => {
                let error = json!({"type": "invalid_request_error", "code": code, "message": message});
                ("failed", json!({"type": "failed", "error": error}))
            }
        };
        let mut output = Vec::new();
        if response.item_id.is_some() {
            output.push(self.close_message(&response, status));
        }
        if status == "completed" {
            let (name, arguments) = FUNCTION;
            let fault = self.manners.faults.function_call == Some(response.turn);
            let fault = fault.then(|| Call { name, arguments: arguments.to_owned() });
            for call in response.call.iter().chain(&fault) {
                output.push(self.call_function(&response, call, output.len() as u32, now));
            }
        }
        if let Some(report) = response.number.and_then(|number| self.record.response_mut(number)) {
            report.status = status.into();
        }
        let spoken = match (response.item_id.is_some(), response.asked.text) {
            (false, _) => Tokens::default(),
            (true, true) => Tokens { text: text_tokens(response.voice.text()), audio: 0 },
            (true, false) => Tokens {
                text: text_tokens(response.voice.spoken_text()),
                audio: response.voice.spoken_ms() / 50,
            },
        };
        let mut done = response.json(&self.conversation_id(), status);
        done["status_details"] = details;
        done["output"] = output.into();
        done["usage"] = match status {
            "failed" => usage(Tokens::default(), Tokens::default(), Tokens::default()),
            _ => usage(response.input, response.cached, spoken),
        };
        // One fault strikes a response: where both do, it ends without a sound.
        let faults = &self.manners.faults;
        let is_told = self.record.renders
            || !strikes(faults.never_done_percent, response.turn)
            || strikes(faults.no_sound_percent, response.turn);
        self.record.bills(&done["usage"]);
        match self.manners.faults.done_delay.as_micros() as u64 {
            _ if !is_told => {}
            0 => self.out.event("response.done", json!({ "response": done })),
            delay => self.ends.push_back((now + delay, done)),
        }
        let timeout = self.config.detection().and_then(|detection| detection.idle_timeout_ms);
        if response.asked.in_conversation && self.utterance.is_none() {
            let silent_ms = timeout.map(|timeout| timeout + response.voice.spoken_ms());
            self.idle_at = silent_ms.map(|ms| now + u64::from(ms) * 1_000);
        }
    }

    fn close_message(&mut self, response: &Response, status: &str) -> Value {
        let message = response.message(if status == "completed" { status } else { "incomplete" });
        let part = if response.asked.text {
            let text = response.voice.text();
            self.out.event("response.output_text.done", response.place(json!({ "text": text })));
            json!({"type": "text", "text": text})
        } else {
            let transcript = response.voice.spoken_text();
            self.out.event("response.output_audio.done", response.place(json!({})));
            let fields = response.place(json!({ "transcript": transcript }));
            self.out.event("response.output_audio_transcript.done", fields);
            json!({"type": "audio", "transcript": transcript})
        };
        self.out.event("response.content_part.done", response.place(json!({ "part": part })));
        self.close_item(response, 0, &message);
        message
    }

    fn call_function(
        &mut self,
        response: &Response,
        Call { name, arguments }: &Call,
        at: u32,
        now: u64,
    ) -> Value {
        let (id, call_id) = (self.new_id("item"), self.new_id("call"));
        let mut item = json!({
            "id": id,
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        });
        self.open_item(response, at, item.clone());
        let place =
            json!({"response_id": response.id, "item_id": id, "output_index": at, "call_id": call_id});
        let (first, second) = arguments.split_at(arguments.len() / 2);
        for delta in [first, second] {
            let mut fields = place.clone();
            fields["delta"] = delta.into();
            self.out.event("response.function_call_arguments.delta", fields);
        }
        let mut fields = place;
        fields["name"] = (*name).into();
        fields["arguments"] = arguments.as_str().into();
        self.out.event("response.function_call_arguments.done", fields);
        item["status"] = "completed".into();
        item["arguments"] = arguments.as_str().into();
        self.close_item(response, at, &item);
        self.calls.push(FunctionCall { call_id, made_at: Some(now), answered: false });
        item
    }
}
