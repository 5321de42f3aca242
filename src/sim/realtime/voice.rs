//! What the simulated agent says, and its audio: speech clips in tagged 20 ms frames, with the words that
//! belong to them. Pure.

use crate::sim::speech::{self, AGENT, Clip, PHRASES};
use crate::sim::tag::Tag;

use super::vad::{FRAME_MS, linear};

/// Lengths of the audio deltas, in turn.
const DELTAS_MS: [u32; 4] = [100, 200, 300, 400];
/// Length of the deltas of a burst.
pub const BURST_MS: u32 = 400;

/// Which caller clip is answered with which agent clip.
const ANSWERS: [(u16, u16); 5] = [(0, 102), (1, 101), (2, 102), (3, 103), (4, 104)];

/// The clip that greets a caller.
pub fn greeting() -> &'static Clip {
    &AGENT[0]
}

/// The clip that answers `heard`; without one, the agent goes through its sentences.
pub fn answer(heard: Option<u16>, turn: usize) -> &'static Clip {
    ANSWERS
        .iter()
        .find(|(question, _)| Some(*question) == heard)
        .and_then(|(_, answer)| speech::clip(*answer))
        .unwrap_or(&AGENT[1 + turn % (AGENT.len() - 1)])
}

/// The phrase that `instructions` ask for; the first one where it is none that is known.
pub fn phrase(instructions: &str) -> &'static Clip {
    PHRASES.iter().find(|clip| instructions.contains(clip.text)).unwrap_or(&PHRASES[0])
}

/// The first `part`/`whole` of the words of `text`, rounded down; a prefix of `text`.
pub fn words_until(text: &str, part: u32, whole: u32) -> &str {
    let words = text.split_inclusive(' ');
    let count = words.clone().count() as u64 * u64::from(part.min(whole)) / u64::from(whole.max(1));
    let bytes: usize = words.take(count as usize).map(str::len).sum();
    text[..bytes].trim_end()
}

/// One piece of a clip.
#[derive(Debug)]
pub struct Delta {
    /// Tagged μ-law, whole frames.
    pub audio: Vec<u8>,
    /// The words that are new with it; empty when there are none.
    pub text: &'static str,
}

/// A clip being said.
#[derive(Debug)]
pub struct Voice {
    clip: &'static Clip,
    frame: u32,
    deltas: usize,
    text_bytes: usize,
}

impl Voice {
    pub fn new(clip: &'static Clip) -> Self {
        Self { clip, frame: 0, deltas: 0, text_bytes: 0 }
    }

    /// The next delta, its frames stamped with `now_us`; `None` when the clip is over. The first of its tags'
    /// two numbers is the session, the second the response.
    pub fn next(&mut self, (source, response): (u16, u16), burst: bool, now_us: u64) -> Option<Delta> {
        let millis = if burst { BURST_MS } else { DELTAS_MS[self.deltas % DELTAS_MS.len()] };
        let frames = speech::frames(self.clip).skip(self.frame as usize).take((millis / FRAME_MS) as usize);
        let mut audio = Vec::with_capacity((millis * 8) as usize);
        for mut frame in frames {
            let sequence = u32::from(response) << 16 | self.frame;
            Tag { source, sequence, clip: self.clip.id, sent_us: now_us }.write(&mut frame);
            audio.extend_from_slice(&frame);
            self.frame += 1;
        }
        self.deltas += 1;
        let text = &words_until(self.clip.text, self.frame, self.clip.frames())[self.text_bytes..];
        self.text_bytes += text.len();
        (!audio.is_empty()).then_some(Delta { audio, text })
    }

    /// Whether all of it has been said.
    pub fn is_over(&self) -> bool {
        self.frame >= self.clip.frames()
    }

    /// Frames said so far.
    pub fn spoken_frames(&self) -> u32 {
        self.frame
    }

    /// Frames that there are to say.
    pub fn frames(&self) -> u32 {
        self.clip.frames()
    }

    /// Milliseconds said so far.
    pub fn spoken_ms(&self) -> u32 {
        self.frame * FRAME_MS
    }

    /// The words said so far.
    pub fn spoken_text(&self) -> &'static str {
        &self.clip.text[..self.text_bytes]
    }

    /// All the words.
    pub fn text(&self) -> &'static str {
        self.clip.text
    }
}

/// μ-law at 8 kHz as 16-bit little-endian PCM at 24 kHz, each sample held for three; tags do not survive it.
pub fn pcm_24k(mulaw: &[u8]) -> Vec<u8> {
    mulaw.iter().flat_map(|&sample| [linear(sample).to_le_bytes(); 3]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::tag::FRAME_BYTES;

    #[test]
    fn a_clip_is_said_to_the_end_in_tagged_frames_and_all_its_words() {
        for burst in [false, true] {
            let mut voice = Voice::new(greeting());
            let (mut audio, mut text) = (Vec::new(), String::new());
            while let Some(delta) = voice.next((7, 2), burst, 1_000) {
                assert!((FRAME_BYTES..=3_200).contains(&delta.audio.len()));
                audio.extend(delta.audio);
                text += delta.text;
                assert_eq!(voice.spoken_text(), text);
            }
            assert!(voice.is_over());
            assert_eq!(text, greeting().text);
            assert_eq!(audio.len(), greeting().audio.len().next_multiple_of(FRAME_BYTES));
            for (n, frame) in audio.as_chunks::<FRAME_BYTES>().0.iter().enumerate() {
                let tag = Tag::read(frame).unwrap();
                assert_eq!((tag.source, tag.sequence, tag.clip), (7, 2 << 16 | n as u32, greeting().id));
            }
        }
    }

    #[test]
    fn words_are_cut_off_whole() {
        assert_eq!(words_until("one two three four", 1, 2), "one two");
        assert_eq!(words_until("one two three four", 99, 200), "one");
        assert_eq!(words_until("one two", 2, 2), "one two");
        assert_eq!(words_until("one two", 0, 2), "");
    }

    #[test]
    fn a_phrase_is_the_one_that_is_asked_for() {
        for clip in PHRASES {
            assert_eq!(phrase(&format!("Say exactly these words: {}", clip.text)).id, clip.id);
        }
    }

    #[test]
    fn a_question_gets_its_own_answer() {
        assert!(answer(Some(1), 0).text.contains("Saturday"));
        assert_ne!(answer(None, 0).id, greeting().id);
        assert_ne!(answer(None, 0).id, answer(None, 1).id);
    }
}
