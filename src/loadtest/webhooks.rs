//! The second scenario: a storm of status callbacks, of conferences and of recordings.

use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::judge;
use super::progress::Progress;
use super::requests::send_all;
use super::result::Scenario;
use super::schedule::Schedule;
use super::summary::sum_up;
use super::tally::Tally;
use super::target::Target;
use super::watch::watched;
use crate::sim::metrics_page::MetricsPage;
use crate::sim::phone::sid;

/// The routes, as the metrics name them.
const ROUTES: [&str; 2] = ["conference-events", "recording-status"];
/// How long the last ones are waited for, three times what they may take, and how often it is looked.
const PROCESSING: Duration = Duration::from_secs(15);
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// Posts all callbacks and waits until they are processed. `label` is the progress's.
///
/// # Errors
/// The program does not believe that they are Twilio's.
pub async fn run(target: &Target, schedule: Schedule, label: &str) -> anyhow::Result<Scenario> {
    let (started, asked) = (Instant::now(), u64::from(schedule.count));
    let tally = Rc::new(Tally::default());
    let before = target.metrics().await.ok();
    let work = async {
        send_all(schedule, &tally, |index| {
            let target = target.clone();
            async move {
                let (path, params) = callback(index);
                target.webhook(path, &params).await
            }
        })
        .await;
        let accepted = tally.done() - tally.error_count() - tally.our_error_count();
        (accepted, processed(target, before.as_ref(), accepted).await)
    };
    let progress = Progress::of(label, asked);
    let ((accepted, delays), seen) = watched(target, &tally, &progress, work).await;
    let origin = target.origin.origin().ascii_serialization();
    ensure!(
        !tally.is_refused(),
        "webhooks are refused: the program needs PUBLIC_URL={origin}, and the TWILIO_AUTH_TOKEN of this test"
    );
    let on_time = delays.as_deref().and_then(in_time);
    let delay_p95_ms = delays.as_deref().and_then(judge::p95_of_buckets).map(|seconds| seconds * 1e3);
    let mut checks = judge::of_webhooks(asked, tally.errors_by("429"), accepted, on_time, delay_p95_ms);
    checks.push(judge::of_lag(&tally.lag_ms(), judge::LAG_MS));
    let task = format!(
        "{asked} status callbacks of conferences and recordings within {} s: none answered 429, all processed within 5 s",
        schedule.within.as_secs_f64()
    );
    Ok(sum_up(("webhooks", task), (started, asked), &tally, seen, tally.lag_ms(), checks))
}

/// One that was never sent before: path and parameters (reference: twilio.md sections 6.4 and 6.5).
fn callback(index: u32) -> (&'static str, Vec<(String, String)>) {
    let (path, params) = if index.is_multiple_of(2) {
        let params = vec![
            ("ConferenceSid", sid("CF")),
            ("FriendlyName", format!("loadtest-{index}")),
            ("StatusCallbackEvent", "participant-join".to_owned()),
            ("SequenceNumber", "1".to_owned()),
            ("CallSid", sid("CA")),
            ("Muted", "false".to_owned()),
            ("Hold", "false".to_owned()),
            ("Coaching", "false".to_owned()),
        ];
        ("/api/voice/conference-events", params)
    } else {
        let params = vec![
            ("RecordingSid", sid("RE")),
            ("CallSid", sid("CA")),
            ("RecordingStatus", "completed".to_owned()),
            ("RecordingDuration", "12".to_owned()),
            ("RecordingChannels", "1".to_owned()),
            ("RecordingSource", "StartCallRecordingAPI".to_owned()),
        ];
        ("/api/voice/recording-status", params)
    };
    let account = ("AccountSid", "AC00000000000000000000000000000001".to_owned());
    (path, params.into_iter().chain([account]).map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Waits until so many more callbacks are processed than before; answers the histogram of their delays in
/// seconds, as far as it has come when time is up. None if the program does not tell.
async fn processed(target: &Target, before: Option<&MetricsPage>, accepted: u64) -> Option<Vec<(f64, f64)>> {
    let delays = |page: &MetricsPage| page.buckets("switchboard_webhook_delay_seconds", "route", &ROUTES);
    let known = delays(before?);
    let deadline = Instant::now() + PROCESSING;
    let mut more = None;
    loop {
        // What was told last is known, even if the program tells no more.
        more = target.metrics().await.ok().map(|page| since(&known, &delays(&page))).or(more);
        let done = more.as_ref().and_then(|more| more.last()).map_or(0.0, |(_, all)| *all);
        if done >= accepted as f64 || Instant::now() > deadline {
            return more;
        }
        sleep(LOOKS_EVERY).await;
    }
}

/// How many of them were processed within the time that is given; before the first one there is no histogram.
/// None if the histogram has no bucket that ends there.
fn in_time(delays: &[(f64, f64)]) -> Option<u64> {
    let bound = judge::PROCESSED_WITHIN_MS / 1e3;
    if delays.is_empty() {
        return Some(0);
    }
    delays.iter().find(|(at_most, _)| *at_most == bound).map(|(_, count)| *count as u64)
}

/// What a histogram has more than it had.
fn since(before: &[(f64, f64)], after: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let known =
        |bound: f64| before.iter().find(|(at_most, _)| *at_most == bound).map_or(0.0, |(_, count)| *count);
    after.iter().map(|(bound, count)| (*bound, count - known(*bound))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_types_take_turns_and_none_is_sent_twice() {
        let (conference, recording) = (callback(0), callback(1));
        assert_eq!(conference.0, "/api/voice/conference-events");
        assert_eq!(recording.0, "/api/voice/recording-status");
        assert_ne!(callback(0).1[0], conference.1[0]);
    }

    #[test]
    fn what_was_never_processed_was_not_processed_in_time() {
        assert_eq!(in_time(&[(1.0, 5.0), (5.0, 9.0), (f64::INFINITY, 10.0)]), Some(9));
        assert_eq!(in_time(&[]), Some(0));
        assert_eq!(in_time(&[(1.0, 5.0), (6.0, 9.0)]), None, "nobody can tell");
    }

    #[test]
    fn a_histogram_counts_from_where_it_was() {
        let after = [(1.0, 5.0), (5.0, 9.0), (f64::INFINITY, 9.0)];
        assert_eq!(since(&[], &after), after);
        assert_eq!(since(&[(1.0, 5.0), (5.0, 6.0)], &after[..2]), [(1.0, 0.0), (5.0, 3.0)]);
    }
}
