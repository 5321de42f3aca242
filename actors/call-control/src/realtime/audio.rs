//! The service's audio: the one event that comes many times a second. Its base64 is handed on as a slice of
//! the message.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::events::ServerEvent;
use super::lenient::or_default;
use crate::scan::{self, Raw, Unusual};

/// A piece of the agent's voice.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioDelta<'a> {
    pub response_id: &'a str,
    pub item_id: &'a str,
    pub content_index: u32,
    /// Base64 of μ-law, a slice of the message.
    pub payload: Bytes,
}

#[derive(Deserialize)]
struct Audio<'a> {
    response_id: &'a str,
    item_id: &'a str,
    #[serde(default, deserialize_with = "or_default")]
    content_index: u32,
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

/// An audio delta that the scan left: its payload goes into Twilio's JSON as it is, so one that had escapes
/// is checked.
pub(super) fn read(message: &Bytes) -> Result<ServerEvent<'_>, serde_json::Error> {
    let Audio { response_id, item_id, content_index, delta } = serde_json::from_slice(message)?;
    let payload = match delta {
        Cow::Borrowed(delta) => message.slice_ref(delta.as_bytes()),
        Cow::Owned(delta) if delta.bytes().all(is_base64) => Bytes::from(delta),
        Cow::Owned(_) => return Err(serde::de::Error::custom("the delta is not base64")),
    };
    Ok(ServerEvent::Audio(AudioDelta { response_id, item_id, content_index, payload }))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// An audio delta that needs no parser; none if the message is another or is written in another way.
#[inline]
pub(super) fn quick(message: &Bytes) -> Option<AudioDelta<'_>> {
    usual_audio(message).or_else(|| scan_audio(message).ok())
}

/// An audio delta with its members in the order in which the service writes them, without spaces. Any other
/// is left to [`scan_audio`].
#[inline]
fn usual_audio(message: &Bytes) -> Option<AudioDelta<'_>> {
    let text = message.strip_prefix(br#"{"type":"response.output_audio.delta","event_id":""#)?;
    let (_, text) = scan::until_quote(text)?;
    let (response_id, text) = scan::until_quote(text.strip_prefix(br#","response_id":""#)?)?;
    let (item_id, text) = scan::until_quote(text.strip_prefix(br#","item_id":""#)?)?;
    let (_, text) = scan::leading_number(text.strip_prefix(br#","output_index":"#)?)?;
    let (content_index, text) = scan::leading_number(text.strip_prefix(br#","content_index":"#)?)?;
    let (delta, end) = scan::until_quote(text.strip_prefix(br#","delta":""#)?)?;
    if end != b"}" {
        return None;
    }
    let content_index = content_index.try_into().ok()?;
    let (response_id, item_id) = (utf8(Some(response_id)).ok()?, utf8(Some(item_id)).ok()?);
    Some(AudioDelta { response_id, item_id, content_index, payload: message.slice_ref(delta) })
}

fn scan_audio(message: &Bytes) -> Result<AudioDelta<'_>, Unusual> {
    let (mut is_audio, mut response_id, mut item_id, mut content_index, mut delta) =
        (false, None, None, 0, None);
    scan::members(message, |place, value| {
        match place {
            (None, b"type") if value == Raw::Text(b"response.output_audio.delta") => is_audio = true,
            (None, b"type") => return Err(Unusual),
            (None, b"response_id") => response_id = Some(value.text()?),
            (None, b"item_id") => item_id = Some(value.text()?),
            (None, b"content_index") => {
                let Raw::Bare(digits) = value else { return Err(Unusual) };
                content_index = u32::try_from(scan::number(digits)?).map_err(|_| Unusual)?;
            }
            (None, b"delta") => delta = Some(value.text()?),
            _ => {}
        }
        Ok(())
    })?;
    let (true, Some(delta)) = (is_audio, delta) else { return Err(Unusual) };
    let payload = message.slice_ref(delta);
    Ok(AudioDelta { response_id: utf8(response_id)?, item_id: utf8(item_id)?, content_index, payload })
}

fn utf8(bytes: Option<&[u8]>) -> Result<&str, Unusual> {
    std::str::from_utf8(bytes.ok_or(Unusual)?).map_err(|_| Unusual)
}

#[cfg(test)]
mod tests {
    use super::super::events::parse;
    use super::*;

    #[test]
    fn an_audio_delta_is_read_alike_by_the_quick_path_and_by_the_scan() {
        let usual = r#"{"type":"response.output_audio.delta","event_id":"e","response_id":"r","item_id":"i","output_index":0,"content_index":1,"delta":"//8="}"#;
        let message = Bytes::from_static(usual.as_bytes());
        let delta = usual_audio(&message).unwrap();
        assert_eq!(scan_audio(&message).as_ref(), Ok(&delta));
        assert_eq!((delta.response_id, delta.item_id, delta.content_index), ("r", "i", 1));
        assert_eq!(delta.payload.as_ptr(), message[usual.find("//8=").unwrap()..].as_ptr());
        for (part, other) in [
            (r#","delta""#, r#", "delta""#),
            (r#""i""#, r#""\u0069""#),
            ("//8=", r"\/8="),
            (r#":1"#, r#":-1"#),
            (r#":0"#, r#":null"#),
            ("}", r#","more":1}"#),
            ("}", ""),
        ] {
            let nearly = Bytes::from(usual.replace(part, other));
            assert_eq!(usual_audio(&nearly), None, "{nearly:?}");
        }
    }

    #[test]
    fn an_audio_delta_is_scanned_and_its_payload_is_not_copied() {
        let events = include_str!("../../tests/fixtures/openai-server-events.jsonl");
        let line = Bytes::from(events.lines().find(|line| line.contains("output_audio.delta")).unwrap());
        let delta = scan_audio(&line).unwrap();
        assert_eq!((delta.response_id, delta.item_id, delta.content_index), ("resp_0001", "item_A001", 0));
        assert!(line.as_ptr_range().contains(&delta.payload.as_ptr()));
        assert_eq!(read(&line).unwrap(), ServerEvent::Audio(delta));
    }

    #[test]
    fn an_escaped_delta_is_taken_only_if_it_is_base64() {
        let event = |delta: &str| {
            let open = r#"{"type":"response.output_audio.delta","response_id":"r","item_id":"i","content_index":null"#;
            Bytes::from(format!(r#"{open},"delta":"{delta}"}}"#))
        };
        let good = event(r"\/\/8=");
        let Ok(ServerEvent::Audio(delta)) = parse(&good) else { panic!("unreadable") };
        assert_eq!((&delta.payload[..], delta.content_index), (&b"//8="[..], 0));
        for wrong in [r#"AA\"},\"x\":{\"a\":\""#, r"AA\\", r"AA\n", r"AA\u0000", r"AA\u00e9"] {
            assert!(parse(&event(wrong)).is_err(), "{wrong}");
        }
    }
}
