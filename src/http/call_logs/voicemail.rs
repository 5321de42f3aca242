//! A voicemail as data: the recording, how long it is, and whether somebody has listened to it.
//!
//! The message and the word that it was heard are events of the call.

use actors::db::LoggedEvent;
use actors::db::record::Event;
use actors::wire::twilio::sid::CallSid;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

const LEFT: &str = "voicemail";
const HEARD: &str = "voicemail-listened";

/// The message that a caller has left; the last one of several.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Voicemail {
    recording_sid: String,
    recording_url: Option<String>,
    duration_seconds: Option<u64>,
    left_at: DateTime<Utc>,
    listened: bool,
}

/// Found in the events of its call.
pub(super) fn of(events: &[LoggedEvent]) -> Option<Voicemail> {
    let left = events.iter().rfind(|event| event.kind == LEFT)?;
    let text = |event: &LoggedEvent, name: &str| event.data[name].as_str().map(str::to_owned);
    let recording_sid = text(left, "recordingSid")?;
    let is_of_it = |event: &LoggedEvent| text(event, "recordingSid").as_ref() == Some(&recording_sid);
    Some(Voicemail {
        listened: events.iter().any(|event| event.kind == HEARD && is_of_it(event)),
        recording_url: text(left, "recordingUrl"),
        duration_seconds: left.data["durationSeconds"].as_u64(),
        left_at: left.at,
        recording_sid,
    })
}

/// That somebody has listened to it; said again, it is one event.
pub(super) fn heard(call_sid: CallSid, voicemail: &Voicemail) -> Event {
    let data: Value = json!({"recordingSid": voicemail.recording_sid});
    let dedupe_key = Some(format!("{HEARD} {}", voicemail.recording_sid));
    Event { call_sid, at: Utc::now(), kind: HEARD.to_owned(), data, dedupe_key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: Value) -> LoggedEvent {
        LoggedEvent { at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(), kind: kind.to_owned(), data }
    }

    #[test]
    fn a_voicemail_is_told_as_data_and_whether_it_was_heard() {
        let left = |sid| {
            let url = format!("https://api.twilio.com/Recordings/{sid}");
            event(LEFT, json!({"recordingSid": sid, "recordingUrl": url, "durationSeconds": 12}))
        };
        let heard = |sid| event(HEARD, json!({"recordingSid": sid}));
        assert_eq!(of(&[event("transfer", json!({}))]), None);
        let told = |events: &[LoggedEvent]| serde_json::to_value(of(events)).unwrap();
        let expected = |sid: &str, listened| {
            json!({"recordingSid": sid, "recordingUrl": format!("https://api.twilio.com/Recordings/{sid}"),
                "durationSeconds": 12, "leftAt": "2027-01-15T08:00:00Z", "listened": listened})
        };
        assert_eq!(told(&[left("RE1")]), expected("RE1", false));
        assert_eq!(told(&[left("RE1"), heard("RE1")]), expected("RE1", true));
        assert_eq!(told(&[left("RE1"), heard("RE1"), left("RE2")]), expected("RE2", false));
    }
}
