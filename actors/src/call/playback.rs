//! What the caller has heard: pure bookkeeping over marks, clears and the clock.
//!
//! Twilio plays what it is sent in order and echoes a mark when playback reaches it. Between two marks the position is
//! the last one plus the time since, never beyond the next one. At a clear Twilio echoes every outstanding mark at
//! once, so marks carry a generation, and those of an older one say nothing (reference: Twilio, "Media Streams:
//! messages"; OpenAI Realtime, "Barge-in over WebSocket with telephone playback").

use std::collections::VecDeque;

use super::Millis;
use crate::wire::twilio::frames::Mark;

/// A mark is asked for after this much audio.
const MARK_EVERY_MS: u32 = 200;
/// Phrases are numbered from here, apart from turns: they are played like one and are none in the log or for the service.
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

    /// An echoed mark. Answers the turn that has now been heard to its end.
    pub fn mark_played(&mut self, mark: Mark, now: Millis) -> Option<Cut> {
        if mark.generation != self.generation {
            return None;
        }
        let at = self.turns.iter().position(|turn| turn.ordinal == mark.ordinal)?;
        self.turns.drain(..at); // their last marks were lost, but what follows them was heard
        let turn = &mut self.turns[0];
        turn.heard_ms = turn.heard_ms.max(mark.sent_ms.min(turn.sent_ms()));
        while turn.marks.front().is_some_and(|out| *out <= mark.sent_ms) {
            turn.marks.pop_front();
        }
        self.heard_at = now;
        if !turn.complete || turn.heard_ms < turn.sent_ms() {
            return None;
        }
        let turn = self.turns.pop_front()?;
        Some(Cut { ordinal: turn.ordinal, heard_ms: turn.heard_ms, sent_ms: turn.sent_ms(), complete: true })
    }

    /// Stops playback: everything not heard by now will not be. The caller of this sends the clear.
    pub fn interrupt(&mut self, now: Millis) -> Vec<Cut> {
        if self.turns.is_empty() {
            return vec![];
        }
        let heard_ms = self.heard_ms(now);
        self.generation += 1;
        self.turns
            .drain(..)
            .enumerate()
            .map(|(at, turn)| Cut {
                ordinal: turn.ordinal,
                heard_ms: if at == 0 { heard_ms } else { 0 },
                sent_ms: turn.sent_ms(),
                complete: turn.complete,
            })
            .collect()
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

    /// How much of the turn being played was heard by now: never beyond the next mark that is still out.
    fn heard_ms(&self, now: Millis) -> u32 {
        let Some(turn) = self.turns.front() else { return 0 };
        let elapsed = u32::try_from(now.saturating_sub(self.heard_at)).unwrap_or(u32::MAX);
        let limit = turn.marks.front().copied().unwrap_or_else(|| turn.sent_ms());
        turn.heard_ms.saturating_add(elapsed).min(limit)
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
        assert_eq!(playback.mark_played(mark(0, 1, 1200), 11_300), None);
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
        assert_eq!(playback.mark_played(mark(0, 1, 600), 210), None);
        assert_eq!(playback.interrupt(300)[0].heard_ms, 100);
    }

    #[test]
    fn the_last_mark_ends_a_turn_and_the_next_one_begins_there() {
        let mut playback = Playback::default();
        playback.sent(1, 400 * MS, 0);
        playback.completed(1);
        playback.sent(2, 400 * MS, 0);
        let heard = playback.mark_played(mark(0, 1, 400), 430).unwrap();
        assert!(heard.heard_in_full());
        assert_eq!(playback.unheard_ms(), 400);
        assert_eq!(
            playback.interrupt(530)[0],
            Cut { ordinal: 2, heard_ms: 100, sent_ms: 400, complete: false }
        );
    }
}
