//! `[[tools]]` and `[[mcp]]` of the agent file: HTTP endpoints and MCP servers of whoever runs the agent.
//!
//! The file names what is asked; the environment says whether that may be: a host has to stand in
//! `TOOL_HOSTS`, and a secret is a variable whose name begins with `TOOL_SECRET_`. So whoever can write the
//! file can send nobody our other secrets.

use actors::call::tool_policy::{
    DEFAULT_WITHIN, Endpoint, Kind, LONGEST_WITHIN, MAX_TOOLS, McpServer, Schema, Tool, Toolbox, is_name,
};
use actors::secret::Secret;
use actors::wire::is_loopback;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::{Host, Url};

use super::{in_order, not_a_text, text_of};
use crate::settings::reader::Reader;

const TOOL_KEYS: &str = "name, description, url, timeout_seconds, secret, parameters or answer";
const MCP_KEYS: &str = "label, url, secret or tools";
/// The variable with the hosts that may be asked.
const HOSTS: &str = "TOOL_HOSTS";
/// What the name of a tool's secret begins with.
const SECRET_PREFIX: &str = "TOOL_SECRET_";

/// How a list of tables is called in faults.
struct List {
    key: &'static str,
    one: &'static str,
}

const TOOLS: List = List { key: "tools", one: "tool" };
const SERVERS: List = List { key: "mcp", one: "MCP server" };

/// Reads the value of `tools`. `place` names a line of the file.
pub(super) fn read(
    value: Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Vec<Tool> {
    let start = value.span().start;
    let mut all: Vec<Tool> = Vec::new();
    for (table, at) in tables(value, &TOOLS, place, reader) {
        let Some(tool) = tool(table, &at, place, reader) else { continue };
        if Toolbox::is_built_in(&tool.name) {
            let wrong = format!("has a tool in the name of the built-in `{}`", tool.name);
            reader.fault(&at, &wrong, "give it another name");
        } else if all.iter().any(|other| other.name == tool.name) {
            reader.fault(&at, &format!("has a second tool `{}`", tool.name), "give it another name");
        }
        all.push(tool);
    }
    let most = MAX_TOOLS - Toolbox::BUILT_IN;
    if all.len() > most {
        let wrong = format!("has {} tools", all.len());
        reader.fault(&place(start), &wrong, &format!("keep {most}: the agent reads all of them each time"));
    }
    all
}

/// Reads the value of `mcp`.
pub(super) fn read_mcp(
    value: Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Vec<McpServer> {
    let mut all: Vec<McpServer> = Vec::new();
    for (table, at) in tables(value, &SERVERS, place, reader) {
        let Some(server) = server(table, &at, place, reader) else { continue };
        if all.iter().any(|other| other.label == server.label) {
            reader.fault(
                &at,
                &format!("has a second MCP server `{}`", server.label),
                "give it another label",
            );
        }
        all.push(server);
    }
    all
}

/// The tables of a list, each with its place.
fn tables<'t>(
    value: Spanned<DeValue<'t>>,
    List { key, one }: &List,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Vec<(DeTable<'t>, String)> {
    let (start, remedy) = (value.span().start, format!("begin each {one} with [[{key}]]"));
    let DeValue::Array(entries) = value.into_inner() else {
        reader.fault(&place(start), &format!("has `{key}` that are no list of tables"), &remedy);
        return Vec::new();
    };
    let mut tables = Vec::new();
    for entry in entries {
        let at = place(entry.span().start);
        match entry.into_inner() {
            DeValue::Table(table) => tables.push((table, at)),
            _ => reader.fault(&at, &format!("has a {one} that is no table"), &remedy),
        }
    }
    tables
}

/// One tool; none if a key that it needs is missing or faulty.
fn tool(
    table: DeTable<'_>,
    at: &str,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Option<Tool> {
    let (mut name, mut description, mut url, mut secret) = (None, None, None, None);
    let (mut within, mut parameters, mut answer) = (DEFAULT_WITHIN, Some(Schema::default()), None);
    for (key, value) in in_order(table) {
        let (key, place) = (key.get_ref().as_ref(), place(key.span().start));
        match key {
            "name" => name = Some(name_of(value.into_inner(), &place, reader)),
            "description" => description = Some(text(key, value.into_inner(), &place, reader)),
            "url" => url = Some(url_of(value.into_inner(), &place, reader)),
            "secret" => secret = secret_of(value.into_inner(), &place, reader),
            "timeout_seconds" => within = within_of(value.get_ref(), &place, reader),
            "parameters" => parameters = schema(key, value.into_inner(), Schema::of_object, &place, reader),
            "answer" => answer = schema(key, value.into_inner(), Schema::new, &place, reader),
            unknown => {
                let wrong = format!("has the unknown key `{unknown}` in a tool");
                reader.fault(&place, &wrong, &format!("use {TOOL_KEYS}"));
            }
        }
    }
    missing(
        "tool",
        at,
        &[("name", name.is_none()), ("description", description.is_none()), ("url", url.is_none())],
        reader,
    );
    let kind = Kind::Http(Box::new(Endpoint { url: url??, within, secret, answer }));
    Some(Tool { name: name??, description: description??, parameters: parameters?, kind })
}

fn server(
    table: DeTable<'_>,
    at: &str,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Option<McpServer> {
    let (mut label, mut url, mut authorization, mut allowed_tools) = (None, None, None, None);
    for (key, value) in in_order(table) {
        let (key, place) = (key.get_ref().as_ref(), place(key.span().start));
        match key {
            "label" => label = Some(name_of(value.into_inner(), &place, reader)),
            "url" => url = Some(url_of(value.into_inner(), &place, reader)),
            "secret" => authorization = secret_of(value.into_inner(), &place, reader),
            "tools" => allowed_tools = super::texts(value.into_inner(), key, &place, reader),
            unknown => {
                let wrong = format!("has the unknown key `{unknown}` in an MCP server");
                reader.fault(&place, &wrong, &format!("use {MCP_KEYS}"));
            }
        }
    }
    missing("MCP server", at, &[("label", label.is_none()), ("url", url.is_none())], reader);
    Some(McpServer { label: label??, url: url??, authorization, allowed_tools })
}

fn missing(one: &str, at: &str, keys: &[(&str, bool)], reader: &mut Reader<'_>) {
    for (key, _) in keys.iter().filter(|(_, is_missing)| *is_missing) {
        reader.fault(at, &format!("has a {one} without `{key}`"), &format!("give it a `{key}`"));
    }
}

fn text(key: &str, value: DeValue<'_>, place: &str, reader: &mut Reader<'_>) -> Option<String> {
    let text = text_of(value);
    if text.is_none() {
        not_a_text(key, place, reader);
    }
    text
}

fn name_of(value: DeValue<'_>, place: &str, reader: &mut Reader<'_>) -> Option<String> {
    let name = text_of(value).filter(|name| is_name(name));
    if name.is_none() {
        let wrong = "has a name that the Realtime service does not take";
        reader.fault(place, wrong, "give up to 64 letters from a to z, digits, `_` and `-`");
    }
    name
}

/// A host that is written as a URL would never fit.
pub(in crate::settings) fn check_hosts(reader: &mut Reader<'_>) {
    let is_host = |host: &str| Host::parse(host.trim()).is_ok();
    reader.parsed(HOSTS, (), "hosts separated by commas, such as crm.example.com", |hosts| {
        hosts.split(',').all(is_host).then_some(())
    });
}

/// The URL of an endpoint whose host may be asked.
fn url_of(value: DeValue<'_>, place: &str, reader: &mut Reader<'_>) -> Option<Url> {
    let is_usable = |url: &Url| {
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
        is_safe && url.host_str().is_some() && url.username().is_empty() && url.password().is_none()
    };
    let url = text_of(value).and_then(|text| Url::parse(&text).ok()).filter(is_usable);
    let Some(url) = url else {
        let wrong = "has a `url` that is no https URL without user and password";
        reader.fault(
            place,
            wrong,
            "give one such as https://crm.example.com/slots; http only for this machine",
        );
        return None;
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let hosts = reader.optional(HOSTS).unwrap_or_default();
    if hosts.split(',').any(|allowed| allowed.trim().eq_ignore_ascii_case(&host)) {
        return Some(url);
    }
    let wrong = format!("has a `url` whose host `{host}` is not in {HOSTS}");
    reader.fault(place, &wrong, &format!("add the host to {HOSTS}, if the agent may ask it"));
    None
}

/// The secret in the variable of this name.
fn secret_of(value: DeValue<'_>, place: &str, reader: &mut Reader<'_>) -> Option<Secret> {
    let is_its_name = |name: &String| {
        let rest = name.strip_prefix(SECRET_PREFIX).unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let Some(name) = text_of(value).filter(is_its_name) else {
        let wrong = "has a `secret` that is no variable of a tool's secret";
        reader.fault(
            place,
            wrong,
            &format!("name a variable such as {SECRET_PREFIX}CRM, never the secret itself"),
        );
        return None;
    };
    let secret = reader.optional_secret(&name);
    if secret.is_none() {
        let wrong = format!("has a `secret` in the variable {name}, which is not set");
        reader.fault(place, &wrong, &format!("set {name}, or leave the key out"));
    }
    secret
}

fn within_of(value: &DeValue<'_>, place: &str, reader: &mut Reader<'_>) -> u64 {
    let most = LONGEST_WITHIN / 1_000;
    let seconds = match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| (1..=most).contains(seconds));
    if seconds.is_none() {
        reader.fault(place, "has `timeout_seconds` out of range", &format!("give a number from 1 to {most}"));
    }
    seconds.map_or(DEFAULT_WITHIN, |seconds| seconds * 1_000)
}

fn schema<E: std::fmt::Display>(
    key: &str,
    value: DeValue<'_>,
    read: impl FnOnce(Value) -> Result<Schema, E>,
    place: &str,
    reader: &mut Reader<'_>,
) -> Option<Schema> {
    let schema = read(json(value));
    if let Err(error) = &schema {
        let wrong = format!("has `{key}` that are no JSON schema the agent can use ({error})");
        reader.fault(place, &wrong, "correct the schema; write it as tables of TOML");
    }
    schema.ok()
}

/// The same value in JSON. A date is its text.
fn json(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.into_owned()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().replace('_', "").parse::<f64>().map_or(Value::Null, Value::from)
        }
        DeValue::Boolean(flag) => Value::from(flag),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(values) => values.into_iter().map(|value| json(value.into_inner())).collect(),
        DeValue::Table(table) => {
            let entries = in_order(table).into_iter();
            Value::Object(
                entries
                    .map(|(key, value)| (key.into_inner().into_owned(), json(value.into_inner())))
                    .collect(),
            )
        }
    }
}
