//! The tools that every agent has.

use serde_json::{Value, json};

use super::{Kind, Schema, Tool};
use crate::policy::destinations::Destination;

pub(super) const NAMES: [&str; 4] = ["end_call", "transfer_to_human", "take_message", "flag_urgent"];
/// Of a text that the model fills in.
const MAX_TEXT_CHARS: u32 = 1_000;

/// Those that make sense with these people to give a caller to.
pub(super) fn all(destinations: &[&Destination]) -> Vec<Tool> {
    let transfer = (!destinations.is_empty()).then(|| transfer_to_human(destinations));
    [Some(end_call()), transfer, Some(take_message()), Some(flag_urgent())].into_iter().flatten().collect()
}

fn end_call() -> Tool {
    tool(
        "end_call",
        "Ends the call. Use it when the caller has said goodbye or has nothing more to ask. \
         Say goodbye first: the call ends when the caller has heard it.",
        json!({}),
        Kind::EndCall,
    )
}

fn transfer_to_human(destinations: &[&Destination]) -> Tool {
    let names: Vec<&str> = destinations.iter().map(|one| one.name.as_str()).collect();
    let described = destinations.iter().filter(|one| !one.description.is_empty());
    let described = described.map(|one| format!(" {}: {}", one.name, one.description));
    let description = format!(
        "Gives the caller to a person. Use it when the caller asks for a person, or needs something that \
         you cannot do. Tell the caller first that you are connecting them.{}",
        described.collect::<String>()
    );
    let properties = json!({
        "destination": {"type": "string", "enum": names, "description": "Whom the caller is given to."},
        "reason": text("Why, in one sentence, for the person who takes the call."),
    });
    tool("transfer_to_human", &description, properties, Kind::TransferToHuman)
}

fn take_message() -> Tool {
    let mut message = tool(
        "take_message",
        "Writes down a message for the staff, who read it later. Ask for the caller's name and what it is \
         about, and repeat both before you use it.",
        json!({
            "message": text("What the staff are to know or do."),
            "name": text("The caller's name."),
            "call_back": {"type": "boolean", "description": "Whether the caller wants to be called back."},
        }),
        Kind::TakeMessage,
    );
    message.parameters = object(
        message.parameters.as_json()["properties"].clone(),
        &json!(["message"]), // a caller need not give their name
    );
    message
}

fn flag_urgent() -> Tool {
    tool(
        "flag_urgent",
        "Alerts the person on duty at once. Use it when somebody's health or safety may be in danger, or \
         when something cannot wait until the staff read their messages. In an emergency tell the caller \
         first to hang up and dial the emergency number.",
        json!({"reason": text("What is urgent, in one sentence.")}),
        Kind::FlagUrgent,
    )
}

fn text(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS, "description": description})
}

/// A tool that needs all of its arguments.
fn tool(name: &str, description: &str, properties: Value, kind: Kind) -> Tool {
    let required = properties.as_object().map(|properties| properties.keys().cloned().collect::<Vec<_>>());
    let parameters = object(properties, &json!(required));
    Tool { name: name.to_owned(), description: description.to_owned(), parameters, kind }
}

fn object(properties: Value, required: &Value) -> Schema {
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    Schema::new(schema).expect("the schema of a built-in tool is one")
}
