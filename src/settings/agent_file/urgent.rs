//! `[urgent]` of the agent file: what a caller says that is urgent whatever the agent makes of it.

use toml::Spanned;
use toml::de::DeValue;

use super::{in_order, texts};
use crate::settings::reader::Reader;

const KEYS: &str = "phrases or built_in";

/// What the file says of urgent phrases.
pub(super) struct Urgent {
    pub(super) phrases: Vec<String>,
    /// Those of the persona's language count as well.
    pub(super) built_in: bool,
}

impl Default for Urgent {
    fn default() -> Self {
        Self { phrases: Vec::new(), built_in: true }
    }
}

/// Reads the value of `urgent`. `place` names a line of the file.
pub(super) fn read(
    value: Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) -> Urgent {
    let mut urgent = Urgent::default();
    let start = value.span().start;
    let DeValue::Table(table) = value.into_inner() else {
        reader.fault(&place(start), "has `urgent` that is no table", "begin it with [urgent]");
        return urgent;
    };
    for (key, value) in in_order(table) {
        let (key, place) = (key.get_ref().as_ref(), place(key.span().start));
        match (key, value.into_inner()) {
            ("phrases", value) => urgent.phrases = texts(value, key, &place, reader).unwrap_or_default(),
            ("built_in", DeValue::Boolean(flag)) => urgent.built_in = flag,
            ("built_in", _) => {
                reader.fault(&place, "has `built_in` that is neither true nor false", "give true or false");
            }
            (unknown, _) => {
                let wrong = format!("has the unknown key `{unknown}` in [urgent]");
                reader.fault(&place, &wrong, &format!("use {KEYS}"));
            }
        }
    }
    urgent
}
