//! `<Record>`: the caller speaks to a machine (reference: twilio.md section 2.7).

use std::cell::Cell;
use std::time::Duration;

use chrono::Utc;
use tokio::time::{Instant, interval, sleep};
use url::Url;

use super::{Leg, Next};
use crate::sim::phone::ear::FRAME;
use crate::sim::phone::ledger::Recording;
use crate::sim::phone::line::{End, Event};
use crate::sim::phone::twiml::{Method, Recorder, Target};

const BEEP: Duration = Duration::from_millis(500);

/// What a recorder took.
struct Taken {
    /// Up to the last word; zero if nothing was said. Silence is trimmed.
    length: Duration,
    /// The key that ended it, `hangup`, or nothing.
    digits: String,
    interrupted: bool,
}

impl Leg {
    /// Beeps, listens and files what was said. A recording of nothing skips the `action`; without an `action`
    /// the document is requested again.
    pub(super) async fn records(&mut self, action: Option<Target>, recorder: &Recorder, base: &Url) -> Next {
        if recorder.beeps {
            self.line.change(|state| {
                state.breaks_silence(Instant::now());
                state.ear.is_beeped_at();
            });
            if self.line.unless_interrupted(sleep(BEEP)).await.is_none() {
                return Next::End(End::ByCaller);
            }
            self.line.change(|state| state.was_not_silent_until(Instant::now()));
        }
        let taken = self.listens(recorder).await;
        let recording = self.files(&taken, recorder, base);
        if taken.length.is_zero() {
            return if taken.interrupted { Next::End(End::ByCaller) } else { Next::Verb };
        }
        self.line.event(Event::Recorded);
        let told = vec![
            ("RecordingUrl", recording.url()),
            ("RecordingDuration", recording.seconds().unwrap_or_default()),
            ("Digits", taken.digits),
        ];
        let action = action.unwrap_or_else(|| Target { url: base.to_string(), method: Method::Post });
        if taken.interrupted {
            self.hangs_up_before(Some(action), base, told)
        } else {
            self.document(&action, base, told)
        }
    }

    async fn listens(&self, recorder: &Recorder) -> Taken {
        let mut frames = interval(FRAME);
        let (mut now, mut length) = (Duration::ZERO, Duration::ZERO);
        let taken = |length, digits: String, interrupted| Taken { length, digits, interrupted };
        while now < recorder.max_length && now - length < recorder.timeout {
            frames.tick().await;
            now += FRAME;
            if self.line.speaks_to_recorder() {
                length = now;
            }
            let (interrupted, key) = self.line.with(|state| (state.is_interrupted(), state.keys.pop_front()));
            if interrupted {
                return taken(length, "hangup".to_owned(), true);
            }
            if let Some(key) = key.filter(|&key| recorder.finish_on.contains(key)) {
                return taken(length, key.to_string(), false);
            }
        }
        taken(length, String::new(), false)
    }

    /// Keeps the recording, in whole seconds, and tells whoever wants to know.
    fn files(&mut self, taken: &Taken, recorder: &Recorder, base: &Url) -> Recording {
        let (seconds, created) = (taken.length.as_secs_f64().ceil() as u64, Utc::now());
        let absolute = |target: &Target| {
            let url = base.join(&target.url).ok()?.to_string();
            Some(Target { url, ..target.clone() })
        };
        let recording = Recording {
            sid: crate::sim::phone::sid("RE"),
            call: self.record.clone(),
            source: "RecordVerb",
            channels: 1,
            track: "inbound".to_owned(),
            status: Cell::new(if seconds > 0 { "completed" } else { "absent" }),
            created,
            ended: Cell::new(Some(created + Duration::from_secs(seconds))),
            deleted: Cell::new(false),
            callback: recorder.callback.as_ref().and_then(absolute),
            events: recorder.events.clone(),
        };
        self.callbacks.extend(self.net.reports(&recording));
        if seconds > 0 && self.net.ledger.add_recording(recording.clone()).is_err() {
            self.violation("recordings", "too many recordings".into());
        }
        recording
    }
}
