//! Reads the members of a flat JSON object without building anything: the fast path of the two audio messages.
//!
//! It understands what both peers send fifty times a second: objects whose keys and texts have no escapes. Whatever
//! else it meets ends the scan with [`Unusual`], and the caller hands the message to `serde_json`, which then also has
//! the last word on what is malformed.

use memchr::memchr2;

/// Not the plain shape this scanner knows; it may still be valid JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual;

/// A member's value, as it stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A text without escapes, without its quotes.
    Text(&'a [u8]),
    /// An object, braces included.
    Object(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Bare(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// The text, if it is one.
    pub fn text(self) -> Result<&'a [u8], Unusual> {
        if let Self::Text(text) = self { Ok(text) } else { Err(Unusual) }
    }
}

/// Calls `member` with each key and value of the object that is `json`, in order.
pub fn members<'a>(
    json: &'a [u8],
    mut member: impl FnMut(&'a [u8], Raw<'a>) -> Result<(), Unusual>,
) -> Result<(), Unusual> {
    let mut rest = expect(json, b'{')?;
    loop {
        let (key, after_key) = text(rest)?;
        let (value, after_value) = value(expect(after_key, b':')?)?;
        member(key, value)?;
        match skip_space(after_value).split_first() {
            Some((b',', more)) => rest = more,
            Some((b'}', end)) if skip_space(end).is_empty() => return Ok(()),
            _ => return Err(Unusual),
        }
    }
}

/// The number that `digits` spell: Twilio writes its numbers as texts.
pub fn number(digits: &[u8]) -> Result<u64, Unusual> {
    if digits.is_empty() || digits.len() > 18 {
        return Err(Unusual);
    }
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + u64::from(digit - b'0')),
        _ => Err(Unusual),
    })
}

fn skip_space(json: &[u8]) -> &[u8] {
    json.trim_ascii_start()
}

fn expect(json: &[u8], byte: u8) -> Result<&[u8], Unusual> {
    skip_space(json).strip_prefix(&[byte]).ok_or(Unusual)
}

fn text(json: &[u8]) -> Result<(&[u8], &[u8]), Unusual> {
    let inside = expect(json, b'"')?;
    let end = memchr2(b'"', b'\\', inside).ok_or(Unusual)?;
    if inside[end] == b'"' { Ok((&inside[..end], &inside[end + 1..])) } else { Err(Unusual) }
}

fn value(json: &[u8]) -> Result<(Raw<'_>, &[u8]), Unusual> {
    let json = skip_space(json);
    match json.first() {
        Some(b'"') => text(json).map(|(text, rest)| (Raw::Text(text), rest)),
        Some(b'{') => {
            let end = object_end(json)?;
            Ok((Raw::Object(&json[..end]), &json[end..]))
        }
        Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            let end = memchr::memchr3(b',', b'}', b' ', json).ok_or(Unusual)?;
            Ok((Raw::Bare(&json[..end]), &json[end..]))
        }
        _ => Err(Unusual),
    }
}

/// Where the object that opens `json` ends. Texts inside may hold braces, so they are stepped over.
fn object_end(json: &[u8]) -> Result<usize, Unusual> {
    let (mut depth, mut at) = (0usize, 0usize);
    loop {
        let next = memchr::memchr3(b'{', b'}', b'"', &json[at..]).ok_or(Unusual)?;
        at += next + 1;
        match json[at - 1] {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Ok(at),
            b'}' => depth -= 1,
            _ => {
                let end = memchr2(b'"', b'\\', &json[at..]).ok_or(Unusual)?;
                if json[at + end] == b'\\' {
                    return Err(Unusual);
                }
                at += end + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(json: &[u8]) -> Result<Vec<(String, String)>, Unusual> {
        let mut out = vec![];
        members(json, |key, value| {
            let value = match value {
                Raw::Text(v) | Raw::Object(v) | Raw::Bare(v) => v,
            };
            out.push((String::from_utf8_lossy(key).into(), String::from_utf8_lossy(value).into()));
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn members_come_in_order_with_any_spacing() {
        let json = br#" { "a" : "x}" , "b":{"c":"{","d":{}}, "n": -1 ,"z":null} "#;
        let pairs = collect(json).unwrap();
        let expected = [("a", "x}"), ("b", r#"{"c":"{","d":{}}"#), ("n", "-1"), ("z", "null")];
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
