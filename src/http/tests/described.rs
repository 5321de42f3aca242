//! Answers of the program against its description in docs/openapi.json. The integration tests use this file,
//! too.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON")
});

/// Headers that an answer has exactly where the description says so.
const HEADERS: [&str; 6] =
    ["RateLimit", "RateLimit-Policy", "Set-Cookie", "WWW-Authenticate", "Retry-After", "Content-Disposition"];

/// An answer as it came.
pub struct Answered<'a> {
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    pub status: u16,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

impl Answered<'_> {
    /// What the description does not have of it; nothing where no route has the path and the method.
    pub fn fault(&self) -> Option<String> {
        let operation = operation(self.method, self.path.split('?').next()?)?;
        let fault = self.fault_in(operation)?;
        let body = String::from_utf8_lossy(self.body);
        Some(format!("{} {} answers {}: {fault}\n{body}", self.method, self.path, self.status))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| *value)
    }

    fn fault_in(&self, operation: &'static Value) -> Option<String> {
        let Some(response) = operation["responses"].get(self.status.to_string()) else {
            return Some("it has no such status".to_owned());
        };
        let response = resolved(response);
        let headers = response["headers"].as_object();
        for (name, _) in headers.into_iter().flatten() {
            if self.header(name).is_none() {
                return Some(format!("`{name}` is missing"));
            }
        }
        for name in HEADERS {
            let is_described = headers.is_some_and(|headers| headers.contains_key(name));
            // A request that is given up with 503 may have been counted or not.
            let is_free = self.status == 503 && name.starts_with("RateLimit");
            if self.header(name).is_some() && !is_described && !is_free {
                return Some(format!("`{name}` is not described"));
            }
        }
        let Some(contents) = response["content"].as_object() else {
            let has_body = !self.body.is_empty() && self.method != "HEAD";
            return has_body.then(|| "it has no body".to_owned());
        };
        let kind = self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let Some(content) = contents.get(kind) else { return Some(format!("it is no {kind:?}")) };
        if !kind.ends_with("json") {
            return None;
        }
        match serde_json::from_slice(self.body) {
            Ok(body) => faults(&body, &made_once(&content["schema"])),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The operation of a route; a route that is written out goes before one that is a pattern.
pub fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let mut parts = pattern.iter().zip(&path);
        pattern.len() == path.len()
            && parts.all(|(pattern, part)| pattern == part || pattern.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let route =
        paths.get(path).or_else(|| paths.iter().find(|(pattern, _)| fits(pattern)).map(|found| found.1));
    route?.get(method.to_ascii_lowercase())
}

/// Why a value is not what a schema says, or has a field that the schema does not name.
pub fn fault(value: &Value, schema: &Value) -> Option<String> {
    faults(value, &validator(schema))
}

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&closed(schema, false)).expect("a schema")
}

/// The same for a schema of the document: tests ask often.
fn made_once(schema: &'static Value) -> Arc<Validator> {
    static MADE: Mutex<Option<HashMap<usize, Arc<Validator>>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let key = std::ptr::from_ref(schema).addr();
    made.get_or_insert_default().entry(key).or_insert_with(|| validator(schema).into()).clone()
}

fn faults(value: &Value, validator: &Validator) -> Option<String> {
    let faults = validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path()));
    Some(faults.collect::<Vec<_>>().join("; ")).filter(|faults| !faults.is_empty())
}

/// What a reference leads to.
pub fn resolved(value: &Value) -> &Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let pointer = reference.strip_prefix('#').expect("a reference into the document");
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// The schema without references, of values that have no fields but those it names.
fn closed(schema: &Value, is_part: bool) -> Value {
    let Some(schema) = resolved(schema).as_object() else { return resolved(schema).clone() };
    let several = |all: &Value, is_part| {
        let all = all.as_array().into_iter().flatten();
        Value::Array(all.map(|one| closed(one, is_part)).collect())
    };
    let mut written: Map<String, Value> = Map::new();
    for (key, value) in schema {
        let value = match key.as_str() {
            "allOf" => several(value, true),
            "oneOf" | "anyOf" => several(value, is_part),
            "items" => closed(value, false),
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                properties.map(|(name, property)| (name.clone(), closed(property, false))).collect()
            }
            _ => value.clone(),
        };
        written.insert(key.clone(), value);
    }
    if !is_part && ["properties", "allOf"].iter().any(|key| written.contains_key(*key)) {
        written.insert("unevaluatedProperties".to_owned(), json!(false));
    }
    Value::Object(written)
}
