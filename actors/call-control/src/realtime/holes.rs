//! Holes in the caller's audio, and how much silence fills them: pure, told what comes and for how long
//! nothing has.
//!
//! A hole is known by the timestamps of the frames around it; one that goes on, by the clock. So the service
//! hears the end of a sentence, and what it has heard is as long as what Twilio's timestamps say, up to
//! [`MOST_MS`] of one hole.

/// Twilio sends a frame every 20 ms; after this pause the service hears silence instead.
pub const PAUSE_MS: u64 = 750;
/// A longer hole is not filled further.
const MOST_MS: u64 = 10_000;
/// Timestamps may be off by less than a frame.
const TOLERANCE_MS: u64 = 20;
pub const FRAME_MS: u64 = 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Holes {
    /// Where the caller's audio goes on, by Twilio's timestamps; none before a stream's first frame.
    next_ms: Option<u64>,
    /// Silence in the hole that goes on.
    filled_ms: u64,
    /// So many holes there were, of so many milliseconds together, whether they were filled or not.
    pub count: u64,
    pub total_ms: u64,
}

impl Holes {
    /// A new stream counts its time from zero again.
    pub fn stream_opened(&mut self) {
        self.next_ms = None;
        self.filled_ms = 0;
    }

    /// No frame has come for so long. Answers how much silence is due, in milliseconds.
    pub fn quiet(&mut self, quiet_ms: u64) -> u64 {
        if self.next_ms.is_none() || quiet_ms < self.filled_ms.saturating_add(PAUSE_MS) {
            return 0; // before the first frame there is nothing to go on from
        }
        self.fill(quiet_ms - self.filled_ms)
    }

    /// A frame comes. Answers how much silence is due before it, in milliseconds.
    pub fn frame(&mut self, timestamp_ms: u64, length_ms: u64) -> u64 {
        let heard_ms = self.next_ms.unwrap_or(timestamp_ms).saturating_add(self.filled_ms);
        let missing_ms = timestamp_ms.saturating_sub(heard_ms);
        let due_ms = if missing_ms > TOLERANCE_MS { self.fill(missing_ms) } else { 0 };
        self.next_ms = Some(timestamp_ms.saturating_add(length_ms));
        self.filled_ms = 0;
        due_ms
    }

    fn fill(&mut self, missing_ms: u64) -> u64 {
        let whole_ms = missing_ms / FRAME_MS * FRAME_MS;
        self.count += u64::from(self.filled_ms == 0);
        self.total_ms = self.total_ms.saturating_add(whole_ms);
        let due_ms = whole_ms.min(MOST_MS.saturating_sub(self.filled_ms));
        self.filled_ms = self.filled_ms.saturating_add(whole_ms);
        due_ms
    }
}

/// Timestamps, and pauses between them, as they come from eight bytes each. What is filled is whole frames,
/// and of one hole no more than there may be.
///
/// # Panics
/// They break that.
#[cfg(any(test, feature = "fuzzing"))]
pub fn fuzz(data: &[u8]) {
    let mut holes = Holes::default();
    let (mut quiet_ms, mut filled_ms) = (0_u64, 0);
    for piece in data.as_chunks::<9>().0 {
        let [kind, number @ ..] = *piece;
        let number = u64::from_le_bytes(number);
        let due_ms = match kind % 8 {
            0 => {
                holes.stream_opened();
                (quiet_ms, filled_ms) = (0, 0);
                continue;
            }
            1 | 2 => {
                quiet_ms = quiet_ms.saturating_add(number);
                holes.quiet(quiet_ms)
            }
            length => holes.frame(number, u64::from(length) * FRAME_MS),
        };
        filled_ms += due_ms;
        assert_eq!(due_ms % FRAME_MS, 0);
        assert!(filled_ms <= MOST_MS, "{filled_ms} ms of silence in one hole");
        if kind % 8 > 2 {
            (quiet_ms, filled_ms) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames up to so many milliseconds, and then a look every 250 ms of a pause of `pause_ms`. Answers when
    /// silence was due and how much, and the holes.
    fn pause(pause_ms: u64) -> (Vec<(u64, u64)>, Holes) {
        let mut holes = Holes::default();
        assert_eq!(holes.frame(5_000, 20), 0);
        let looks = (250..pause_ms).step_by(250).map(|quiet_ms| (quiet_ms, holes.quiet(quiet_ms)));
        let mut filled: Vec<_> = looks.filter(|(_, due_ms)| *due_ms > 0).collect();
        filled.extend(Some((pause_ms, holes.frame(5_020 + pause_ms, 20))).filter(|(_, due_ms)| *due_ms > 0));
        (filled, holes)
    }

    fn sum(filled: &[(u64, u64)]) -> u64 {
        filled.iter().map(|(_, due_ms)| due_ms).sum()
    }

    #[test]
    fn a_hole_in_the_timestamps_is_filled_in_whole_frames() {
        let mut holes = Holes::default();
        let due: Vec<_> = [64, 84, 104, 184, 224, 294].map(|timestamp| holes.frame(timestamp, 20)).into();
        assert_eq!(due, [0, 0, 0, 60, 0, 40]);
        assert_eq!((holes.count, holes.total_ms), (2, 100));
    }

    #[test]
    fn a_pause_is_filled_as_it_goes_on_and_the_rest_when_the_caller_is_heard_again() {
        let (filled, holes) = pause(2_100);
        assert_eq!(filled, [(750, 740), (1_500, 760), (2_100, 600)]);
        assert_eq!((holes.count, holes.total_ms), (1, 2_100));
    }

    #[test]
    fn a_late_look_fills_what_is_missing_by_then() {
        let mut holes = Holes::default();
        holes.frame(0, 20);
        assert_eq!([749, 1_310, 2_049, 2_050].map(|quiet_ms| holes.quiet(quiet_ms)), [0, 1_300, 0, 740]);
    }

    #[test]
    fn a_long_pause_is_one_hole_of_its_true_length_and_filled_up_to_ten_seconds() {
        let (filled, holes) = pause(25_000);
        assert_eq!(sum(&filled), MOST_MS);
        assert!(filled.iter().all(|(at, _)| *at <= 10_500), "{filled:?}");
        assert_eq!((holes.count, holes.total_ms), (1, 25_000));
    }

    #[test]
    fn the_next_hole_is_filled_like_the_first() {
        let (_, mut holes) = pause(15_000);
        assert_eq!(holes.quiet(749), 0);
        assert_eq!(holes.quiet(750), 740);
        assert_eq!(holes.frame(5_000 + 15_040 + 780, 20), 40);
        assert_eq!(holes.count, 2);
    }

    #[test]
    fn frames_that_were_only_late_are_no_hole_any_more_when_they_come() {
        let mut holes = Holes::default();
        holes.frame(0, 20);
        assert_eq!(holes.quiet(800), 800);
        assert_eq!([20, 40, 60].map(|timestamp| holes.frame(timestamp, 20)), [0, 0, 0]);
        assert_eq!(holes.quiet(750), 740);
    }

    #[test]
    fn before_a_streams_first_frame_there_is_nothing_to_fill() {
        let mut holes = Holes::default();
        assert_eq!(holes.quiet(5_000), 0);
        holes.frame(u64::MAX, 20);
        assert_eq!(holes.frame(u64::MAX, 20), 0);
        holes.stream_opened();
        assert_eq!((holes.quiet(5_000), holes.frame(60_000, 20)), (0, 0));
        assert_eq!((holes.count, holes.total_ms), (0, 0));
    }

    #[test]
    fn timestamps_that_leap_again_and_again_are_counted_up_to_what_can_be() {
        let mut holes = Holes::default();
        let leaps = [0, u64::MAX, 0, u64::MAX].map(|timestamp| holes.frame(timestamp, 20));
        assert_eq!(leaps, [0, MOST_MS, 0, MOST_MS]);
        assert_eq!((holes.count, holes.total_ms), (2, u64::MAX));
    }
}
