//! Turn detection and responses as a caller and a client meet them.

use super::*;

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
fn pcm_is_spoken_where_pcm_is_in_force() {
    let mut client = Client::of_model("gpt-realtime-1.5", &[]);
    client.greet();
    assert_eq!(client.audio_ms(), spoken_ms(&AGENT[0]) * 6);
    assert_eq!(client.violations(), [""; 0]);
}
