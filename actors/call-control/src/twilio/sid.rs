//! Twilio's string identifiers: two letters and 32 hexadecimal digits (reference: Twilio's REST API, "String
//! Identifier").

use std::fmt;
use std::str::FromStr;

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}` followed by 32 hexadecimal digits")]
pub struct BadSid {
    prefix: &'static str,
}

macro_rules! sid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 34]);

        impl $name {
            /// The identifier as Twilio writes it.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("a parsed identifier is ASCII")
            }
        }

        impl FromStr for $name {
            type Err = BadSid;

            fn from_str(text: &str) -> Result<Self, BadSid> {
                let bad = BadSid { prefix: $prefix };
                let bytes: [u8; 34] = text.as_bytes().try_into().map_err(|_| bad)?;
                let digits = bytes.strip_prefix($prefix.as_bytes()).ok_or(bad)?;
                if digits.iter().all(u8::is_ascii_hexdigit) { Ok(Self(bytes)) } else { Err(bad) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

sid!(
    /// One leg of a telephone call; the key of everything that concerns it.
    CallSid,
    "CA"
);
sid!(
    /// One media stream of a call.
    StreamSid,
    "MZ"
);
sid!(
    /// One conference, from its first participant to its last.
    ConferenceSid,
    "CF"
);
sid!(
    /// One recording of a call or a conference.
    RecordingSid,
    "RE"
);
sid!(
    /// One queue of waiting calls.
    QueueSid,
    "QU"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_its_prefix_and_32_hexadecimal_digits() {
        let text = "CA00000000000000000000000000000001";
        assert_eq!(text.parse::<CallSid>().unwrap().to_string(), text);
        for wrong in ["", "CA1", "MZ00000000000000000000000000000001", "CA0000000000000000000000000000000g"] {
            assert!(wrong.parse::<CallSid>().is_err(), "{wrong}");
        }
    }
}
