//! What a session wants to send.

use serde_json::{Value, json};

use super::super::events::Refusal;
use super::super::faults::Faults;

/// One thing for the socket to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// Send this text frame.
    Event(String),
    /// Close with this code and reason.
    Close(u16, &'static str),
    /// Reset the connection.
    Reset,
    /// Neither read nor send any more.
    Stall,
}

/// Events in the order in which they are to be sent. The socket takes them out after every input.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Vec<Out>,
    events: u64,
    /// Whether to add fields and events that nobody knows.
    sprinkle: bool,
    omitted: Vec<&'static str>,
    repeated: Vec<&'static str>,
}

impl Outbox {
    pub fn new(faults: &Faults) -> Self {
        let (omitted, repeated) = (faults.omitted.clone(), faults.repeated.clone());
        Self { sprinkle: faults.unknown_events, omitted, repeated, ..Self::default() }
    }

    /// Adds an event of this type; `fields` is an object.
    pub fn event(&mut self, kind: &str, mut fields: Value) {
        if self.omitted.contains(&kind) {
            return;
        }
        if self.sprinkle {
            sprinkle(&mut fields);
        }
        self.push(kind, &fields);
        if self.repeated.contains(&kind) {
            self.push(kind, &fields);
        }
        if self.sprinkle && self.events % 4 == 1 {
            self.push("response.foreshadowed", &json!({"certainty": 0.5, "of": [{"type": "nothing"}]}));
        }
    }

    /// Adds the `error` that answers the client's event of this id.
    pub fn error(&mut self, refusal: &Refusal, event_id: Option<&str>) {
        let error = json!({
            "type": "invalid_request_error",
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        });
        self.event("error", json!({ "error": error }));
    }

    pub fn push_end(&mut self, end: Out) {
        self.queue.push(end);
    }

    /// What waits to be taken.
    pub fn waiting(&self) -> &[Out] {
        &self.queue
    }

    /// Empties it.
    pub fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.queue)
    }

    /// The type stands first, as in the real service's events.
    fn push(&mut self, kind: &str, fields: &Value) {
        self.events += 1;
        let fields = fields.to_string();
        let rest = match &fields[1..] {
            "}" => "}".to_owned(),
            rest => format!(",{rest}"),
        };
        self.queue
            .push(Out::Event(format!(r#"{{"type":"{kind}","event_id":"event_{:06}"{rest}"#, self.events)));
    }
}

/// Adds an unknown field to the object and to the objects directly in it.
fn sprinkle(fields: &mut Value) {
    let Value::Object(fields) = fields else { return };
    for nested in fields.values_mut() {
        if let Value::Object(nested) = nested {
            nested.insert("x_unknown".into(), json!(["?"]));
        }
    }
    fields.insert("x_unknown".into(), json!({"nested": {"deep": null}}));
}
