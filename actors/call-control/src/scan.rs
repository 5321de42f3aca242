//! Reads the members of a flat JSON object without building anything: the fast path of the two audio
//! messages.
//!
//! It understands what both peers send fifty times a second: objects whose keys and texts have no escapes,
//! and whose members may be such objects, but not theirs. Whatever else it meets ends the scan with
//! [`Unusual`], and the caller hands the message to `serde_json`, which then also has the last word on what
//! is malformed.

use memchr::{memchr2, memchr3};

/// Not the plain shape this scanner knows; it may still be valid JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual;

/// A member's value, as it stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A text without escapes, without its quotes.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Bare(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// The text, if it is one.
    pub fn text(self) -> Result<&'a [u8], Unusual> {
        if let Self::Text(text) = self { Ok(text) } else { Err(Unusual) }
    }
}

/// Calls `member` with each value of the object that is `json`, in order, and with its place: the key, behind
/// that of the object it stands in, if that is not `json` itself.
pub fn members<'a>(
    json: &'a [u8],
    mut member: impl FnMut((Option<&'a [u8]>, &'a [u8]), Raw<'a>) -> Result<(), Unusual>,
) -> Result<(), Unusual> {
    let mut rest = expect(json, b'{')?;
    let mut object = None;
    loop {
        let (key, after_key) = text(rest)?;
        let begins = skip_space(expect(after_key, b':')?);
        if let (None, Some((b'{', inside))) = (object, begins.split_first()) {
            (object, rest) = (Some(key), inside);
            continue;
        }
        let (value, after_value) = value(begins)?;
        member((object, key), value)?;
        let mut after = skip_space(after_value);
        if let (Some(_), Some((b'}', outside))) = (object, after.split_first()) {
            (object, after) = (None, skip_space(outside));
        }
        match after.split_first() {
            Some((b',', more)) => rest = more,
            Some((b'}', end)) if object.is_none() && skip_space(end).is_empty() => return Ok(()),
            _ => return Err(Unusual),
        }
    }
}

/// The number that `digits` spell: Twilio writes its numbers as texts.
pub fn number(digits: &[u8]) -> Result<u64, Unusual> {
    match leading_number(digits) {
        Some((number, [])) => Ok(number),
        _ => Err(Unusual),
    }
}

/// The number that `text` begins with, of at most 18 digits, and what follows it.
#[inline]
pub fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut digits) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        number = number * 10 + u64::from(digit - b'0');
        digits += 1;
        if digits > 18 {
            return None;
        }
    }
    (digits > 0).then(|| (number, &text[digits..]))
}

/// The text up to its closing quote, if nothing in it is escaped, and what follows the quote.
#[inline]
pub fn until_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr2(b'"', b'\\', text)?;
    (text[end] == b'"').then(|| (&text[..end], &text[end + 1..]))
}

fn skip_space(json: &[u8]) -> &[u8] {
    json.trim_ascii_start()
}

fn expect(json: &[u8], byte: u8) -> Result<&[u8], Unusual> {
    skip_space(json).strip_prefix(&[byte]).ok_or(Unusual)
}

fn text(json: &[u8]) -> Result<(&[u8], &[u8]), Unusual> {
    until_quote(expect(json, b'"')?).ok_or(Unusual)
}

fn value(json: &[u8]) -> Result<(Raw<'_>, &[u8]), Unusual> {
    match json.first() {
        Some(b'"') => text(json).map(|(text, rest)| (Raw::Text(text), rest)),
        Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            let end = memchr3(b',', b'}', b' ', json).ok_or(Unusual)?;
            Ok((Raw::Bare(&json[..end]), &json[end..]))
        }
        _ => Err(Unusual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(json: &[u8]) -> Result<Vec<(String, String)>, Unusual> {
        let mut out = vec![];
        members(json, |(object, key), value| {
            let (Raw::Text(value) | Raw::Bare(value)) = value;
            let place = [object.unwrap_or_default(), key].map(String::from_utf8_lossy).join(".");
            out.push((place, String::from_utf8_lossy(value).into()));
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn members_come_in_order_with_any_spacing() {
        let json = br#" { "a" : "x}" , "b":{"c":"{" , "d" :1 } , "n": -1 ,"z":null, "y":{ "x":"" }} "#;
        let pairs = collect(json).unwrap();
        let expected = [(".a", "x}"), ("b.c", "{"), ("b.d", "1"), (".n", "-1"), (".z", "null"), ("y.x", "")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn escapes_arrays_and_broken_json_are_left_to_serde() {
        for json in [
            &br#"{"a":"\n"}"#[..],
            br#"{"a":[1]}"#,
            b"{",
            b"",
            br#"{"a":1"#,
            br#"{"a":1} x"#,
            br#"{"a" 1}"#,
            b"[]",
            br#"{"a":{"b":{"c":1}}}"#,
            br#"{"a":{"b":1}"#,
            br#"{"a":{"b":1}}}"#,
            br#"{"a":{"b":1},}"#,
            br#"{"a":{}}"#,
            br#"{"":{"a":1}"#,
        ] {
            assert_eq!(collect(json), Err(Unusual), "{}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!(number(b"1480"), Ok(1480));
        for wrong in [&b""[..], b"-1", b"1.5", b"9999999999999999999"] {
            assert_eq!(number(wrong), Err(Unusual));
        }
    }
}
