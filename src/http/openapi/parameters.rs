//! The parameters of the routes, for the description alone: the routes read them in `call_logs::query`,
//! `inbox` and `auth::audit`.

use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{RefOr, Required, Schema};

use super::words;

/// The call in a path.
pub struct CallPath;

/// What chooses calls, and their order.
pub struct CallFilters;

/// What chooses a page of calls.
pub struct CallPages;

/// The job in a path.
pub struct JobPath;

/// The alert in a path.
pub struct AlertPath;

/// What chooses alerts.
pub struct AlertParameters;

/// The item of the inbox in a path.
pub struct InboxPath;

/// What chooses items of the inbox.
pub struct InboxParameters;

/// What chooses entries of the audit.
pub struct AuditParameters;

impl IntoParams for CallPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let sid = words::call_sid();
        let parameter = optional("callSid", "`CA` and 32 hexadecimal digits", sid, a_call());
        vec![parameter.parameter_in(ParameterIn::Path).required(Required::True).build()]
    }
}

impl IntoParams for CallFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let digits = "without a plus, the last digits of it";
        let (from, to) =
            (format!("The caller's number; {digits}"), format!("The number that was called; {digits}"));
        let said = "Words that were said, whole and in any case: all of them, `\"a phrase\"`, `one or another`, `-not this`. At least one letter or digit";
        let sort = "With a minus in front: descending. Unknown values come first in ascending order. By default `-startedAt`";
        let since = "The call began at this time of RFC 3339 or later, or on this day in UTC or later";
        let until = "The call began before this time of RFC 3339, or on this day in UTC or earlier";
        let all = [
            optional("from", &from, words::up_to_255(), json!("+14155550001")),
            optional("to", &to, words::up_to_255(), json!("+15005550006")),
            optional("since", since, words::moment(), json!("2026-11-29")),
            optional("until", until, words::moment(), json!("2026-11-29T23:59:59Z")),
            optional("outcome", "What became of the call", words::outcome(), json!("completed")),
            optional("urgent", "Whether the call was urgent", words::flag(), json!("true")),
            optional("hasRecording", "Whether the call has a recording", words::flag(), json!("true")),
            optional("q", said, words::up_to_255(), json!("saturday")),
            optional("sort", sort, words::sort(), json!("-startedAt")),
        ];
        all.map(ParameterBuilder::build).into()
    }
}

impl IntoParams for CallPages {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let cursor = "The `nextCursor` of the answer before, instead of `page`; `sort` is absent or as before. It is equally fast at any depth";
        let all = [
            optional("page", "The number of the page. Not together with `cursor`", words::page(), json!(1)),
            optional("cursor", cursor, words::cursor(), Value::Null),
            optional("pageSize", "Calls of a page, 50 by default", words::calls_of_a_page(), json!(50)),
        ];
        all.map(ParameterBuilder::build).into()
    }
}

impl IntoParams for JobPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = optional("name", "The `name` of a job", words::job_name(), json!("retention"));
        vec![parameter.parameter_in(ParameterIn::Path).required(Required::True).build()]
    }
}

impl IntoParams for AlertPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = optional("id", "The `id` of an alert", words::alert_id(), an_alert());
        vec![parameter.parameter_in(ParameterIn::Path).required(Required::True).build()]
    }
}

impl IntoParams for AlertParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let cursor = "The `nextCursor` of the answer before";
        let page_size = "Alerts of a page, 100 by default";
        let all = [
            optional(
                "status",
                "Only those that go on, or that are over",
                words::alert_status(),
                json!("open"),
            ),
            optional("cursor", cursor, words::alert_cursor(), an_alert()),
            optional("pageSize", page_size, words::entries_of_a_page(), json!(100)),
        ];
        all.map(ParameterBuilder::build).into()
    }
}

impl IntoParams for InboxPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = optional("id", "The `id` of an item", words::inbox_id(), json!("17"));
        vec![parameter.parameter_in(ParameterIn::Path).required(Required::True).build()]
    }
}

impl IntoParams for InboxParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let status =
            "Those that nobody has marked as done, which is the default; those that are done; or all";
        let cursor = "The `nextCursor` of the answer before";
        let page_size = "Items of a page, 50 by default";
        let all = [
            optional("status", status, words::inbox_status(), json!("open")),
            optional("cursor", cursor, words::inbox_cursor(), json!("1795430000000000-17")),
            optional("pageSize", page_size, words::calls_of_a_page(), json!(50)),
        ];
        all.map(ParameterBuilder::build).into()
    }
}

impl IntoParams for AuditParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let who = "`user:NAME`, `token:NAME`, `cli:NAME`, `local` (with API_AUTH=off) or `nobody`";
        let action = "`login`, `logout`, `transcript-opened`, `export`, `voicemail-listened`, `hang-up`, `transfer`, `alert-acknowledged`, `inbox-done`, `inbox-reopened`, `recording-opened`, `drain`, or that of a command";
        let since = "At this time of RFC 3339 or later, or on this day in UTC or later";
        let until = "Before this time of RFC 3339, or on this day in UTC or earlier";
        let page_size = "Entries of a page, 100 by default";
        let all = [
            optional("who", who, words::up_to_200(), json!("user:anna")),
            optional("action", action, words::up_to_200(), json!("transcript-opened")),
            optional(
                "object",
                "The call, the item of the inbox, or the name of an account",
                words::up_to_200(),
                a_call(),
            ),
            optional("since", since, words::moment(), json!("2026-11-29")),
            optional("until", until, words::moment(), json!("2026-11-29T23:59:59Z")),
            optional("cursor", "The `nextCursor` of the answer before", words::audit_cursor(), json!("17")),
            optional("pageSize", page_size, words::entries_of_a_page(), json!(100)),
        ];
        all.map(ParameterBuilder::build).into()
    }
}

fn a_call() -> Value {
    json!("CA11bd4e3336d7e4c1a6727f7bcbc30cdc")
}

fn an_alert() -> Value {
    json!("019ad5f2c8e6b1f0a94d3c27e51")
}

/// A parameter of the query.
fn optional(name: &str, text: &str, schema: impl Into<RefOr<Schema>>, example: Value) -> ParameterBuilder {
    let example = Some(example).filter(|example| !example.is_null());
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
    parameter.required(Required::False).description(Some(text)).schema(Some(schema)).example(example)
}
