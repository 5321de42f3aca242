//! Whole numbers of a JSON body. JSON has one kind of number: `30.0` is a whole number too. `null` is none.

use serde::{Deserialize, Deserializer, de::Error};

/// A whole number.
pub fn number<'de, D: Deserializer<'de>, N: TryFrom<i64>>(from: D) -> Result<N, D::Error> {
    /// 2^53: up to here an f64 holds each whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = serde_json::Number::deserialize(from)?;
    let float = || number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
    let whole = number.as_i64().or_else(|| float().map(|number| number as i64));
    whole
        .and_then(|whole| N::try_from(whole).ok())
        .ok_or_else(|| D::Error::custom("not a whole number in its range"))
}

/// A whole number that may be left out.
pub fn optional<'de, D: Deserializer<'de>, N: TryFrom<i64>>(from: D) -> Result<Option<N>, D::Error> {
    number(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Asked {
        #[serde(deserialize_with = "number")]
        size: u32,
        #[serde(default, deserialize_with = "optional")]
        id: Option<i64>,
    }

    fn asked(json: &str) -> Option<Asked> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn a_whole_number_may_have_a_point_and_is_in_its_range() {
        assert_eq!(asked(r#"{"size":74.0}"#), Some(Asked { size: 74, id: None }));
        assert_eq!(
            asked(r#"{"size":7,"id":-9223372036854775808}"#),
            Some(Asked { size: 7, id: Some(i64::MIN) })
        );
        for wrong in ["7.5", "-1", "4294967296", "1e300", "\"7\"", "null", "true"] {
            assert_eq!(asked(&format!(r#"{{"size":{wrong}}}"#)), None, "{wrong}");
        }
        assert_eq!(asked(r#"{"size":7,"id":null}"#), None);
    }
}
