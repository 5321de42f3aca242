//! What is written to Twilio, as a websocket client reads it.

use actix_codec::Decoder as _;
use bytes::BytesMut;

use super::frames::{Mark, write_clear, write_mark, write_media};
use super::sid::StreamSid;

const STREAM: &str = "MZ00000000000000000000000000000001";

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    let mut client = actix_http::ws::Codec::new().client_mode().max_size(1 << 20);
    let Some(actix_http::ws::Frame::Text(text)) = client.decode(&mut out).unwrap() else { panic!("no text") };
    assert!(out.is_empty());
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn outgoing_messages_have_exactly_the_documented_fields() {
    let stream: StreamSid = STREAM.parse().unwrap();
    assert_eq!(
        written(|out| write_media(out, stream, b"//8=")),
        format!(r#"{{"event":"media","streamSid":"{STREAM}","media":{{"payload":"//8="}}}}"#)
    );
    let mark = Mark { generation: 1, ordinal: 7, sent_ms: 1480 };
    let text = written(|out| write_mark(out, stream, mark));
    assert_eq!(text, format!(r#"{{"event":"mark","streamSid":"{STREAM}","mark":{{"name":"g1:7:1480"}}}}"#));
    assert_eq!(Mark::parse("g1:7:1480"), Some(mark));
    assert_eq!(Mark::parse("somebody else's"), None);
    let long = Mark { generation: u32::MAX, ordinal: u32::MAX, sent_ms: u32::MAX };
    assert!(written(|out| write_mark(out, stream, long)).len() > 100);
    assert_eq!(
        written(|out| write_clear(out, stream)),
        format!(r#"{{"event":"clear","streamSid":"{STREAM}"}}"#)
    );
    assert_eq!(written(|out| write_media(out, stream, &[b'/'; 100_000])).len(), 100_000 + 89);
}
