//! Schemas of texts that have a form or are one of a few words, for the description of the API.

use serde_json::Value;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::call::end::Outcome;
use crate::registry::picture::{CallState, Speaking};

/// The identifier of a call.
pub fn call_sid() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^CA[0-9A-Fa-f]{32}$")).build()
}

/// One of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// What became of a call; null while it is on the line.
pub fn outcome() -> Object {
    let words = Outcome::ALL.into_iter().map(|outcome| Value::from(outcome.as_str()));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words.chain([Value::Null])))
        .build()
}

pub(crate) fn call_state() -> Object {
    use CallState::{Connecting, Ending, Live, Reconnecting, Reserved, Transferring};
    as_written([Reserved, Connecting, Live, Reconnecting, Transferring, Ending])
}

pub(crate) fn speaking() -> Object {
    as_written([Speaking::Caller, Speaking::Agent, Speaking::None])
}

/// One of these words, as they are written in JSON.
fn as_written<T: serde::Serialize, const N: usize>(all: [T; N]) -> Object {
    let words = all.map(|word| serde_json::to_value(word).expect("it is a word"));
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}
