//! A JSON schema that values are held against. It fetches nothing: a reference outside of itself is a fault.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Value, json};

/// What is told of a value that does not fit.
const MAX_WRONG_CHARS: usize = 300;
/// Faults of one value that are told.
const MAX_WRONG: usize = 3;

/// See the module.
#[derive(Clone)]
pub struct Schema {
    json: Value,
    validator: Arc<Validator>,
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(String);

impl Schema {
    /// # Errors
    /// `json` is no schema, or not one of an object.
    pub fn of_object(json: Value) -> Result<Self, BadSchema> {
        let is_object = json.get("type").is_some_and(|kind| kind == "object");
        if !is_object {
            return Err(BadSchema("its `type` is not \"object\"".to_owned()));
        }
        Self::new(json)
    }

    /// # Errors
    /// `json` is no schema.
    pub fn new(json: Value) -> Result<Self, BadSchema> {
        // A pattern of the kind that can take for ever is refused.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&json).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { place } else { format!(" at {place}") };
            BadSchema(shortened(&format!("{error}{place}")))
        })?;
        Ok(Self { json, validator: Arc::new(validator) })
    }

    pub fn as_json(&self) -> &Value {
        &self.json
    }

    /// # Errors
    /// What does not fit, and where.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let wrong = self.validator.iter_errors(value).take(MAX_WRONG).map(|error| {
            let place = error.instance_path().to_string();
            if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
        });
        Err(shortened(&wrong.collect::<Vec<_>>().join("; ")))
    }
}

fn shortened(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_WRONG_CHARS).collect()
}

impl Default for Schema {
    /// That of a tool without arguments.
    fn default() -> Self {
        let json = json!({"type": "object", "properties": {}, "additionalProperties": false});
        Self::new(json).expect("the schema is one")
    }
}

impl Eq for Schema {}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.json)
    }
}
