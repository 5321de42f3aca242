//! The JSON messages of a media stream, both ways (reference: Twilio, "Media Streams: messages").

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use super::sid::{CallSid, StreamSid};
use crate::scan::{self, Raw, Unusual};

/// The largest message taken from Twilio; its own are below 1 KiB.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// A message from Twilio.
#[derive(Debug, PartialEq)]
pub enum Inbound<'a> {
    Connected,
    Start(Box<Start>),
    Media(Media<'a>),
    Mark {
        name: String,
    },
    Dtmf {
        digit: char,
    },
    Stop,
    /// An event this program does not know; Twilio may add some.
    Unknown,
}

/// The stream is about to flow: whose it is and what it carries.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    pub stream_sid: StreamSid,
    pub call_sid: CallSid,
    #[serde(default)]
    pub custom_parameters: HashMap<String, String>,
}

/// A piece of the caller's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// Whose stream it says it belongs to.
    pub stream_sid: Cow<'a, [u8]>,
    /// Presentation time in milliseconds since the stream's start.
    pub timestamp_ms: u64,
    /// Base64 of μ-law, as it arrived, without the escapes that JSON may have; it holds neither quotes nor
    /// backslashes.
    pub payload: Cow<'a, [u8]>,
}

impl<'a> Inbound<'a> {
    /// Reads one text message.
    ///
    /// # Errors
    /// What `serde_json` says of a message that is no JSON or lacks what its event needs.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        match usual_media(text) {
            Some(media) => Ok(Self::Media(media)),
            None => Self::parse_unusual(text),
        }
    }

    #[cold]
    fn parse_unusual(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        if let Ok(media) = scan_media(text) {
            return Ok(Self::Media(media));
        }
        let message: Message<'a> = serde_json::from_slice(text)?;
        let missing = serde::de::Error::missing_field;
        Ok(match &*message.event {
            "connected" => Self::Connected,
            "start" => Self::Start(message.start.ok_or_else(|| missing("start"))?),
            "media" => {
                let media = message.media.ok_or_else(|| missing("media"))?;
                let timestamp_ms = media.timestamp.parse().map_err(serde::de::Error::custom)?;
                // What escapes stood for goes into JSON of ours as it is.
                if matches!(media.payload, Cow::Owned(_)) && !media.payload.bytes().all(is_base64) {
                    return Err(serde::de::Error::custom("a payload that is not base64"));
                }
                let stream_sid = message.stream_sid.ok_or_else(|| missing("streamSid"))?;
                Self::Media(Media {
                    stream_sid: bytes(stream_sid),
                    timestamp_ms,
                    payload: bytes(media.payload),
                })
            }
            "mark" => Self::Mark { name: message.mark.ok_or_else(|| missing("mark"))?.name },
            "dtmf" => Self::Dtmf { digit: message.dtmf.ok_or_else(|| missing("dtmf"))?.digit },
            "stop" => Self::Stop,
            _ => Self::Unknown,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    stream_sid: Option<Cow<'a, str>>,
    start: Option<Box<Start>>,
    #[serde(borrow)]
    media: Option<MediaBody<'a>>,
    mark: Option<MarkBody>,
    dtmf: Option<DtmfBody>,
}

#[derive(Deserialize)]
struct MediaBody<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MarkBody {
    name: String,
}

#[derive(Deserialize)]
struct DtmfBody {
    digit: char,
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// A `media` message written as Twilio writes it, whose audio is the caller's: the same members in the same
/// order, without spaces. Any other is left to [`scan_media`].
#[inline]
fn usual_media(text: &[u8]) -> Option<Media<'_>> {
    let (_, text) = scan::leading_number(text.strip_prefix(br#"{"event":"media","sequenceNumber":""#)?)?;
    let (_, text) = scan::leading_number(text.strip_prefix(br#"","media":{"track":"inbound","chunk":""#)?)?;
    let (timestamp_ms, text) = scan::leading_number(text.strip_prefix(br#"","timestamp":""#)?)?;
    let (payload, text) = scan::until_quote(text.strip_prefix(br#"","payload":""#)?)?;
    let (stream_sid, end) = scan::until_quote(text.strip_prefix(br#"},"streamSid":""#)?)?;
    let (stream_sid, payload) = (Cow::Borrowed(stream_sid), Cow::Borrowed(payload));
    (end == b"}").then_some(Media { stream_sid, timestamp_ms, payload })
}

fn scan_media(text: &[u8]) -> Result<Media<'_>, Unusual> {
    let (mut is_media, mut stream_sid, mut timestamp, mut payload) = (false, None, None, None);
    scan::members(text, |place, value| {
        match place {
            (None, b"event") if value == Raw::Text(b"media") => is_media = true,
            (None, b"event") => return Err(Unusual),
            (None, b"streamSid") => stream_sid = Some(value.text()?),
            (Some(b"media"), b"timestamp") => timestamp = Some(scan::number(value.text()?)?),
            (Some(b"media"), b"payload") => payload = Some(value.text()?),
            _ => {}
        }
        Ok(())
    })?;
    if !is_media {
        return Err(Unusual);
    }
    Ok(Media {
        stream_sid: Cow::Borrowed(stream_sid.ok_or(Unusual)?),
        timestamp_ms: timestamp.ok_or(Unusual)?,
        payload: Cow::Borrowed(payload.ok_or(Unusual)?),
    })
}

/// Milliseconds of μ-law that a base64 payload holds (8 bytes a millisecond).
pub fn payload_ms(payload: &[u8]) -> u64 {
    payload_bytes(payload) / 8
}

/// Bytes that a base64 payload decodes to.
pub fn payload_bytes(payload: &[u8]) -> u64 {
    let padding = payload.iter().rev().take_while(|byte| **byte == b'=').take(2).count();
    (payload.len() / 4 * 3).saturating_sub(padding) as u64
}

/// Where the caller's ear is asked to report: sent as a mark's name, echoed when playback has come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Raised at every clear: Twilio also echoes marks that were cleared, and those were not heard.
    pub generation: u32,
    /// The agent's turn.
    pub ordinal: u32,
    /// Milliseconds of that turn's audio sent before the mark.
    pub sent_ms: u32,
}

impl Mark {
    /// Reads a name that [`write_mark`] wrote; none for a mark that is not ours.
    pub fn parse(name: &str) -> Option<Self> {
        let (generation, rest) = name.strip_prefix('g')?.split_once(':')?;
        let (ordinal, sent_ms) = rest.split_once(':')?;
        Some(Self {
            generation: generation.parse().ok()?,
            ordinal: ordinal.parse().ok()?,
            sent_ms: sent_ms.parse().ok()?,
        })
    }
}

/// Appends a `media` message: `payload` is base64 and goes out as it came.
pub fn write_media(out: &mut BytesMut, stream: StreamSid, payload: &[u8]) {
    const OPEN: &[u8] = br#"{"event":"media","streamSid":""#;
    const MIDDLE: &[u8] = br#"","media":{"payload":""#;
    const CLOSE: &[u8] = br#""}}"#;
    let length = OPEN.len() + 34 + MIDDLE.len() + payload.len() + CLOSE.len();
    write_text_header(out, length);
    for part in [OPEN, stream.as_str().as_bytes(), MIDDLE, payload, CLOSE] {
        out.extend_from_slice(part);
    }
}

/// Appends a `mark` message.
pub fn write_mark(out: &mut BytesMut, stream: StreamSid, mark: Mark) {
    write_short(
        out,
        format_args!(
            r#"{{"event":"mark","streamSid":"{stream}","mark":{{"name":"g{}:{}:{}"}}}}"#,
            mark.generation, mark.ordinal, mark.sent_ms
        ),
    );
}

/// Appends a `clear` message: Twilio forgets what it has not played yet.
pub fn write_clear(out: &mut BytesMut, stream: StreamSid) {
    write_short(out, format_args!(r#"{{"event":"clear","streamSid":"{stream}"}}"#));
}

/// A message of 126 to 65,535 bytes or fewer, whose length is known only once it is written.
fn write_short(out: &mut BytesMut, message: std::fmt::Arguments<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0x81, 126, 0, 0]);
    write!(out, "{message}").expect("writing to memory does not fail");
    let length = out.len() - start - 4;
    if length < 126 {
        // RFC 6455 section 5.2 wants the shortest form of a length.
        out.copy_within(start + 4.., start + 2);
        out.truncate(start + 2 + length);
        out[start + 1] = length as u8;
    } else {
        out[start + 2..start + 4].copy_from_slice(&(length as u16).to_be_bytes());
    }
}

/// An unmasked, final text frame's header (RFC 6455 section 5.2): a server does not mask.
fn write_text_header(out: &mut BytesMut, length: usize) {
    out.reserve(length + 10);
    out.put_u8(0x81);
    match length {
        0..=125 => out.put_u8(length as u8),
        126..=0xFFFF => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "MZ00000000000000000000000000000001";

    fn media(text: &str) -> Option<(u64, String)> {
        match Inbound::parse(text.as_bytes()) {
            Ok(Inbound::Media(media)) => {
                Some((media.timestamp_ms, String::from_utf8_lossy(&media.payload).into()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_media_frame_is_read_in_any_key_order() {
        let usual = format!(
            r#"{{"event":"media","sequenceNumber":"3","media":{{"track":"inbound","chunk":"2","timestamp":"84","payload":"//8="}},"streamSid":"{STREAM}"}}"#
        );
        let turned = format!(
            r#"{{ "streamSid":"{STREAM}", "media":{{"payload":"//8=","timestamp":"84"}}, "event":"media" }}"#
        );
        assert!(usual_media(usual.as_bytes()).is_some() && usual_media(turned.as_bytes()).is_none());
        assert_eq!(usual_media(usual.as_bytes()), scan_media(usual.as_bytes()).ok());
        assert!(scan_media(turned.as_bytes()).is_ok());
        assert_eq!(media(&usual), Some((84, "//8=".into())));
        assert_eq!(media(&turned), Some((84, "//8=".into())));
    }

    #[test]
    fn a_media_frame_that_is_nearly_as_usual_is_left_to_others() {
        let usual = format!(
            r#"{{"event":"media","sequenceNumber":"3","media":{{"track":"inbound","chunk":"2","timestamp":"84","payload":"//8="}},"streamSid":"{STREAM}"}}"#
        );
        for (part, other) in [
            (r#""inbound""#, r#""outbound""#),
            (r#""84""#, r#""-84""#),
            (r#""84""#, r#""""#),
            ("//8=", r"\/8="),
            (STREAM, r"\u004dZ"),
            ("}", " }"),
            ("},", r#","more":1},"#),
        ] {
            let nearly = usual.replace(part, other);
            assert_eq!(usual_media(nearly.as_bytes()), None, "{nearly}");
        }
        for end in 0..usual.len() {
            assert_eq!(usual_media(&usual.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_the_scan_does_not_know_is_read_by_serde() {
        let extra = format!(
            r#"{{"event":"media","media":{{"timestamp":"84","payload":"//8=","more":[1]}},"streamSid":"{STREAM}"}}"#
        );
        assert!(scan_media(extra.as_bytes()).is_err());
        assert_eq!(media(&extra), Some((84, "//8=".into())));
    }

    #[test]
    fn every_recorded_frame_from_twilio_is_understood() {
        let frames = include_str!("../../tests/fixtures/twilio-frames.jsonl");
        let from_twilio = |line: &&str| line.contains("sequenceNumber") || line.contains("connected");
        let kinds: Vec<_> = frames
            .lines()
            .filter(from_twilio)
            .map(|line| match Inbound::parse(line.as_bytes()).unwrap() {
                Inbound::Connected => "connected",
                Inbound::Start(start) => {
                    assert_eq!(start.custom_parameters["tenant"], "harbor");
                    "start"
                }
                Inbound::Media(media) => {
                    assert_eq!(payload_ms(&media.payload), 20);
                    "media"
                }
                Inbound::Mark { .. } => "mark",
                Inbound::Dtmf { digit: '1' } => "dtmf",
                Inbound::Stop => "stop",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["connected", "start", "media", "media", "mark", "dtmf", "mark", "stop"]);
    }

    #[test]
    fn escapes_are_read_wherever_json_has_them() {
        let escaped = format!(
            r#"{{"event":"m\u0065dia","media":{{"timestamp":"8\u0034","payload":"\/\/8\u003d"}},"streamSid":"{}"}}"#,
            STREAM.replace('M', r"\u004d")
        );
        let Ok(Inbound::Media(media)) = Inbound::parse(escaped.as_bytes()) else { panic!("{escaped}") };
        assert_eq!((&*media.payload, media.timestamp_ms), (&b"//8="[..], 84));
        assert_eq!(*media.stream_sid, *STREAM.as_bytes());
        let stop = Inbound::parse(br#"{"event":"st\u006fp"}"#).unwrap();
        assert_eq!(stop, Inbound::Stop);
    }

    #[test]
    fn an_escape_in_audio_cannot_end_the_string_that_it_is_put_into() {
        for payload in [r#"\/\""#, r"\/\", r"\/\n", r"\/\u0000", r"\/é"] {
            let message = format!(
                r#"{{"event":"media","media":{{"timestamp":"84","payload":"{payload}"}},"streamSid":"{STREAM}"}}"#
            );
            assert!(Inbound::parse(message.as_bytes()).is_err(), "{payload}");
        }
    }

    #[test]
    fn malformed_messages_are_errors_and_unknown_events_are_not() {
        for wrong in ["", "{", "[]", r#"{"event":"media"}"#, r#"{"event":"start","start":{}}"#, r#"{"no":1}"#]
        {
            assert!(Inbound::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(Inbound::parse(br#"{"event":"new"}"#).unwrap(), Inbound::Unknown);
    }

    #[test]
    fn a_payload_knows_its_length() {
        assert_eq!(payload_bytes(b"//8="), 2);
        assert_eq!(payload_bytes(b"/w=="), 1);
        assert_eq!(payload_bytes(b"////"), 3);
        assert_eq!(payload_bytes(b""), 0);
    }
}
