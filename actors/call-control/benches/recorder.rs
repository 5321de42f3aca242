//! What the flight recorder adds to each piece of the agent's voice, without the compression and the disk,
//! and how long the replay of a recorded call of five minutes takes.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use call_control::Millis;
use call_control::conversation::kept::LIMITS;
use call_control::conversation::{Conversation, Effect, Input, Rules};
use call_control::journal::Journal;
use call_control::realtime::events;
use call_control::recorder::{End, FORMAT, Header, Mode, Note, Player, Writer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const MINUTES: u64 = 5;
/// A question and its answer.
const EXCHANGE_MS: Millis = 6_000;
const PIECES: u32 = 200;
const PIECE_MS: usize = 20;

/// A call that is recorded.
struct Recorded {
    journal: Journal<Conversation>,
    writer: Option<Writer>,
    text: String,
    notes: Vec<Note>,
    effects: Vec<Effect>,
    now: Millis,
}

impl Recorded {
    fn begin(is_on: bool) -> Self {
        let (rules, mut effects, mut text) = (Rules::default(), vec![], String::new());
        let header = Header {
            format: FORMAT,
            version: "0.1.0".to_owned(),
            mode: Mode::Full,
            call_sid: "CA00000000000000000000000000000001".to_owned(),
            began_at: 0,
            rules: rules.clone(),
            past: None,
        };
        let conversation = Conversation::begin(rules, 0, &mut effects);
        let mut writer = is_on.then(|| Writer::begin(&header, &mut text));
        let notes: Vec<_> = std::iter::once(Note::Begun).chain(effects.iter().map(Note::of)).collect();
        if let Some(writer) = &mut writer {
            writer.write(&notes, &mut text);
        }
        let journal = Journal::new(conversation, LIMITS);
        let mut call = Self { journal, writer, text, notes: vec![], effects: vec![], now: 0 };
        call.told(20, &json!({"type": "session.created"}));
        call.told(20, &json!({"type": "session.updated"}));
        call.takes(20, &Input::StreamOpened);
        call
    }

    fn takes(&mut self, after: Millis, input: &Input<'_>) {
        self.now += after;
        self.effects.clear();
        self.journal.step(input, self.now, &mut self.effects);
        if let (Some(writer), Some(entry)) = (&mut self.writer, self.journal.pending()) {
            self.notes.clear();
            self.notes.push(Note::Taken { at: self.now, input: entry.input.clone() });
            self.notes.extend(self.effects.iter().map(Note::of));
            writer.write(&self.notes, &mut self.text);
        }
        self.journal.complete();
        let mark = self.effects.iter().find_map(|effect| match effect {
            Effect::Mark(mark) => Some(*mark),
            _ => None,
        });
        if let Some(mark) = mark {
            self.takes(0, &Input::Mark(mark)); // Twilio is near, and has played it
        }
    }

    fn told(&mut self, after: Millis, event: &Value) {
        let message = Bytes::from(event.to_string());
        self.takes(after, &Input::Service(events::parse(&message).expect("the event is valid")));
    }

    fn exchange(&mut self, number: u64) {
        let until = self.now + EXCHANGE_MS;
        let (utterance, response, item) =
            (format!("item_u{number:020}"), format!("resp_{number:020}"), format!("item_a{number:020}"));
        self.told(20, &json!({"type": "input_audio_buffer.speech_started"}));
        self.told(1_000, &json!({"type": "input_audio_buffer.speech_stopped"}));
        self.told(10, &json!({"type": "input_audio_buffer.committed", "item_id": utterance}));
        self.told(
            300,
            &json!({
                "type": "conversation.item.input_audio_transcription.completed", "item_id": utterance,
                "transcript": "Good morning, could you tell me whether you are open this Saturday?",
            }),
        );
        self.told(10, &json!({"type": "response.created", "response": {"id": response}}));
        let delta = piece(&response, &item);
        for _ in 0..PIECES {
            self.takes(
                PIECE_MS as Millis,
                &Input::Service(events::parse(&delta).expect("the event is valid")),
            );
        }
        let words = "We are open this Saturday from nine in the morning until four in the afternoon.";
        self.told(
            10,
            &json!({"type": "response.done", "response": {
                "id": response, "status": "completed",
                "output": [{"id": item, "type": "message", "content": [{"transcript": words}]}],
            }}),
        );
        self.now = self.now.max(until);
    }
}

fn piece(response: &str, item: &str) -> Bytes {
    let event = json!({
        "type": "response.output_audio.delta", "response_id": response, "item_id": item, "content_index": 0,
        "delta": "/".repeat(PIECE_MS * 8 / 3 * 4),
    });
    event.to_string().into()
}

fn recording() -> String {
    let mut call = Recorded::begin(true);
    (0..MINUTES * 60_000 / EXCHANGE_MS).for_each(|number| call.exchange(number));
    let (mut text, at) = (call.text, call.now);
    call.writer.take().expect("it is on").end(at, &End::Complete, &mut text);
    text
}

/// The number of inputs; each has the effects that were recorded.
fn replay(text: &str) -> u64 {
    let (header, lines) = text.split_once('\n').expect("a header");
    let mut player = Player::open(header).expect("a recording");
    let mut inputs = 0;
    for line in lines.lines() {
        let played = player.take(line).expect("a line of a recording");
        assert!(!matches!(&played, call_control::recorder::Played::Step(step) if !step.is_same()));
        inputs += 1;
    }
    inputs
}

fn replays(criterion: &mut Criterion) {
    let text = recording();
    println!("{} inputs in {MINUTES} minutes, {} KiB of text", replay(&text), text.len() >> 10);
    let mut group = criterion.benchmark_group("recorder");
    group.bench_function("replay of five minutes", |bencher| bencher.iter(|| replay(black_box(&text))));
    group.throughput(Throughput::Elements(1));
    for (name, is_on) in [("a piece of 20 ms, not recorded", false), ("a piece of 20 ms, recorded", true)] {
        let mut call = Recorded::begin(is_on);
        call.told(20, &json!({"type": "response.created", "response": {"id": "resp_DUe4Yq0pVUG1fQcZ6o9hH"}}));
        let delta = piece("resp_DUe4Yq0pVUG1fQcZ6o9hH", "item_DUe4Y2hfYkRcTkEXm4WqJ");
        let input = Input::Service(events::parse(&delta).expect("the event is valid"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                call.takes(PIECE_MS as Millis, &input);
                if call.text.len() > 1 << 16 {
                    call.text.clear(); // it was handed on
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = replays
}
criterion_main!(benches);
