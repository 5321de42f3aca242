//! What the caller has heard: pure bookkeeping over marks, clears and the clock.
//!
//! Twilio plays what it is sent in order and echoes a mark when playback reaches it. Between two marks the
//! position is the last one plus the time since, never beyond the next one. At a clear Twilio echoes every
//! outstanding mark at once, so marks carry a generation, and those of an older one say nothing (reference:
//! Twilio, "Media Streams: messages"; OpenAI Realtime, "Barge-in over WebSocket with telephone playback").

use std::collections::VecDeque;

use crate::Millis;
use crate::twilio::frames::Mark;

/// A mark is asked for after this much audio.
const MARK_EVERY_MS: u32 = 200;
/// A last mark whose echo has not come this long after its audio should have ended counts as lost.
const LAST_MARK_WITHIN_MS: Millis = 4_000;
/// Phrases are numbered from here, apart from turns: they are played like one and are none in the log or for
/// the service.
const PHRASES_FROM: u32 = 1 << 31;

/// The agent's audio on its way to the caller's ear.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Playback {
    generation: u32,
    /// Turns not wholly heard yet, oldest first; the first one is being played.
    turns: VecDeque<Turn>,
    /// When playback stood at the first turn's `heard_ms`.
    heard_at: Millis,
    phrases: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Turn {
    ordinal: u32,
    sent_bytes: u64,
    heard_ms: u32,
    /// Marks sent and not echoed yet, as `sent_ms`.
    marks: VecDeque<u32>,
    marked_ms: u32,
    complete: bool,
}

impl Turn {
    fn new(ordinal: u32) -> Self {
        Self { ordinal, sent_bytes: 0, heard_ms: 0, marks: VecDeque::new(), marked_ms: 0, complete: false }
    }

    fn mark(&mut self, generation: u32) -> Mark {
        self.marked_ms = self.sent_ms();
        self.marks.push_back(self.marked_ms);
        Mark { generation, ordinal: self.ordinal, sent_ms: self.marked_ms }
    }

    fn sent_ms(&self) -> u32 {
        (self.sent_bytes / 8) as u32
    }

    /// How much of it was heard after so long: never beyond the next mark that is still out.
    fn heard_after(&self, elapsed: u32) -> u32 {
        let limit = self.marks.front().copied().unwrap_or_else(|| self.sent_ms());
        self.heard_ms.saturating_add(elapsed).min(limit)
    }

    /// All that was sent of it was heard, and what is heard now comes after it.
    fn played_out(&self) -> Cut {
        let sent_ms = self.sent_ms();
        Cut { ordinal: self.ordinal, heard_ms: sent_ms, sent_ms, complete: true }
    }
}

/// A turn whose playback was stopped, and how much of it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub ordinal: u32,
    pub heard_ms: u32,
    pub sent_ms: u32,
    /// All its audio had been sent.
    pub complete: bool,
}

impl Cut {
    /// Nothing of it was lost on the caller.
    pub fn heard_in_full(&self) -> bool {
        self.complete && self.heard_ms >= self.sent_ms
    }
}

impl Playback {
    /// The number under which a phrase is played, in the place of a turn's ordinal.
    pub fn next_phrase(&mut self) -> u32 {
        self.phrases += 1;
        PHRASES_FROM + self.phrases
    }

    /// Audio of `ordinal`'s turn goes out now; answers the mark to send after it, if one is due.
    pub fn sent(&mut self, ordinal: u32, bytes: u64, now: Millis) -> Option<Mark> {
        self.resume_if_played_out(now);
        if self.turns.back().is_none_or(|turn| turn.ordinal != ordinal) {
            if let Some(before) = self.turns.back_mut() {
                // Audio of another turn follows it, whether or not the service has said so.
                before.complete = true;
            }
            self.turns.push_back(Turn::new(ordinal));
        }
        let turn = self.turns.back_mut().expect("one was just pushed");
        turn.sent_bytes += bytes;
        (turn.sent_ms() - turn.marked_ms >= MARK_EVERY_MS).then(|| turn.mark(self.generation))
    }

    /// No more audio of this turn will come; answers its last mark.
    pub fn completed(&mut self, ordinal: u32) -> Option<Mark> {
        let generation = self.generation;
        let turn = self.turns.iter_mut().find(|turn| turn.ordinal == ordinal && !turn.complete)?;
        turn.complete = true;
        Some(turn.mark(generation))
    }

    /// An echoed mark. Answers the turns that have now been heard to their end, oldest first. Twilio plays in
    /// order, so a mark of a later turn says that all before it were heard, though their last marks are
    /// missing.
    pub fn mark_played(&mut self, mark: Mark, now: Millis) -> Vec<Cut> {
        if mark.generation != self.generation {
            return vec![];
        }
        let Some(at) = self.turns.iter().position(|turn| turn.ordinal == mark.ordinal) else { return vec![] };
        let mut heard: Vec<_> = self.turns.drain(..at).map(|turn| turn.played_out()).collect();
        let turn = &mut self.turns[0];
        turn.heard_ms = turn.heard_ms.max(mark.sent_ms.min(turn.sent_ms()));
        while turn.marks.front().is_some_and(|out| *out <= mark.sent_ms) {
            turn.marks.pop_front();
        }
        self.heard_at = now;
        if turn.complete && turn.heard_ms >= turn.sent_ms() {
            heard.extend(self.turns.pop_front().map(|turn| turn.played_out()));
        }
        heard
    }

    /// When everything was heard, though the last mark was not echoed; never while more audio is to come.
    pub fn deadline(&self) -> Option<Millis> {
        let complete = self.turns.back().is_some_and(|turn| turn.complete);
        complete.then(|| self.heard_at + self.unheard_ms() + LAST_MARK_WITHIN_MS)
    }

    /// Answers the turns whose last mark is overdue: they were heard to their end.
    pub fn overdue(&mut self, now: Millis) -> Vec<Cut> {
        if self.deadline().is_none_or(|due| now < due) {
            return vec![];
        }
        self.turns.drain(..).map(|turn| turn.played_out()).collect()
    }

    /// Stops playback: everything not heard by now will not be. The caller of this sends the clear.
    pub fn interrupt(&mut self, now: Millis) -> Vec<Cut> {
        if self.turns.is_empty() {
            return vec![];
        }
        let mut elapsed = self.elapsed(now);
        self.generation += 1;
        let cut = |turn: Turn| {
            let heard_ms = turn.heard_after(elapsed);
            elapsed = if turn.marks.is_empty() { elapsed - (heard_ms - turn.heard_ms) } else { 0 };
            Cut { ordinal: turn.ordinal, heard_ms, sent_ms: turn.sent_ms(), complete: turn.complete }
        };
        self.turns.drain(..).map(cut).collect()
    }

    /// Where all that was sent has been heard, the line was silent until now.
    fn resume_if_played_out(&mut self, now: Millis) {
        let heard_ms = self.heard_ms(now);
        match self.turns.make_contiguous() {
            [] => self.heard_at = now,
            [turn] if heard_ms >= turn.sent_ms() => {
                turn.heard_ms = heard_ms;
                self.heard_at = now;
            }
            _ => {}
        }
    }

    /// How much of the turn being played was heard by now.
    fn heard_ms(&self, now: Millis) -> u32 {
        self.turns.front().map_or(0, |turn| turn.heard_after(self.elapsed(now)))
    }

    fn elapsed(&self, now: Millis) -> u32 {
        u32::try_from(now.saturating_sub(self.heard_at)).unwrap_or(u32::MAX)
    }

    /// Whether the caller has something left to hear.
    pub fn is_playing(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Milliseconds sent and, as far as marks tell, not heard yet.
    pub fn unheard_ms(&self) -> u64 {
        self.turns.iter().map(|turn| u64::from(turn.sent_ms() - turn.heard_ms)).sum()
    }
}

mod check;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 8;

    fn mark(generation: u32, ordinal: u32, sent_ms: u32) -> Mark {
        Mark { generation, ordinal, sent_ms }
    }

    #[test]
    fn a_mark_is_due_every_200_ms_and_at_the_end_of_a_turn() {
        let mut playback = Playback::default();
        let due: Vec<_> = (0..20).filter_map(|_| playback.sent(1, 20 * MS, 0)).collect();
        assert_eq!(due, [mark(0, 1, 200), mark(0, 1, 400)]);
        playback.sent(1, 20 * MS, 0);
        assert_eq!(playback.completed(1), Some(mark(0, 1, 420)));
        assert_eq!(playback.completed(1), None);
    }

    #[test]
    fn an_interruption_cuts_at_the_last_mark_plus_the_time_since() {
        let mut playback = Playback::default();
        for _ in 0..15 {
            playback.sent(1, 200 * MS, 10_000);
        }
        assert_eq!(playback.mark_played(mark(0, 1, 1200), 11_300), []);
        let cuts = playback.interrupt(11_450);
        assert_eq!(cuts, [Cut { ordinal: 1, heard_ms: 1350, sent_ms: 3000, complete: false }]);
        assert!(!playback.is_playing());
    }

    #[test]
    fn a_turn_not_begun_was_not_heard_at_all() {
        let mut playback = Playback::default();
        playback.sent(1, 400 * MS, 0);
        playback.completed(1);
        playback.sent(2, 500 * MS, 0);
        let heard: Vec<_> = playback.interrupt(300).iter().map(|cut| (cut.ordinal, cut.heard_ms)).collect();
        assert_eq!(heard, [(1, 300), (2, 0)]);
    }

    #[test]
    fn nothing_is_heard_beyond_what_was_sent() {
        let mut playback = Playback::default();
        playback.sent(1, 100 * MS, 0);
        playback.completed(1);
        let cut = playback.interrupt(60_000)[0];
        assert_eq!((cut.heard_ms, cut.heard_in_full()), (100, true));
    }

    #[test]
    fn nothing_is_heard_beyond_a_mark_that_is_still_out() {
        let mut playback = Playback::default();
        for _ in 0..15 {
            playback.sent(1, 200 * MS, 0);
        }
        playback.mark_played(mark(0, 1, 200), 200);
        assert_eq!(playback.interrupt(5_000)[0].heard_ms, 400, "the line stood still after the first mark");
    }

    #[test]
    fn silence_for_want_of_audio_is_not_taken_for_hearing() {
        let mut playback = Playback::default();
        playback.sent(1, 300 * MS, 0);
        playback.mark_played(mark(0, 1, 300), 300);
        playback.sent(1, 100 * MS, 350);
        playback.sent(1, 5_000 * MS, 2_000);
        assert_eq!(playback.interrupt(2_250)[0].heard_ms, 650);
    }

    #[test]
    fn marks_echoed_because_of_a_clear_say_nothing() {
        let mut playback = Playback::default();
        playback.sent(1, 600 * MS, 0);
        playback.interrupt(100);
        playback.sent(2, 600 * MS, 200);
        assert_eq!(playback.mark_played(mark(0, 1, 600), 210), []);
        assert_eq!(playback.interrupt(300)[0].heard_ms, 100);
    }

    #[test]
    fn the_last_mark_ends_a_turn_and_the_next_one_begins_there() {
        let mut playback = Playback::default();
        playback.sent(1, 400 * MS, 0);
        playback.completed(1);
        playback.sent(2, 400 * MS, 0);
        let heard = playback.mark_played(mark(0, 1, 400), 430);
        assert!(heard[0].heard_in_full() && heard.len() == 1);
        assert_eq!(playback.unheard_ms(), 400);
        assert_eq!(
            playback.interrupt(530)[0],
            Cut { ordinal: 2, heard_ms: 100, sent_ms: 400, complete: false }
        );
    }

    #[test]
    fn a_mark_of_a_later_turn_settles_all_before_it() {
        let mut playback = Playback::default();
        playback.sent(1, 1_100 * MS, 0);
        playback.sent(2, 300 * MS, 0);
        playback.completed(2);
        playback.sent(3, 1_000 * MS, 0);
        assert_eq!(playback.completed(1), None, "a mark of it would come after what was sent of the third");
        let whole = |ordinal, ms| Cut { ordinal, heard_ms: ms, sent_ms: ms, complete: true };
        assert_eq!(playback.mark_played(mark(0, 3, 1_000), 2_400), [whole(1, 1_100), whole(2, 300)]);
        playback.completed(3);
        assert_eq!(playback.mark_played(mark(0, 3, 1_000), 2_410), [whole(3, 1_000)]);
    }

    #[test]
    fn playing_ends_by_the_clock_where_the_last_mark_is_lost() {
        let mut playback = Playback::default();
        playback.sent(1, 600 * MS, 1_000);
        assert_eq!((playback.deadline(), playback.overdue(100_000)), (None, vec![]), "more is to come");
        playback.completed(1);
        playback.mark_played(mark(0, 1, 200), 1_250);
        let due = playback.deadline().unwrap();
        assert_eq!(due, 1_250 + 400 + LAST_MARK_WITHIN_MS);
        assert_eq!(playback.overdue(due - 1), []);
        assert_eq!(playback.overdue(due), [Cut { ordinal: 1, heard_ms: 600, sent_ms: 600, complete: true }]);
        assert!(!playback.is_playing() && playback.deadline().is_none());
    }

    #[test]
    fn a_turn_that_another_one_followed_was_heard_before_it() {
        let mut playback = Playback::default();
        for _ in 0..11 {
            playback.sent(1, 100 * MS, 0);
        }
        playback.sent(2, 100 * MS, 0);
        playback.sent(2, 500 * MS, 0);
        playback.mark_played(mark(0, 1, 1_000), 1_000);
        let cuts: Vec<_> =
            playback.interrupt(1_250).iter().map(|cut| (cut.heard_ms, cut.heard_in_full())).collect();
        assert_eq!(cuts, [(1_100, true), (150, false)]);
    }
}
