//! What the agent can say though the service cannot: a few short phrases, rendered once in its own voice.
//! Pure data.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::twilio::frames::payload_bytes;

/// μ-law in a piece, 200 ms: as much as is played between two marks.
const PIECE_BYTES: usize = 1_600;
/// The longest phrase that a recording of a call may name, a minute.
const LONGEST_BYTES: u32 = 60 * 8_000;

/// The closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phrase {
    /// Bridges a silence.
    Moment,
    /// Bridges the next one: the same words again would sound broken.
    StillHere,
    /// The last words before a person takes over.
    Transfer,
    /// Tells a caller whose words are urgent to dial the emergency number.
    Emergency,
}

impl Phrase {
    pub const ALL: [Self; 4] = [Self::Moment, Self::StillHere, Self::Transfer, Self::Emergency];
    /// Those that bridge a silence; the agent's next words wait behind one, so they are short.
    pub const FILLERS: [Self; 2] = [Self::Moment, Self::StillHere];

    /// The slug used in a call's log, and as the key in the agent file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moment => "moment",
            Self::StillHere => "still_here",
            Self::Transfer => "transfer",
            Self::Emergency => "emergency",
        }
    }
}

/// The wording of each phrase, in the persona's language. One without words is never said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhraseTexts([Option<String>; Phrase::ALL.len()]);

impl PhraseTexts {
    pub fn english(emergency_number: &str) -> Self {
        let texts = Phrase::ALL.map(|phrase| match phrase {
            Phrase::Moment => "One moment please.".to_owned(),
            Phrase::StillHere => "I am still here, one moment.".to_owned(),
            Phrase::Transfer => "I am sorry, I am connecting you to a colleague.".to_owned(),
            Phrase::Emergency => {
                format!("If this is an emergency, please hang up now and dial {emergency_number}.")
            }
        });
        Self(texts.map(Some))
    }

    /// For a language in which nobody has given any.
    pub fn none() -> Self {
        Self(Phrase::ALL.map(|_| None))
    }

    pub fn get(&self, phrase: Phrase) -> Option<&str> {
        self.0[phrase as usize].as_deref()
    }

    pub fn set(&mut self, phrase: Phrase, text: Option<String>) {
        self.0[phrase as usize] = text;
    }
}

/// A rendered phrase, in base64 pieces of 200 ms: saying it costs no encoding. Written down, it is its length
/// in bytes of μ-law; one that is read is silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct Recording {
    pieces: Vec<Bytes>,
    ms: Millis,
}

impl Recording {
    /// Of raw μ-law.
    pub fn new(mulaw: &[u8]) -> Self {
        let pieces = mulaw.chunks(PIECE_BYTES).map(|piece| BASE64_STANDARD.encode(piece).into()).collect();
        Self { pieces, ms: mulaw.len() as Millis / 8 }
    }

    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Its length in milliseconds.
    pub fn ms(&self) -> Millis {
        self.ms
    }
}

impl From<Recording> for u32 {
    fn from(recording: Recording) -> Self {
        let bytes = recording.pieces.iter().map(|piece| payload_bytes(piece)).sum::<u64>();
        Self::try_from(bytes).unwrap_or(Self::MAX)
    }
}

impl TryFrom<u32> for Recording {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        if bytes > LONGEST_BYTES {
            return Err(format!("a phrase of {bytes} bytes: expected at most {LONGEST_BYTES}"));
        }
        Ok(Self::new(&vec![0xFF; bytes as usize]))
    }
}

/// The phrases that are at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Option<Recording>>")] // an older recording knows fewer
pub struct Phrases([Option<Recording>; Phrase::ALL.len()]);

impl Phrases {
    pub fn get(&self, phrase: Phrase) -> Option<&Recording> {
        self.0[phrase as usize].as_ref()
    }

    pub fn add(&mut self, phrase: Phrase, recording: Recording) {
        self.0[phrase as usize] = Some(recording);
    }

    pub fn remove(&mut self, phrase: Phrase) {
        self.0[phrase as usize] = None;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// The filler whose turn it is, the `number`th of a call counted from 0, if any is at hand.
    pub fn filler(&self, number: usize) -> Option<Phrase> {
        let at_hand = Phrase::FILLERS.into_iter().filter(|phrase| self.get(*phrase).is_some());
        at_hand.clone().cycle().nth(number % Phrase::FILLERS.len())
    }
}

impl From<Vec<Option<Recording>>> for Phrases {
    fn from(mut recordings: Vec<Option<Recording>>) -> Self {
        recordings.resize(Phrase::ALL.len(), None);
        let mut recordings = recordings.into_iter();
        Self(Phrase::ALL.map(|_| recordings.next().flatten()))
    }
}

/// For `serde(with)`: phrases that calls share.
pub(super) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Phrases;

    pub fn serialize<S: Serializer>(phrases: &Arc<Phrases>, serializer: S) -> Result<S::Ok, S::Error> {
        (**phrases).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Phrases>, D::Error> {
        Phrases::deserialize(deserializer).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_cut_into_pieces_of_200_ms_and_nothing_of_it_is_lost() {
        let mulaw: Vec<u8> = (0..4_000).map(|n| n as u8).collect();
        let recording = Recording::new(&mulaw);
        let sizes: Vec<_> = recording.pieces().iter().map(|piece| payload_bytes(piece)).collect();
        assert_eq!((sizes, recording.ms()), (vec![1_600, 1_600, 800], 500));
        let whole: Vec<u8> =
            recording.pieces().iter().flat_map(|piece| BASE64_STANDARD.decode(piece).unwrap()).collect();
        assert_eq!(whole, mulaw);
    }

    #[test]
    fn fillers_take_turns_as_far_as_they_are_at_hand() {
        let mut phrases = Phrases::default();
        phrases.add(Phrase::Transfer, Recording::new(&[0xFF; 800]));
        assert_eq!(phrases.filler(0), None);
        phrases.add(Phrase::StillHere, Recording::new(&[0xFF; 800]));
        assert_eq!([0, 1, 2].map(|n| phrases.filler(n)), [Some(Phrase::StillHere); 3]);
        phrases.add(Phrase::Moment, Recording::new(&[0xFF; 800]));
        let (moment, still_here) = (Some(Phrase::Moment), Some(Phrase::StillHere));
        assert_eq!([0, 1, 2].map(|n| phrases.filler(n)), [moment, still_here, moment]);
    }

    #[test]
    fn the_english_phrases_are_all_there() {
        assert!(Phrase::ALL.iter().all(|phrase| PhraseTexts::english("911").get(*phrase).is_some()));
    }
}
