//! The tag that every 20 ms frame of simulated audio carries, so that loss, reordering, corruption,
//! cross-talk and latency can be told from the audio itself, wherever it arrives.
//!
//! A frame is 160 bytes of μ-law. The tag sits in the least significant bit of each byte, most significant
//! bit of each field first, where it changes the sound by one quantisation step (silence stays silence:
//! `0xFF` or `0xFE`):
//!
//! | bits | field |
//! |---|---|
//! | 16 | magic `0x5B0A` |
//! | 16 | `source`: the phone's call number, or the Realtime simulator's session number |
//! | 32 | `sequence`: a caller's frames from 0; an agent's `response << 16 \| frame`, both from 0 |
//! | 16 | `clip`: which speech clip is being said, [`NO_CLIP`] for silence |
//! | 48 | `sent_us`: microseconds of the machine's monotonic clock when the frame was sent, modulo 2^48 |
//! | 32 | CRC-32 of the fields above and of the upper seven bits of every byte |

/// Bytes in a frame: 20 ms of 8 kHz μ-law.
pub const FRAME_BYTES: usize = 160;
/// `clip` of a frame in which nothing is said.
pub const NO_CLIP: u16 = u16::MAX;

const MAGIC: u16 = 0x5B0A;
const FIELD_BITS: usize = 16 + 16 + 32 + 16 + 48;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    pub source: u16,
    pub sequence: u32,
    pub clip: u16,
    pub sent_us: u64,
}

/// Why a frame has no usable tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not one of ours: silence that somebody filled in, or audio off its frame boundary.
    #[error("the frame carries no tag")]
    Untagged,
    /// The checksum does not hold.
    #[error("the frame was altered")]
    Corrupted,
}

impl Tag {
    /// Writes the tag into the least significant bits of `frame`.
    pub fn write(&self, frame: &mut [u8; FRAME_BYTES]) {
        let fields = self.fields();
        let crc = checksum(&fields, frame);
        let bits = fields
            .iter()
            .copied()
            .chain(crc.to_be_bytes())
            .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1));
        for (sample, bit) in frame.iter_mut().zip(bits) {
            *sample = *sample & 0xFE | bit;
        }
    }

    /// Reads the tag back out of a frame.
    pub fn read(frame: &[u8; FRAME_BYTES]) -> Result<Self, TagError> {
        let field = |from: usize, bits: usize| {
            frame[from..from + bits].iter().fold(0u64, |value, sample| value << 1 | u64::from(sample & 1))
        };
        if field(0, 16) as u16 != MAGIC {
            return Err(TagError::Untagged);
        }
        let tag = Self {
            source: field(16, 16) as u16,
            sequence: field(32, 32) as u32,
            clip: field(64, 16) as u16,
            sent_us: field(80, 48),
        };
        if field(FIELD_BITS, 32) as u32 == checksum(&tag.fields(), frame) {
            Ok(tag)
        } else {
            Err(TagError::Corrupted)
        }
    }

    fn fields(&self) -> [u8; FIELD_BITS / 8] {
        let mut out = [0; FIELD_BITS / 8];
        out[0..2].copy_from_slice(&MAGIC.to_be_bytes());
        out[2..4].copy_from_slice(&self.source.to_be_bytes());
        out[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        out[8..10].copy_from_slice(&self.clip.to_be_bytes());
        out[10..16].copy_from_slice(&self.sent_us.to_be_bytes()[2..]);
        out
    }
}

fn checksum(fields: &[u8], frame: &[u8; FRAME_BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(fields);
    let mut samples = *frame;
    samples.iter_mut().for_each(|sample| *sample &= 0xFE);
    crc.update(&samples);
    crc.finalize()
}

/// Microseconds of the machine's monotonic clock, the same for every process on it, modulo 2^48.
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000) & ((1 << 48) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> Tag {
        Tag { source: 7, sequence: 3 << 16 | 41, clip: 2, sent_us: 123_456_789_012 }
    }

    #[test]
    fn a_tag_is_read_as_it_was_written_and_moves_no_sample_by_more_than_one_step() {
        let speech: [u8; FRAME_BYTES] = std::array::from_fn(|i| (i * 37) as u8);
        let mut frame = speech;
        tag().write(&mut frame);
        assert_eq!(Tag::read(&frame), Ok(tag()));
        assert!(frame.iter().zip(speech).all(|(tagged, plain)| tagged & 0xFE == plain & 0xFE));
    }

    #[test]
    fn an_altered_frame_is_corrupted_and_plain_silence_is_untagged() {
        let mut frame = [0x55; FRAME_BYTES];
        tag().write(&mut frame);
        frame[159] ^= 0x10;
        assert_eq!(Tag::read(&frame), Err(TagError::Corrupted));
        assert_eq!(Tag::read(&[0xFF; FRAME_BYTES]), Err(TagError::Untagged));
    }
}
