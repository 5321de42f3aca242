//! The audio path allocates at most once a frame: counted by the allocator itself.

#![allow(unsafe_code)] // a global allocator cannot be written without

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use actors::call::conversation::{Conversation, Effect, Input, Rules};
use actors::wire::realtime::events;
use actors::wire::realtime::socket::write_append;
use actors::wire::twilio::frames::{Inbound, write_mark, write_media};
use actors::wire::twilio::sid::StreamSid;
use bytes::{Bytes, BytesMut};

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STREAM: &str = "MZ00000000000000000000000000000001";
const FRAMES: u64 = 1_000;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_caller_frame_goes_up_with_at_most_one_allocation() {
    let payload = "/".repeat(214) + "==";
    let frame = format!(
        r#"{{"event":"media","sequenceNumber":"3","media":{{"track":"inbound","chunk":"2","timestamp":"84","payload":"{payload}"}},"streamSid":"{STREAM}"}}"#
    );
    let mut scratch = BytesMut::new();
    let count = allocations(|| {
        for _ in 0..FRAMES {
            let Ok(Inbound::Media(media)) = Inbound::parse(frame.as_bytes()) else { panic!("a media frame") };
            drop(write_append(&mut scratch, &media.payload));
        }
    });
    assert!(count <= FRAMES, "{count} allocations for {FRAMES} frames");
}

#[test]
fn a_piece_of_the_agents_voice_goes_down_with_at_most_one_allocation() {
    let payload = "/".repeat(214) + "==";
    let message = Bytes::from(format!(
        r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"r","item_id":"i","output_index":0,"content_index":0,"delta":"{payload}"}}"#
    ));
    let stream: StreamSid = STREAM.parse().unwrap();
    let (mut effects, mut out) = (Vec::with_capacity(8), BytesMut::with_capacity(1 << 20));
    let mut conversation = Conversation::begin(Rules::default(), 0, &mut effects);
    conversation.step(&Input::StreamOpened, 0, &mut effects);
    for event in [
        r#"{"type":"session.created"}"#,
        r#"{"type":"session.updated"}"#,
        r#"{"type":"response.created","response":{"id":"r"}}"#,
    ] {
        let message = Bytes::from_static(event.as_bytes());
        conversation.step(&Input::Service(events::parse(&message).unwrap()), 0, &mut effects);
    }
    effects.clear();
    let count = allocations(|| {
        for now in 0..FRAMES {
            conversation.step(&Input::Service(events::parse(&message).unwrap()), now * 20, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Play(payload) => write_media(&mut out, stream, &payload),
                    Effect::Mark(mark) => write_mark(&mut out, stream, mark),
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    assert!(count <= FRAMES, "{count} allocations for {FRAMES} deltas");
}
