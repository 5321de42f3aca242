//! What Twilio does with the audio a bridge sends: buffers it, plays it at the pace of speech, echoes each
//! mark when playback reaches it, and forgets it all on `clear` (reference: "Media Streams: WebSocket
//! messages").

use std::collections::VecDeque;

use crate::sim::tag::FRAME_BYTES;

mod check;

/// Ten minutes of μ-law: what arrives beyond is discarded (Twilio's error 31931).
pub const MAX_BUFFERED_BYTES: u64 = 10 * 60 * 8_000;
/// Marks that may be outstanding; Twilio names no limit, a bridge that needs more has lost count.
pub const MAX_MARKS: usize = 8_192;

/// The playback buffer of one stream. It counts bytes and holds marks; what the bytes sound like is the ear's
/// matter.
#[derive(Debug, Default)]
pub struct Playback {
    appended: u64,
    played: u64,
    marks: VecDeque<(u64, String)>,
    /// Marks that came, and those of them that were handed out to be echoed.
    marked: u64,
    echoed: u64,
}

/// The buffer is full: nothing of the message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is full")]
pub struct Full;

impl Playback {
    /// Appends audio of any size.
    pub fn append(&mut self, bytes: usize) -> Result<(), Full> {
        let appended = self.appended + bytes as u64;
        if appended - self.played > MAX_BUFFERED_BYTES {
            return Err(Full);
        }
        self.appended = appended;
        self.check();
        Ok(())
    }

    /// Appends a mark. With nothing buffered it is handed back, to be echoed at once.
    pub fn mark(&mut self, name: String) -> Result<Option<String>, Full> {
        if self.appended == self.played {
            self.check_order();
            self.marked += 1;
            self.echoed += 1;
            return Ok(Some(name));
        }
        if self.marks.len() == MAX_MARKS {
            return Err(Full);
        }
        self.marks.push_back((self.appended, name));
        self.marked += 1;
        self.check();
        Ok(None)
    }

    /// Empties the buffer and hands out all outstanding marks, in order.
    pub fn clear(&mut self) -> impl Iterator<Item = String> + '_ {
        self.played = self.appended;
        self.echoed += self.marks.len() as u64;
        self.marks.drain(..).map(|(_, name)| name)
    }

    /// Plays the next 20 ms, or what is left of the buffer.
    pub fn play(&mut self) {
        self.played = self.appended.min(self.played + FRAME_BYTES as u64);
        self.check();
    }

    /// The next mark that playback has reached.
    pub fn reached(&mut self) -> Option<String> {
        let (position, _) = self.marks.front()?;
        if *position > self.played {
            return None;
        }
        self.echoed += 1;
        self.marks.pop_front().map(|(_, name)| name)
    }

    /// Bytes that came since the stream's start.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Bytes played or cleared since the stream's start.
    pub fn position(&self) -> u64 {
        self.played
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(playback: &mut Playback) -> Vec<String> {
        std::iter::from_fn(|| playback.reached()).collect()
    }

    #[test]
    fn a_mark_comes_back_when_playback_reaches_it() {
        let mut playback = Playback::default();
        playback.append(320).unwrap();
        assert_eq!(playback.mark("a".into()), Ok(None));
        playback.append(40).unwrap();
        assert_eq!(playback.mark("b".into()), Ok(None));
        playback.play();
        assert!(reached(&mut playback).is_empty());
        playback.play();
        assert_eq!(reached(&mut playback), ["a"]);
        playback.play();
        assert_eq!(reached(&mut playback), ["b"]);
        assert_eq!(playback.position(), 360);
    }

    #[test]
    fn a_mark_with_nothing_buffered_comes_back_at_once() {
        assert_eq!(Playback::default().mark("now".into()), Ok(Some("now".into())));
    }

    #[test]
    fn clear_empties_the_buffer_and_returns_every_outstanding_mark() {
        let mut playback = Playback::default();
        playback.append(1_600).unwrap();
        playback.mark("a".into()).unwrap();
        playback.append(1_600).unwrap();
        playback.mark("b".into()).unwrap();
        playback.play();
        assert_eq!(playback.clear().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(playback.position(), 3_200);
        assert_eq!(playback.mark("c".into()), Ok(Some("c".into())));
    }

    #[test]
    fn more_than_ten_minutes_are_discarded() {
        let mut playback = Playback::default();
        playback.append(MAX_BUFFERED_BYTES as usize).unwrap();
        assert_eq!(playback.append(1), Err(Full));
        playback.play();
        assert_eq!(playback.append(1), Ok(()));
    }
}
