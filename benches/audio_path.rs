//! What a 20 ms frame costs on its way up, and a piece of the agent's voice on its way down, without actors
//! and sockets: parsing, bookkeeping and writing, as a call does them.

use std::hint::black_box;
use std::time::Duration;

use actors::call::Millis;
use actors::call::conversation::kept::LIMITS;
use actors::call::conversation::{Conversation, Effect, Input, Rules};
use actors::call::journal::Journal;
use actors::wire::realtime::events;
use actors::wire::realtime::socket::write_append;
use actors::wire::twilio::frames::{Inbound, Mark, write_mark, write_media};
use actors::wire::twilio::sid::StreamSid;
use actors::wire::twilio::stream::unmask_text;
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const STREAM: &str = "MZ00000000000000000000000000000001";

/// As it comes from the socket: one frame, whose key is zero, so that unmasking can be repeated.
fn caller_frame() -> Vec<u8> {
    let text = format!(
        r#"{{"event":"media","sequenceNumber":"4711","media":{{"track":"inbound","chunk":"4710","timestamp":"94200","payload":"{}"}},"streamSid":"{STREAM}"}}"#,
        "/".repeat(214) + "=="
    );
    let mut frame = vec![0x81, 0xFE];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.bytes());
    frame
}

fn delta() -> Bytes {
    let text = format!(
        r#"{{"type":"response.output_audio.delta","event_id":"event_0026","response_id":"resp_0001","item_id":"item_A001","output_index":0,"content_index":0,"delta":"{}"}}"#,
        "/".repeat(214) + "=="
    );
    Bytes::from(text)
}

/// A conversation that is playing a response.
fn speaking() -> Journal<Conversation> {
    let mut effects = vec![];
    let mut conversation = Conversation::begin(Rules::default(), 0, &mut effects);
    conversation.step(&Input::StreamOpened, 0, &mut effects);
    for event in [
        r#"{"type":"session.created"}"#,
        r#"{"type":"session.updated"}"#,
        r#"{"type":"response.created","response":{"id":"resp_0001"}}"#,
    ] {
        let message = Bytes::from_static(event.as_bytes());
        let event = events::parse(&message).expect("the event is valid");
        conversation.step(&Input::Service(event), 0, &mut effects);
    }
    Journal::new(conversation, LIMITS)
}

/// As the call's actor takes it; answers the mark that was sent.
fn take(
    conversation: &mut Journal<Conversation>,
    input: &Input<'_>,
    now: Millis,
    effects: &mut Vec<Effect>,
    out: &mut BytesMut,
    stream: StreamSid,
) -> Option<Mark> {
    conversation.step(input, now, effects);
    let mut sent = None;
    for effect in effects.drain(..) {
        match effect {
            Effect::Play(payload) => write_media(out, stream, &payload),
            Effect::Mark(mark) => {
                write_mark(out, stream, mark);
                sent = Some(mark);
            }
            _ => unreachable!("audio is played and marked"),
        }
    }
    conversation.complete();
    sent
}

fn up(criterion: &mut Criterion) {
    let mut frame = caller_frame();
    let mut scratch = BytesMut::with_capacity(4096);
    let mut group = criterion.benchmark_group("audio_path");
    group.throughput(Throughput::Elements(1));
    group.bench_function("caller frame to append", |bencher| {
        bencher.iter(|| {
            let text = unmask_text(black_box(&mut frame)).expect("it is a message in one frame");
            let Ok(Inbound::Media(media)) = Inbound::parse(&frame[text]) else {
                unreachable!("it is a media frame")
            };
            black_box(write_append(&mut scratch, &media.payload))
        });
    });
    group.finish();
}

fn down(criterion: &mut Criterion) {
    let stream: StreamSid = STREAM.parse().expect("a valid identifier");
    let message = delta();
    let mut conversation = speaking();
    let mut effects = Vec::with_capacity(8);
    let mut out = BytesMut::with_capacity(1 << 16);
    let mut now = 0;
    let mut group = criterion.benchmark_group("audio_path");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delta to media frame and mark", |bencher| {
        bencher.iter(|| {
            let event = events::parse(black_box(&message)).expect("the event is valid");
            now += 20;
            let mut take =
                |input: &Input<'_>| take(&mut conversation, input, now, &mut effects, &mut out, stream);
            if let Some(mark) = take(&Input::Service(event)) {
                take(&Input::Mark(mark)); // its echo
            }
            if out.len() > 60_000 {
                out.clear();
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = up, down
}
criterion_main!(benches);
