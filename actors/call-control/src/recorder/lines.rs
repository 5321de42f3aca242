//! The fields of a line: how an input and an effect are written, and how an input is read.
//!
//! Both are a word, and for most a JSON value behind it.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Mode, redact};
use crate::conversation::kept::{Ids, Kept, Loss};
use crate::conversation::{Effect, Input};
use crate::twilio::frames::Mark;

/// A message of the service is not longer.
const LONGEST_SOUND: u32 = 16 << 20;

pub(super) const BEGIN: &str = "begin";
pub(super) const END: &str = "end";
pub(super) const COMPLETE: &str = "complete";
pub(super) const INCOMPLETE: &str = "incomplete: ";
const SOUND: &str = "sound";
const WORDS: &str = "words";
const MARK: &str = "mark";
const TICK: &str = "tick";
const PONG: &str = "pong";
const SERVICE_LOST: &str = "service-lost";
const PLAY: &str = "play";

/// The response, the item and the part of it to which the last line with a sound belongs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Place(Option<(Arc<Ids>, u32)>);

impl Place {
    /// Changes it. False if it was the same.
    fn moves(&mut self, ids: &Arc<Ids>, part: u32) -> bool {
        let is_same = self
            .0
            .as_ref()
            .is_some_and(|(before, at)| *at == part && (Arc::ptr_eq(before, ids) || before == ids));
        if !is_same {
            self.0 = Some((ids.clone(), part));
        }
        !is_same
    }

    fn get(&self) -> Result<(Arc<Ids>, u32), String> {
        self.0.clone().ok_or_else(|| "no line before says to what it belongs".to_owned())
    }
}

/// Writes an input.
pub(super) fn write_input(input: &Kept, mode: Mode, place: &mut Place, out: &mut String) {
    match input {
        Kept::Sound { ids, content_index, bytes, .. } => {
            write_sound(*bytes, (ids, *content_index), mode, place, out);
        }
        Kept::Held { ids, content_index, payload, .. } => {
            write_sound(super::length(payload), (ids, *content_index), mode, place, out);
        }
        Kept::Words { ids, delta, .. } => {
            let delta = if mode == Mode::Redacted { redact::text(delta) } else { delta.to_string() };
            let part = place.0.as_ref().map_or(0, |(_, part)| *part);
            push(out, format_args!("{WORDS} {}", Value::from(delta)));
            write_place((ids, part), mode, place, out);
        }
        Kept::Mark(mark) => write_mark(*mark, out),
        Kept::Tick => out.push_str(TICK),
        Kept::Pong => out.push_str(PONG),
        Kept::ServiceLost(loss) => {
            let loss = redacted(SERVICE_LOST, to_value(loss), mode);
            push(out, format_args!("{SERVICE_LOST} {loss}"));
        }
        Kept::Rare(input) => write_tagged(to_value(input), mode, out),
    }
}

fn write_sound(bytes: u32, of: (&Arc<Ids>, u32), mode: Mode, place: &mut Place, out: &mut String) {
    out.push_str(SOUND);
    write_number(' ', bytes.into(), out);
    write_place(of, mode, place, out);
}

/// Where it belongs, if that has changed.
fn write_place((ids, part): (&Arc<Ids>, u32), mode: Mode, place: &mut Place, out: &mut String) {
    if place.moves(ids, part) {
        let of = serde_json::json!([*ids.response_id, *ids.item_id, part]);
        push(out, format_args!(" {}", redacted("id", of, mode)));
    }
}

/// Writes what the player plays.
pub(super) fn write_played(bytes: u32, out: &mut String) {
    out.push_str(PLAY);
    write_number(' ', bytes.into(), out);
}

pub(super) fn write_mark(Mark { generation, ordinal, sent_ms }: Mark, out: &mut String) {
    out.push_str(MARK);
    out.push(' ');
    write_number('g', generation.into(), out);
    write_number(':', ordinal.into(), out);
    write_number(':', sent_ms.into(), out);
}

/// Writes what stands before a number, and the number: many times a second, so past the formatter.
fn write_number(before: char, number: u64, out: &mut String) {
    out.push(before);
    write_digits(number, out);
}

pub(super) fn write_digits(mut number: u64, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    loop {
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
        first -= 1;
    }
    out.push_str(str::from_utf8(&digits[first..]).expect("digits are ASCII"));
}

/// Writes an effect that is neither sound nor a mark.
pub(super) fn write_effect(effect: &Effect, mode: Mode, out: &mut String) {
    // How a call ends says nothing of what was said.
    let mode = if matches!(effect, Effect::End { .. }) { Mode::Full } else { mode };
    write_tagged(to_value(effect), mode, out);
}

/// A variant's name, and what it holds behind it.
fn write_tagged(value: Value, mode: Mode, out: &mut String) {
    match value {
        Value::String(name) => out.push_str(&name),
        Value::Object(fields) => {
            for (name, value) in fields {
                let value = redacted(&name, value, mode);
                push(out, format_args!("{name} {value}"));
            }
        }
        other => push(out, format_args!("{other}")),
    }
}

fn redacted(key: &str, mut value: Value, mode: Mode) -> Value {
    if mode == Mode::Redacted {
        redact::value(key, &mut value);
    }
    value
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("its keys are texts, and what cannot be written is written apart")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a text takes all there is");
}

/// Reads an input.
pub(super) fn read_input(field: &str, place: &mut Place) -> Result<Kept, String> {
    let (word, rest) = field.split_once(' ').unwrap_or((field, ""));
    Ok(match word {
        SOUND => {
            let (bytes, of) = rest.split_once(' ').unwrap_or((rest, ""));
            let is_length = |bytes: &u32| *bytes <= LONGEST_SOUND;
            let bytes = bytes.parse().ok().filter(is_length).ok_or_else(|| {
                format!("`{bytes}` is no length of a sound: expected a number of at most {LONGEST_SOUND}")
            })?;
            let is_first = read_place(of, place)?;
            let (ids, content_index) = place.get()?;
            Kept::Sound { ids, is_first, content_index, bytes }
        }
        WORDS => {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let delta = match values.next() {
                Some(Ok(Value::String(delta))) => delta.into(),
                _ => return Err("expected a text in quotes behind `words`".to_owned()),
            };
            let is_first = read_place(&rest[values.byte_offset()..], place)?;
            Kept::Words { ids: place.get()?.0, is_first, delta }
        }
        MARK => Kept::Mark(Mark::parse(rest).ok_or_else(|| format!("`{rest}` is no name of a mark"))?),
        TICK => Kept::Tick,
        PONG => Kept::Pong,
        SERVICE_LOST => Kept::ServiceLost(Box::new(json::<Loss>(rest)?)),
        _ => {
            let value = if rest.is_empty() {
                Value::from(word)
            } else {
                Value::Object(Map::from_iter([(word.to_owned(), json(rest)?)]))
            };
            let input: Input<'static> = serde_json::from_value(value)
                .map_err(|error| format!("`{word}` is no input that this program knows: {error}"))?;
            Kept::Rare(Box::new(input))
        }
    })
}

/// Whether it has changed.
fn read_place(of: &str, place: &mut Place) -> Result<bool, String> {
    if of.trim().is_empty() {
        return Ok(false);
    }
    let (response_id, item_id, part) = json::<(Box<str>, Box<str>, u32)>(of)?;
    Ok(place.moves(&Arc::new(Ids { response_id, item_id }), part))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in its JSON"))
}
