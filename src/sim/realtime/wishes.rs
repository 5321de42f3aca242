//! What the simulated model makes of a caller's wish: the function that it calls. Pure.
//!
//! It calls what the session offers. A caller in danger is answered like any other: that nobody depends on
//! the model then is what tests are to show.

use serde_json::{Value, json};

use super::config::Config;

/// A function call of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: &'static str,
    pub arguments: String,
}

const PERSON: u16 = 51;
const MESSAGE: u16 = 52;
const GOODBYE: u16 = 53;

/// The call that answers the clip `heard`, if there is one and the session has the function.
pub fn call(heard: u16, config: &Config) -> Option<Call> {
    let (name, arguments) = match heard {
        PERSON => {
            let parameters = &config.function("transfer_to_human")?["parameters"];
            let destination = parameters["properties"]["destination"]["enum"][0].as_str()?;
            let reason = "The caller asks for a person.";
            ("transfer_to_human", json!({"destination": destination, "reason": reason}))
        }
        MESSAGE => {
            let message = "Please call me back about my refill.";
            ("take_message", json!({"message": message, "name": "Ann", "call_back": true}))
        }
        GOODBYE => ("end_call", json!({})),
        _ => return None,
    };
    config.function(name).map(|_: &Value| Call { name, arguments: arguments.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::realtime::schema;
    use crate::sim::speech::REQUESTS;

    #[test]
    fn a_wish_is_answered_by_a_function_that_the_session_has() {
        let mut config = Config::new("sess".into(), "m".into(), 0);
        assert!(REQUESTS.iter().all(|clip| call(clip.id, &config).is_none()));
        let destination = json!({"type": "string", "enum": ["reception"]});
        let function = |name: &str, properties: Value| {
            let parameters = json!({"type": "object", "properties": properties});
            json!({"type": "function", "name": name, "description": "x", "parameters": parameters})
        };
        let tools = [
            function("transfer_to_human", json!({"destination": destination})),
            function("take_message", json!({})),
            function("end_call", json!({})),
        ];
        let patch = json!({"type": "realtime", "tools": tools});
        let checked: schema::Session = serde_json::from_value(patch.clone()).unwrap();
        config.update(&patch, &checked, false).unwrap();
        let calls = REQUESTS.iter().map(|clip| call(clip.id, &config));
        let names: Vec<_> = calls.clone().map(|call| call.map(|call| call.name)).collect();
        assert_eq!(names, [None, Some("transfer_to_human"), Some("take_message"), Some("end_call")]);
        assert!(calls.flatten().next().unwrap().arguments.contains(r#""destination":"reception""#));
    }
}
