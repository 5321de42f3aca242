//! What the types write is what their schemas say: with all that can be known, and with nothing.

use actors::db::{
    AuditRow, CallDetail, CallLog, CallLogPage, CallSummary, ConferenceEvent, LoggedConference, LoggedEvent,
    LoggedParticipant, LoggedRecording, LoggedTool, LoggedTurn, TwilioBill,
};
use actors::health::Refusal;
use actors::registry::picture::{CallState, Capacity, LiveCall, Picture, QueuedCall, Speaking};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::described::{DOCUMENT, fault};

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Whether the value is known; unknown texts are null.
fn told(is_known: bool, text: &str) -> Option<String> {
    is_known.then(|| text.to_owned())
}

fn is_described(name: &str, value: &impl Serialize) {
    let value = serde_json::to_value(value).unwrap();
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    assert!(DOCUMENT["components"]["schemas"][name].is_object(), "{name}");
    assert_eq!(fault(&value, &schema), None, "{name}: {value}");
}

fn summary(is_known: bool) -> CallSummary {
    CallSummary {
        call_sid: "CA00000000000000000000000000000001".to_owned(),
        from: told(is_known, "+14155550100"),
        to: told(is_known, "+15005550006"),
        started_at: at(),
        ended_at: is_known.then(at),
        duration_seconds: is_known.then_some(42),
        outcome: told(is_known, "completed"),
        reason: told(is_known, "caller-hung-up"),
        urgent: is_known,
        turns: 3,
        recordings: 1,
        cost_usd: is_known.then_some(0.11),
        agent_unavailable: is_known,
        inbox: told(is_known, "message").into_iter().collect(),
    }
}

fn conference(is_known: bool) -> LoggedConference {
    let sid = || told(is_known, "CA00000000000000000000000000000002");
    let participant = LoggedParticipant {
        call_sid: "CA00000000000000000000000000000001".to_owned(),
        label: told(is_known, "caller"),
        joined_at: is_known.then(at),
        left_at: is_known.then(at),
        leave_reason: told(is_known, "participant_hung_up"),
        muted: is_known,
        on_hold: is_known,
        coaching: is_known,
    };
    LoggedConference {
        conference_sid: "CF00000000000000000000000000000001".to_owned(),
        friendly_name: told(is_known, "a room"),
        started_at: is_known.then(at),
        ended_at: is_known.then(at),
        end_reason: told(is_known, "last-participant-left"),
        ended_by_call_sid: sid(),
        participants: vec![participant],
        events: vec![ConferenceEvent { at: at(), event: "participant-join".to_owned(), call_sid: sid() }],
    }
}

fn recording(is_known: bool) -> LoggedRecording {
    LoggedRecording {
        recording_sid: "RE00000000000000000000000000000001".to_owned(),
        status: "completed".to_owned(),
        url: told(is_known, "https://api.twilio.com/Recordings/RE1"),
        duration_seconds: is_known.then_some(42),
        channels: is_known.then_some(2),
        source: told(is_known, "RecordVerb"),
        track: told(is_known, "both"),
        started_at: is_known.then(at),
        conference_sid: told(is_known, "CF00000000000000000000000000000001"),
        deleted_at: is_known.then(at),
    }
}

#[test]
fn a_call_is_written_as_it_is_described() {
    for is_known in [true, false] {
        let twilio = TwilioBill {
            twilio_duration_seconds: is_known.then_some(43),
            twilio_price: is_known.then_some(-0.01),
            twilio_price_unit: told(is_known, "USD"),
        };
        let call = CallDetail {
            summary: summary(is_known),
            instance: told(is_known, "here"),
            barge_ins: 1,
            first_audio_ms: is_known.then_some(200),
            twilio,
        };
        let turn = LoggedTurn {
            ordinal: 1,
            speaker: "agent".to_owned(),
            text: "Hello".to_owned(),
            started_at: at(),
            heard_ms: is_known.then_some(900),
            cut_off: is_known,
        };
        let event = LoggedEvent { at: at(), kind: "in-progress".to_owned(), data: json!({"a": [1, null]}) };
        let log = CallLog {
            call,
            turns: vec![turn],
            events: vec![event],
            tools: vec![LoggedTool { at: at(), name: "slots".to_owned(), outcome: "ok".to_owned(), ms: 7 }],
            conference: Some(conference(is_known)).filter(|_| is_known),
            recordings: vec![recording(is_known)],
            usage: if is_known { json!({"model": "gpt-realtime-2.1"}) } else { Value::Null },
        };
        is_described("CallLog", &log);
        is_described("LoggedConference", &conference(is_known));
        let page = CallLogPage {
            calls: vec![summary(is_known)],
            page: 1,
            page_size: 50,
            total: 1,
            total_is_exact: is_known,
            next_cursor: told(is_known, "LXN0"),
            search_is_complete: is_known.then_some(true),
        };
        is_described("CallLogPage", &page);
    }
}

#[test]
fn the_live_picture_the_audit_and_a_refusal_are_written_as_they_are_described() {
    use CallState::{Connecting, Ending, Live, Reconnecting, Reserved, Transferring};
    let call_sid = "CA00000000000000000000000000000001".parse().unwrap();
    let call = |state, speaking, is_known: bool| LiveCall {
        call_sid,
        instance: "here".to_owned(),
        from: "+14155550100".to_owned(),
        to: "+15005550006".to_owned(),
        state,
        started_at: at(),
        duration_seconds: 7,
        speaking,
        turns: 1,
        barge_ins: 0,
        first_audio_ms: is_known.then_some(200),
        last_turn_ms: is_known.then_some(700),
        restarts: 0,
        reconnects: 0,
    };
    let states = [Reserved, Connecting, Live, Reconnecting, Transferring, Ending];
    let calls = states.map(|state| call(state, Speaking::None, false));
    let speaking = [Speaking::Caller, Speaking::Agent].map(|speaking| call(Live, speaking, true));
    let picture = Picture {
        generated_at: at(),
        instance: "here".to_owned(),
        draining: false,
        capacity: Capacity { limit: 20, active: 1, reserved: 0, queued: 1, available: 19 },
        calls: calls.into_iter().chain(speaking).collect(),
        queue: vec![QueuedCall {
            call_sid,
            from: "+14155550100".to_owned(),
            position: 1,
            waiting_seconds: 5,
        }],
    };
    is_described("Picture", &picture);
    for is_known in [true, false] {
        let entry = AuditRow {
            id: 17,
            at: at(),
            who: "user:anna".to_owned(),
            client: told(is_known, "192.0.2.1"),
            action: "login".to_owned(),
            object: told(is_known, "anna"),
            outcome: "ok".to_owned(),
        };
        is_described("AuditRow", &entry);
    }
    let text = || "text".to_owned();
    is_described("Refusal", &Refusal { code: text(), parameter: text(), value: text(), setting: text() });
}

#[test]
fn a_field_that_is_missing_or_not_described_is_a_fault() {
    let schema = json!({"$ref": "#/components/schemas/Capacity"});
    let whole = json!({"limit": 20, "active": 1, "reserved": 0, "queued": 0, "available": 19});
    assert_eq!(fault(&whole, &schema), None);
    let with = |name: &str, value: Value| {
        let mut other = whole.clone();
        other[name] = value;
        other
    };
    assert!(fault(&with("more", json!(1)), &schema).is_some());
    assert!(fault(&with("active", Value::Null), &schema).is_some());
    let mut less = whole.clone();
    less.as_object_mut().unwrap().remove("queued");
    assert!(fault(&less, &schema).is_some());
}
