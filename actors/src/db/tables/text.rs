//! Text and numbers as PostgreSQL can keep them.

use std::borrow::Cow;

use serde_json::Value;

/// PostgreSQL's TEXT and JSONB refuse the character NUL: it becomes U+FFFD.
pub(in crate::db) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// The same for every string and key within.
pub(in crate::db) fn json(value: &Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(string).into_owned()),
        Value::Array(values) => values.iter().map(json).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (text(key).into_owned(), json(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A count as INTEGER; what does not fit (it would take 24 days in milliseconds) becomes the largest.
pub(in crate::db) fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn nul_is_replaced_in_text_keys_and_values() {
        assert_eq!(super::text("a\0b\n"), "a\u{FFFD}b\n");
        assert_eq!(
            super::json(&json!({"k\0": ["\0", 1, null]})),
            json!({"k\u{FFFD}": ["\u{FFFD}", 1, null]})
        );
    }
}
