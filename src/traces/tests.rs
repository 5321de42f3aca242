use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use tracing_subscriber::layer::SubscriberExt as _;

use super::counted::QUEUE;
use super::*;

const SID: &str = "CA0123456789ABCDEF0123456789abcdef";

/// Passes on what is exported, unless somebody stands in the gate.
#[derive(Debug)]
struct Collector {
    taken: mpsc::Sender<SpanData>,
    gate: Arc<Mutex<()>>,
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(self.gate.lock());
        batch.into_iter().for_each(|span| drop(self.taken.send(span)));
        Ok(())
    }
}

fn traced(within: impl FnOnce()) -> Vec<SpanData> {
    let (taken, spans) = mpsc::channel();
    let traces =
        Traces::to(Collector { taken, gate: Arc::default() }, Arc::default(), "switchboard", "here:8080");
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, within);
    drop(traces);
    spans.try_iter().collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a opentelemetry::Value> {
    attributes.iter().find(|attribute| attribute.key.as_str() == name).map(|attribute| &attribute.value)
}

#[test]
fn a_call_is_a_trace_with_its_sid_for_an_id() {
    let spans = traced(|| {
        let call = tracing::info_span!(parent: None, "call", call.sid = %SID);
        let stream = tracing::info_span!(parent: &call, "media stream", epoch = 1_i64);
        tracing::info!(parent: &stream, digits = 2_i64, "a note");
        tracing::debug!(parent: &stream, "for developers");
        let elsewhere = tracing::info_span!(target: "elsewhere", parent: &call, "of another crate");
        drop((stream, call, elsewhere));
        let _webhook = tracing::info_span!("webhook", call.sid = SID).entered();
        drop(tracing::info_span!("registry", call.sid = %SID));
    });
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["media stream", "call", "registry", "webhook"]);
    for span in &spans {
        assert_eq!(span.span_context.trace_id().to_string(), SID[2..].to_lowercase(), "{}", span.name);
    }
    let [stream, call, registry, webhook] = &spans[..] else { unreachable!() };
    for (root, child) in [(call, stream), (webhook, registry)] {
        assert_eq!(
            (root.parent_span_id, child.parent_span_id),
            (SpanId::INVALID, root.span_context.span_id())
        );
    }
    assert_eq!(stream.attributes, [KeyValue::new("epoch", 1_i64)], "and nothing that we did not say");
    let [note] = &stream.events[..] else { panic!("one note: {:?}", stream.events) };
    assert_eq!(note.name, "a note");
    assert_eq!(attribute(&note.attributes, "digits"), Some(&2_i64.into()));
    assert!(call.end_time > call.start_time);
}

#[test]
fn a_span_of_no_call_has_a_trace_of_its_own() {
    let spans = traced(|| {
        drop(tracing::info_span!("one"));
        drop(tracing::info_span!("no SID", call.sid = "CA of no call"));
    });
    let [one, other] = &spans[..] else { panic!("{spans:?}") };
    assert!(one.span_context.is_valid() && other.span_context.is_valid());
    assert_ne!(one.span_context.trace_id(), other.span_context.trace_id());
}

#[test]
fn an_error_that_is_logged_marks_its_span() {
    let spans = traced(|| {
        let call = tracing::info_span!("call", call.sid = SID);
        tracing::error!(parent: &call, "it went wrong");
    });
    assert_eq!(spans[0].status, Status::error(""));
}

#[test]
fn a_name_whose_look_up_hangs_holds_no_batch_up() {
    let (look_up, looks_up) = mpsc::channel::<()>();
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let resolved = client::in_time(async { tokio::task::spawn_blocking(move || looks_up.recv()).await });
        answer.send(resolved.is_err())
    });
    let late = TAKEN_WITHIN + Duration::from_secs(2);
    assert_eq!(answered.recv_timeout(late), Ok(true), "it is given up in time");
    drop(look_up);
}

#[test]
fn of_a_long_call_the_first_notes_are_kept() {
    let spans = traced(|| {
        let call = tracing::info_span!("call", call.sid = SID);
        (0..MAX_NOTES + 3).for_each(|number| tracing::info!(parent: &call, number, "a note"));
    });
    assert_eq!((spans[0].events.len(), spans[0].events.dropped_count), (MAX_NOTES as usize, 3));
}

#[test]
fn a_span_that_finds_no_room_is_counted_and_lost() {
    let (taken, spans) = mpsc::channel();
    let gate = Arc::new(Mutex::new(()));
    let traces =
        Traces::to(Collector { taken, gate: gate.clone() }, Arc::default(), "switchboard", "here:8080");
    let dropped = METRICS.spans.with_label_values(&["dropped"]);
    let before = dropped.get();
    let standing = gate.lock().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), || {
        let make = |count| (0..count).for_each(|_| drop(tracing::info_span!("call", call.sid = SID)));
        make(QUEUE + 3);
        assert_eq!(dropped.get() - before, 3);
        drop(standing);
        assert_eq!(spans.iter().take(QUEUE).count(), QUEUE, "the others are sent");
        make(1);
    });
    assert_eq!(dropped.get() - before, 3, "there is room again");
    drop(traces);
    assert_eq!(spans.try_iter().count(), 1);
}

#[test]
fn the_end_waits_no_longer_for_a_collector_that_takes_nothing() {
    let (taken, spans) = mpsc::channel();
    let gate = Arc::new(Mutex::new(()));
    let traces =
        Traces::to(Collector { taken, gate: gate.clone() }, Arc::default(), "switchboard", "here:8080");
    let _standing = gate.lock().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(traces.layer()), || {
        drop(tracing::info_span!("call", call.sid = SID));
    });
    let ends = Instant::now();
    drop(traces);
    assert!(ends.elapsed() < TAKEN_WITHIN + Duration::from_secs(2));
    assert!(spans.try_recv().is_err(), "it was waited for");
}
