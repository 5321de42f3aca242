//! The music that a caller hears while a person is called: five seconds that may follow themselves, made
//! here, so that it belongs to nobody and is always at hand.

use std::f64::consts::TAU;

const RATE: u32 = 8_000;
/// Four chords, each broken into five notes of a quarter of a second.
const CHORDS: [[f64; 5]; 4] = [
    [261.63, 329.63, 392.00, 523.25, 392.00],
    [220.00, 261.63, 329.63, 440.00, 329.63],
    [174.61, 220.00, 261.63, 349.23, 261.63],
    [196.00, 246.94, 293.66, 392.00, 293.66],
];
const NOTE_SAMPLES: u32 = RATE / 4;
/// Well below a voice.
const LEVEL: f64 = 5_000.0;

/// A WAV file of 8 kHz μ-law, which Twilio plays without recoding it.
pub fn hold_music() -> Vec<u8> {
    let audio: Vec<u8> = CHORDS.iter().flatten().flat_map(|note| tone(*note)).collect();
    let mut file = Vec::with_capacity(audio.len() + 58);
    let length = u32::try_from(audio.len()).expect("five seconds");
    file.extend(b"RIFF");
    file.extend((50 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(18_u32.to_le_bytes());
    file.extend([7_u16, 1].map(u16::to_le_bytes).concat()); // μ-law, one channel
    file.extend([RATE, RATE].map(u32::to_le_bytes).concat()); // samples and bytes a second
    file.extend([1_u16, 8, 0].map(u16::to_le_bytes).concat()); // bytes and bits a sample, nothing more
    file.extend(b"fact");
    file.extend([4, length].map(u32::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(audio);
    file
}

/// One note, which begins at once and fades until the next.
fn tone(frequency: f64) -> impl Iterator<Item = u8> {
    (0..NOTE_SAMPLES).map(move |n| {
        let time = f64::from(n) / f64::from(RATE);
        let attack = (time / 0.01).min(1.0);
        let fade = 1.0 - f64::from(n) / f64::from(NOTE_SAMPLES);
        let wave = (TAU * frequency * time).sin() + 0.3 * (2.0 * TAU * frequency * time).sin();
        mu_law((LEVEL * attack * fade * fade * wave) as i16)
    })
}

/// G.711.
fn mu_law(sample: i16) -> u8 {
    const BIAS: u16 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs().min(32_635) + BIAS;
    let exponent = 15 - 7 - magnitude.leading_zeros().min(8) as u8;
    let mantissa = (magnitude >> (exponent + 3)) as u8 & 0x0F;
    !(sign | exponent << 4 | mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seconds_of_mu_law_stand_behind_a_header_that_says_so() {
        let file = hold_music();
        let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((&file[..4], &file[8..16], &file[50..54]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!((number(4) as usize + 8, number(54) as usize + 58), (file.len(), file.len()));
        assert_eq!((number(54), number(46)), (5 * RATE, 5 * RATE));
        assert_eq!(file[20..24], [7, 0, 1, 0]);
    }

    #[test]
    fn silence_and_both_extremes_are_what_g_711_says() {
        assert_eq!([0, 32_767, -32_768, -1].map(mu_law), [0xFF, 0x80, 0x00, 0x7F]);
        let audio = &hold_music()[58..];
        assert!(
            audio.iter().any(|byte| *byte != 0xFF) && !audio.contains(&0x80),
            "it is heard, and not clipped"
        );
    }
}
