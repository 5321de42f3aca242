//! What the metrics know of a call that its conversation does not need: plain data, told what goes to the
//! caller and what comes back.
//!
//! Twilio plays what it is sent in order and without a pause, so the moment at which a mark would be played,
//! had the audio no way to go, is known when it is sent; how much later its echo comes is the round trip. One
//! mark at a time is followed. At a clear Twilio echoes all marks that it had not come to (reference: Twilio,
//! "Media Streams: messages"): the echo of the last one says that the line is silent.

use std::time::{Duration, Instant};

use prometheus::Histogram;
use prometheus::local::LocalHistogram;

use crate::wire::twilio::frames::{Mark, payload_bytes};

/// What an echoed mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// It came so long after its audio would have been played, had it no way to go.
    RoundTrip(Duration),
    /// The caller has heard nothing more since this long after the clear, at most.
    Silence(Duration),
}

/// See the module.
pub(super) struct Measure {
    /// Counted in here first, so that the audio path shares nothing with other calls.
    handler_time: LocalHistogram,
    /// When all audio that was sent would be played.
    played_out: Option<Instant>,
    /// The last mark sent, and when it is due.
    last: Option<(Mark, Instant)>,
    /// The mark whose echo is waited for, and when it is due.
    followed: Option<(Mark, Instant)>,
    /// The last mark that a clear overtook, and when that was sent.
    overtaken: Option<(Mark, Instant)>,
    /// Since when the caller speaks, if they have not interrupted the agent yet.
    speaks_since: Option<Instant>,
}

impl Measure {
    pub(super) fn new(handler_time: &Histogram) -> Self {
        Self {
            handler_time: handler_time.local(),
            played_out: None,
            last: None,
            followed: None,
            overtaken: None,
            speaks_since: None,
        }
    }

    /// An input was handled.
    pub(super) fn handled(&self, took: Duration) {
        self.handler_time.observe(took.as_secs_f64());
    }

    /// What was counted here is shown.
    pub(super) fn flush(&self) {
        self.handler_time.flush();
    }

    /// A new stream has nothing on its way.
    pub(super) fn stream_opened(&mut self) {
        self.played_out = None;
        self.last = None;
        self.followed = None;
        self.overtaken = None;
    }

    /// Base64 of μ-law goes to the caller.
    pub(super) fn audio_sent(&mut self, payload: &[u8], now: Instant) {
        let begins = self.played_out.map_or(now, |played_out| played_out.max(now));
        self.played_out = Some(begins + Duration::from_micros(125 * payload_bytes(payload)));
    }

    /// Behind it goes a mark.
    pub(super) fn mark_sent(&mut self, mark: Mark) {
        let Some(due) = self.played_out else { return };
        self.last = Some((mark, due));
        self.followed.get_or_insert((mark, due));
    }

    /// A mark came back.
    pub(super) fn mark_echoed(&mut self, mark: Mark, now: Instant) -> Option<Echo> {
        if let Some((_, sent)) = self.overtaken.take_if(|(overtaken, _)| *overtaken == mark) {
            return Some(Echo::Silence(now.saturating_duration_since(sent)));
        }
        let (_, due) = self.followed.take_if(|(followed, _)| *followed == mark)?;
        Some(Echo::RoundTrip(now.saturating_duration_since(due)))
    }

    /// The service has heard the caller.
    pub(super) fn caller_speaks(&mut self, now: Instant) {
        self.speaks_since = Some(now);
    }

    /// The clear was sent. Answers how long after the caller was heard.
    pub(super) fn cleared(&mut self, now: Instant) -> Option<Duration> {
        self.overtaken = self.last.take().filter(|(_, due)| *due > now).map(|(mark, _)| (mark, now));
        self.followed = None;
        self.played_out = None;
        Some(now.saturating_duration_since(self.speaks_since.take()?))
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    /// 200 ms of audio in base64.
    fn audio() -> Vec<u8> {
        let mut payload = vec![b'/'; 2136];
        payload[2134..].fill(b'=');
        assert_eq!(payload_bytes(&payload), 1600);
        payload
    }

    fn mark(generation: u32, sent_ms: u32) -> Mark {
        Mark { generation, ordinal: 1, sent_ms }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn measure() -> (Measure, Instant) {
        let histogram = Histogram::with_opts(HistogramOpts::new("test", "test")).unwrap();
        (Measure::new(&histogram), Instant::now())
    }

    #[test]
    fn the_round_trip_is_what_the_echo_takes_beyond_the_audio() {
        let (mut measure, start) = measure();
        for (number, at) in [(1, 0), (2, 10), (3, 20)] {
            measure.audio_sent(&audio(), start + ms(at));
            measure.mark_sent(mark(0, number * 200));
        }
        assert_eq!(measure.mark_echoed(mark(0, 200), start + ms(260)), Some(Echo::RoundTrip(ms(60))));
        assert_eq!(measure.mark_echoed(mark(0, 400), start + ms(460)), None, "one at a time is followed");
        measure.audio_sent(&audio(), start + ms(500)); // 100 ms before the rest is played
        measure.mark_sent(mark(0, 800));
        measure.mark_echoed(mark(0, 600), start + ms(660));
        assert_eq!(measure.mark_echoed(mark(0, 800), start + ms(870)), Some(Echo::RoundTrip(ms(70))));
    }

    #[test]
    fn a_pause_for_want_of_audio_is_no_part_of_the_round_trip() {
        let (mut measure, start) = measure();
        measure.audio_sent(&audio(), start);
        measure.audio_sent(&audio(), start + ms(1_000));
        measure.mark_sent(mark(0, 400));
        assert_eq!(measure.mark_echoed(mark(0, 400), start + ms(1_230)), Some(Echo::RoundTrip(ms(30))));
    }

    #[test]
    fn the_line_is_silent_when_the_last_mark_that_was_overtaken_comes_back() {
        let (mut measure, start) = measure();
        for sent_ms in [200, 400, 600] {
            measure.audio_sent(&audio(), start);
            measure.mark_sent(mark(0, sent_ms));
        }
        measure.caller_speaks(start + ms(250));
        assert_eq!(measure.cleared(start + ms(251)), Some(ms(1)));
        assert_eq!(measure.mark_echoed(mark(0, 200), start + ms(255)), None, "it was played");
        assert_eq!(measure.mark_echoed(mark(0, 600), start + ms(291)), Some(Echo::Silence(ms(40))));
        measure.audio_sent(&audio(), start + ms(2_000));
        measure.mark_sent(mark(1, 200));
        assert_eq!(measure.mark_echoed(mark(1, 200), start + ms(2_250)), Some(Echo::RoundTrip(ms(50))));
    }

    #[test]
    fn a_clear_that_overtakes_no_mark_and_one_without_speech_measure_nothing() {
        let (mut measure, start) = measure();
        measure.audio_sent(&audio(), start);
        measure.mark_sent(mark(0, 200));
        assert_eq!(measure.cleared(start + ms(210)), None);
        assert_eq!(measure.mark_echoed(mark(0, 200), start + ms(220)), None);
    }
}
