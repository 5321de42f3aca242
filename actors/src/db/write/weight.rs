//! About how many bytes of memory a record holds.

use std::mem::size_of;

use serde_json::Value;

use super::record::{Event, Record};

pub(super) fn of(record: &Record) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let held = match record {
        Record::Opened(opened) => opened.from.len() + opened.to.len() + opened.instance.len(),
        Record::Turn(turn) => turn.text.len(),
        Record::Event(event) => of_event(event),
        Record::Decided(_) => 0,
        Record::Closed(closed) => of_json(&closed.usage),
        Record::Aftermath(aftermath) => of_event(&aftermath.event) + text(&aftermath.from),
        Record::Inbox(item) => {
            let optional = [&item.from, &item.name, &item.language, &item.recording_sid];
            item.dedupe_key.len() + item.text.len() + optional.into_iter().map(text).sum::<usize>()
        }
        Record::Webhook(webhook) => {
            let names = webhook.dedupe_key.len() + text(&webhook.call_sid) + text(&webhook.conference_sid);
            names + of_json(&webhook.body)
        }
    };
    size_of::<Record>() + held
}

fn of_event(event: &Event) -> usize {
    event.kind.len() + event.dedupe_key.as_ref().map_or(0, String::len) + of_json(&event.data)
}

fn of_json(value: &Value) -> usize {
    let held = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(of_json).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| size_of::<String>() + name.len() + of_json(value)).sum()
        }
    };
    size_of::<Value>() + held
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use serde_json::json;

    use super::*;
    use crate::db::write::record::{InboxItem, InboxKind};

    #[test]
    fn a_record_weighs_at_least_what_its_texts_do() {
        let event = |kind: &str, data| {
            Record::Event(Event {
                call_sid: "CA00000000000000000000000000000001".parse().unwrap(),
                at: Utc::now(),
                kind: kind.to_owned(),
                data,
                dedupe_key: None,
            })
        };
        let small = of(&event("x", Value::Null));
        assert!((size_of::<Record>()..1_000).contains(&small), "{small}");
        assert_eq!(of(&event(&"x".repeat(10_001), Value::Null)), small + 10_000);
        assert!(of(&event("x", json!({"a": ["b".repeat(10_000)]}))) > small + 10_000);
        let sid = "CA00000000000000000000000000000001".parse().unwrap();
        let item = InboxItem::said(sid, Utc::now(), InboxKind::Message, "x".repeat(10_000));
        assert!(of(&Record::Inbox(item)) > 10_000);
    }
}
