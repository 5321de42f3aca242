//! What hostile bytes must not do to the parsers: each target takes any bytes and panics if a promise is
//! broken. The fuzz targets in `fuzz/` call these with bytes of their own making; the test below with those
//! that are stored.

mod reference;

use std::path::Path;
use std::{fs, str};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::call::conversation::retry_after::retry_after as read_retry_after;
use crate::db::{Cursor, Sort};
use crate::wire::realtime::events;
use crate::wire::scan::{self, Raw};
use crate::wire::twilio::form::Form;
use crate::wire::twilio::frames::{self, Inbound, Mark};
use crate::wire::twilio::number::can_be_caller_id;
use crate::wire::twilio::sid::{CallSid, ConferenceSid, QueueSid, RecordingSid, StreamSid};
use crate::wire::twilio::stream::unmask_text;
use crate::wire::twilio::twiml::{DELIVERY_FRAGMENT, Twiml};

/// Takes any bytes; panics if they break a promise.
pub type Target = fn(&[u8]);

/// The targets, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("twilio_frame", twilio_frame),
    ("mark", mark),
    ("form", form),
    ("twiml", twiml),
    ("realtime_event", realtime_event),
    ("json_scanner", json_scanner),
    ("unmasking", unmasking),
    ("log_query", log_query),
    ("database_url", crate::db::fuzz::fuzz_database_url),
    ("spooled_record", crate::db::fuzz::fuzz_spooled_record),
    ("sid", sid),
    ("retry_after", retry_after),
    ("holes", holes),
];

/// A message of Twilio's media stream: what is read is what a plain reader finds there, whichever path was
/// taken. Audio is a part of the message and never longer.
fn twilio_frame(data: &[u8]) {
    let read = Inbound::parse(data);
    if let Ok(Inbound::Media(media)) = &read {
        assert!(media.payload.len() <= data.len());
        assert!(frames::payload_bytes(&media.payload) <= data.len() as u64);
        assert!(
            !media.payload.iter().any(|byte| matches!(byte, b'"' | b'\\')),
            "it would end a text of ours"
        );
    }
    let Some(value) = reference::json(data) else { return };
    let text = |place: &str| value.pointer(place).and_then(Value::as_str).map(str::as_bytes);
    match &read {
        Ok(Inbound::Media(media)) => {
            assert_eq!(text("/event"), Some(&b"media"[..]));
            assert_eq!(text("/media/payload"), Some(&*media.payload));
            assert_eq!(text("/streamSid"), Some(&*media.stream_sid));
            let timestamp = text("/media/timestamp").and_then(|text| str::from_utf8(text).ok()?.parse().ok());
            assert_eq!(timestamp, Some(media.timestamp_ms));
        }
        Ok(Inbound::Mark { name }) => assert_eq!(text("/mark/name"), Some(name.as_bytes())),
        Ok(Inbound::Dtmf { digit }) => assert_eq!(text("/dtmf/digit"), Some(digit.to_string().as_bytes())),
        Ok(Inbound::Start(start)) => {
            assert_eq!(text("/start/streamSid"), Some(start.stream_sid.as_str().as_bytes()));
            assert_eq!(text("/start/callSid"), Some(start.call_sid.as_str().as_bytes()));
        }
        Ok(Inbound::Connected | Inbound::Stop | Inbound::Unknown) | Err(_) => {}
    }
    if let Some(longer) = reference::with_unknown_member(data) {
        match (Inbound::parse(&longer), read) {
            (Ok(again), Ok(read)) => assert_eq!(again, read, "a member that is not known makes a difference"),
            (Err(_), Err(_)) => {}
            (Err(_), Ok(Inbound::Media(_))) => {} // members of other events that only the slow path looks at
            (again, read) => panic!("a member that is not known makes a difference: {again:?}, {read:?}"),
        }
    }
}

/// A mark's name. One that is ours means what it says: written again it has the same meaning.
fn mark(data: &[u8]) {
    let Ok(name) = str::from_utf8(data) else { return };
    let Some(mark) = Mark::parse(name) else { return };
    let mut written = BytesMut::new();
    let stream = "MZ00000000000000000000000000000001".parse().expect("a valid SID");
    frames::write_mark(&mut written, stream, mark);
    let start = written.windows(8).position(|bytes| bytes == br#""name":""#).expect("a mark has a name") + 8;
    let length = written[start..].iter().position(|byte| *byte == b'"').expect("the name ends");
    let again = str::from_utf8(&written[start..start + length]).expect("a name is text");
    assert_eq!(Mark::parse(again), Some(mark));
}

/// A form of a webhook: the pairs that a plain reader finds. The first value of a name is looked up, and one
/// that is blank is not told.
fn form(data: &[u8]) {
    let form = Form::parse(data);
    let pairs = reference::form(data);
    assert!(form.iter().eq(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    for (name, _) in form.iter() {
        let first = pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(form.get(name), first);
        assert_eq!(form.told(name), first.filter(|value| !value.trim().is_empty()));
    }
}

/// A text that is said and a URL that is redirected to: they stay what they are, whatever they hold. Only
/// characters that XML may not hold are left out.
fn twiml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let document = Twiml::new().say(text).redirect(text).render();
    let mut reader = quick_xml::Reader::from_str(&document);
    let mut texts = [String::new(), String::new()];
    let (mut depth, mut elements) = (0, 0);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().expect("well-formed XML") {
            Event::Start(_) => {
                depth += 1;
                elements += 1;
            }
            Event::End(_) => depth -= 1,
            Event::Text(part) => texts[elements - 2].push_str(&part.decode().expect("it is UTF-8")),
            Event::GeneralRef(reference) => {
                let name = reference.decode().expect("it is UTF-8");
                let character = reference.resolve_char_ref().expect("a character that there is");
                let named = || quick_xml::escape::resolve_predefined_entity(&name).expect("one of XML's own");
                match character {
                    Some(character) => texts[elements - 2].push(character),
                    None => texts[elements - 2].push_str(named()),
                }
            }
            Event::Eof => break,
            Event::Decl(_) => {}
            other => panic!("the text became markup: {other:?}"),
        }
        assert!((0..=2).contains(&depth), "the text opened an element");
    }
    assert_eq!((depth, elements), (0, 3));
    let is_kept = |c: &char| *c >= ' ' && !matches!(c, '\u{FFFE}' | '\u{FFFF}') || "\t\n\r".contains(*c);
    let kept: String = text.chars().filter(is_kept).collect();
    assert_eq!(texts, [kept.clone(), kept + DELIVERY_FRAGMENT]);
}

/// A message of the Realtime service: what is read is what a plain reader finds there, whichever path was
/// taken, and a field that is not known makes no difference.
fn realtime_event(data: &[u8]) {
    use events::ServerEvent;
    let message = Bytes::copy_from_slice(data);
    let read = events::parse(&message);
    if let Ok(ServerEvent::Audio(delta)) = &read {
        assert!(delta.payload.len() <= data.len());
        assert!(
            !delta.payload.iter().any(|byte| matches!(byte, b'"' | b'\\')),
            "it would end a text of ours"
        );
    }
    let Some(value) = reference::json(data) else { return };
    let text = |place: &str| value.pointer(place).and_then(Value::as_str);
    let or_empty = |place: &str| text(place).unwrap_or_default();
    match &read {
        Ok(ServerEvent::Audio(delta)) => {
            assert_eq!(text("/type"), Some("response.output_audio.delta"));
            assert_eq!(text("/delta").map(str::as_bytes), Some(&*delta.payload));
            assert_eq!(text("/response_id"), Some(delta.response_id));
            assert_eq!(text("/item_id"), Some(delta.item_id));
            let index = value.pointer("/content_index").and_then(Value::as_f64).unwrap_or(0.0);
            let is_index = index >= 0.0 && index.fract() == 0.0 && index <= f64::from(u32::MAX);
            assert_eq!(if is_index { index } else { 0.0 }, f64::from(delta.content_index));
        }
        Ok(ServerEvent::TranscriptDelta { response_id, item_id, delta }) => {
            assert_eq!([response_id, item_id, delta], ["/response_id", "/item_id", "/delta"].map(or_empty));
        }
        Ok(ServerEvent::TranscriptCompleted { item_id, transcript, .. }) => {
            assert_eq!([item_id, transcript], ["/item_id", "/transcript"].map(or_empty));
        }
        Ok(ServerEvent::ResponseDone(response)) => {
            assert_eq!([&response.id, &response.status], ["/response/id", "/response/status"].map(or_empty));
            if let Some(usage) = response.usage {
                let cost = usage.cost_usd("gpt-realtime").expect("the model has a price");
                assert!(cost.is_finite() && cost >= 0.0, "{cost}");
            }
        }
        Ok(ServerEvent::Error(error)) => {
            assert_eq!(error.message.as_deref(), text("/error/message"));
            assert_eq!(error.code(), or_empty("/error/code"));
        }
        _ => {}
    }
    if let Some(longer) = reference::with_unknown_member(data).map(Bytes::from) {
        match (events::parse(&longer), &read) {
            (Ok(again), Ok(read)) => assert_eq!(again, *read, "a field that is not known makes a difference"),
            (Err(_), Err(_)) => {}
            (again, read) => panic!("a field that is not known makes a difference: {again:?}, {read:?}"),
        }
    }
}

/// What the scanner takes for an object is one for serde as well, with the same members. A number is one for
/// both.
fn json_scanner(data: &[u8]) {
    let by_std = || str::from_utf8(data).ok().filter(|text| !text.starts_with('+'))?.parse::<u64>().ok();
    if data.len() <= 18 {
        assert_eq!(scan::number(data).ok(), by_std());
    }
    let mut members = vec![];
    let scanned = scan::members(data, |place, value| {
        members.push((place, value));
        Ok(())
    });
    let Some(value) = reference::json(data).filter(|_| scanned.is_ok()) else { return };
    let count = |value: &Value| value.as_object().map_or(1, |object| object.len());
    let object = value.as_object().expect("the scanner takes objects only");
    assert_eq!(object.values().map(count).sum::<usize>(), members.len());
    for ((object, key), raw) in members {
        let within = object.map_or(Some(&value), |object| value.get(text_of(object)));
        let expected = within.and_then(|within| within.get(text_of(key))).expect("serde finds the member");
        match raw {
            Raw::Text(text) => assert_eq!(expected.as_str(), Some(text_of(text))),
            Raw::Bare(bare) => assert_eq!(reference::json(bare).as_ref(), Some(expected)),
        }
    }
}

/// A part of a text that serde has read.
fn text_of(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("a part of JSON is UTF-8")
}

/// A masked websocket frame: its text is unmasked as the RFC says, byte by byte, and nothing else is touched.
fn unmasking(data: &[u8]) {
    let mut received = data.to_vec();
    let Some(range) = unmask_text(&mut received) else {
        assert_eq!(received, data, "what is left to others is left as it is");
        return;
    };
    let (key, text) = (&data[range.start - 4..range.start], &data[range.clone()]);
    let unmasked = text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let expected: Vec<u8> = [data[..range.start].to_vec(), unmasked, data[range.end..].to_vec()].concat();
    assert_eq!(received, expected);
    let length = match data[1] & 0x7F {
        126 => usize::from(u16::from_be_bytes([data[2], data[3]])),
        length => usize::from(length),
    };
    assert_eq!(range.len(), length);
}

/// A cursor and an order of the call log: what is taken is written as it was read.
fn log_query(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // As it comes, and as the text that it should hold: nobody hits upon base64 by chance.
    for text in [text.to_owned(), BASE64_URL_SAFE_NO_PAD.encode(text)] {
        if let Ok(cursor) = text.parse::<Cursor>() {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
    if let Ok(sort) = text.parse::<Sort>() {
        assert_eq!(sort.to_string(), text);
    }
}

/// An identifier of Twilio's: two letters and 32 digits, of one kind at most, and JSON has it as it is. A
/// number that a call can be made from has only digits.
fn sid(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let digits = text.get(2..).unwrap_or_default();
    let has_digits = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    let json = serde_json::to_string(text).expect("it is a text");
    macro_rules! check {
        ($($kind:ty: $prefix:literal),+) => {$(
            let read = text.parse::<$kind>();
            assert_eq!(read.is_ok(), has_digits && text.starts_with($prefix));
            assert_eq!(read.ok(), serde_json::from_str(&json).ok());
            if let Ok(sid) = read {
                assert_eq!(sid.to_string(), text);
                assert_eq!(serde_json::to_string(&sid).ok().as_ref(), Some(&json));
            }
        )+};
    }
    check!(CallSid: "CA", StreamSid: "MZ", ConferenceSid: "CF", RecordingSid: "RE", QueueSid: "QU");
    if can_be_caller_id(text) {
        assert!((8..=16).contains(&text.len()) && text.starts_with('+'));
        assert!(text[1..].parse::<u64>().is_ok_and(|number| format!("+{number}") == text));
    }
}

/// A text that says when to try again: never longer than a year from now, never from what stands before it,
/// and a time that this test writes is read as it was meant. What is no wait in a header is none.
fn retry_after(data: &[u8]) {
    const YEAR_MS: u64 = 365 * 86_400_000;
    let (numbers, text) = data.split_at(data.len().min(5));
    if let &[hours, minutes, seconds, high, low] = numbers {
        let millis = u64::from(u16::from_be_bytes([high, low])) % 1_000;
        let written = format!("Please try again in {hours}h{minutes}m{seconds}.{millis:03}s.");
        let whole = (u64::from(hours) * 60 + u64::from(minutes)) * 60 + u64::from(seconds);
        let read = read_retry_after(&written).expect("a time is told");
        assert!(read.abs_diff(whole * 1_000 + millis) <= 1, "{written} {read}");
    }
    let Ok(text) = str::from_utf8(text) else { return };
    let wait = read_retry_after(text);
    assert!(wait.is_none_or(|wait| wait <= YEAR_MS));
    assert!(wait.is_none() || text.contains("try again in "));
    if !text.contains("try again in ") {
        let told = read_retry_after(&format!("{text}. Please try again in {text}"));
        assert_eq!(told, read_retry_after(&format!("try again in {text}")), "what stands before it counts");
    }
    crate::wire::realtime::socket::fuzz_retry_after(data);
}

/// Timestamps of the caller's audio, and pauses between them: a hole is filled by whole frames, up to a
/// limit.
fn holes(data: &[u8]) {
    crate::wire::realtime::holes::fuzz(data);
}

/// Plays the stored inputs of these targets.
///
/// # Panics
/// One breaks a promise, or a target has none.
pub fn play(targets: &[(&str, Target)], corpus: &Path) {
    for (name, target) in targets {
        let inputs = fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for input in inputs {
            target(&fs::read(input.expect("an input").path()).expect("an input is read"));
            count += 1;
        }
        assert!(count > 0, "{name} has no inputs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_inputs_break_no_promise() {
        play(TARGETS, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus"));
    }
}
