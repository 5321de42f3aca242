//! Sessions without sockets: each test is a timeline.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::sim::realtime::faults::Fault;
use crate::sim::realtime::vad::FRAME_MS;
use crate::sim::speech::{self, AGENT, CALLER, Clip, SILENCE};
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag};

mod faults;
mod refusals;
mod turns;

/// A client of one session, with a clock of its own.
struct Client {
    session: Session,
    now: u64,
    sequence: u32,
    events: Vec<Value>,
    ends: Vec<Out>,
}

impl Client {
    fn new(faults: &[Fault]) -> Self {
        Self::of_model("gpt-realtime-2.1", faults)
    }

    fn of_model(model: &str, faults: &[Fault]) -> Self {
        let manners = Manners {
            think_us: 200_000,
            transcript_delay_us: 300_000,
            faults: faults.into(),
            ..Manners::default()
        };
        let now = 50_000_000;
        let session = Session::new(7, model.into(), Arc::new(manners), now, 1_795_421_400);
        let mut client = Self { session, now, sequence: 0, events: Vec::new(), ends: Vec::new() };
        client.collect();
        client
    }

    /// One that has configured μ-law, transcription and turn detection with these fields.
    fn configured(detection: Value, faults: &[Fault]) -> Self {
        let mut client = Self::new(faults);
        let input = json!({
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-transcribe"},
            "turn_detection": detection,
        });
        let audio = json!({"input": input, "output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"}});
        client.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": audio}}));
        client.pass(Duration::ZERO);
        client
    }

    fn patient(faults: &[Fault]) -> Self {
        let detection =
            json!({"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": false});
        Self::configured(detection, faults)
    }

    fn send(&mut self, event: Value) -> &mut Self {
        self.session.receive(&event.to_string(), self.now);
        self.collect();
        self
    }

    fn collect(&mut self) {
        for out in self.session.take_out() {
            match out {
                Out::Event(text) => self.events.push(serde_json::from_str(&text).unwrap()),
                end => self.ends.push(end),
            }
        }
    }

    /// Lets time pass, with nothing being sent.
    fn pass(&mut self, time: Duration) -> &mut Self {
        let until = self.now + time.as_micros() as u64;
        while self.session.wake_at() <= until && !self.session.over {
            self.now = self.session.wake_at().max(self.now);
            self.session.tick(self.now);
            self.collect();
        }
        self.now = until;
        self
    }

    fn frame(&mut self, mut frame: [u8; FRAME_BYTES], clip: u16) {
        let sent_us = self.now - 1_500;
        Tag { source: 3, sequence: self.sequence, clip, sent_us }.write(&mut frame);
        self.sequence += 1;
        self.send(json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(frame)}));
        self.pass(Duration::from_millis(20));
    }

    fn silence(&mut self, millis: u32) -> &mut Self {
        for _ in 0..millis / FRAME_MS {
            self.frame([SILENCE; FRAME_BYTES], NO_CLIP);
        }
        self
    }

    fn say(&mut self, clip: &Clip) -> &mut Self {
        for frame in speech::frames(clip) {
            self.frame(frame, clip.id);
        }
        self
    }

    fn greet(&mut self) -> &mut Self {
        self.send(json!({"type": "response.create", "event_id": "rc-greet"}));
        self.pass(Duration::from_secs(5))
    }

    fn types(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["type"].as_str()).collect()
    }

    fn all(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == kind).collect()
    }

    fn last(&self, kind: &str) -> &Value {
        self.all(kind).pop().unwrap_or_else(|| panic!("no {kind} in {:?}", self.types()))
    }

    fn violations(&self) -> Vec<&str> {
        self.session.record().violations.iter().map(|violation| violation.kind.as_str()).collect()
    }

    /// The audio of the agent, in milliseconds.
    fn audio_ms(&self) -> usize {
        let deltas = self.all("response.output_audio.delta").into_iter();
        deltas.map(|delta| STANDARD.decode(delta["delta"].as_str().unwrap()).unwrap().len() / 8).sum()
    }
}

fn spoken_ms(clip: &Clip) -> usize {
    clip.audio.len().next_multiple_of(FRAME_BYTES) / 8
}

#[test]
fn a_session_expires_after_an_hour() {
    let mut client = Client::patient(&[]);
    client.pass(Duration::from_secs(3_599));
    assert_eq!(client.ends, []);
    client.pass(Duration::from_secs(1));
    assert_eq!(client.last("error")["error"]["code"], "session_expired");
    assert_eq!(client.ends, [Out::Close(1001, "session expired")]);
}

#[test]
#[should_panic(expected = "2 responses are made at once")]
fn a_second_response_beside_the_first_is_noticed() {
    let mut client = Client::patient(&[]);
    client.send(json!({"type": "response.create"}));
    let first = client.session.responses.pop().unwrap();
    client.send(json!({"type": "response.create"}));
    client.session.responses.push(first);
    client.session.check();
}

#[test]
#[should_panic(expected = "160 bytes wait for their frame")]
fn a_frame_that_is_not_heard_is_noticed() {
    let mut client = Client::patient(&[]);
    client.session.partial = vec![SILENCE; FRAME_BYTES];
    client.session.check();
}

#[test]
#[should_panic(expected = "something is sent after the end")]
fn whatever_is_sent_after_the_end_is_noticed() {
    let mut client = Client::patient(&[]);
    client.session.out.push_end(Out::Reset);
    client.session.out.event("response.created", json!({}));
    client.session.check();
}
