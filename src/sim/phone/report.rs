//! What a run amounts to: the phone's own measurements, and what the simulated Realtime service says arrived
//! there.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::network::histogram;
use super::script::{CallDetail, Verdict};
use super::span::Spanned;
use crate::sim::report::{
    CallCounts, CallsReport, FrameCounts, Percentiles, RealtimeReport, SessionReport, UpDown, Violation,
};

/// Frames of a call's first second: the bridge may hold them until its session is ready, so their latency is
/// not what it adds.
const FRAMES_HELD: u32 = 50;

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    pub report: CallsReport,
    /// What the simulated network would have complained of; `source` is the call's number.
    pub violations: Vec<Violation>,
    /// What the simulated Realtime service complained of; `source` is the session's number.
    pub realtime_violations: Vec<Violation>,
    pub calls: Vec<CallDetail>,
    /// How late the callers' frames were sent by this program itself: a large one makes the other figures
    /// worthless.
    pub own_lag_ms: Percentiles,
    /// Whether a call that a person took is as good as one that the agent held.
    pub person_counts: bool,
}

/// What was measured beside the calls themselves.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Requests for the fallback URL.
    pub fallback: u64,
    pub spanned: &'a Spanned,
    pub violations: (u64, Vec<Violation>),
    pub cpu_seconds: Option<f64>,
    pub memory_kib_per_call: Option<f64>,
    pub person_counts: bool,
}

impl Outcome {
    /// Puts the parts together. `realtime` is the service's report about this run alone.
    pub fn of(calls: Vec<CallDetail>, measured: Measured<'_>, realtime: Option<RealtimeReport>) -> Self {
        let mut frames = FrameCounts::default();
        for call in &calls {
            add(&mut frames, &call.ear.faults);
        }
        frames.crossed += heard_by_several(&calls);
        let mut up = histogram();
        let both_ways = realtime.is_some();
        let realtime_violations = realtime.map_or_else(Vec::new, |realtime| {
            add(&mut frames, &arrivals(&calls, &realtime.sessions, &mut up));
            frames.lost += missing(&calls, &realtime.sessions);
            realtime.violations
        });
        let count =
            |wanted: fn(&Verdict) -> bool| calls.iter().filter(|call| wanted(&call.verdict)).count() as u64;
        let minutes = calls.iter().map(|call| call.length.as_secs_f64()).sum::<f64>() / 60.0;
        let (violations_counted, violations) = measured.violations;
        let report = CallsReport {
            calls: CallCounts {
                asked: calls.len() as u64,
                completed: count(|verdict| *verdict == Verdict::Completed),
                with_person: count(|verdict| *verdict == Verdict::WithPerson),
                refused: count(|verdict| *verdict == Verdict::Refused),
                failed: count(|verdict| matches!(verdict, Verdict::Failed(_))),
                fallback: measured.fallback,
            },
            frames: (both_ways || frames != FrameCounts::default()).then_some(frames),
            added_latency_ms: UpDown { up: percentiles(&up), down: percentiles(&measured.spanned.down) },
            first_audio_ms: of_durations(calls.iter().filter_map(|call| call.first_audio)),
            barge_in_ms: of_durations(calls.iter().flat_map(|call| call.reactions.iter().copied())),
            turn_ms: of_durations(calls.iter().flat_map(|call| call.answers.iter().copied())),
            silence_ms: of_durations(calls.iter().map(|call| Duration::from_millis(call.silence_ms))),
            gaps: calls.iter().map(|call| call.gaps).sum(),
            cpu_seconds_per_call_minute: measured
                .cpu_seconds
                .filter(|_| minutes > 0.0)
                .map(|cpu| cpu / minutes),
            memory_kib_per_call: measured.memory_kib_per_call,
            bridge_cores: measured.spanned.bridge_cores,
            own_cores: measured.spanned.own_cores,
            realtime_lag_ms: measured.spanned.realtime_lag_ms.clone(),
            violations: violations_counted + realtime_violations.len() as u64,
        };
        let own_lag_ms = percentiles(&measured.spanned.lag);
        let person_counts = measured.person_counts;
        Self { report, violations, realtime_violations, calls, own_lag_ms, person_counts }
    }

    /// Whether every call asked for was answered and nothing was found wrong with any frame or message. Where
    /// a person counts, the service is known to be at fault: a session that it ends takes a few frames with
    /// it.
    pub fn is_fine(&self) -> bool {
        let CallsReport { calls, frames, violations, .. } = &self.report;
        let answered = calls.completed + if self.person_counts { calls.with_person } else { 0 };
        let bad = |frames: &FrameCounts| {
            let lost = if self.person_counts { 0 } else { frames.lost };
            lost + frames.reordered + frames.corrupted + frames.crossed
        };
        answered == calls.asked
            && calls.fallback == 0
            && frames.as_ref().is_none_or(|frames| bad(frames) == 0)
            && *violations == 0
    }
}

/// The callers' frames that count, at the other end: each must have arrived once, in order, with those of no
/// other caller.
fn arrivals(calls: &[CallDetail], sessions: &[SessionReport], latencies: &mut Histogram<u64>) -> FrameCounts {
    let mut frames = FrameCounts::default();
    for session in sessions {
        frames.corrupted += session.corrupted;
        frames.crossed += session.callers.len().saturating_sub(1) as u64;
    }
    for call in calls {
        let (mut seen, mut next) = (HashSet::new(), 0);
        let counted = |(sequence, _): &&(u32, u32)| call.counted.contains(sequence);
        let of_call = sessions.iter().filter(|session| session.callers.first() == Some(&call.number));
        for &(sequence, latency_us) in of_call.flat_map(|session| &session.arrivals).filter(counted) {
            if sequence < next {
                frames.reordered += 1;
            }
            next = next.max(sequence.saturating_add(1));
            seen.insert(sequence);
            if sequence >= FRAMES_HELD {
                latencies.saturating_record(u64::from(latency_us));
            }
        }
        frames.lost += call.counted.clone().filter(|sequence| !seen.contains(sequence)).count() as u64;
    }
    frames
}

/// Frames of completed responses that never reached the caller, though nobody cut them.
fn missing(calls: &[CallDetail], sessions: &[SessionReport]) -> u64 {
    let sessions: BTreeMap<_, _> = sessions.iter().map(|session| (session.session, session)).collect();
    let mut missing = 0;
    for call in calls {
        for session in call.ear.sessions().keys().filter_map(|source| sessions.get(source)) {
            for response in session.responses.iter().filter(|response| response.status == "completed") {
                missing += u64::from(call.ear.missing((session.session, response.response), response.frames));
            }
        }
    }
    missing
}

/// Frames of one session in the ears of several callers: all but those of whoever heard most of it.
fn heard_by_several(calls: &[CallDetail]) -> u64 {
    let mut heard = BTreeMap::<u16, Vec<u64>>::new();
    for (session, frames) in calls.iter().flat_map(|call| call.ear.sessions()) {
        heard.entry(session).or_default().push(frames);
    }
    heard.values().map(|ears| ears.iter().sum::<u64>() - ears.iter().max().copied().unwrap_or_default()).sum()
}

fn add(sum: &mut FrameCounts, more: &FrameCounts) {
    sum.lost += more.lost;
    sum.reordered += more.reordered;
    sum.corrupted += more.corrupted;
    sum.crossed += more.crossed;
}

fn of_durations(durations: impl Iterator<Item = Duration>) -> Percentiles {
    let mut all = histogram();
    durations.for_each(|duration| all.saturating_record(duration.as_micros() as u64));
    percentiles(&all)
}

/// Milliseconds, of a histogram of microseconds; null when it is empty.
pub fn percentiles(micros: &Histogram<u64>) -> Percentiles {
    let at = |percent| (!micros.is_empty()).then(|| micros.value_at_percentile(percent) as f64 / 1e3);
    Percentiles { p50: at(50.0), p95: at(95.0), p99: at(99.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::phone::ear::Ear;
    use crate::sim::report::ResponseReport;
    use crate::sim::tag::{FRAME_BYTES, Tag};

    /// A call of three frames that heard `frames` frames of response 0 of `session`.
    fn call(number: u16, session: u16, frames: u32) -> CallDetail {
        let mut ear = Ear::default();
        for sequence in 0..frames {
            let mut frame = [0x55; FRAME_BYTES];
            Tag { source: session, sequence, clip: 100, sent_us: 0 }.write(&mut frame);
            ear.arrives(&frame, 0, &mut histogram());
        }
        CallDetail {
            number,
            call_sid: String::new(),
            verdict: Verdict::Completed,
            length: Duration::from_secs(30),
            first_audio: Some(Duration::from_millis(40)),
            reactions: Vec::new(),
            answers: Vec::new(),
            gaps: 0,
            frames_sent: 3,
            counted: 0..3,
            silence_ms: 0,
            events: Vec::new(),
            ear,
        }
    }

    fn session(session: u16, callers: &[u16], sequences: &[u32]) -> SessionReport {
        let arrivals = sequences.iter().map(|sequence| (*sequence, 500)).collect();
        SessionReport { session, callers: callers.into(), arrivals, ..SessionReport::default() }
    }

    fn outcome(calls: Vec<CallDetail>, sessions: Vec<SessionReport>) -> Outcome {
        with_report(calls, Some(RealtimeReport { sessions, violations: Vec::new() }))
    }

    fn with_report(calls: Vec<CallDetail>, realtime: Option<RealtimeReport>) -> Outcome {
        let measured = Measured {
            fallback: 0,
            spanned: &Spanned {
                down: histogram(),
                lag: histogram(),
                realtime_lag_ms: Percentiles::default(),
                own_cores: None,
                bridge_cores: None,
            },
            violations: (0, Vec::new()),
            cpu_seconds: Some(0.1),
            memory_kib_per_call: None,
            person_counts: false,
        };
        Outcome::of(calls, measured, realtime)
    }

    #[test]
    fn a_run_in_which_everything_arrived_once_and_in_order_is_fine() {
        let outcome = outcome(
            vec![call(0, 7, 2), call(1, 8, 2)],
            vec![session(7, &[0], &[0, 1, 2]), session(8, &[1], &[0, 1, 2])],
        );
        assert!(outcome.is_fine());
        assert_eq!(outcome.report.calls.completed, 2);
        assert_eq!(outcome.report.cpu_seconds_per_call_minute, Some(0.1));
        assert!(outcome.report.first_audio_ms.p50.is_some_and(|ms| (ms - 40.0).abs() < 0.1));
    }

    #[test]
    fn frames_that_did_not_arrive_arrived_twice_or_out_of_order_are_counted() {
        let lost = outcome(vec![call(0, 7, 2)], vec![session(7, &[0], &[0, 2])]);
        assert_eq!(lost.report.frames, Some(FrameCounts { lost: 1, ..FrameCounts::default() }));
        let reordered = outcome(vec![call(0, 7, 2)], vec![session(7, &[0], &[0, 2, 1])]);
        assert_eq!(reordered.report.frames, Some(FrameCounts { reordered: 1, ..FrameCounts::default() }));
        let twice = outcome(vec![call(0, 7, 2)], vec![session(7, &[0], &[0, 1, 1, 2])]);
        assert_eq!(twice.report.frames.as_ref().unwrap().reordered, 1);
        let none = outcome(vec![call(0, 7, 2)], Vec::new());
        assert_eq!(none.report.frames.as_ref().unwrap().lost, 3);
        assert!([lost, reordered, twice, none].iter().all(|outcome| !outcome.is_fine()));
    }

    #[test]
    fn without_the_services_report_nobody_knows_that_no_frame_was_lost() {
        assert_eq!(with_report(vec![call(0, 7, 2)], None).report.frames, None);
        let crossed = with_report(vec![call(0, 7, 5), call(1, 7, 2)], None).report.frames;
        assert_eq!(crossed, Some(FrameCounts { crossed: 2, ..FrameCounts::default() }));
    }

    #[test]
    fn only_the_frames_that_count_are_missed() {
        let mut call = call(0, 7, 2);
        call.counted = 1..2;
        assert_eq!(outcome(vec![call], vec![session(7, &[0], &[])]).report.frames.as_ref().unwrap().lost, 1);
    }

    #[test]
    fn a_call_may_go_on_in_a_second_session() {
        let sessions = vec![session(7, &[0], &[0, 1]), session(9, &[0], &[2])];
        assert!(outcome(vec![call(0, 7, 2)], sessions).is_fine());
    }

    #[test]
    fn a_session_with_two_callers_and_a_session_in_two_ears_are_crossed() {
        let up = outcome(vec![call(0, 7, 2)], vec![session(7, &[0, 1], &[0, 1, 2])]);
        assert_eq!(up.report.frames.as_ref().unwrap().crossed, 1);
        let down = outcome(vec![call(0, 7, 5), call(1, 7, 2)], Vec::new());
        assert_eq!(down.report.frames.as_ref().unwrap().crossed, 2);
    }

    #[test]
    fn the_missing_end_of_a_completed_response_is_lost() {
        let mut session = session(7, &[0], &[0, 1, 2]);
        session.responses = vec![
            ResponseReport { response: 0, frames: 6, status: "completed".into(), truncated_at_ms: None },
            ResponseReport { response: 0, frames: 9, status: "cancelled".into(), truncated_at_ms: None },
        ];
        assert_eq!(outcome(vec![call(0, 7, 2)], vec![session]).report.frames.as_ref().unwrap().lost, 4);
    }

    #[test]
    fn a_refused_or_failed_call_is_counted_and_not_fine() {
        let mut refused = call(0, 7, 2);
        refused.verdict = Verdict::Refused;
        let mut failed = call(1, 8, 2);
        failed.verdict = Verdict::Failed("silence".into());
        let outcome = outcome(vec![refused, failed], Vec::new());
        let CallCounts { completed, refused, failed, .. } = outcome.report.calls;
        assert_eq!((completed, refused, failed, outcome.is_fine()), (0, 1, 1, false));
    }
}
