//! Tests of the media stream.

use proptest::prelude::*;

use super::*;

/// A message as a client sends it, in one frame.
fn masked(text: &str, key: [u8; 4]) -> BytesMut {
    let mut frame = BytesMut::new();
    Codec::new().client_mode().encode(Message::Text(text.into()), &mut frame).unwrap();
    let text_at = frame.len() - text.len();
    frame[text_at - 4..text_at].copy_from_slice(&key);
    let bytes = text.bytes().zip(key.into_iter().cycle());
    frame[text_at..].iter_mut().zip(bytes).for_each(|(masked, (byte, key))| *masked = byte ^ key);
    frame
}

proptest! {
    #[test]
    fn a_message_in_one_frame_is_read_as_the_codec_reads_it(
        text in ".{0,300}", key: [u8; 4], missing in 0usize..400, behind: Vec<u8>,
    ) {
        let mut frame = masked(&text, key);
        let whole = frame.len();
        frame.extend_from_slice(&behind);
        frame.truncate(frame.len() - missing.min(frame.len()));
        let mut in_place = frame.clone();
        let range = unmask_text(&mut in_place);
        match Codec::new().decode(&mut frame) {
            Ok(Some(Frame::Text(text))) => prop_assert_eq!(&in_place[range.unwrap()], &text[..]),
            other => prop_assert!(range.is_none() && in_place.len() < whole, "{other:?}"),
        }
    }
}

#[test]
fn a_frames_length_is_known_as_soon_as_its_header_has_it() {
    let huge = [0x81, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(announced_bytes(&huge), Some(1 << 30));
    assert_eq!((0..10).find_map(|end| announced_bytes(&huge[..end])), None);
    assert_eq!(announced_bytes(&[0x81, 0xFE, 1, 0]), Some(256));
    assert_eq!(announced_bytes(&[0x81, 0xFD]), Some(125));
    assert_eq!(
        announced_bytes(&[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        Some(u64::MAX)
    );
}

/// A stream that has received this, and what sends it more: it does not end while that is held.
async fn having_received(bytes: Vec<u8>) -> (StreamIn, impl FnMut(Bytes)) {
    let (mut sender, payload) = actix_http::h1::Payload::create(false);
    sender.feed_data(bytes.into());
    let mut payload = actix_web::dev::Payload::from(payload);
    let request = actix_web::test::TestRequest::default()
        .insert_header(("Upgrade", "websocket"))
        .insert_header(("Connection", "upgrade"))
        .insert_header(("Sec-WebSocket-Version", "13"))
        .insert_header(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
        .to_http_request();
    let payload = <Payload as actix_web::FromRequest>::from_request(&request, &mut payload).await.unwrap();
    (accept(&request, payload).unwrap().1, move |more| sender.feed_data(more))
}

#[actix_rt::test]
async fn a_message_that_is_announced_as_too_large_is_refused_before_it_has_come() {
    let announced = |first: u8, bytes: u64| {
        [&[first, 0xFF][..], &bytes.to_be_bytes(), &[1, 2, 3, 4], &[b'x'; 100]].concat()
    };
    let mut in_parts = masked("hello", [1, 2, 3, 4]).to_vec();
    in_parts[0] = 0x01; // more of it follows
    in_parts.extend(announced(0x00, MAX_FRAME_BYTES as u64 - 4));
    for begun in [announced(0x81, 1 << 30), announced(0x82, 1 << 62), announced(0x81, 65_537), in_parts] {
        let (mut stream, _open) = having_received(begun).await;
        let read = stream.next().await;
        assert_eq!(read, Some(Err(StreamFault::TooLarge)));
    }
    assert_eq!(StreamFault::TooLarge.close_code(), CloseCode::Size);
}

#[actix_rt::test]
async fn what_follows_a_message_that_is_too_large_is_thrown_away_and_bounded() {
    let begun = [&[0x81, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4][..], &[b'x'; 100]].concat();
    let (mut stream, mut sends) = having_received(begun).await;
    assert!(stream.next().await.unwrap().is_err());
    for _ in 0..4 {
        sends(Bytes::from(vec![b'x'; MAX_DISCARDED_BYTES / 2]));
    }
    stream.drain().await; // the peer never ends
    assert_eq!(stream.buffer.len(), 0);
    assert!(stream.payload.next().await.is_some(), "the rest is not read");
}

#[test]
fn a_stream_that_takes_nothing_is_closed_and_says_why() {
    let (out, stream) = (StreamOut::default(), "MZ00000000000000000000000000000001".parse().unwrap());
    let payload = vec![b'/'; MAX_WAITING_BYTES / 2];
    out.media(stream, &payload);
    assert!(!out.is_overflown() && !out.is_closed());
    out.media(stream, &payload);
    assert!(out.is_overflown() && out.is_closed());
}

#[test]
fn other_frames_are_left_to_the_codec_as_they_are() {
    let unfinished = [0x01, 0x81, 1, 2, 3, 4, b'a' ^ 1];
    let binary = [0x82, 0x81, 1, 2, 3, 4, 5];
    let unmasked = [0x81, 0x01, b'a', 0, 0, 0, 0];
    let reserved = [0xC1, 0x81, 1, 2, 3, 4, 5];
    for frame in [unfinished, binary, unmasked, reserved] {
        let mut received = frame;
        assert_eq!((unmask_text(&mut received), received), (None, frame));
    }
    let mut long = vec![0; 70_014];
    long[..10].copy_from_slice(&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    assert_eq!(unmask_text(&mut long), None);
}

#[actix_rt::test]
async fn a_message_that_comes_alone_is_read_where_the_one_before_it_stood() {
    let (mut stream, mut sends) = having_received(masked("the first one", [1, 2, 3, 4]).to_vec()).await;
    let stood = stream.next().await.unwrap().unwrap().as_ptr();
    for number in 0..100 {
        let text = format!("message {number:5}");
        sends(masked(&text, [5, 6, 7, 8]).freeze());
        let read = stream.next().await.unwrap().unwrap();
        assert_eq!(read, text.as_bytes());
        assert_eq!(read.as_ptr(), stood, "message {number}");
    }
    let two = [&masked("one", [1; 4])[..], &masked("two", [2; 4])].concat();
    sends(two.into());
    assert_eq!(stream.next().await.unwrap().unwrap(), b"one");
    assert_eq!(stream.next().await.unwrap().unwrap(), b"two");
}
