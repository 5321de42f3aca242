//! Schemas of texts and numbers that have a form. An empty parameter of a query counts as none, so each of
//! them may be empty.

use actors::call::end::Outcome;
use actors::health::{CAUSES, WARNINGS};
pub use actors::schemas::call_sid;
use actors::schemas::words;
use utoipa::openapi::schema::{
    AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaFormat,
};
use utoipa::openapi::{KnownFormat, RefOr, Type};

use crate::http::auth::audit;
use crate::http::call_logs::query;

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// This, or nothing.
fn or_empty(schema: impl Into<RefOr<Schema>>) -> Schema {
    AnyOfBuilder::new().item(schema).item(text().max_length(Some(0))).into()
}

fn from_one_to(most: u32) -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(most));
    or_empty(number)
}

pub fn up_to_255() -> Object {
    text().max_length(Some(query::LONGEST_TEXT)).build()
}

pub fn up_to_200() -> Object {
    text().max_length(Some(audit::LONGEST)).build()
}

pub fn moment() -> Schema {
    let of_format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
    let time = AnyOfBuilder::new().item(of_format(KnownFormat::Date)).item(of_format(KnownFormat::DateTime));
    time.item(text().max_length(Some(0))).into()
}

pub fn outcome() -> Object {
    words(Outcome::ALL.map(Outcome::as_str).into_iter().chain([""]))
}

pub fn flag() -> Object {
    words(["true", "false", ""])
}

pub fn sort() -> Object {
    words(["startedAt", "-startedAt", "durationSeconds", "-durationSeconds", "costUsd", "-costUsd", ""])
}

pub fn page() -> Schema {
    from_one_to(u32::MAX)
}

pub fn calls_of_a_page() -> Schema {
    from_one_to(*query::PAGE_SIZES.end())
}

pub fn entries_of_a_page() -> Schema {
    from_one_to(audit::LARGEST_PAGE)
}

pub fn cursor() -> Object {
    text().pattern(Some("^[-_0-9A-Za-z]*$")).build()
}

pub fn audit_cursor() -> Object {
    text().pattern(Some("^[0-9]{0,18}$")).build()
}

pub fn alert_status() -> Object {
    words(["open", "cleared", ""])
}

/// The identifier of an alert, or none.
pub fn alert_cursor() -> Object {
    text().pattern(Some("^[0-9a-fA-F]{0,64}$")).build()
}

pub fn alert_id() -> Object {
    text().pattern(Some("^[0-9a-fA-F]{1,64}$")).build()
}

pub fn inbox_status() -> Object {
    words(["open", "done", "all", ""])
}

pub fn inbox_cursor() -> Object {
    text().pattern(Some("^([0-9]{1,18}-[0-9]{1,18})?$")).build()
}

pub fn inbox_id() -> Object {
    text().pattern(Some("^[0-9]{1,18}$")).build()
}

pub fn job_name() -> Object {
    text().min_length(Some(1)).max_length(Some(64)).build()
}

pub fn scopes() -> Array {
    let scopes = actors::access::Scope::ALL.map(actors::access::Scope::as_str);
    ArrayBuilder::new().items(words(scopes)).build()
}

pub fn role() -> Object {
    words(actors::access::Role::ALL.map(actors::access::Role::as_str))
}

pub fn status() -> Object {
    words(["healthy", "degraded", "draining"])
}

pub fn database() -> Object {
    use actors::health::Database::{Healthy, ReadOnly, Unavailable};
    words([Healthy, ReadOnly, Unavailable].map(actors::health::Database::as_str))
}

pub fn realtime() -> Object {
    words(["healthy", "failing"])
}

pub fn causes() -> Array {
    ArrayBuilder::new().items(words(CAUSES)).build()
}

pub fn warnings() -> Array {
    ArrayBuilder::new().items(words(WARNINGS)).build()
}
