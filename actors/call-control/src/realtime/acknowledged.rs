//! Whether a session is what we asked for: its acknowledgement is compared with the request, as far as the
//! caller would hear the difference.

use serde_json::Value;

/// Part of `session`, and what every session of ours asks for there.
const ASKED: [(&str, &str); 3] = [
    ("/audio/output/format/type", "audio/pcmu"),
    ("/audio/input/format/type", "audio/pcmu"),
    ("/output_modalities/0", "audio"),
];

/// The first part of an acknowledged `session` that is not what was asked for, with its value. A part that is
/// not told is taken to be as asked.
pub fn difference(session: &Value) -> Option<(&'static str, String)> {
    ASKED.iter().find_map(|(part, asked)| {
        let told = session.pointer(part).filter(|told| !told.is_null() && *told != asked)?;
        Some((*part, told.as_str().map_or_else(|| told.to_string(), str::to_owned)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_of_another_format_differs_and_what_is_not_told_does_not() {
        for same in [
            json!({}),
            Value::Null,
            json!({"audio": {"output": null, "input": {"format": {"type": "audio/pcmu"}}}}),
            json!({"output_modalities": ["audio"], "audio": {"output": {"format": {"type": "audio/pcmu"}}}}),
        ] {
            assert_eq!(difference(&same), None, "{same}");
        }
        let output = json!({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}});
        assert_eq!(difference(&output), Some(("/audio/output/format/type", "audio/pcm".into())));
        let input = json!({"audio": {"input": {"format": {"type": "audio/pcma"}}}});
        assert_eq!(difference(&input), Some(("/audio/input/format/type", "audio/pcma".into())));
        assert!(difference(&json!({"output_modalities": ["text"]})).is_some());
    }
}
