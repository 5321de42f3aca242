//! Speech for the simulators: short μ-law clips and what is said in them. `speech/make` makes the clips from
//! the texts beside them.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::Path;

use super::tag::FRAME_BYTES;

/// μ-law silence.
pub const SILENCE: u8 = 0xFF;
/// `id` of a clip that was read from a file.
pub const FILE_CLIP: u16 = 900;

/// Ten minutes: the longest recording that is taken from a file.
const MAX_FILE_BYTES: u64 = 10 * 60 * 8_000;

/// Something that is said.
#[derive(Debug, Clone, Copy)]
pub struct Clip {
    /// The `clip` of the tags in its frames: below 100 a caller's, from 100 on an agent's, from 200 to 299 a
    /// phrase.
    pub id: u16,
    pub name: &'static str,
    pub text: &'static str,
    /// Raw μ-law, 8 kHz, mono.
    pub audio: &'static [u8],
}

impl Clip {
    /// Its length in milliseconds, rounded down.
    pub const fn millis(&self) -> u32 {
        (self.audio.len() / 8) as u32
    }

    /// Its length in frames, the last one filled up.
    pub const fn frames(&self) -> u32 {
        self.audio.len().div_ceil(FRAME_BYTES) as u32
    }
}

macro_rules! clip {
    ($id:literal, $name:literal) => {
        Clip {
            id: $id,
            name: $name,
            text: include_str!(concat!("speech/", $name, ".txt")).trim_ascii(),
            audio: include_bytes!(concat!("speech/", $name, ".ulaw")),
        }
    };
}

/// What callers say.
pub static CALLER: &[Clip] = &[
    clip!(0, "caller-appointment"),
    clip!(1, "caller-hours"),
    clip!(2, "caller-reschedule"),
    clip!(3, "caller-refill"),
    clip!(4, "caller-insurance"),
];

/// What callers say who want something of the agent that it has a tool for, or are in danger.
pub static REQUESTS: &[Clip] = &[
    clip!(50, "caller-emergency"),
    clip!(51, "caller-person"),
    clip!(52, "caller-message"),
    clip!(53, "caller-goodbye"),
];

/// What the receptionist of Harbor Clinic says; the first is the greeting.
pub static AGENT: &[Clip] = &[
    clip!(100, "agent-greeting"),
    clip!(101, "agent-hours"),
    clip!(102, "agent-offer"),
    clip!(103, "agent-refill"),
    clip!(104, "agent-insurance"),
];

/// What the receptionist says for keeping: said once, to be heard in any call.
pub static PHRASES: &[Clip] = &[
    clip!(200, "phrase-moment"),
    clip!(201, "phrase-still-here"),
    clip!(202, "phrase-transfer"),
    clip!(203, "phrase-emergency"),
];

/// The clip with this id: a caller's, an agent's or a phrase.
pub fn clip(id: u16) -> Option<&'static Clip> {
    CALLER.iter().chain(REQUESTS).chain(AGENT).chain(PHRASES).find(|clip| clip.id == id)
}

/// The phrase with this id.
pub fn phrase(id: u16) -> Option<&'static Clip> {
    PHRASES.iter().find(|clip| clip.id == id)
}

/// The clip in frames of 20 ms, the last one filled up with silence.
pub fn frames(clip: &Clip) -> impl Iterator<Item = [u8; FRAME_BYTES]> + use<> {
    clip.audio.chunks(FRAME_BYTES).map(|chunk| {
        let mut frame = [SILENCE; FRAME_BYTES];
        frame[..chunk.len()].copy_from_slice(chunk);
        frame
    })
}

/// Reads a recording of raw μ-law (8 kHz, mono, no header), at most ten minutes of it. Nobody knows what is
/// said in it, so its text is empty; it stays in memory until the program ends.
pub fn from_file(path: &Path) -> io::Result<Clip> {
    let mut audio = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut audio)?;
    let fault = match audio.as_slice() {
        [] => "the file is empty",
        audio if audio.len() as u64 > MAX_FILE_BYTES => "the recording is longer than ten minutes",
        [b'R', b'I', b'F', b'F', ..] => "a WAV file: raw μ-law without a header is wanted",
        _ => return Ok(Clip { id: FILE_CLIP, name: "file", text: "", audio: audio.leak() }),
    };
    Err(Error::new(ErrorKind::InvalidData, fault))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn clips_are_speech_of_the_promised_length_with_ids_of_their_own() {
        for clip in CALLER {
            assert!((1_500..=3_000).contains(&clip.millis()) && clip.id < 100, "{}", clip.name);
        }
        for clip in REQUESTS {
            assert!((1_000..=3_000).contains(&clip.millis()) && clip.id < 100, "{}", clip.name);
        }
        for clip in AGENT {
            assert!((2_000..=5_000).contains(&clip.millis()) && clip.id >= 100, "{}", clip.name);
        }
        for clip in PHRASES {
            assert!((800..=4_000).contains(&clip.millis()) && (200..300).contains(&clip.id), "{}", clip.name);
        }
        for all in CALLER.iter().chain(REQUESTS).chain(AGENT).chain(PHRASES) {
            assert_eq!(clip(all.id).map(|found| found.name), Some(all.name));
            assert!(!all.text.is_empty() && !all.text.contains('\n'));
        }
        assert!(AGENT[0].text.contains("automated assistant"));
        assert!(clip(99).is_none());
    }

    #[test]
    fn the_last_frame_is_filled_up_with_silence() {
        let clip = Clip { id: 7, name: "short", text: "", audio: &[1; 170] };
        let frames: Vec<_> = frames(&clip).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0], [1; FRAME_BYTES]);
        assert_eq!((&frames[1][..10], &frames[1][10..]), (&[1; 10][..], &[SILENCE; 150][..]));
    }

    #[test]
    fn a_recording_is_taken_raw_and_a_wav_file_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(from_file(file.path()).is_err());
        file.write_all(&[0x55; 400]).unwrap();
        let clip = from_file(file.path()).unwrap();
        assert_eq!((clip.id, clip.audio.len(), clip.millis()), (FILE_CLIP, 400, 50));
        let mut wav = tempfile::NamedTempFile::new().unwrap();
        wav.write_all(b"RIFF....WAVEfmt ").unwrap();
        assert!(from_file(wav.path()).unwrap_err().to_string().contains("WAV"));
    }
}
