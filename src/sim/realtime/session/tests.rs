//! Sessions without sockets: each test is a timeline.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::sim::realtime::faults::Fault;
use crate::sim::realtime::vad::FRAME_MS;
use crate::sim::speech::{self, AGENT, CALLER, Clip, SILENCE};
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag};

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
fn a_turn_goes_through_its_events_in_order() {
    let mut client = Client::patient(&[]);
    client.events.clear();
    client.silence(400).say(&CALLER[1]).silence(2_000);
    let mut order = client.types();
    order.dedup();
    let first_audio = order.iter().position(|kind| *kind == "response.output_audio.delta").unwrap();
    assert_eq!(
        order[..first_audio],
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
        ]
    );
    assert_eq!(
        order[order.len() - 7..],
        [
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
    );
    let transcript = client.last("conversation.item.input_audio_transcription.completed");
    assert_eq!(transcript["transcript"], CALLER[1].text);
    assert!(transcript["usage"]["input_tokens"].as_u64().unwrap() > 20);
    let transcribed = client.types().iter().position(|kind| kind.ends_with("transcription.completed"));
    let created = client.types().iter().position(|kind| *kind == "response.created");
    assert!(created < transcribed);
    let done = &client.last("response.done")["response"];
    assert_eq!(done["output"][0]["content"][0]["transcript"], "On Saturday we are open from nine until one.");
    assert_eq!(done["usage"]["output_token_details"]["audio_tokens"], client.audio_ms() / 50);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn speech_is_reported_where_it_is_with_its_padding() {
    let mut client = Client::patient(&[]);
    client.silence(1_000).say(&CALLER[0]).silence(1_000);
    let started = client.last("input_audio_buffer.speech_started");
    let stopped = client.last("input_audio_buffer.speech_stopped");
    assert!((700..=760).contains(&started["audio_start_ms"].as_u64().unwrap()), "{started}");
    let end = 1_000 + spoken_ms(&CALLER[0]) as u64 + 500;
    assert!((end - 200..=end).contains(&stopped["audio_end_ms"].as_u64().unwrap()), "{stopped}");
    assert_eq!(started["item_id"], client.last("input_audio_buffer.committed")["item_id"]);
}

#[test]
fn the_greeting_answers_the_clients_first_response_and_comes_faster_than_real_time() {
    let mut client = Client::patient(&[]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_millis(199));
    assert_eq!(client.audio_ms(), 0);
    client.pass(Duration::from_millis(1));
    assert_eq!(client.audio_ms(), 100);
    client.pass(Duration::from_millis(500));
    assert!((2_000..=2_500).contains(&client.audio_ms()), "{}", client.audio_ms());
    client.pass(Duration::from_secs(1));
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]));
    let text: String = client
        .all("response.output_audio_transcript.delta")
        .iter()
        .map(|e| e["delta"].as_str().unwrap())
        .collect();
    assert_eq!(text, AGENT[0].text);
    let first =
        STANDARD.decode(client.all("response.output_audio.delta")[0]["delta"].as_str().unwrap()).unwrap();
    let tag = Tag::read(first.first_chunk().unwrap()).unwrap();
    assert_eq!((tag.source, tag.sequence, tag.clip), (7, 0, AGENT[0].id));
    assert_eq!(tag.sent_us, 50_000_000 + 200_000);
    let report = &client.session.record().report.responses[0];
    assert_eq!((report.response, report.status.as_str()), (0, "completed"));
    assert_eq!(report.frames as usize * 20, spoken_ms(&AGENT[0]));
}

#[test]
fn a_second_response_is_refused() {
    let mut client = Client::patient(&[]);
    client.send(json!({"type": "response.create"}));
    client.send(json!({"type": "response.create", "event_id": "rc-2"}));
    let error = &client.last("error")["error"];
    assert_eq!(
        (&error["code"], &error["event_id"]),
        (&json!("conversation_already_has_active_response"), &json!("rc-2"))
    );
    assert_eq!(client.violations(), ["second-response"]);
    client.send(json!({"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}}));
    client.pass(Duration::from_secs(3));
    assert_eq!(client.all("response.done").len(), 2);
}

#[test]
fn turn_detection_that_meets_an_active_response_is_no_violation() {
    let mut client = Client::patient(&[]);
    client.silence(100).say(&CALLER[4]).silence(200);
    client.send(json!({"type": "response.create"}));
    client.silence(500);
    let error = &client.last("error")["error"];
    assert_eq!(
        (&error["code"], &error["event_id"]),
        (&json!("conversation_already_has_active_response"), &Value::Null)
    );
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn speech_cancels_the_response_only_when_it_may() {
    for interrupt in [false, true] {
        let detection =
            json!({"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": interrupt});
        let mut client = Client::configured(detection, &[]);
        client.send(json!({"type": "response.create"})).pass(Duration::from_millis(500));
        client.say(&CALLER[0]);
        let done = &client.all("response.done")[0]["response"];
        if interrupt {
            assert_eq!(done["status_details"], json!({"type": "cancelled", "reason": "turn_detected"}));
            assert_eq!(done["output"][0]["status"], "incomplete");
            assert!(client.audio_ms() < spoken_ms(&AGENT[0]));
        } else {
            assert_eq!(done["status"], "completed");
        }
    }
}

#[test]
fn a_cancelled_response_stops_at_once_and_is_truncated_within_what_was_sent() {
    let mut client = Client::patient(&[]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_millis(600));
    client.send(json!({"type": "response.cancel"}));
    let sent = client.audio_ms();
    let done = client.last("response.done")["response"].clone();
    assert_eq!(done["status_details"]["reason"], "client_cancelled");
    assert_eq!(done["output"][0]["status"], "incomplete");
    client.pass(Duration::from_secs(5));
    assert_eq!(client.audio_ms(), sent);
    let item = &done["output"][0]["id"];
    let truncate = |ms: usize| json!({"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": ms});
    client.send(truncate(sent + 1));
    let error = client.last("error")["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(error, format!("Audio content of {sent}ms is already shorter than {}ms", sent + 1));
    client.send(truncate(sent / 2));
    assert_eq!(client.last("conversation.item.truncated")["audio_end_ms"], sent / 2);
    client.send(truncate(sent / 2)).send(truncate(sent));
    assert_eq!(client.violations(), ["truncate-beyond-audio"; 2]);
    client.send(json!({"type": "conversation.item.retrieve", "item_id": item}));
    let heard = client.last("conversation.item.retrieved")["item"]["content"][0]["transcript"].clone();
    let said = done["output"][0]["content"][0]["transcript"].as_str().unwrap();
    assert!(said.starts_with(heard.as_str().unwrap()) && heard != said, "{heard} of {said}");
    let report = &client.session.record().report.responses[0];
    assert_eq!((report.status.as_str(), report.truncated_at_ms), ("cancelled", Some(sent as u32 / 2)));
}

#[test]
fn what_the_conversation_does_not_allow_is_refused_and_counted() {
    let mut client = Client::patient(&[]);
    client.greet();
    let user = json!({"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]});
    let assistant = json!({"id": "a1", "type": "message", "role": "assistant",
        "content": [{"type": "output_text", "text": "x"}]});
    client.send(json!({"type": "conversation.item.create", "item": user}));
    client.send(json!({"type": "conversation.item.create", "item": assistant}));
    assert_eq!(client.violations(), [""; 0]);
    let greeting = client.last("response.done")["response"]["output"][0]["id"].clone();
    let output = json!({"type": "function_call_output", "call_id": "nobody", "output": ""});
    let truncate = |item: &Value, index: u32, ms: u32| json!({"type": "conversation.item.truncate", "item_id": item, "content_index": index, "audio_end_ms": ms});
    let voice = json!({"type": "realtime", "audio": {"output": {"voice": "marin"}}});
    let table = [
        (json!({"type": "input_audio_buffer.commit"}), "input_audio_buffer_commit_empty", "empty-commit"),
        (json!({"type": "input_audio_buffer.append", "audio": "=!"}), "invalid_value", "base64"),
        (
            json!({"type": "conversation.item.create", "item": user}),
            "item_create_duplicate_item_id",
            "duplicate-item",
        ),
        (
            json!({"type": "conversation.item.create", "previous_item_id": "x", "item": assistant["nothing"]}),
            "invalid_type",
            "wrong-type",
        ),
        (
            json!({"type": "conversation.item.create", "item": output}),
            "invalid_tool_call_id",
            "unknown-function-call",
        ),
        (
            json!({"type": "conversation.item.delete", "item_id": "x"}),
            "item_delete_invalid_item_id",
            "unknown-item",
        ),
        (
            json!({"type": "conversation.item.retrieve", "item_id": "x"}),
            "item_retrieve_invalid_item_id",
            "unknown-item",
        ),
        (truncate(&json!("x"), 0, 0), "item_truncate_invalid_item_id", "unknown-item"),
        (truncate(&json!("u1"), 0, 0), "invalid_value", "truncate-not-assistant"),
        (truncate(&json!("a1"), 0, 1), "invalid_value", "truncate-beyond-audio"),
        (truncate(&greeting, 1, 0), "invalid_value", "truncate-content-index"),
        (json!({"type": "session.update", "session": voice}), "cannot_update_voice", "voice-change"),
        (
            json!({"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}]}}),
            "item_reference_invalid_item_id",
            "unknown-item",
        ),
        (json!({"type": "response.make"}), "invalid_value", "unknown-type"),
    ];
    for (mut event, code, kind) in table {
        event["event_id"] = "mine".into();
        let errors = client.all("error").len();
        client.send(event.clone());
        assert_eq!(client.all("error").len(), errors + 1, "{event}");
        let error = &client.last("error")["error"];
        assert_eq!(
            (error["code"].as_str(), error["event_id"].as_str()),
            (Some(code), Some("mine")),
            "{event}"
        );
        assert_eq!(client.violations().last(), Some(&kind), "{event}");
    }
    let count = client.violations().len();
    client.send(json!({"type": "response.cancel", "event_id": "c"}));
    assert_eq!(client.last("error")["error"]["code"], "response_cancel_not_active");
    assert_eq!(client.violations().len(), count);
}

#[test]
fn mulaw_before_the_session_is_configured_is_a_violation() {
    let delayed = [Fault::SessionDelay(Duration::from_millis(100))];
    for faults in [&delayed[..], &[]] {
        let mut client = Client::new(faults);
        client.frame([SILENCE; FRAME_BYTES], NO_CLIP);
        assert_eq!(client.violations(), ["audio-before-session"]);
        assert_eq!(client.session.record().report.arrivals, []);
    }
    let mut client = Client::patient(&delayed);
    assert_eq!(client.all("session.updated").len(), 0);
    client.frame([SILENCE; FRAME_BYTES], NO_CLIP);
    assert_eq!(client.violations(), ["audio-before-session"]);
    client.pass(Duration::from_millis(80));
    assert_eq!(client.all("session.updated").len(), 1);
    client.frame([SILENCE; FRAME_BYTES], NO_CLIP);
    assert_eq!(client.violations().len(), 1);
}

#[test]
fn frames_are_found_again_across_appends_and_each_arrival_is_recorded() {
    let mut client = Client::patient(&[]);
    let mut audio = Vec::new();
    for sequence in 0..3 {
        let mut frame = [SILENCE; FRAME_BYTES];
        Tag { source: 4, sequence, clip: NO_CLIP, sent_us: client.now - 700 }.write(&mut frame);
        audio.extend(frame);
    }
    audio.extend([SILENCE; FRAME_BYTES]);
    audio[FRAME_BYTES + 20] ^= 0x10;
    for piece in audio.chunks(250).chain([&[0; 10][..]]) {
        client.send(json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode(piece)}));
    }
    client.session.end(client.now);
    let report = &client.session.record().report;
    assert_eq!(report.arrivals, [(0, 700), (2, 700)]);
    assert_eq!((report.callers.as_slice(), report.untagged, report.corrupted), (&[4][..], 1, 2));
    assert!(!report.open);
}

#[test]
fn without_turn_detection_the_client_commits_and_creates() {
    let mut client = Client::configured(Value::Null, &[]);
    client.say(&CALLER[3]);
    assert_eq!(client.all("input_audio_buffer.speech_started").len(), 0);
    client.send(json!({"type": "input_audio_buffer.commit"})).pass(Duration::from_secs(1));
    assert_eq!(client.all("response.created").len(), 0);
    let transcript = client.last("conversation.item.input_audio_transcription.completed");
    assert_eq!(transcript["transcript"], CALLER[3].text);
    client.say(&CALLER[0]).send(json!({"type": "input_audio_buffer.clear"}));
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(client.violations(), ["empty-commit"]);
}

#[test]
fn a_long_silence_is_answered_when_it_is_asked_for() {
    let detection = json!({"type": "server_vad", "idle_timeout_ms": 5_000});
    let mut client = Client::configured(detection, &[]);
    client.greet();
    client.pass(Duration::from_millis(5_000));
    assert_eq!(client.all("input_audio_buffer.timeout_triggered").len(), 0);
    client.pass(Duration::from_millis(1_500));
    assert_eq!(client.all("input_audio_buffer.timeout_triggered").len(), 1);
    assert_eq!(client.all("response.done").len(), 2);
}

#[test]
fn a_response_of_its_own_leaves_the_conversation_alone() {
    let mut client = Client::patient(&[]);
    let response =
        json!({"conversation": "none", "output_modalities": ["text"], "metadata": {"purpose": "summary"}});
    client.send(json!({"type": "response.create", "response": response})).pass(Duration::from_secs(1));
    let done = &client.last("response.done")["response"];
    assert_eq!((&done["conversation_id"], &done["metadata"]["purpose"]), (&Value::Null, &json!("summary")));
    assert_eq!(done["output"][0]["content"][0]["type"], "output_text");
    assert_eq!(
        client.all("conversation.item.added").len() + client.all("response.output_audio.delta").len(),
        0
    );
    assert!(client.session.record().report.responses.is_empty());
}

#[test]
fn a_function_call_wants_one_answer() {
    let mut client = Client::patient(&[Fault::FunctionCall(1)]);
    client.greet();
    let done = client.last("response.done")["response"].clone();
    let call = &done["output"][1];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("lookup_order")));
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "{}"});
    client.send(json!({"type": "conversation.item.create", "item": output}));
    assert_eq!(client.violations(), [""; 0]);
    client.send(json!({"type": "conversation.item.create", "item": output}));
    assert_eq!(client.violations(), ["function-call-answered-twice"]);
}

#[test]
fn a_function_call_without_an_answer_counts_when_there_was_time_for_one() {
    for (seconds, violations) in [(4, &[][..]), (6, &["function-call-unanswered"][..])] {
        let mut client = Client::patient(&[Fault::FunctionCall(1), Fault::Burst]);
        client.send(json!({"type": "response.create"})).pass(Duration::from_millis(200));
        client.pass(Duration::from_secs(seconds));
        client.session.end(client.now);
        assert_eq!(client.violations(), violations);
    }
}

#[test]
fn responses_fail_as_they_are_told_to() {
    let mut client = Client::patient(&[Fault::RateLimit(2)]);
    client.greet().greet().greet();
    let done: Vec<_> = client.all("response.done").iter().map(|done| done["response"].clone()).collect();
    assert_eq!(done[1]["status_details"]["error"]["code"], "rate_limit_exceeded");
    assert_eq!(
        [&done[0]["status"], &done[1]["status"], &done[2]["status"]],
        ["completed", "failed", "completed"]
    );
    assert_eq!(done[1]["usage"]["total_tokens"], 0);
    let mut client = Client::patient(&[Fault::Quota]);
    client.greet();
    assert_eq!(
        client.last("response.done")["response"]["status_details"]["error"]["code"],
        "insufficient_quota"
    );
    assert_eq!(client.session.record().report.responses, []);
}

#[test]
fn a_share_of_the_responses_fails_evenly_and_from_the_first_on() {
    let mut client = Client::patient(&[Fault::Errors(40)]);
    client.greet().greet().greet().greet().greet();
    let done = client.all("response.done");
    let failed: Vec<_> = done.iter().map(|done| done["response"]["status"] == "failed").collect();
    assert_eq!(failed, [true, false, false, true, false]);
    assert_eq!(done[0]["response"]["status_details"]["error"]["code"], "server_error");
}

#[test]
fn a_response_can_end_without_sound_without_an_end_or_late() {
    let mut client = Client::patient(&[Fault::NoSound(50)]);
    client.greet().greet();
    let done = client.all("response.done");
    let output: Vec<_> = done.iter().map(|done| done["response"]["output"] == json!([])).collect();
    assert_eq!(output, [true, false]);
    assert_eq!(done[0]["response"]["status"], "completed");

    let mut client = Client::patient(&[Fault::NeverDone(100)]);
    client.greet();
    assert_eq!(client.all("response.created").len(), 1);
    assert_eq!((client.audio_ms(), client.all("response.done").len()), (spoken_ms(&AGENT[0]), 0));

    let mut client = Client::patient(&[Fault::SlowFirstSound(Duration::from_secs(9)), Fault::Burst]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_secs(9));
    assert_eq!((client.all("response.created").len(), client.audio_ms()), (1, 0));
    client.pass(Duration::from_millis(200));
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]));
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn a_request_can_be_refused_or_ignored_though_it_is_right() {
    let mut client = Client::patient(&[Fault::AlreadyActive(50)]);
    client.greet();
    assert_eq!(client.last("error")["error"]["code"], "conversation_already_has_active_response");
    assert_eq!(client.all("response.created").len(), 0);
    client.greet();
    assert_eq!(client.all("response.created").len(), 1);
    assert_eq!(client.violations(), [""; 0]);

    let mut client = Client::patient(&[Fault::IgnoresCancel(100)]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_millis(300));
    client.send(json!({"type": "response.cancel"})).pass(Duration::from_secs(10));
    assert_eq!(client.last("response.done")["response"]["status"], "completed");
}

#[test]
fn a_deaf_session_hears_nothing_from_then_on() {
    let mut client = Client::patient(&[Fault::Deaf(Duration::from_secs(5))]);
    client.say(&CALLER[0]).silence(3_000).say(&CALLER[1]).silence(3_000);
    assert_eq!(client.all("input_audio_buffer.speech_started").len(), 1);
}

#[test]
fn events_can_be_omitted_and_repeated_by_type() {
    let faults = [Fault::Omit("input_audio_buffer.speech_started"), Fault::Repeat("response.done")];
    let mut client = Client::patient(&faults);
    client.greet().say(&CALLER[0]).silence(3_000);
    assert_eq!(client.all("input_audio_buffer.speech_started").len(), 0);
    assert_eq!(client.all("input_audio_buffer.committed").len(), 1);
    assert_eq!(client.all("response.done").len(), 4);
}

#[test]
fn a_session_can_insist_on_another_format() {
    let mut client = Client::patient(&[Fault::OtherFormat]);
    assert_eq!(client.last("session.updated")["session"]["audio"]["output"]["format"]["type"], "audio/pcm");
    client.greet();
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]) * 6, "as many bytes as 24 kHz PCM has");
}

#[test]
fn a_burst_brings_all_the_audio_at_once_in_long_deltas() {
    let mut client = Client::patient(&[Fault::Burst]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_millis(200));
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]));
    assert_eq!(client.all("response.output_audio.delta").len(), spoken_ms(&AGENT[0]).div_ceil(400));
    assert_eq!(client.last("response.done")["response"]["status"], "completed");
}

#[test]
fn noise_on_the_line_of_events_leaves_the_known_ones_as_they_are() {
    let mut client = Client::patient(&[Fault::UnknownEvents, Fault::BenignErrors]);
    client.greet().say(&CALLER[0]).silence(3_000).say(&CALLER[1]).silence(3_000);
    assert!(client.all("response.foreshadowed").len() > 5 && client.all("error").len() > 5);
    assert!(client.events.iter().any(|event| event["session"]["x_unknown"].is_array()));
    assert_eq!(client.all("conversation.item.input_audio_transcription.failed").len(), 1);
    assert_eq!(client.all("conversation.item.input_audio_transcription.completed").len(), 1);
    assert_eq!(client.all("response.done").len(), 3);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn a_session_ends_as_the_fault_says_counted_from_its_first_update() {
    for (fault, end) in [
        (Fault::Close(Duration::from_secs(2)), Out::Close(1001, "going away")),
        (Fault::Stall(Duration::from_secs(2)), Out::Stall),
        (Fault::Drop(Duration::from_secs(2)), Out::Reset),
    ] {
        let mut client = Client::patient(&[fault]);
        client.pass(Duration::from_millis(1_999));
        assert_eq!(client.ends, []);
        client.pass(Duration::from_millis(1));
        assert_eq!(client.ends, [end]);
    }
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
fn pcm_is_spoken_where_pcm_is_in_force() {
    let mut client = Client::of_model("gpt-realtime-1.5", &[]);
    client.greet();
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]) * 6);
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn the_end_of_a_response_can_be_told_late_and_what_it_cost_is_billed_at_once() {
    let mut client = Client::patient(&[Fault::DoneDelay(Duration::from_millis(400))]);
    client.send(json!({"type": "response.create"})).pass(Duration::from_millis(100));
    client.send(json!({"type": "response.cancel"})).pass(Duration::from_millis(399));
    assert!(client.all("response.done").is_empty());
    let billed = client.session.record().report.billed_tokens;
    client.pass(Duration::from_millis(1));
    let done = &client.last("response.done")["response"];
    assert_eq!((&done["status"], &done["usage"]["total_tokens"]), (&"cancelled".into(), &billed.into()));
    assert!(billed > 0);
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

#[test]
fn a_session_that_ends_while_it_is_configured_says_nothing_more() {
    let mut client = Client::new(&[Fault::BenignErrors, Fault::Close(Duration::from_millis(50))]);
    let update = json!({"type": "session.update", "session": {"type": "realtime"}});
    for _ in 0..9 {
        client.send(update.clone());
    }
    client.now += 60_000;
    client.send(update);
    assert_eq!(client.ends, [Out::Close(1001, "going away")]);
}
