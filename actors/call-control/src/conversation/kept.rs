//! How the journal keeps what a conversation was told.
//!
//! A conversation decides by how long a piece of the agent's voice is, never by how it sounds. So a piece is
//! kept as a length, in a few bytes and without an allocation, and none of them holds the buffer of the
//! socket it came in. The exception is sound for a caller who is not on the line: the conversation holds it,
//! so it is kept, as a copy.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Conversation, Effect, Input, Stream};
use crate::Millis;
use crate::journal::Limits;
use crate::machine::{Machine, Replay};
use crate::realtime::events::{AudioDelta, Content, Item, Response, ServerEvent, ServiceError};
use crate::twilio::frames::{Mark, payload_bytes};

/// A snapshot copies a conversation in about as much time as 20 pieces of the agent's voice take to be
/// booked. Shared by 256 inputs that is little. The journal of a call then holds at most 10 KiB and the
/// bytes, beside the snapshot.
pub const LIMITS: Limits = Limits { entries: 256, bytes: 16 << 10 };
/// Of arguments that were read.
const READ_BYTES: usize = 400;
const READ_FACTOR: usize = 8;
/// Another input or two may stand between two pieces of one item.
const LOOKED_BACK: usize = 4;

/// An input, kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// A piece of the agent's voice. `is_first`: no kept input before shares its ids.
    Sound {
        ids: Arc<Ids>,
        is_first: bool,
        content_index: u32,
        bytes: u32,
    },
    /// One that waits for the caller.
    Held {
        ids: Arc<Ids>,
        is_first: bool,
        content_index: u32,
        payload: Box<[u8]>,
    },
    /// More of what the agent says, in writing.
    Words {
        ids: Arc<Ids>,
        is_first: bool,
        delta: Box<str>,
    },
    Mark(Mark),
    Tick,
    Pong,
    ServiceLost(Box<Loss>),
    /// Everything else is rare.
    Rare(Box<Input<'static>>),
}

/// The response and the item to which sound and words belong. All of an item share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Ids {
    pub response_id: Box<str>,
    pub item_id: Box<str>,
}

/// Of [`Input::ServiceLost`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    pub fatal: bool,
    pub cause: Box<str>,
    pub wait: Option<Millis>,
}

impl Kept {
    fn ids(&self) -> Option<&Arc<Ids>> {
        match self {
            Self::Sound { ids, .. } | Self::Held { ids, .. } | Self::Words { ids, .. } => Some(ids),
            _ => None,
        }
    }
}

/// The ids, shared with an input before if it has the same; and whether they are not.
fn share<'k>(
    (response_id, item_id): (&str, &str),
    latest_first: impl Iterator<Item = &'k Kept>,
) -> (Arc<Ids>, bool) {
    let mut before = latest_first.take(LOOKED_BACK).filter_map(Kept::ids);
    match before.find(|ids| &*ids.item_id == item_id && &*ids.response_id == response_id) {
        Some(ids) => (ids.clone(), false),
        None => (Arc::new(Ids { response_id: response_id.into(), item_id: item_id.into() }), true),
    }
}

/// Base64 of so many bytes of some sound.
fn some_sound(bytes: u32) -> Bytes {
    let (bytes, groups) = (bytes as usize, bytes.div_ceil(3) as usize);
    let padding = groups * 3 - bytes;
    ("A".repeat(groups * 4 - padding) + &"=".repeat(padding)).into()
}

impl Machine for Conversation {
    type Input<'a> = Input<'a>;
    type Effect = Effect;

    fn step(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) {
        Self::step(self, input, now, effects);
    }

    fn deadline(&self) -> Option<Millis> {
        Self::deadline(self)
    }
}

impl Replay for Conversation {
    type Kept = Kept;

    fn keep<'k>(&self, input: &Input<'_>, latest_first: impl Iterator<Item = &'k Kept>) -> Kept {
        let rare = |input| Kept::Rare(Box::new(input));
        match input {
            Input::Service(event) => self.keep_event(event, latest_first),
            Input::Mark(mark) => Kept::Mark(*mark),
            Input::Tick => Kept::Tick,
            Input::Pong => Kept::Pong,
            Input::ServiceLost { fatal, cause, wait } => {
                Kept::ServiceLost(Box::new(Loss { fatal: *fatal, cause: (*cause).into(), wait: *wait }))
            }
            Input::StreamOpened => rare(Input::StreamOpened),
            Input::Digit(digit) => rare(Input::Digit(*digit)),
            Input::CallerInaudible => rare(Input::CallerInaudible),
            Input::CallerAudible { quiet_ms } => rare(Input::CallerAudible { quiet_ms: *quiet_ms }),
            Input::CallerLoud => rare(Input::CallerLoud),
            Input::StreamStopped => rare(Input::StreamStopped),
            Input::StreamLost => rare(Input::StreamLost),
            Input::Unclaimed => rare(Input::Unclaimed),
            Input::CallOver => rare(Input::CallOver),
            Input::Shutdown => rare(Input::Shutdown),
            Input::ToPerson => rare(Input::ToPerson),
            Input::ActorFailed => rare(Input::ActorFailed),
            Input::ToolDone(done) => rare(Input::ToolDone(done.clone())),
        }
    }

    fn kept(kept: &Kept) -> Input<'_> {
        let sound = |ids, content_index, payload| {
            let Ids { response_id, item_id }: &Ids = ids;
            Input::Service(ServerEvent::Audio(AudioDelta { response_id, item_id, content_index, payload }))
        };
        match kept {
            Kept::Sound { ids, content_index, bytes, .. } => sound(ids, *content_index, some_sound(*bytes)),
            Kept::Held { ids, content_index, payload, .. } => {
                sound(ids, *content_index, Bytes::copy_from_slice(payload))
            }
            Kept::Words { ids, delta, .. } => Input::Service(ServerEvent::TranscriptDelta {
                response_id: ids.response_id.to_string(),
                item_id: ids.item_id.to_string(),
                delta: delta.to_string(),
            }),
            Kept::Mark(mark) => Input::Mark(*mark),
            Kept::Tick => Input::Tick,
            Kept::Pong => Input::Pong,
            Kept::ServiceLost(loss) => {
                let Loss { fatal, cause, wait } = &**loss;
                Input::ServiceLost { fatal: *fatal, cause, wait: *wait }
            }
            Kept::Rare(rare) => (**rare).clone(),
        }
    }

    fn heap_bytes(kept: &Kept) -> usize {
        let of_ids = |ids: &Ids, is_first: bool| {
            if is_first { size_of::<Ids>() + ids.response_id.len() + ids.item_id.len() } else { 0 }
        };
        match kept {
            Kept::Sound { ids, is_first, .. } => of_ids(ids, *is_first),
            Kept::Held { ids, is_first, payload, .. } => of_ids(ids, *is_first) + payload.len(),
            Kept::Words { ids, is_first, delta } => of_ids(ids, *is_first) + delta.len(),
            Kept::Mark(_) | Kept::Tick | Kept::Pong => 0,
            Kept::ServiceLost(loss) => size_of::<Loss>() + loss.cause.len(),
            Kept::Rare(rare) => size_of::<Input<'_>>() + rare_bytes(rare),
        }
    }
}

impl Conversation {
    fn keep_event<'k>(&self, event: &ServerEvent<'_>, latest_first: impl Iterator<Item = &'k Kept>) -> Kept {
        let rare = match event {
            ServerEvent::Audio(delta) => return self.keep_sound(delta, latest_first),
            ServerEvent::TranscriptDelta { response_id, item_id, delta } => {
                let (ids, is_first) = share((response_id, item_id), latest_first);
                return Kept::Words { ids, is_first, delta: delta.as_str().into() };
            }
            ServerEvent::SessionCreated => ServerEvent::SessionCreated,
            ServerEvent::SessionUpdated => ServerEvent::SessionUpdated,
            ServerEvent::SessionDiffers { part, told } => {
                ServerEvent::SessionDiffers { part: part.clone(), told: told.clone() }
            }
            ServerEvent::SpeechStarted => ServerEvent::SpeechStarted,
            ServerEvent::SpeechStopped => ServerEvent::SpeechStopped,
            ServerEvent::Committed { item_id } => ServerEvent::Committed { item_id: item_id.clone() },
            ServerEvent::ItemAdded { kind, call_id } => {
                ServerEvent::ItemAdded { kind: kind.clone(), call_id: call_id.clone() }
            }
            ServerEvent::TranscriptCompleted { item_id, transcript, usage, urgent } => {
                let urgent = urgent.or_else(|| self.rules.urgent.find(transcript));
                let (item_id, transcript) = (item_id.clone(), transcript.clone());
                ServerEvent::TranscriptCompleted { item_id, transcript, usage: *usage, urgent }
            }
            ServerEvent::TranscriptFailed { item_id, code } => {
                ServerEvent::TranscriptFailed { item_id: item_id.clone(), code: code.clone() }
            }
            ServerEvent::ResponseCreated { id, number } => {
                ServerEvent::ResponseCreated { id: id.clone(), number: *number }
            }
            ServerEvent::AudioDone { response_id, item_id } => {
                ServerEvent::AudioDone { response_id: response_id.clone(), item_id: item_id.clone() }
            }
            ServerEvent::OutputItemDone { response_id, item } => {
                ServerEvent::OutputItemDone { response_id: response_id.clone(), item: self.keep_item(item) }
            }
            ServerEvent::ResponseDone(response) => {
                let output = response.output.iter().map(|item| self.keep_item(item)).collect();
                ServerEvent::ResponseDone(Box::new(Response { output, ..(**response).clone() }))
            }
            ServerEvent::Error(error) => ServerEvent::Error(error.clone()),
            ServerEvent::RateLimits(limit) => ServerEvent::RateLimits(*limit),
            ServerEvent::Other => ServerEvent::Other,
        };
        Kept::Rare(Box::new(Input::Service(rare)))
    }

    /// An item with what its call is to the tools: so much of its arguments is decided by.
    fn keep_item(&self, item: &Item) -> Item {
        let read = (item.kind == "function_call").then(|| Box::new(self.read_call(item)));
        Item { read, ..item.clone() }
    }

    fn keep_sound<'k>(
        &self,
        AudioDelta { response_id, item_id, content_index, payload }: &AudioDelta<'_>,
        latest_first: impl Iterator<Item = &'k Kept>,
    ) -> Kept {
        let ((ids, is_first), content_index) = (share((response_id, item_id), latest_first), *content_index);
        if self.stream == Stream::Open {
            let bytes = u32::try_from(payload_bytes(payload)).unwrap_or(u32::MAX); // messages are smaller
            Kept::Sound { ids, is_first, content_index, bytes }
        } else {
            Kept::Held { ids, is_first, content_index, payload: payload[..].into() }
        }
    }
}

/// What a rare input holds besides itself.
fn rare_bytes(input: &Input<'_>) -> usize {
    let event = match input {
        Input::Service(event) => event,
        Input::ToolDone(done) => return done.call_id.len() + done.result.as_ref().map_or(0, String::len),
        _ => return 0,
    };
    match event {
        ServerEvent::SessionDiffers { told, .. } => told.len(),
        ServerEvent::Committed { item_id } => item_id.len(),
        ServerEvent::ItemAdded { kind, call_id } => kind.len() + length(call_id),
        ServerEvent::TranscriptCompleted { item_id, transcript, .. } => item_id.len() + transcript.len(),
        ServerEvent::TranscriptFailed { item_id, code } => item_id.len() + length(code),
        ServerEvent::ResponseCreated { id, .. } => id.len(),
        ServerEvent::AudioDone { response_id, item_id } => response_id.len() + item_id.len(),
        ServerEvent::OutputItemDone { response_id, item } => response_id.len() + item_bytes(item),
        ServerEvent::ResponseDone(response) => response_bytes(response),
        ServerEvent::Error(error) => error_bytes(error),
        ServerEvent::Audio(_)
        | ServerEvent::TranscriptDelta { .. }
        | ServerEvent::SessionCreated
        | ServerEvent::SessionUpdated
        | ServerEvent::SpeechStarted
        | ServerEvent::SpeechStopped
        | ServerEvent::RateLimits(_)
        | ServerEvent::Other => 0,
    }
}

fn length(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn item_bytes(Item { id, kind, status, call_id, name, arguments, read, content }: &Item) -> usize {
    let content = content.iter().map(|part| size_of::<Content>() + length(&part.transcript));
    let texts = [status, call_id, name, arguments].map(length);
    // As a value, the arguments hold some times more than they are long.
    let read = read.as_ref().map_or(0, |_| READ_BYTES + READ_FACTOR * length(arguments));
    read + id.len() + kind.len() + texts.iter().sum::<usize>() + content.sum::<usize>()
}

fn response_bytes(response: &Response) -> usize {
    let Response { id, status, status_details, output, usage: _, metadata } = response;
    let output = output.iter().map(|item| size_of::<Item>() + item_bytes(item)).sum::<usize>();
    let error = status_details.as_ref().and_then(|details| details.error.as_ref()).map_or(0, error_bytes);
    size_of::<Response>() + id.len() + status.len() + length(&metadata.request) + output + error
}

fn error_bytes(ServiceError { code, kind, message, param, event_id }: &ServiceError) -> usize {
    [code, kind, message, param, event_id].map(length).iter().sum()
}

#[cfg(test)]
mod tests;
