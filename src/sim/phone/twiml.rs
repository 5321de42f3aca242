//! TwiML as Twilio reads it: a document of bytes becomes the verbs to follow and the faults to report
//! (reference: "TwiML for Programmable Voice" and the error dictionary).

use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

mod schema;

use schema::attributes;

/// A fault in a document, by Twilio's error code: 12100 cannot be parsed, 12200 breaks the schema (the call
/// goes on), 12300 wrong content type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Fault {
    pub code: u32,
    pub detail: String,
}

/// One verb to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    Say(String),
    Play(String),
    Pause(Duration),
    Redirect(Target),
    Hangup,
    Reject {
        busy: bool,
    },
    Connect {
        action: Option<Target>,
        stream: Stream,
    },
    /// Rings so long at most.
    Dial {
        action: Option<Target>,
        timeout: Duration,
        to: Dialled,
    },
    Gather(Gather),
    Record {
        action: Option<Target>,
        recorder: Recorder,
    },
}

/// A URL as it stands in the document, possibly relative, and how to request it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// `<Connect><Stream>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub url: String,
    pub name: Option<String>,
    pub status_callback: Option<Target>,
    pub parameters: Vec<(String, String)>,
}

/// Whom a `<Dial>` is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialled {
    Number(Number),
    Conference(Room),
}

/// `<Number>`, or the text of a `<Dial>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Number {
    pub number: String,
    /// What whoever answers follows before both are connected.
    pub whisper: Option<Target>,
    /// `Dial@callerId`.
    pub caller_id: Option<String>,
}

/// `<Gather>` of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    pub action: Option<Target>,
    pub digits: usize,
    pub timeout: Duration,
    /// The action is asked without a key, too.
    pub asks_without_key: bool,
    /// `<Say>`, `<Play>` and `<Pause>`.
    pub heard: Vec<Verb>,
}

/// `<Conference>`, as far as the network has conferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub name: String,
    /// Unique among the participants.
    pub label: Option<String>,
    pub muted: bool,
    pub start_on_enter: bool,
    pub end_on_exit: bool,
    /// What is heard alone; music by default.
    pub wait: Option<Target>,
    /// Of the first participant's: who is told what happens, and of what.
    pub callback: Option<(Target, Vec<String>)>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            name: String::new(),
            label: None,
            muted: false,
            start_on_enter: true,
            end_on_exit: false,
            wait: None,
            callback: None,
        }
    }
}

/// `<Record>`, but for its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorder {
    pub max_length: Duration,
    /// So much silence ends it.
    pub timeout: Duration,
    /// Keys that end it.
    pub finish_on: String,
    pub beeps: bool,
    pub callback: Option<Target>,
    /// Of what `callback` is told.
    pub events: Vec<String>,
}

/// How long a dialled number rings unless the document says so.
pub const RINGS: Duration = Duration::from_secs(30);
/// Content types that are read as TwiML.
const CONTENT_TYPES: [&str; 3] = ["text/xml", "application/xml", "text/html"];
/// Name and value of a `<Parameter>` together stay below this.
const PARAMETER_CHARS: usize = 500;

/// Reads an answer to a voice webhook: its verbs in order, and what in it breaks the schema without ending
/// the call.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<(Vec<Verb>, Vec<Fault>), Fault> {
    let mime =
        content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if !mime.as_deref().is_some_and(|mime| CONTENT_TYPES.contains(&mime)) {
        return Err(Fault { code: 12300, detail: format!("content type {content_type:?} is not TwiML") });
    }
    let text = std::str::from_utf8(body).map_err(|error| parse_fault(format!("not UTF-8: {error}")))?;
    let root = Element::parse(text)?;
    if root.name != "Response" {
        return Err(parse_fault(format!("the root is <{}>, not <Response>", root.name)));
    }
    let mut faults = Vec::new();
    root.check(&mut faults);
    let verbs = root.children.iter().filter_map(|element| element.verb(&mut faults)).collect::<Vec<_>>();
    if verbs.iter().skip(1).any(|verb| matches!(verb, Verb::Reject { .. })) {
        faults.push(schema_fault("<Reject> works as the first verb only".into()));
    }
    Ok((verbs, faults))
}

fn parse_fault(detail: String) -> Fault {
    Fault { code: 12100, detail }
}

fn schema_fault(detail: String) -> Fault {
    Fault { code: 12200, detail }
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn parse(text: &str) -> Result<Self, Fault> {
        let bad = |error: &dyn std::fmt::Display| parse_fault(error.to_string());
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            let event = reader.read_event().map_err(|error| bad(&error))?;
            let top = open.last_mut().expect("the document itself is never closed");
            match event {
                Event::Start(start) => open.push(Self::started(&start)?),
                Event::Empty(start) => top.children.push(Self::started(&start)?),
                Event::End(_) => {
                    let closed = open.pop().expect("the reader matches ends to starts");
                    open.last_mut()
                        .ok_or_else(|| parse_fault("an end without a start".into()))?
                        .children
                        .push(closed);
                }
                Event::Text(text) => top.text.push_str(&text.decode().map_err(|error| bad(&error))?),
                Event::CData(text) => top.text.push_str(&text.decode().map_err(|error| bad(&error))?),
                Event::GeneralRef(name) => {
                    if let Some(char) = name.resolve_char_ref().map_err(|error| bad(&error))? {
                        top.text.push(char);
                    } else {
                        let name = name.decode().map_err(|error| bad(&error))?;
                        let known = quick_xml::escape::resolve_predefined_entity(&name);
                        top.text
                            .push_str(known.ok_or_else(|| parse_fault(format!("unknown entity &{name};")))?);
                    }
                }
                Event::Eof => break,
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(parse_fault("a document type".into())),
            }
        }
        let mut document = open.pop().expect("the document itself is never closed");
        match (open.is_empty(), document.children.len(), document.text.trim()) {
            (true, 1, "") => Ok(document.children.remove(0)),
            (false, ..) => Err(parse_fault(format!("<{}> is not closed", document.name))),
            _ => Err(parse_fault("not one root element".into())),
        }
    }

    fn started(start: &BytesStart<'_>) -> Result<Self, Fault> {
        let mut element =
            Self { name: String::from_utf8_lossy(start.name().as_ref()).into_owned(), ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| parse_fault(error.to_string()))?;
            let value = attribute.unescape_value().map_err(|error| parse_fault(error.to_string()))?;
            let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
            element.attributes.push((name, value.into_owned()));
        }
        Ok(element)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reports unknown elements and attributes, here and below.
    fn check(&self, faults: &mut Vec<Fault>) {
        let Some(known) = attributes(&self.name) else {
            return faults.push(schema_fault(format!("unknown element <{}>", self.name)));
        };
        for (name, _) in &self.attributes {
            if !known.contains(&name.as_str()) {
                faults.push(schema_fault(format!("unknown attribute {}@{name}", self.name)));
            }
        }
        self.children.iter().for_each(|child| child.check(faults));
    }

    fn target(&self, url: &str, method: &str) -> Option<Target> {
        let get = self.get(method).is_some_and(|name| name.eq_ignore_ascii_case("get"));
        let method = if get { Method::Get } else { Method::Post };
        self.get(url).map(|url| Target { url: url.to_owned(), method })
    }

    fn verb(&self, faults: &mut Vec<Fault>) -> Option<Verb> {
        let text = || self.text.trim().to_owned();
        let action = || self.target("action", "method");
        let child = |name: &str| self.children.iter().find(|child| child.name == name);
        let verb = match self.name.as_str() {
            "Say" => Verb::Say(text()),
            "Play" => Verb::Play(text()),
            "Pause" => {
                let seconds = self.get("length").map_or(Ok(1), str::parse).unwrap_or(1);
                Verb::Pause(Duration::from_secs(seconds))
            }
            "Redirect" => {
                let get = self.get("method").is_some_and(|name| name.eq_ignore_ascii_case("get"));
                Verb::Redirect(Target { url: text(), method: if get { Method::Get } else { Method::Post } })
            }
            "Hangup" => Verb::Hangup,
            "Reject" => Verb::Reject { busy: self.get("reason") == Some("busy") },
            "Connect" => {
                let stream = child("Stream").and_then(|stream| stream.stream(faults));
                if stream.is_none() {
                    faults.push(schema_fault("<Connect> without a <Stream url>".into()));
                }
                Verb::Connect { action: action(), stream: stream? }
            }
            "Dial" => {
                let text_of = |element: &Self| element.text.trim().to_owned();
                let to = child("Conference").map(|conference| Dialled::Conference(conference.room()));
                let to = to.unwrap_or_else(|| {
                    let number = child("Number").map_or_else(text, text_of);
                    let whisper = child("Number").and_then(|number| number.target("url", "method"));
                    let caller_id = self.get("callerId").map(str::to_owned);
                    Dialled::Number(Number { number, whisper, caller_id })
                });
                Verb::Dial { action: action(), timeout: self.seconds("timeout", RINGS, faults), to }
            }
            "Gather" => Verb::Gather(self.gather(faults)),
            "Record" => Verb::Record { action: action(), recorder: self.recorder(faults) },
            _ => return None,
        };
        Some(verb)
    }

    /// A whole number of seconds above 0.
    fn seconds(&self, attribute: &str, default: Duration, faults: &mut Vec<Fault>) -> Duration {
        let Some(text) = self.get(attribute) else { return default };
        match text.parse() {
            Ok(seconds @ 1..) => Duration::from_secs(seconds),
            _ => {
                faults.push(schema_fault(format!("{}@{attribute} is {text:?}", self.name)));
                default
            }
        }
    }

    fn recorder(&self, faults: &mut Vec<Fault>) -> Recorder {
        let finish_on = self.get("finishOnKey").unwrap_or("1234567890*#").to_owned();
        if !finish_on.chars().all(|key| matches!(key, '0'..='9' | '*' | '#')) {
            faults.push(schema_fault(format!("Record@finishOnKey is {finish_on:?}")));
        }
        let events = self.get("recordingStatusCallbackEvent").unwrap_or("completed");
        let events: Vec<_> = events.split_whitespace().map(str::to_owned).collect();
        if !events.iter().all(|event| ["in-progress", "completed", "absent"].contains(&event.as_str())) {
            faults.push(schema_fault(format!("Record@recordingStatusCallbackEvent is {events:?}")));
        }
        Recorder {
            max_length: self.seconds("maxLength", Duration::from_secs(3600), faults),
            timeout: self.seconds("timeout", Duration::from_secs(5), faults),
            finish_on,
            beeps: self.get("playBeep") != Some("false"),
            callback: self.target("recordingStatusCallback", "recordingStatusCallbackMethod"),
            events,
        }
    }

    fn gather(&self, faults: &mut Vec<Fault>) -> Gather {
        let input = self.get("input").unwrap_or("dtmf");
        if !input.split(' ').any(|kind| kind == "dtmf") {
            faults.push(schema_fault(format!("Gather@input is {input:?}, and the network hears keys only")));
        }
        let digits = self.get("numDigits").map_or(Ok(usize::MAX), str::parse);
        let digits = digits.ok().filter(|digits| *digits > 0).unwrap_or_else(|| {
            faults.push(schema_fault("Gather@numDigits is no number above 0".into()));
            1
        });
        let heard: Vec<_> = self.children.iter().filter_map(|child| child.verb(faults)).collect();
        if heard.iter().any(|verb| !matches!(verb, Verb::Say(_) | Verb::Play(_) | Verb::Pause(_))) {
            faults.push(schema_fault("<Gather> holds more than <Say>, <Play> and <Pause>".into()));
        }
        Gather {
            action: self.target("action", "method"),
            digits,
            timeout: self.seconds("timeout", Duration::from_secs(5), faults),
            asks_without_key: self.get("actionOnEmptyResult") == Some("true"),
            heard,
        }
    }

    fn room(&self) -> Room {
        let flag = |name: &str, default| self.get(name).map_or(default, |value| value == "true");
        Room {
            name: self.text.trim().to_owned(),
            label: self.get("participantLabel").map(str::to_owned),
            muted: flag("muted", false),
            start_on_enter: flag("startConferenceOnEnter", true),
            end_on_exit: flag("endConferenceOnExit", false),
            wait: self.target("waitUrl", "waitMethod").filter(|target| !target.url.is_empty()),
            callback: self.target("statusCallback", "statusCallbackMethod").map(|target| {
                let events = self.get("statusCallbackEvent").unwrap_or_default();
                (target, events.split_whitespace().map(str::to_owned).collect())
            }),
        }
    }

    fn stream(&self, faults: &mut Vec<Fault>) -> Option<Stream> {
        let mut parameters = Vec::new();
        for parameter in self.children.iter().filter(|child| child.name == "Parameter") {
            let (name, value) =
                (parameter.get("name").unwrap_or_default(), parameter.get("value").unwrap_or_default());
            if name.is_empty() || name.chars().count() + value.chars().count() >= PARAMETER_CHARS {
                faults.push(schema_fault(format!("<Parameter> {name:?} has no name or is too long")));
            }
            parameters.push((name.to_owned(), value.to_owned()));
        }
        Some(Stream {
            url: self.get("url").filter(|url| !url.is_empty())?.to_owned(),
            name: self.get("name").map(str::to_owned),
            status_callback: self.target("statusCallback", "statusCallbackMethod"),
            parameters,
        })
    }
}

#[cfg(test)]
mod tests;
