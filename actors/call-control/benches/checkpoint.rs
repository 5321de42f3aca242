//! What the checkpoint of a call costs for each piece of the agent's voice, what a snapshot costs, and what a
//! panic does.
//!
//! "stepped once" is a call without a checkpoint, "stepped twice" one that keeps a second conversation as its
//! checkpoint.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use call_control::Millis;
use call_control::conversation::kept::LIMITS;
use call_control::conversation::{Conversation, Effect, Input, Rules};
use call_control::journal::Journal;
use call_control::realtime::events;
use call_control::twilio::frames::Mark;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

/// A conversation of some minutes, whose agent says something.
struct Talk {
    conversation: Conversation,
    now: Millis,
}

impl Talk {
    fn begin() -> Self {
        let mut effects = vec![];
        let conversation = Conversation::begin(Rules::default(), 0, &mut effects);
        let mut talk = Self { conversation, now: 0 };
        talk.told(&json!({"type": "session.created"}));
        talk.told(&json!({"type": "session.updated"}));
        talk.conversation.step(&Input::StreamOpened, 0, &mut effects);
        (1..=12).for_each(|number| talk.exchange(number));
        talk.told(&json!({"type": "response.created", "response": {"id": "resp_DUe4Yq0pVUG1fQcZ6o9hH"}}));
        talk
    }

    fn told(&mut self, event: &Value) {
        self.now += 20;
        let message = Bytes::from(event.to_string());
        let event = events::parse(&message).expect("the event is valid");
        let mut effects = vec![];
        self.conversation.step(&Input::Service(event), self.now, &mut effects);
        for effect in effects {
            if let Effect::Mark(mark) = effect {
                self.conversation.step(&Input::Mark(mark), self.now, &mut vec![]);
            }
        }
    }

    /// The caller asks, and the agent answers.
    fn exchange(&mut self, number: u32) {
        let (utterance, response, item) =
            (format!("item_u{number:020}"), format!("resp_{number:020}"), format!("item_a{number:020}"));
        self.told(&json!({"type": "input_audio_buffer.speech_started"}));
        self.told(&json!({"type": "input_audio_buffer.speech_stopped"}));
        self.told(&json!({"type": "input_audio_buffer.committed", "item_id": utterance}));
        self.told(&json!({
            "type": "conversation.item.input_audio_transcription.completed", "item_id": utterance,
            "transcript": "Good morning, could you tell me whether you are open this Saturday?",
        }));
        self.told(&json!({"type": "response.created", "response": {"id": response}}));
        self.told(&json!({
            "type": "response.output_audio.delta", "response_id": response, "item_id": item,
            "content_index": 0, "delta": "/".repeat(10_664),
        }));
        let words = "We are open this Saturday from nine in the morning until four in the afternoon.";
        self.told(&json!({"type": "response.done", "response": {
            "id": response, "status": "completed",
            "output": [{"id": item, "type": "message", "content": [{"transcript": words}]}],
        }}));
    }
}

fn delta(ms: usize) -> Bytes {
    let event = json!({
        "type": "response.output_audio.delta", "response_id": "resp_DUe4Yq0pVUG1fQcZ6o9hH",
        "item_id": "item_DUe4Y2hfYkRcTkEXm4WqJ", "content_index": 0, "delta": "/".repeat(ms * 8 / 3 * 4),
    });
    event.to_string().into()
}

/// What keeps a checkpoint in its own way.
trait Checkpoint {
    fn take(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) -> Option<Mark>;
}

/// Carries the effects out: nothing but the mark is of interest here.
fn carry_out(effects: &mut Vec<Effect>) -> Option<Mark> {
    let mut sent = None;
    for effect in effects.drain(..) {
        if let Effect::Mark(mark) = black_box(effect) {
            sent = Some(mark);
        }
    }
    sent
}

impl Checkpoint for Conversation {
    fn take(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) -> Option<Mark> {
        self.step(input, now, effects);
        carry_out(effects)
    }
}

/// The conversation, the one that follows it, and what that one would do.
impl Checkpoint for (Conversation, Conversation, Vec<Effect>) {
    fn take(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) -> Option<Mark> {
        self.0.step(input, now, effects);
        let sent = carry_out(effects);
        self.1.step(input, now, &mut self.2);
        self.2.clear();
        sent
    }
}

impl Checkpoint for Journal<Conversation> {
    fn take(&mut self, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) -> Option<Mark> {
        self.step(input, now, effects);
        let sent = carry_out(effects);
        self.complete();
        sent
    }
}

/// Says so much in one piece; its mark is echoed at once.
fn says(checkpoint: &mut impl Checkpoint, input: &Input<'_>, now: Millis, effects: &mut Vec<Effect>) {
    if let Some(mark) = checkpoint.take(input, now, effects) {
        checkpoint.take(&Input::Mark(mark), now, effects);
    }
}

fn pieces(criterion: &mut Criterion) {
    for ms in [20, 200] {
        let mut group = criterion.benchmark_group(format!("a piece of {ms} ms"));
        group.throughput(Throughput::Elements(1));
        let message = delta(ms);
        let input = Input::Service(events::parse(&message).expect("the event is valid"));
        let mut measure = |name: &str, checkpoint: &mut dyn FnMut(Millis, &mut Vec<Effect>)| {
            let (mut now, mut effects) = (Talk::begin().now, Vec::with_capacity(8));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    now += ms as Millis;
                    checkpoint(now, &mut effects);
                });
            });
        };
        let mut once = Talk::begin().conversation;
        measure("stepped once", &mut |now, effects| says(&mut once, &input, now, effects));
        let mut twice = (Talk::begin().conversation, Talk::begin().conversation, vec![]);
        measure("stepped twice", &mut |now, effects| says(&mut twice, &input, now, effects));
        let mut journal = Journal::new(Talk::begin().conversation, LIMITS);
        measure("journalled", &mut |now, effects| says(&mut journal, &input, now, effects));
        group.finish();
    }
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a checkpoint");
    let Talk { conversation, now } = Talk::begin();
    let mut snapshot = conversation.clone();
    group.bench_function("snapshot", |bencher| bencher.iter(|| snapshot = black_box(&conversation).clone()));
    let mut journal = Journal::new(conversation, LIMITS);
    let message = delta(20);
    let input = Input::Service(events::parse(&message).expect("the event is valid"));
    while journal.entries().len() + 2 < LIMITS.entries {
        says(&mut journal, &input, now, &mut vec![]);
    }
    group.bench_function("restored from a full journal", |bencher| bencher.iter(|| journal.restore()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = pieces, snapshots
}
criterion_main!(benches);
