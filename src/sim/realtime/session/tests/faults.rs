//! A service that does what it is told to do wrong.

use super::*;

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
