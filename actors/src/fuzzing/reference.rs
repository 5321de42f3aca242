//! Slow and plain readers of the same bytes, which the fast ones are compared with.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value of a JSON text in which no object has a key twice; of one that has, the readers may take either.
pub(super) fn json(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Unique.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// The object that `text` is, with one more member before the others, and such a one as no fast path takes.
pub(super) fn with_unknown_member(text: &[u8]) -> Option<Vec<u8>> {
    let inside = text.trim_ascii_start().strip_prefix(b"{")?;
    let separator: &[u8] = if inside.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
    Some([br#"{"nobody knows this":[null]"#, separator, inside].concat())
}

/// The pairs of a form (URL Standard, "application/x-www-form-urlencoded parsing").
pub(super) fn form(body: &[u8]) -> Vec<(String, String)> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let halves = pairs.map(|pair| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &b""[..]),
    });
    halves.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = behind;
                let digit = |byte: u8| char::from(byte).to_digit(16).expect("it is a digit") as u8;
                digit(*high) * 16 + digit(*low)
            }
            (other, _) => *other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = vec![];
        while let Some(value) = list.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.insert(key, map.next_value_seed(Self)?).is_some() {
                return Err(A::Error::custom("a key that was there before"));
            }
        }
        Ok(Value::Object(members))
    }
}
