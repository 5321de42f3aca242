//! What the caller hears, told from the tags in the audio: each frame is checked when it arrives, and
//! followed until it is played or cleared.
//!
//! Frames of a [phrase](speech::PHRASES) are a recording: whatever session said them once, they may be heard
//! in any call and more than once. They are judged by themselves: a phrase comes unaltered, from its first
//! frame to its last or to where it is cut, and not within a response. Everything else must be of the call's
//! own session, once and in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::sim::report::FrameCounts;
use crate::sim::speech;
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag, TagError};

mod check;

/// One frame's time.
pub const FRAME: Duration = Duration::from_millis(20);
const FRAME_MS: u32 = FRAME.as_millis() as u32;

/// Something that was heard, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The text of a `<Say>`.
    Said(String),
    /// The tone after which a `<Record>` listens.
    Beep,
    /// The agent: so many milliseconds of a clip ([`NO_CLIP`] for audio that carries no tag).
    Agent { clip: u16, response: u16, ms: u32 },
    /// So many milliseconds of a phrase.
    Phrase { clip: u16, ms: u32 },
}

/// Who is heard in what was just played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audible {
    Nobody,
    /// A phrase: not silence, and not what the agent has to say.
    Phrase,
    Agent,
}

/// One response of the agent, by its session (the `source` of its tags) and number.
pub type ResponseKey = (u16, u16);

/// What arrived of one response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Arrived {
    frames: u64,
    /// The number of the frame after the last.
    next: u32,
}

/// The ear of one call, over all its streams.
#[derive(Debug, Default)]
pub struct Ear {
    /// What was wrong with the frames that arrived.
    pub faults: FrameCounts,
    arrived: BTreeMap<ResponseKey, Arrived>,
    /// The responses after which the rest was cut: by a clear, or by the end of the stream.
    cuts: BTreeSet<Option<ResponseKey>>,
    heard: Vec<Heard>,
    /// The last response of which a frame arrived, and its next frame.
    last: Option<(ResponseKey, u32)>,
    /// The phrase that is arriving, and its next frame.
    phrase: Option<(&'static speech::Clip, u32)>,
    last_arrival_us: u64,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// Bytes that arrived on this stream.
    position: u64,
    /// Whole frames that wait to be played: where each ends, and what it is.
    waiting: VecDeque<(u64, Sound)>,
    stream_start_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sound {
    Silence,
    Agent { clip: u16, response: u16 },
    Phrase { clip: u16 },
}

impl Ear {
    /// A new stream begins at `now_us`; nothing of an earlier one is waiting any more.
    pub fn stream_starts(&mut self, now_us: u64) {
        self.partial.clear();
        self.waiting.clear();
        self.position = 0;
        self.stream_start_us = now_us;
    }

    /// The stream ends at `now_us`, which cuts a response that was still arriving. One whose last frame came
    /// more than a second before was not being sent any more: what is missing of it is lost.
    pub fn stream_ends(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.last_arrival_us) <= 1_000_000 {
            self.cuts.insert(self.last.map(|(key, _)| key));
        }
        self.waiting.clear();
        self.phrase = None;
    }

    /// Checks audio that arrived at `now_us`. The latency in microseconds of every tagged frame that was sent
    /// since the stream's start goes to `latencies`: an earlier one was waiting for the caller.
    pub fn arrives(&mut self, audio: &[u8], now_us: u64, latencies: &mut Histogram<u64>) {
        let mut rest = audio;
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(FRAME_BYTES - self.partial.len()));
            rest = more;
            self.partial.extend_from_slice(piece);
            self.position += piece.len() as u64;
            if let Ok(frame) = <[u8; FRAME_BYTES]>::try_from(self.partial.as_slice()) {
                self.partial.clear();
                let sound = self.check(&frame, now_us, latencies);
                self.waiting.push_back((self.position, sound));
            }
        }
    }

    fn check(&mut self, frame: &[u8; FRAME_BYTES], now_us: u64, latencies: &mut Histogram<u64>) -> Sound {
        let tag = match Tag::read(frame) {
            Ok(tag) => tag,
            Err(TagError::Untagged)
                if frame.iter().all(|sample| matches!(sample, 0x7E..=0x7F | 0xFE..=0xFF)) =>
            {
                return Sound::Silence;
            }
            Err(TagError::Untagged | TagError::Corrupted) => {
                self.faults.corrupted += 1;
                return Sound::Agent { clip: NO_CLIP, response: 0 };
            }
        };
        if let Some(phrase) = speech::phrase(tag.clip) {
            return self.check_phrase(phrase, tag.sequence & 0xFFFF);
        }
        if tag.sent_us >= self.stream_start_us {
            latencies.saturating_record(now_us.saturating_sub(tag.sent_us));
        }
        let (response, frame) = ((tag.sequence >> 16) as u16, tag.sequence & 0xFFFF);
        let key = (tag.source, response);
        if self.phrase_ends() && frame != 0 {
            self.faults.reordered += 1;
        }
        let expected = match self.last {
            Some((last, next)) if last == key => next,
            // A session can only be followed by another between responses.
            Some(((source, _), _)) if source != tag.source && frame != 0 => {
                self.faults.crossed += 1;
                return Sound::Agent { clip: tag.clip, response };
            }
            Some((last, _)) if last.0 == key.0 && last.1 > response => u32::MAX,
            _ => 0,
        };
        if frame < expected {
            self.faults.reordered += 1;
        } else {
            self.faults.lost += u64::from(frame - expected);
            self.last = Some((key, frame + 1));
        }
        let arrived = self.arrived.entry(key).or_default();
        arrived.frames += 1;
        arrived.next = arrived.next.max(frame + 1);
        self.last_arrival_us = now_us;
        if tag.clip == NO_CLIP { Sound::Silence } else { Sound::Agent { clip: tag.clip, response } }
    }

    fn check_phrase(&mut self, phrase: &'static speech::Clip, frame: u32) -> Sound {
        let goes_on = self.phrase.filter(|(last, next)| last.id == phrase.id && (frame != 0 || *next == 0));
        if goes_on.is_none() {
            self.phrase_ends();
        }
        let expected = goes_on.map_or(0, |(_, next)| next);
        if frame < expected {
            self.faults.reordered += 1;
        } else {
            self.faults.lost += u64::from(frame - expected);
            self.phrase = Some((phrase, frame + 1));
        }
        Sound::Phrase { clip: phrase.id }
    }

    /// Something else arrives: what is missing of a phrase is lost. Says whether there was one.
    fn phrase_ends(&mut self) -> bool {
        let Some((phrase, next)) = self.phrase.take() else { return false };
        self.faults.lost += u64::from(phrase.frames().saturating_sub(next));
        true
    }

    /// Everything up to `position` of the stream has been played; says who was audible in it.
    pub fn plays(&mut self, position: u64) -> Audible {
        let mut audible = Audible::Nobody;
        while let Some(&(_, sound)) = self.waiting.front().filter(|(end, _)| *end <= position) {
            self.waiting.pop_front();
            match sound {
                Sound::Silence => {}
                Sound::Agent { clip, response } => {
                    audible = Audible::Agent;
                    self.hears(Heard::Agent { clip, response, ms: FRAME_MS });
                }
                Sound::Phrase { clip } => {
                    audible = audible.max(Audible::Phrase);
                    self.hears(Heard::Phrase { clip, ms: FRAME_MS });
                }
            }
        }
        audible
    }

    /// The buffer was cleared: what was waiting is not heard, and what was still to come is not missed.
    pub fn clears(&mut self) {
        self.waiting.clear();
        self.partial.clear();
        self.phrase = None;
        self.cuts.insert(self.last.map(|(key, _)| key));
    }

    /// What was wrong so far does not count, nor what is still missing of it.
    pub fn counts_anew(&mut self) {
        self.faults = FrameCounts::default();
        self.cuts.insert(None);
        self.cuts.extend(self.arrived.keys().copied().map(Some));
    }

    /// A `<Say>` was heard.
    pub fn is_told(&mut self, text: String) {
        self.heard.push(Heard::Said(text));
    }

    pub fn is_beeped_at(&mut self) {
        self.heard.push(Heard::Beep);
    }

    /// Everything that was heard, in order.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// How many of the `frames` that were sent of a response are missing at its end without having been cut
    /// there by a clear or by the end of the stream. (Those missing before are in `faults` already.)
    pub fn missing(&self, key: ResponseKey, frames: u32) -> u32 {
        let (source, _) = key;
        let reached = self.arrived.range((source, 0)..=key).next_back().map(|(key, _)| *key);
        let nothing_later = self.arrived.range(key..=(source, u16::MAX)).next().is_none();
        if self.cuts.contains(&reached) || nothing_later {
            return 0;
        }
        frames.saturating_sub(self.arrived.get(&key).map_or(0, |arrived| arrived.next))
    }

    /// The sessions that were heard, and how many frames of each arrived.
    pub fn sessions(&self) -> BTreeMap<u16, u64> {
        let mut sessions = BTreeMap::new();
        for ((source, _), arrived) in &self.arrived {
            *sessions.entry(*source).or_default() += arrived.frames;
        }
        sessions
    }

    fn hears(&mut self, frame: Heard) {
        match (self.heard.last_mut(), &frame) {
            (
                Some(Heard::Agent { clip: last, response: of, ms }),
                Heard::Agent { clip, response, ms: more },
            ) if (*last, *of) == (*clip, *response) => *ms += more,
            (Some(Heard::Phrase { clip: last, ms }), Heard::Phrase { clip, ms: more }) if last == clip => {
                *ms += more;
            }
            _ => self.heard.push(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: u16, response: u32, number: u32) -> [u8; FRAME_BYTES] {
        let mut frame = [0x55; FRAME_BYTES];
        Tag { source, sequence: response << 16 | number, clip: 4, sent_us: 1_000 }.write(&mut frame);
        frame
    }

    fn latencies() -> Histogram<u64> {
        crate::sim::phone::network::histogram()
    }

    fn ear_of(frames: &[[u8; FRAME_BYTES]]) -> Ear {
        let mut ear = Ear::default();
        for frame in frames {
            ear.arrives(frame, 2_000, &mut latencies());
        }
        ear
    }

    fn faults(frames: &[[u8; FRAME_BYTES]]) -> FrameCounts {
        ear_of(frames).faults
    }

    #[test]
    fn whole_responses_in_order_are_without_fault_however_they_are_cut_into_messages() {
        let audio = [frame(1, 0, 0), frame(1, 0, 1), frame(1, 1, 0)].concat();
        let mut ear = Ear::default();
        for piece in audio.chunks(100) {
            ear.arrives(piece, 2_000, &mut latencies());
        }
        assert_eq!(ear.faults, FrameCounts::default());
        assert_eq!(ear.plays(480), Audible::Agent);
        let heard = |response, ms| Heard::Agent { clip: 4, response, ms };
        assert_eq!(ear.heard(), [heard(0, 40), heard(1, 20)]);
    }

    #[test]
    fn a_gap_is_lost_and_a_repetition_is_reordered() {
        let lost = FrameCounts { lost: 2, ..FrameCounts::default() };
        assert_eq!(faults(&[frame(1, 0, 0), frame(1, 0, 3)]), lost);
        let lost = FrameCounts { lost: 1, ..FrameCounts::default() };
        assert_eq!(faults(&[frame(1, 0, 0), frame(1, 1, 1)]), lost);
        let reordered = FrameCounts { reordered: 1, ..FrameCounts::default() };
        assert_eq!(faults(&[frame(1, 0, 0), frame(1, 0, 0)]), reordered);
        assert_eq!(faults(&[frame(1, 1, 0), frame(1, 0, 1)]), reordered);
    }

    #[test]
    fn an_altered_frame_is_corrupted_and_filled_silence_is_not() {
        let mut altered = frame(1, 0, 1);
        altered[3] ^= 0x40;
        let corrupted = FrameCounts { corrupted: 1, ..FrameCounts::default() };
        assert_eq!(faults(&[frame(1, 0, 0), altered, [0xFF; FRAME_BYTES]]), FrameCounts { ..corrupted });
    }

    #[test]
    fn a_frame_of_another_session_within_a_response_is_crossed() {
        let crossed = FrameCounts { crossed: 1, ..FrameCounts::default() };
        assert_eq!(faults(&[frame(1, 0, 0), frame(2, 0, 1), frame(1, 0, 1)]), crossed);
        assert_eq!(faults(&[frame(1, 0, 0), frame(2, 0, 0)]), FrameCounts::default());
    }

    #[test]
    fn only_frames_sent_after_the_streams_start_have_a_latency() {
        let (mut ear, mut latencies) = (Ear::default(), latencies());
        ear.stream_starts(1_001);
        ear.arrives(&frame(1, 0, 0), 2_000, &mut latencies);
        assert_eq!(latencies.len(), 0);
        ear.stream_starts(999);
        ear.arrives(&frame(1, 0, 1), 2_000, &mut latencies);
        assert_eq!(latencies.max(), 1_000);
    }

    #[test]
    fn what_was_cleared_is_not_heard_and_the_rest_is_not_missed() {
        let mut ear = ear_of(&[frame(1, 0, 0), frame(1, 1, 0)]);
        ear.plays(160);
        ear.clears();
        assert_eq!(ear.plays(320), Audible::Nobody);
        assert_eq!(ear.heard().len(), 1);
        ear.arrives(&frame(1, 3, 0), 2_000, &mut latencies());
        ear.arrives(&frame(1, 5, 0), 2_000, &mut latencies());
        let missing = [0, 1, 2, 3, 4].map(|response| ear.missing((1, response), 10));
        assert_eq!(missing, [9, 0, 0, 9, 10]);
    }

    #[test]
    fn what_was_lost_before_it_counts_anew_is_not_missed_and_what_is_lost_after_that_is() {
        let mut ear = ear_of(&[frame(1, 0, 0), frame(1, 0, 2)]);
        ear.counts_anew();
        ear.arrives(&frame(1, 1, 0), 2_000, &mut latencies());
        assert_eq!((ear.faults.lost, ear.missing((1, 0), 10)), (0, 0));
        ear.arrives(&frame(1, 1, 2), 2_000, &mut latencies());
        ear.arrives(&frame(1, 2, 0), 2_000, &mut latencies());
        assert_eq!((ear.faults.lost, ear.missing((1, 1), 10)), (1, 7));
    }

    #[test]
    fn the_end_of_the_stream_cuts_what_was_still_arriving() {
        let missing_when_ending_at = |now_us| {
            let mut ear = ear_of(&[frame(1, 0, 0)]);
            ear.stream_ends(now_us);
            [ear.missing((1, 0), 10), ear.missing((1, 1), 10)]
        };
        assert_eq!(missing_when_ending_at(500_000), [0, 0]);
        assert_eq!(missing_when_ending_at(1_500_000), [9, 0]);
    }

    /// Frames of phrase 200, said once by a session that no call has.
    fn phrase(numbers: impl Iterator<Item = u32>) -> Vec<[u8; FRAME_BYTES]> {
        let frame = |number| {
            let mut frame = [0x55; FRAME_BYTES];
            Tag { source: 99, sequence: 3 << 16 | number, clip: 200, sent_us: 1 }.write(&mut frame);
            frame
        };
        numbers.map(frame).collect()
    }

    fn between(
        one: &[[u8; FRAME_BYTES]],
        frames: &[[u8; FRAME_BYTES]],
        two: &[[u8; FRAME_BYTES]],
    ) -> FrameCounts {
        faults(&[one, frames, two].concat())
    }

    #[test]
    fn a_phrase_is_heard_in_any_call_and_again_if_it_is_whole() {
        let whole = phrase(0..speech::PHRASES[0].frames());
        let twice = [whole.as_slice(), &whole].concat();
        assert_eq!(between(&[frame(1, 0, 0)], &twice, &[frame(1, 1, 0)]), FrameCounts::default());
        let mut ear = ear_of(&whole);
        assert_eq!(ear.plays(160), Audible::Phrase);
        assert_eq!(ear.heard(), [Heard::Phrase { clip: 200, ms: 20 }]);
        assert!(ear.sessions().is_empty(), "it is no session's of this call");
    }

    #[test]
    fn a_phrase_with_a_gap_without_its_end_altered_or_within_a_response_is_a_fault() {
        let count = speech::PHRASES[0].frames();
        let lost = |lost| FrameCounts { lost, ..FrameCounts::default() };
        let reordered = FrameCounts { reordered: 1, ..FrameCounts::default() };
        let gap = phrase((0..5).chain(7..count));
        assert_eq!(between(&[], &gap, &[]), lost(2));
        assert_eq!(between(&[], &phrase(0..count - 3), &[frame(1, 0, 0)]), lost(3));
        assert_eq!(between(&[], &phrase((0..count - 3).chain(0..count)), &[]), lost(3));
        assert_eq!(between(&[], &phrase([0, 1, 1].into_iter().chain(2..count)), &[]), reordered);
        let within = between(&[frame(1, 0, 0)], &phrase(0..count), &[frame(1, 0, 1)]);
        assert_eq!(within, reordered);
        let mut altered = phrase(0..count);
        altered[4][3] ^= 0x40;
        assert_eq!(faults(&altered).corrupted, 1);
        let mut cut = ear_of(&phrase(0..5));
        cut.clears();
        cut.arrives(&frame(1, 0, 0), 2_000, &mut latencies());
        assert_eq!(cut.faults, FrameCounts::default());
    }
}
