//! The agent file: TOML that says who answers the telephone.
//!
//! ```toml
//! name = "Harbor Clinic"
//! instructions = "You are the receptionist of Harbor Clinic…"
//! greeting = "Harbor Clinic, you are speaking with an automated assistant…"
//! voice = "cedar"
//! language = "en"
//! emergency_number = "911"
//!
//! [phrases]
//! moment = "One moment please."
//! still_here = "I am still here, one moment."
//! transfer = "I am sorry, I am connecting you to a colleague."
//!
//! [[destinations]]
//! name = "reception"
//! description = "Appointments, and everything that nobody else takes."
//! number = "+14155550101"
//!
//! [urgent]
//! phrases = ["gas leak"]
//!
//! [[tools]]
//! name = "free_slots"
//! description = "Lists the free appointments of a day."
//! url = "https://calendar.example.com/free-slots"
//! secret = "TOOL_SECRET_CALENDAR"
//! parameters = { type = "object", properties = { day = { type = "string", format = "date" } } }
//!
//! [[mcp]]
//! label = "crm"
//! url = "https://mcp.example.com/"
//! ```
//!
//! Each key is optional; one that is not known is a fault, so that a misspelt key does not pass unseen.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use actors::call::destinations::{Destination, everybody};
use actors::call::persona::Persona;
use actors::call::phrases::{Phrase, PhraseTexts};
use actors::call::sentences::primary;
use actors::call::tool_policy::{McpServer, Tool, Toolbox};
use actors::call::urgent::UrgentPhrases;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use self::urgent::Urgent;
use super::environment;
use super::reader::{Faults, Reader};

mod destinations;
mod tools;
mod urgent;

pub(super) use tools::check_hosts as check_tool_hosts;

const KEYS: &str = "name, instructions, greeting, voice, language, emergency_number, [phrases], [[destinations]], \
                    [urgent], [[tools]] or [[mcp]]";
const PHRASE_KEYS: &str = "moment, still_here, transfer or emergency";

/// Who answers, and where that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agent {
    pub persona: Persona,
    /// Each key of the file that can be read, and where it is.
    lines: Vec<(String, String)>,
}

impl Agent {
    /// More is no agent file.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Reads the file at `path` again, which holds `bytes`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &str, bytes: io::Result<Vec<u8>>) -> Result<Self, Faults> {
        let mut reader = Reader::new(&environment);
        let agent = Self::parse(path, bytes, &mut reader);
        reader.finish(agent)
    }

    /// The one without a file.
    pub(super) fn built_in(reader: &Reader<'_>) -> Self {
        let persona = Parts::default().equip(Persona::default(), reader);
        Self { persona, lines: Vec::new() }
    }

    pub(super) fn parse(path: &str, bytes: io::Result<Vec<u8>>, reader: &mut Reader<'_>) -> Self {
        let bytes = match bytes {
            Ok(bytes) if bytes.len() <= Self::MAX_BYTES => bytes,
            Ok(_) => {
                reader.fault("AGENT_FILE", &format!("`{path}` is larger than 1 MiB"), "name a smaller file");
                return Self::default();
            }
            Err(error) => {
                let wrong = format!("`{path}` cannot be read: {error}");
                reader.fault("AGENT_FILE", &wrong, "name a readable file, or none");
                return Self::default();
            }
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self { persona: parse(text, path, reader), lines: lines(text, path) },
            Err(error) => {
                let line = line(&bytes, error.valid_up_to());
                reader.fault(&format!("{path}:{line}"), "is not UTF-8", "save the file as UTF-8");
                Self::default()
            }
        }
    }

    /// What the Realtime service is told, and where that is set.
    pub fn places(&self) -> Vec<(&'static str, String)> {
        let of_variables = [("key", "OPENAI_API_KEY"), ("model", "OPENAI_REALTIME_MODEL")];
        let of_variables = of_variables.map(|(name, variable)| (name, variable.to_owned()));
        let of_agent = ["voice", "instructions", "language"].map(|name| {
            let line = self.lines.iter().find(|(key, _)| key == name).map(|(_, line)| line.clone());
            (name, line.unwrap_or_else(|| format!("AGENT_FILE, `{name}` (the default)")))
        });
        of_variables.into_iter().chain(of_agent).collect()
    }
}

/// What the file at `path` holds, or as much of it as shows that it is too large.
///
/// # Errors
/// The file cannot be read.
pub fn read_agent_file(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(Agent::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the tables of the file say.
#[derive(Default)]
struct Parts {
    phrases: Option<PhraseTexts>,
    urgent: Urgent,
    tools: Vec<Tool>,
    mcp: Vec<McpServer>,
}

impl Parts {
    /// Gives a persona its phrases and tools. What is not given in the persona's language is left out.
    fn equip(self, mut persona: Persona, reader: &Reader<'_>) -> Persona {
        let mut phrases = self.phrases.unwrap_or_else(PhraseTexts::none);
        if primary(&persona.language) == "en" {
            let english = PhraseTexts::english(&persona.emergency_number);
            for phrase in Phrase::ALL {
                if phrases.get(phrase).is_none() {
                    phrases.set(phrase, english.get(phrase).map(str::to_owned));
                }
            }
        }
        persona.phrases = phrases;
        let urgent = UrgentPhrases::new(self.urgent.phrases.iter().map(String::as_str));
        let known = UrgentPhrases::of_language(&persona.language);
        persona.urgent = Arc::new(if self.urgent.built_in { urgent.and(known) } else { urgent });
        let on_duty = reader.optional("HUMAN_FALLBACK_NUMBER");
        let on_duty = on_duty.map(|number| Destination::person_on_duty(&number));
        let everybody = everybody(&persona.destinations, on_duty.as_ref());
        persona.toolbox = Arc::new(Toolbox::new(everybody, self.tools, self.mcp));
        persona
    }
}

/// Reads the file's `text`; `path` names it in faults.
fn parse(text: &str, path: &str, reader: &mut Reader<'_>) -> Persona {
    let place = |offset: usize| place(text, path, offset);
    let mut persona = Persona::default();
    let mut greeting = None;
    let mut parts = Parts::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        reader.fault(&place(offset), &format!("is not TOML ({})", error.message()), "correct it");
    }
    for (key, value) in in_order(table.into_inner()) {
        let offset = key.span().start;
        let field = match key.get_ref().as_ref() {
            "name" => &mut persona.name,
            "instructions" => &mut persona.instructions,
            "greeting" => greeting.get_or_insert_default(),
            "voice" => &mut persona.voice,
            "language" => &mut persona.language,
            "emergency_number" => &mut persona.emergency_number,
            "phrases" if matches!(value.get_ref(), DeValue::Table(_)) => {
                if let DeValue::Table(table) = value.into_inner() {
                    let phrases = parts.phrases.get_or_insert_with(PhraseTexts::none);
                    read_phrases(table, phrases, &place, reader);
                }
                continue;
            }
            "destinations" => {
                persona.destinations = destinations::read(value, &place, reader);
                continue;
            }
            "urgent" => {
                parts.urgent = urgent::read(value, &place, reader);
                continue;
            }
            "tools" => {
                parts.tools = tools::read(value, &place, reader);
                continue;
            }
            "mcp" => {
                parts.mcp = tools::read_mcp(value, &place, reader);
                continue;
            }
            unknown => {
                let wrong = format!("has the unknown key `{unknown}`");
                reader.fault(&place(offset), &wrong, &format!("use {KEYS}"));
                continue;
            }
        };
        match text_of(value.into_inner()) {
            Some(text) => *field = text,
            None => not_a_text(key.get_ref(), &place(offset), reader),
        }
    }
    persona.greeting = greeting.unwrap_or_else(|| {
        if primary(&persona.language) != "en" {
            let wrong = format!("has no `greeting`, and `language` is `{}`", persona.language);
            reader.fault(path, &wrong, "give a greeting in that language; the built-in one is English");
        }
        Persona::english_greeting(&persona.name, &persona.emergency_number)
    });
    parts.equip(persona, reader)
}

fn lines(text: &str, path: &str) -> Vec<(String, String)> {
    let (table, _) = DeTable::parse_recoverable(text);
    let keys = table.get_ref().keys();
    keys.map(|key| (key.get_ref().to_string(), place(text, path, key.span().start))).collect()
}

fn place(text: &str, path: &str, offset: usize) -> String {
    format!("{path}:{}", line(text.as_bytes(), offset))
}

fn line(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

fn read_phrases(
    table: DeTable<'_>,
    phrases: &mut PhraseTexts,
    place: &dyn Fn(usize) -> String,
    reader: &mut Reader<'_>,
) {
    for (key, value) in in_order(table) {
        let (name, place) = (key.get_ref(), place(key.span().start));
        match Phrase::ALL.into_iter().find(|phrase| phrase.as_str() == name) {
            None => {
                let wrong = format!("has the unknown phrase `{name}`");
                reader.fault(&place, &wrong, &format!("use {PHRASE_KEYS}"));
            }
            Some(phrase) => match text_of(value.into_inner()) {
                Some(text) => phrases.set(phrase, Some(text)),
                None => not_a_text(name, &place, reader),
            },
        }
    }
}

/// Entries as they stand in the file.
fn in_order(table: DeTable<'_>) -> Vec<(Spanned<DeString<'_>>, Spanned<DeValue<'_>>)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn text_of(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if !text.trim().is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

/// A list of texts.
fn texts(value: DeValue<'_>, key: &str, place: &str, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let texts = match value {
        DeValue::Array(values) => values.into_iter().map(|value| text_of(value.into_inner())).collect(),
        _ => None,
    };
    if texts.is_none() {
        let wrong = format!("has `{key}` that is no list of texts");
        reader.fault(place, &wrong, "give texts in quotes, such as [\"one\", \"two\"]");
    }
    texts
}

fn not_a_text(key: &str, place: &str, reader: &mut Reader<'_>) {
    let wrong = format!("has a `{key}` that is not a text");
    reader.fault(place, &wrong, "give a text in quotes, or leave the key out");
}

/// A file without a fault says what a plain reader of TOML finds in it; each fault is one printable line,
/// names a line of the file, and repeats no more than the file.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(data: &[u8]) {
    const PATH: &str = "agent.toml";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lookup = |_: &str| None;
    let mut reader = Reader::new(&lookup);
    let persona = parse(text, PATH, &mut reader);
    let last = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
    let is_place = |place: &str| match place.strip_prefix(PATH).map(|line| line.strip_prefix(':')) {
        Some(Some(line)) => line.parse().is_ok_and(|line: usize| (1..=last).contains(&line)),
        whole => whole.is_some() && place == PATH,
    };
    assert!(lines(text, PATH).iter().all(|(_, place)| is_place(place)));
    let plain = text.parse::<toml::Table>();
    match reader.finish(persona) {
        Ok(persona) => {
            let plain = plain.expect("a plain reader takes it, too");
            let told = |key: &str| plain.get(key).and_then(toml::Value::as_str);
            for (key, value) in [
                ("name", &persona.name),
                ("instructions", &persona.instructions),
                ("greeting", &persona.greeting),
                ("voice", &persona.voice),
                ("language", &persona.language),
                ("emergency_number", &persona.emergency_number),
            ] {
                assert_eq!(told(key).unwrap_or(value), value);
                assert!(!value.trim().is_empty(), "{key} is blank");
            }
            for phrase in Phrase::ALL {
                let told = plain.get("phrases").and_then(|phrases| phrases.get(phrase.as_str()));
                let built_in = persona.phrases.get(phrase);
                assert_eq!(told.map_or(built_in, toml::Value::as_str), built_in);
            }
        }
        Err(faults) => {
            let count = faults.iter().count();
            assert!(faults.iter().all(|fault| is_place(&fault.name)));
            let said = faults.to_string();
            assert_eq!(said.lines().count(), 1 + count, "{said}");
            assert!(!said.chars().any(|c| c != '\n' && c.is_control()), "{said:?}");
            assert!(said.len() <= 300 * (1 + count) + 6 * text.len(), "{} bytes", said.len());
            assert!(count <= 4 * (1 + text.len()));
        }
    }
}
