use super::*;
use crate::conversation::Rules;
use crate::journal::Journal;
use crate::realtime::events;
use crate::realtime::transcription::Transcription;
use crate::twilio::frames::payload_bytes;

fn begun() -> Conversation {
    let mut conversation = Conversation::begin(Rules::default(), 0, &mut vec![]);
    for input in [
        Input::Service(ServerEvent::SessionCreated),
        Input::Service(ServerEvent::SessionUpdated),
        Input::Service(ServerEvent::ResponseCreated { id: "r".into(), number: Some(1) }),
    ] {
        conversation.step(&input, 0, &mut vec![]);
    }
    conversation
}

fn on_the_line() -> Conversation {
    let mut conversation = begun();
    conversation.step(&Input::StreamOpened, 0, &mut vec![]);
    conversation
}

fn sound(message: &Bytes) -> Input<'_> {
    Input::Service(events::parse(message).unwrap())
}

fn delta(payload: &str) -> Bytes {
    let message = serde_json::json!({
        "type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "content_index": 0,
        "delta": payload,
    });
    message.to_string().into()
}

#[test]
fn whatever_the_service_or_the_line_tell_is_kept_as_it_was() {
    let conversation = begun();
    let recorded = include_str!("../../../tests/fixtures/openai-server-events.jsonl").lines();
    let recorded: Vec<_> = recorded.map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
    let usage = Transcription { milliseconds: 40, ..Transcription::default() };
    let told = recorded.iter().map(|line| Input::Service(events::parse(line).unwrap())).chain([
        Input::StreamOpened,
        Input::Mark(Mark { generation: 1, ordinal: 2, sent_ms: 3 }),
        Input::Digit('5'),
        Input::CallerInaudible,
        Input::CallerAudible { quiet_ms: 4 },
        Input::CallerLoud,
        Input::StreamStopped,
        Input::StreamLost,
        Input::Unclaimed,
        Input::CallOver,
        Input::Shutdown,
        Input::ToPerson,
        Input::ActorFailed,
        Input::Pong,
        Input::ServiceLost { fatal: true, cause: "closed", wait: Some(7) },
        Input::Tick,
        Input::Service(ServerEvent::SessionDiffers { part: "voice".into(), told: "other".into() }),
        Input::Service(ServerEvent::TranscriptFailed { item_id: "u".into(), code: Some("c".into()) }),
        Input::Service(ServerEvent::TranscriptCompleted {
            item_id: "u".into(),
            transcript: "Hi".into(),
            usage,
            urgent: None,
        }),
    ]);
    for input in told {
        let kept = conversation.keep(&input, [].iter());
        assert_eq!(unread(Conversation::kept(&kept)), input);
    }
}

/// Without what a kept function call says of its arguments.
fn unread(mut input: Input<'_>) -> Input<'_> {
    match &mut input {
        Input::Service(ServerEvent::OutputItemDone { item, .. }) => item.read = None,
        Input::Service(ServerEvent::ResponseDone(done)) => {
            done.output.iter_mut().for_each(|item| item.read = None);
        }
        _ => {}
    }
    input
}

#[test]
fn sound_for_a_caller_on_the_line_is_kept_as_its_length_and_holds_no_message() {
    let conversation = on_the_line();
    let lengths = ["", "AA==", "AAA=", "AAAA", "AAAAAA=="].into_iter().map(str::to_owned);
    let mut before: Vec<Kept> = vec![];
    for payload in lengths.chain(["/".repeat(214) + "=="]) {
        let message = delta(&payload);
        let kept = conversation.keep(&sound(&message), before.iter().rev());
        let Input::Service(ServerEvent::Audio(again)) = Conversation::kept(&kept) else {
            panic!("{kept:?} is no sound")
        };
        assert_eq!(payload_bytes(&again.payload), payload_bytes(payload.as_bytes()), "{payload}");
        assert_eq!((again.response_id, again.item_id), ("r", "i"));
        assert!(message.is_unique(), "the message is kept");
        let is_first = before.is_empty();
        assert_eq!(Conversation::heap_bytes(&kept) > 0, is_first, "all of an item share its ids");
        before.push(kept);
    }
    assert!(size_of::<Kept>() <= 32, "256 of them are 10 KiB: {}", size_of::<Kept>());
}

#[test]
fn sound_that_waits_for_the_caller_is_kept_as_it_is_and_in_bounds() {
    let mut journal = Journal::new(begun(), LIMITS);
    let piece = delta(&"ABCD".repeat(2_000));
    for now in 1..20 {
        journal.step(&sound(&piece), now, &mut vec![]);
        assert!(journal.bytes() <= LIMITS.bytes + 8_200);
        let held = journal.live().held_bytes;
        assert_eq!(held, now * 6_000);
        journal.complete();
        journal.restore();
        assert_eq!(journal.live().held_bytes, held);
        assert!(journal.bytes() < LIMITS.bytes);
    }
}

#[test]
fn a_large_message_is_kept_only_until_it_is_completed() {
    let mut journal = Journal::new(on_the_line(), LIMITS);
    let output = vec![Item::default(); 100_000];
    let response = Response { id: "r".into(), status: "completed".into(), output, ..Response::default() };
    journal.step(&Input::Service(ServerEvent::ResponseDone(Box::new(response))), 1, &mut vec![]);
    assert!(journal.bytes() > 100_000 * size_of::<Item>());
    journal.complete();
    assert_eq!((journal.entries().len(), journal.bytes()), (0, 0));
}
