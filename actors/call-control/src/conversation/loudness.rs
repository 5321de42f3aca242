//! How loud the caller's side is, from the base64 of its μ-law as it passes. Pure, and cheap: a few bytes of
//! a frame are looked at, and nothing is decoded.

/// One character in so many is looked at. It is the first of a group of four, so it holds the upper six bits
/// of a sample.
const STRIDE: usize = 32;
/// A frame of 20 ms is loud with so many loud samples of the seven that are looked at.
const LOUD_SAMPLES: usize = 2;
/// The frames of a second.
const WINDOW: u32 = 50;
/// So many loud frames make a loud second.
const LOUD_FRAMES: u32 = 10;

/// The last second of the caller's side.
#[derive(Debug, Default)]
pub struct Loudness {
    frames: u32,
    loud: u32,
}

impl Loudness {
    /// Takes one frame. True once in a second that is as loud as speech.
    pub fn hear(&mut self, payload: &[u8]) -> bool {
        if self.frames == WINDOW {
            *self = Self::default();
        }
        self.frames += 1;
        if !is_loud(payload) {
            return false;
        }
        self.loud += 1;
        self.loud == LOUD_FRAMES
    }
}

fn is_loud(payload: &[u8]) -> bool {
    payload.iter().step_by(STRIDE).filter(|first| is_loud_sample(**first)).count() >= LOUD_SAMPLES
}

/// Whether the sample whose upper bits a base64 character holds is above -24 dB of full scale. μ-law is
/// stored inverted: a sample is that loud if the upper bit of its exponent, the second bit of all, is 0.
fn is_loud_sample(first: u8) -> bool {
    matches!(first, b'A'..=b'P' | b'g'..=b'v')
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// ITU-T G.711, of a 16-bit sample.
    fn mu_law(sample: i16) -> u8 {
        let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
        let exponent = (magnitude >> 7).ilog2();
        let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
        let sign = if sample < 0 { 0x80 } else { 0 };
        !(sign | (exponent as i32) << 4 | mantissa) as u8
    }

    /// 20 ms of a tone.
    fn tone(amplitude: f64) -> String {
        let sample = |n: i32| (amplitude * (f64::from(n) * 0.7).sin()) as i16;
        STANDARD.encode((0..160).map(sample).map(mu_law).collect::<Vec<_>>())
    }

    fn told(frames: impl Iterator<Item = String>) -> usize {
        let mut loudness = Loudness::default();
        frames.filter(|frame| loudness.hear(frame.as_bytes())).count()
    }

    #[test]
    fn speech_is_loud_once_a_second_and_a_quiet_line_never() {
        assert_eq!(told((0..500).map(|_| tone(8_000.0))), 10);
        assert_eq!(told((0..500).map(|_| tone(1_000.0))), 0);
        assert_eq!(told((0..500).map(|_| STANDARD.encode([0xFF; 160]))), 0, "silence");
        assert_eq!(told((0..500).map(|_| STANDARD.encode([0x7F; 160]))), 0, "the other silence");
    }

    #[test]
    fn a_click_is_no_speech() {
        let clicks = (0..500).map(|n| if n % 50 < 9 { tone(30_000.0) } else { tone(0.0) });
        assert_eq!(told(clicks), 0);
        assert_eq!(told([].into_iter().chain((0..3).map(|_| String::new()))), 0, "empty frames");
    }
}
