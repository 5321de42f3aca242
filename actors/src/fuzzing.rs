//! What hostile bytes must not do to the parsers: each target takes any bytes and panics if a promise is broken. The fuzz
//! targets in `fuzz/` call these with bytes of their own making; the test below with those that are stored.

use std::str;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::db::{Cursor, Sort};
use crate::wire::realtime::events;
use crate::wire::scan;
use crate::wire::twilio::form::Form;
use crate::wire::twilio::frames::{self, Inbound, Mark};
use crate::wire::twilio::stream::unmask_text;
use crate::wire::twilio::twiml::Twiml;

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
    ("database_url", crate::db::fuzz_database_url),
    ("spooled_record", crate::db::fuzz_spooled_record),
];

/// A message of Twilio's media stream. Audio is a part of the message and never longer.
fn twilio_frame(data: &[u8]) {
    if let Ok(Inbound::Media(media)) = Inbound::parse(data) {
        assert!(media.payload.len() <= data.len());
        assert!(frames::payload_bytes(&media.payload) <= data.len() as u64);
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

/// A form of a webhook. Every name that is listed can be looked up.
fn form(data: &[u8]) {
    let form = Form::parse(data);
    for (name, _) in form.iter() {
        assert!(form.get(name).is_some());
    }
}

/// A text that is said and a URL that is redirected to: they stay what they are, whatever they hold.
fn twiml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let document = Twiml::new().say(text).redirect(text).render();
    let mut reader = quick_xml::Reader::from_str(&document);
    let mut depth = 0_i32;
    loop {
        match reader.read_event().expect("well-formed XML") {
            quick_xml::events::Event::Start(_) => depth += 1,
            quick_xml::events::Event::End(_) => depth -= 1,
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
        assert!((0..=2).contains(&depth), "the text opened an element");
    }
    assert_eq!(depth, 0);
}

/// A message of the Realtime service.
fn realtime_event(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    if let Ok(events::ServerEvent::Audio(delta)) = events::parse(&message) {
        assert!(delta.payload.len() <= data.len());
    }
}

/// What the scanner takes for an object is one for serde as well, with the same members.
fn json_scanner(data: &[u8]) {
    let mut members = 0;
    let scanned = scan::members(data, |_, _| {
        members += 1;
        Ok(())
    });
    if scanned.is_ok()
        && let Ok(value) = serde_json::from_slice::<Value>(data)
    {
        assert!(value.is_object());
        assert!(members > 0);
    }
}

/// A masked websocket frame: the text stands within what was received.
fn unmasking(data: &[u8]) {
    let mut received = data.to_vec();
    if let Some(range) = unmask_text(&mut received) {
        assert!(range.start <= range.end && range.end <= received.len());
    }
}

/// A cursor and an order of the call log: what is taken is written as it was read.
fn log_query(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    let _known_or_not = text.parse::<Sort>();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_stored_inputs_break_no_promise() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        for (name, target) in TARGETS {
            let inputs = fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut count = 0;
            for input in inputs {
                target(&fs::read(input.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{name} has no inputs");
        }
    }
}
