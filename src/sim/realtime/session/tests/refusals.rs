//! What a client may not do: it is refused, or counted as a violation.

use super::*;

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
