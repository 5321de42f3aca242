//! `[[destinations]]` of the agent file: the people a caller can be given to.

use actors::call::destinations::{
    Destination, LEAST_RING_SECONDS, MAX_DESTINATIONS, MOST_RING_SECONDS, Manner, RING_SECONDS,
    can_be_dialled, name_fault,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{in_order, not_a_text, text_of};
use crate::settings::reader::Reader;

const KEYS: &str = "name, description, number, transfer or ring_seconds";
/// The variable with the number that we call from: dialling it would ring us.
const OUR_NUMBER: &str = "TWILIO_FROM_NUMBER";

/// Reads the value of `destinations`. `place` names a line of the file.
pub(super) fn read(
    value: Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Vec<Destination> {
    let start = value.span().start;
    let DeValue::Array(entries) = value.into_inner() else {
        let wrong = "has `destinations` that are no list of tables";
        reader.fault(&place(start), wrong, "begin each destination with [[destinations]]");
        return Vec::new();
    };
    let mut all: Vec<Destination> = Vec::new();
    for entry in entries {
        let place_of_entry = place(entry.span().start);
        let DeValue::Table(table) = entry.into_inner() else {
            let wrong = "has a destination that is no table";
            reader.fault(&place_of_entry, wrong, "begin each destination with [[destinations]]");
            continue;
        };
        let Some(one) = destination(table, &place_of_entry, place, reader) else { continue };
        check(&one, &all, &place_of_entry, reader);
        all.push(one);
    }
    if all.len() > MAX_DESTINATIONS {
        let wrong = format!("has {} destinations", all.len());
        reader.fault(
            &place(start),
            &wrong,
            &format!("keep {MAX_DESTINATIONS}: a caller waits for each in turn"),
        );
    }
    all
}

/// One of them; none if a key that it needs is missing.
fn destination(
    table: DeTable<'_>,
    place_of_entry: &str,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Option<Destination> {
    let (mut name, mut description, mut number) = (None, None, None);
    let (mut manner, mut ring_seconds) = (Manner::default(), RING_SECONDS);
    for (key, value) in in_order(table) {
        let (key, place) = (key.get_ref().as_ref(), place(key.span().start));
        let field = match key {
            "name" => &mut name,
            "description" => &mut description,
            "number" => &mut number,
            "transfer" => {
                manner = text_of(value.into_inner()).and_then(|word| Manner::of_word(&word)).unwrap_or_else(
                    || {
                        reader.fault(&place, "has an unknown `transfer`", "give \"warm\" or \"cold\"");
                        Manner::default()
                    },
                );
                continue;
            }
            "ring_seconds" => {
                ring_seconds = seconds(value.get_ref()).unwrap_or_else(|| {
                    let wanted = format!("give a number from {LEAST_RING_SECONDS} to {MOST_RING_SECONDS}");
                    reader.fault(&place, "has `ring_seconds` out of range", &wanted);
                    RING_SECONDS
                });
                continue;
            }
            unknown => {
                let wrong = format!("has the unknown key `{unknown}` in a destination");
                reader.fault(&place, &wrong, &format!("use {KEYS}"));
                continue;
            }
        };
        match text_of(value.into_inner()) {
            Some(text) => *field = Some(text),
            None => {
                not_a_text(key, &place, reader);
                *field = Some(String::new()); // one fault is enough
            }
        }
    }
    for (key, is_missing) in [("name", name.is_none()), ("number", number.is_none())] {
        if is_missing {
            let wrong = format!("has a destination without `{key}`");
            reader.fault(place_of_entry, &wrong, &format!("give it a `{key}`"));
        }
    }
    Some(Destination {
        name: name?,
        description: description.unwrap_or_default(),
        number: number?,
        manner,
        ring_seconds,
    })
}

/// A number is not repeated in a fault: it is a person's.
fn check(one: &Destination, before: &[Destination], place: &str, reader: &mut Reader<'_>) {
    let Destination { name, number, .. } = one;
    if !name.is_empty() {
        if let Some(wrong) = name_fault(name) {
            reader.fault(place, &format!("has a destination whose name {wrong}"), "give it another name");
        } else if before.iter().any(|other| other.name == *name) {
            reader.fault(place, &format!("has a second destination `{name}`"), "give it another name");
        }
    }
    if number.is_empty() {
        return;
    }
    if !can_be_dialled(number) {
        let wrong = format!("has a `number` of `{name}` that is not a telephone number");
        reader.fault(place, &wrong, "write it in E.164, such as +15005550006");
    } else if reader.optional(OUR_NUMBER).as_deref() == Some(number) {
        let wrong = format!("has a `number` of `{name}` that is our own ({OUR_NUMBER})");
        reader.fault(place, &wrong, "give the number of a person");
    } else if before.iter().any(|other| other.number == *number) {
        reader.fault(place, &format!("has the `number` of `{name}` twice"), "leave one of both out");
    }
}

fn seconds(value: &DeValue<'_>) -> Option<u32> {
    let DeValue::Integer(integer) = value else { return None };
    let seconds = u32::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (LEAST_RING_SECONDS..=MOST_RING_SECONDS).contains(&seconds).then_some(seconds)
}
