//! What takes the place of a text in a redacted recording.
//!
//! A conversation makes few tests on a text: how long it is in bytes and in characters, where a word may end,
//! whether a letter or a digit is in it, and when an error's message says to try again. So each letter is
//! replaced by one that these tests cannot tell from it, each digit by `0`, and an error's message by what it
//! says of the wait. Cutting a text, or joining two, leads to the same stand-in before and after.
//!
//! Everything is a text unless it is known to be none: identifiers, codes and the names that this program
//! gives. An identifier with anything but letters, digits, `_`, `-`, `.`, `:` and `/` in it is replaced by
//! its hash.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::conversation::heard_part::{is_joined_to_what_precedes, is_unspaced};
use crate::conversation::retry_after::retry_after;

/// Under these keys are identifiers, codes and names of ours.
const NAMES: [&str; 16] = [
    "about",
    "ask",
    "call_id",
    "code",
    "event_id",
    "id",
    "item_id",
    "kind",
    "name",
    "part",
    "phrase",
    "request",
    "response_id",
    "service",
    "speaker",
    "status",
];
const TYPE: &str = "type";
/// Under these keys are values that the model made up, of which numbers say as much as texts.
const ARGUMENTS: [&str; 3] = ["arguments", "file-item", "fits"];
/// Under this key is what an error says for people.
const MESSAGE: &str = "message";
const LONGEST_NAME: usize = 128;

/// Letters that stand for others. The first one that no test tells from a letter takes its place.
const LETTERS: [char; 11] =
    ['x', 'é', 'अ', 'ก', '\u{0E31}', '\u{0E48}', '\u{0300}', '\u{0363}', '\u{3099}', '𐐀', '𠀀'];

/// Nothing stands for it: it joins what follows, too.
const JOINER: char = '\u{200D}';

/// The stand-in of a text: as long, and the same to the conversation.
pub fn text(text: &str) -> String {
    text.chars().map(stand_in).collect()
}

fn stand_in(c: char) -> char {
    if c.is_ascii_digit() {
        return '0';
    }
    if c == JOINER || !c.is_alphanumeric() && !is_joined_to_what_precedes(c) {
        return c; // a blank or a punctuation mark
    }
    let tests = tests(c);
    LETTERS.into_iter().find(|letter| self::tests(*letter) == tests).unwrap_or(c)
}

/// All that a conversation can learn of a character.
fn tests(c: char) -> (usize, [bool; 5]) {
    let tests = [
        c.is_ascii_digit(),
        c.is_alphanumeric(),
        c.is_whitespace(),
        is_unspaced(c),
        is_joined_to_what_precedes(c),
    ];
    (c.len_utf8(), tests)
}

/// An identifier, if it looks like one.
fn name(name: &str) -> String {
    let is_one = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    if name.len() <= LONGEST_NAME && name.chars().all(is_one) {
        return name.to_owned();
    }
    let hash = Sha256::digest(name);
    hash[..8].iter().fold("hash-".to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// What an error's message says of the wait.
fn message(message: &str) -> String {
    retry_after(message).map(|ms| format!("try again in {ms}ms")).unwrap_or_default()
}

/// Replaces all texts in what stands under this key.
pub(super) fn value(key: &str, value: &mut Value) {
    match value {
        Value::Object(_) | Value::Array(_) if ARGUMENTS.contains(&key) => all(value),
        Value::String(told) if key == MESSAGE => *told = message(told),
        Value::String(told) if key == TYPE || NAMES.contains(&key) => *told = name(told),
        Value::String(told) => *told = text(told),
        Value::Array(values) => values.iter_mut().for_each(|value| self::value(key, value)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| self::value(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces texts and numbers, whatever they stand under.
fn all(value: &mut Value) {
    match value {
        Value::String(told) => *told = text(told),
        Value::Number(_) => *value = 0.into(),
        Value::Array(values) => values.iter_mut().for_each(all),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| all(value)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::heard_part::heard_part;

    #[test]
    fn a_stand_in_is_as_long_and_hides_letters_and_digits() {
        assert_eq!(text("Call +1 415 555-0123, Zoë!"), "xxxx +0 000 000-0000, xxé!");
        assert_eq!(
            text("สวัสดีครับ 日本語 हिन्दी"),
            text(&text("สวัสดีครับ 日本語 हिन्दी")),
            "again nothing changes"
        );
        for c in ('\0'..=char::MAX).filter(|c| stand_in(*c) != *c) {
            assert_eq!(tests(stand_in(c)), tests(c), "{c:?}");
            assert_eq!(stand_in(stand_in(c)), stand_in(c), "{c:?}");
        }
        let kept = ('\0'..=char::MAX).filter(|c| c.is_alphabetic() && stand_in(*c) == *c);
        let kept: Vec<_> = kept.filter(|c| !LETTERS.contains(c)).collect();
        assert!(kept.is_empty(), "letters without a stand-in: {kept:?}");
    }

    #[test]
    fn a_text_that_is_cut_where_the_hearing_ended_has_the_stand_in_that_is_cut_there() {
        for told in
            ["One two three, four five.", "สวัสดีครับ ผมชื่อ", "「日本語」です。はい", "naïve Zoë, e\u{301}"]
        {
            for heard_ms in 0..=100 {
                let (told, hidden) = (heard_part(told, heard_ms, 100), text(told));
                assert_eq!(heard_part(&hidden, heard_ms, 100), text(told));
            }
        }
    }

    #[test]
    fn identifiers_and_codes_stay_and_everything_else_is_a_text() {
        let mut told = json!({
            "id": "item_1", "call_id": "a b", "status": "completed", "surprise": "Mary",
            "error": {"code": "rate_limit_exceeded", "message": "Mary, try again in 1.5s.", "type": "t"},
            "content": [{"transcript": "I am Mary."}],
        });
        value("service", &mut told);
        let hash = told["call_id"].as_str().unwrap().to_owned();
        assert!(hash.starts_with("hash-") && hash.len() == 21, "{hash}");
        assert_eq!(
            told,
            json!({
                "id": "item_1", "call_id": hash, "status": "completed", "surprise": "xxxx",
                "error": {"code": "rate_limit_exceeded", "message": "try again in 1500ms", "type": "t"},
                "content": [{"transcript": "x xx xxxx."}],
            })
        );
        let before = told.clone();
        value("service", &mut told);
        assert_eq!(told, before, "again nothing changes");
    }
}
