//! The conversation's items, in order, and what they weigh in tokens.

use serde_json::{Value, json};

use super::super::voice::words_until;

/// An item as the service knows it.
#[derive(Debug)]
pub struct Item {
    pub id: String,
    /// As it is shown to the client, without audio.
    pub json: Value,
    /// Caller audio in it, in milliseconds.
    pub heard_ms: u32,
    /// Agent audio in it, if it has any.
    pub speech: Option<Speech>,
}

/// The agent audio of an item.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// The `response` of its tags.
    pub response: u16,
    pub millis: u32,
}

impl Item {
    pub fn new(json: Value) -> Self {
        let id = json["id"].as_str().unwrap_or_default().to_owned();
        Self { id, json, heard_ms: 0, speech: None }
    }

    pub fn is_assistant_message(&self) -> bool {
        self.json["role"] == "assistant"
    }

    /// Cuts the audio off at `end_ms`, and the words that come after it.
    pub fn truncate(&mut self, end_ms: u32) {
        let Some(speech) = &mut self.speech else { return };
        if let Some(text) = self.json["content"][0]["transcript"].as_str() {
            let heard = words_until(text, end_ms, speech.millis).to_owned();
            self.json["content"][0]["transcript"] = heard.into();
        }
        speech.millis = end_ms;
    }
}

/// The default conversation of a session.
#[derive(Debug, Default)]
pub struct Conversation {
    items: Vec<Item>,
}

impl Conversation {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn last_id(&self) -> Option<&str> {
        self.items.last().map(|item| item.id.as_str())
    }

    pub fn find(&mut self, id: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == id)
    }

    /// The id of the item before this one.
    pub fn before(&self, id: &str) -> Option<&str> {
        let position = self.items.iter().position(|item| item.id == id)?;
        self.items.get(position.checked_sub(1)?).map(|item| item.id.as_str())
    }

    /// Appends an item.
    pub fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Puts an item after the one with the id `previous`, or in front when that one is `root` or not here.
    pub fn insert_after(&mut self, previous: &str, item: Item) {
        let position = self.items.iter().position(|item| item.id == previous);
        self.items.insert(position.map_or(0, |position| position + 1), item);
    }

    pub fn remove(&mut self, id: &str) -> Option<Item> {
        let position = self.items.iter().position(|item| item.id == id)?;
        Some(self.items.remove(position))
    }

    /// What the items weigh as input of a response.
    pub fn tokens(&self) -> Tokens {
        let text = |item: &Item| {
            let content = item.json["content"].as_array().into_iter().flatten();
            let parts = content.filter_map(|part| part["text"].as_str().or(part["transcript"].as_str()));
            let call = ["arguments", "output"].into_iter().filter_map(|name| item.json[name].as_str());
            parts.chain(call).map(text_tokens).sum::<u32>()
        };
        Tokens {
            text: self.items.iter().map(text).sum(),
            audio: self
                .items
                .iter()
                .map(|item| item.heard_ms / 100 + item.speech.map_or(0, |speech| speech.millis / 50))
                .sum(),
        }
    }
}

/// Tokens by modality. A second of a caller's audio is 10, of an agent's 20 (openai-realtime.md section 10);
/// text is estimated at four characters each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    pub text: u32,
    pub audio: u32,
}

pub fn text_tokens(text: &str) -> u32 {
    text.len().div_ceil(4) as u32
}

/// `usage` of a response; `cached` is the part of the input that was billed before.
pub fn usage(input: Tokens, cached: Tokens, output: Tokens) -> Value {
    json!({
        "total_tokens": input.text + input.audio + output.text + output.audio,
        "input_tokens": input.text + input.audio,
        "output_tokens": output.text + output.audio,
        "input_token_details": {
            "text_tokens": input.text,
            "audio_tokens": input.audio,
            "image_tokens": 0,
            "cached_tokens": cached.text + cached.audio,
            "cached_tokens_details": {
                "text_tokens": cached.text, "audio_tokens": cached.audio, "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    })
}
