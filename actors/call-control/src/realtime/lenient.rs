//! Reads fields that the service may leave out, set to `null` or send as another type. A field that is not
//! what it should be counts as absent, so that it never makes its whole event unreadable.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a field of this type is read from; everything else is ignored.
pub(super) trait Loose<'de>: Sized {
    fn text(_: &str) -> Option<Self> {
        None
    }

    fn count(_: u64) -> Option<Self> {
        None
    }

    fn number(number: f64) -> Option<Self> {
        let is_count = number >= 0.0 && number.fract() == 0.0 && number < 1e15;
        if is_count { Self::count(number as u64) } else { None }
    }

    fn object<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        IgnoredAny.visit_map(map).map(|_| None)
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<Option<Self>, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| None)
    }
}

impl Loose<'_> for String {
    fn text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Loose<'_> for u64 {
    fn count(count: u64) -> Option<Self> {
        Some(count)
    }
}

impl Loose<'_> for u32 {
    fn count(count: u64) -> Option<Self> {
        count.try_into().ok()
    }
}

impl Loose<'_> for f64 {
    fn count(count: u64) -> Option<Self> {
        Some(count as f64)
    }

    fn number(number: f64) -> Option<Self> {
        Some(number)
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for Vec<T> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut whole = vec![];
        while let Some(Element(element)) = list.next_element::<Element<T>>()? {
            whole.extend(element);
        }
        Ok(Some(whole))
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for Box<T> {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        T::object(map).map(|whole| whole.map(Self::new))
    }
}

/// Makes structs readable from objects, by their `Deserialize`.
macro_rules! from_objects {
    ($($name:ty),+) => {$(
        impl<'de> $crate::realtime::lenient::Loose<'de> for $name {
            fn object<A: serde::de::MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                <Self as serde::Deserialize>::deserialize(map).map(Some)
            }
        }
    )+};
}
pub(super) use from_objects;

/// For `deserialize_with`: the field, if it is what it should be.
pub(super) fn optional<'de, D: Deserializer<'de>, T: Loose<'de>>(field: D) -> Result<Option<T>, D::Error> {
    field.deserialize_any(AnyKind(PhantomData))
}

/// For `deserialize_with`: the field, or its default.
pub(super) fn or_default<'de, D, T>(field: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Loose<'de> + Default,
{
    optional(field).map(Option::unwrap_or_default)
}

struct Element<T>(Option<T>);

impl<'de, T: Loose<'de>> Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(element: D) -> Result<Self, D::Error> {
        optional(element).map(Self)
    }
}

struct AnyKind<T>(PhantomData<T>);

impl<'de, T: Loose<'de>> Visitor<'de> for AnyKind<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Self::Value, E> {
        Ok(T::count(count))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(T::number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::list(list)
    }
}

/// `message` with each escape of a lone surrogate replaced by that of U+FFFD; none if it holds no such
/// escape.
pub(super) fn without_lone_surrogates(message: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = message.get(at..at + 6)?.strip_prefix(br"\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut mended, mut at) = (None, 0);
    while let Some(next) = message.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += next;
        match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                mended.get_or_insert_with(|| message.to_vec())[at..at + 6].copy_from_slice(br"\ufffd");
                at += 6;
            }
            _ => at += 2,
        }
    }
    mended
}
