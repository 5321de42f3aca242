//! Voice activity in μ-law: the loudness of each 20 ms frame, with one threshold to start speech and a lower
//! one to keep it. Pure: frames in, edges out.

use crate::sim::tag::FRAME_BYTES;

/// Length of a frame in milliseconds.
pub const FRAME_MS: u32 = 20;
/// Loud frames in a row that make a start.
pub const START_FRAMES: u32 = 3;

/// Loudness (root mean square of 16-bit samples) that starts speech at the default threshold of 0.5.
const START_LEVEL: f64 = 600.0;

/// `audio.input.turn_detection` as it is in force (reference: openai-realtime.md 2.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// 0 to 1; the higher, the louder speech has to be.
    pub threshold: f64,
    pub prefix_padding_ms: u32,
    pub silence_duration_ms: u32,
    pub idle_timeout_ms: Option<u32>,
    pub create_response: bool,
    pub interrupt_response: bool,
}

/// What a frame changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Speech began [`START_FRAMES`] frames ago.
    Started,
    /// The silence has lasted `silence_duration_ms`.
    Stopped,
}

/// Whether somebody is speaking.
#[derive(Debug, Default)]
pub struct Vad {
    speaking: bool,
    loud_frames: u32,
    quiet_frames: u32,
}

impl Vad {
    /// Listens to the next frame.
    pub fn hear(&mut self, frame: &[u8; FRAME_BYTES], detection: &Detection) -> Option<Edge> {
        let level = loudness(frame);
        let start = START_LEVEL * detection.threshold * 2.0;
        if self.speaking {
            self.quiet_frames = if level < start / 2.0 { self.quiet_frames + 1 } else { 0 };
            if self.quiet_frames * FRAME_MS >= detection.silence_duration_ms.max(FRAME_MS) {
                *self = Self::default();
                return Some(Edge::Stopped);
            }
        } else {
            self.loud_frames = if level >= start { self.loud_frames + 1 } else { 0 };
            if self.loud_frames == START_FRAMES {
                *self = Self { speaking: true, ..Self::default() };
                return Some(Edge::Started);
            }
        }
        None
    }
}

fn loudness(frame: &[u8; FRAME_BYTES]) -> f64 {
    let squares: i64 = frame.iter().map(|&sample| i64::from(linear(sample)).pow(2)).sum();
    (squares as f64 / FRAME_BYTES as f64).sqrt()
}

/// A μ-law sample as 16-bit PCM (ITU-T G.711).
pub fn linear(sample: u8) -> i16 {
    const TABLE: [i16; 256] = {
        let mut table = [0; 256];
        let mut code = 0;
        while code < 256 {
            let bits = !(code as u8);
            let magnitude = ((((bits & 0x0F) as i16) << 3) + 0x84) << ((bits >> 4) & 7);
            table[code] = if bits & 0x80 == 0 { magnitude - 0x84 } else { 0x84 - magnitude };
            code += 1;
        }
        table
    };
    TABLE[usize::from(sample)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::speech::{self, SILENCE};
    use crate::sim::tag::{NO_CLIP, Tag};

    const DETECTION: Detection = Detection {
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 500,
        idle_timeout_ms: None,
        create_response: true,
        interrupt_response: false,
    };

    fn tagged(frames: impl Iterator<Item = [u8; FRAME_BYTES]>, clip: u16) -> Vec<[u8; FRAME_BYTES]> {
        frames
            .enumerate()
            .map(|(n, mut frame)| {
                let tag =
                    Tag { source: 3, sequence: n as u32, clip, sent_us: 987_654_321 + 20_000 * n as u64 };
                tag.write(&mut frame);
                frame
            })
            .collect()
    }

    fn silence(frames: usize) -> Vec<[u8; FRAME_BYTES]> {
        tagged(std::iter::repeat_n([SILENCE; FRAME_BYTES], frames), NO_CLIP)
    }

    fn edges(frames: &[[u8; FRAME_BYTES]], detection: Detection) -> Vec<(usize, Edge)> {
        let mut vad = Vad::default();
        frames.iter().enumerate().filter_map(|(n, frame)| Some((n, vad.hear(frame, &detection)?))).collect()
    }

    #[test]
    fn every_caller_clip_is_one_utterance_also_at_the_services_default_of_200_ms() {
        for silence_duration_ms in [200, 500] {
            let detection = Detection { silence_duration_ms, ..DETECTION };
            let pause = silence_duration_ms as usize / FRAME_MS as usize;
            for clip in speech::CALLER {
                let spoken = tagged(speech::frames(clip), clip.id);
                let end = 50 + spoken.len();
                let frames = [silence(50), spoken, silence(100)].concat();
                let edges = edges(&frames, detection);
                let [(started, Edge::Started), (stopped, Edge::Stopped)] = edges[..] else {
                    panic!("{}: {edges:?}", clip.name)
                };
                assert!((52..=55).contains(&started), "{}: started at {started}", clip.name);
                assert!((end + pause - 10..=end + pause).contains(&stopped), "{}: {stopped}", clip.name);
            }
        }
    }

    #[test]
    fn tagged_silence_is_silence() {
        assert_eq!(edges(&silence(500), DETECTION), []);
    }

    #[test]
    fn a_click_is_not_speech() {
        let mut frames = silence(20);
        frames.splice(10..12, [[0x80; FRAME_BYTES]; 2]);
        assert_eq!(edges(&frames, DETECTION), []);
        frames[12] = [0x80; FRAME_BYTES];
        assert_eq!(edges(&frames, DETECTION), [(12, Edge::Started)]);
    }

    #[test]
    fn samples_are_decoded_as_g711_has_them() {
        assert_eq!([0x00, 0x80, 0x7F, 0xFF, 0xFE].map(linear), [-32124, 32124, 0, 0, 8]);
    }
}
