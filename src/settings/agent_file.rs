//! The agent file: TOML that says who answers the telephone.
//!
//! ```toml
//! name = "Harbor Clinic"
//! instructions = "You are the receptionist of Harbor Clinic…"
//! greeting = "Harbor Clinic, you are speaking with an automated assistant…"
//! voice = "cedar"
//! language = "en"
//! emergency_number = "911"
//! ```
//!
//! Each key is optional; one that is not known is a fault, so that a misspelt key does not pass unseen.

use actors::call::persona::Persona;
use toml::de::{DeTable, DeValue};

use super::reader::Reader;

const KEYS: &str = "name, instructions, greeting, voice, language or emergency_number";

/// Reads the file's `text`; `path` names it in faults.
pub(super) fn parse(text: &str, path: &str, reader: &mut Reader<'_>) -> Persona {
    let place = |offset: usize| {
        let line = 1 + text.bytes().take(offset).filter(|&b| b == b'\n').count();
        format!("{path}:{line}")
    };
    let mut persona = Persona::default();
    let mut greeting = None;
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        reader.fault(&place(offset), &format!("is not TOML ({})", error.message()), "correct it");
    }
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let offset = key.span().start;
        let field = match key.get_ref().as_ref() {
            "name" => &mut persona.name,
            "instructions" => &mut persona.instructions,
            "greeting" => greeting.get_or_insert_default(),
            "voice" => &mut persona.voice,
            "language" => &mut persona.language,
            "emergency_number" => &mut persona.emergency_number,
            unknown => {
                let wrong = format!("has the unknown key `{unknown}`");
                reader.fault(&place(offset), &wrong, &format!("use {KEYS}"));
                continue;
            }
        };
        match value.into_inner() {
            DeValue::String(text) if !text.trim().is_empty() => *field = text.into_owned(),
            _ => {
                let wrong = format!("has a `{}` that is not a text", key.get_ref());
                reader.fault(&place(offset), &wrong, "give a text in quotes, or leave the key out");
            }
        }
    }
    persona.greeting = greeting.unwrap_or_else(|| {
        if persona.language != "en" {
            let wrong = format!("has no `greeting`, and `language` is `{}`", persona.language);
            reader.fault(path, &wrong, "give a greeting in that language; the built-in one is English");
        }
        Persona::english_greeting(&persona.name, &persona.emergency_number)
    });
    persona
}
