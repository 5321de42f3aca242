//! Twilio's end of the media stream: a playback buffer with marks and clear, 20 ms at a time (reference:
//! Twilio, section 4).

use super::*;
use crate::twilio::frames::Mark;

/// μ-law that Twilio plays at a time: 20 ms.
pub(super) const FRAME_BYTES: u32 = 160;
pub(super) const FRAME_MS: Millis = 20;

/// Twilio's end of the media stream.
#[derive(Default)]
pub(super) struct Ear {
    pub(super) open: bool,
    pub(super) queue: VecDeque<Queued>,
    pub(super) frame: Option<Frame>,
}

pub(super) enum Queued {
    /// A piece of an item; none of a phrase.
    Audio {
        delta: Option<usize>,
        bytes: u32,
    },
    Mark(Mark),
}

#[derive(Default)]
pub(super) struct Frame {
    pub(super) began_at: Millis,
    pub(super) pieces: Vec<(Option<usize>, u32)>,
    pub(super) marks: Vec<Mark>,
}

#[derive(Debug)]
pub(super) enum Order {
    Media { delta: Option<usize>, bytes: u32 },
    Mark(Mark),
    Clear,
    Close,
}

#[derive(Debug)]
pub(super) enum EarReport {
    Played(Mark),
    Stopped,
    Lost,
}

impl Ear {
    /// Something is being heard, or waits to be.
    pub(super) fn is_busy(&self) -> bool {
        self.frame.is_some() || self.queue.iter().any(|queued| matches!(queued, Queued::Audio { .. }))
    }
}

impl World<'_> {
    pub(super) fn order(&mut self, order: Order) {
        if let Some(stream) = self.stream {
            self.later(self.now + self.scenario.ear_ms, Happening::ToEar { stream, order });
        }
    }

    pub(super) fn ear_says(&mut self, report: EarReport) {
        let stream = self.streams;
        self.later(self.now + self.scenario.ear_ms, Happening::FromEar { stream, report });
    }

    pub(super) fn ordered(&mut self, order: Order) {
        match order {
            Order::Media { delta, bytes } => {
                self.ear.queue.push_back(Queued::Audio { delta, bytes });
                if self.ear.frame.is_none() {
                    self.ear.frame = Some(Frame { began_at: self.now, ..Frame::default() });
                    let wait = (self.scenario.frame_phase + FRAME_MS - self.now % FRAME_MS) % FRAME_MS;
                    self.later(self.now + wait, Happening::Frame { stream: self.streams });
                }
            }
            Order::Mark(mark) if self.ear.frame.is_none() => self.ear_says(EarReport::Played(mark)),
            Order::Mark(mark) => self.ear.queue.push_back(Queued::Mark(mark)),
            Order::Clear => {
                let frame = self.settle_frame();
                let queue = std::mem::take(&mut self.ear.queue);
                let waiting = queue.into_iter().filter_map(|queued| match queued {
                    Queued::Mark(mark) => Some(mark),
                    Queued::Audio { .. } => None,
                });
                for mark in frame.marks.into_iter().chain(waiting).collect::<Vec<_>>() {
                    self.ear_says(EarReport::Played(mark));
                }
                self.streams_restart();
            }
            Order::Close => self.hang_up(),
        }
    }

    /// After a clear the frames begin anew with the next audio; the ones under way are of no concern.
    pub(super) fn streams_restart(&mut self) {
        self.agenda.retain(|_, happening| !matches!(happening, Happening::Frame { .. }));
    }

    pub(super) fn hang_up(&mut self) {
        self.settle_frame();
        self.streams_restart();
        self.ear = Ear::default();
    }

    /// What was heard of the frame that is being played.
    pub(super) fn settle_frame(&mut self) -> Frame {
        let frame = self.ear.frame.take().unwrap_or_default();
        let mut heard = ((self.now - frame.began_at) * 8) as u32;
        for (delta, bytes) in &frame.pieces {
            let part = heard.min(*bytes);
            heard -= part;
            if let Some(delta) = *delta {
                self.service.items[self.service.deltas[delta].item].heard_bytes += part;
            }
        }
        frame
    }

    /// Twenty milliseconds have been played, the next begin.
    pub(super) fn frame(&mut self) {
        for mark in self.settle_frame().marks {
            self.ear_says(EarReport::Played(mark));
        }
        let mut frame = Frame { began_at: self.now, ..Frame::default() };
        let mut room = FRAME_BYTES;
        while let Some(queued) = self.ear.queue.pop_front() {
            match queued {
                Queued::Mark(mark) if frame.pieces.is_empty() => self.ear_says(EarReport::Played(mark)),
                Queued::Mark(mark) => frame.marks.push(mark),
                Queued::Audio { delta, bytes } if room == 0 => {
                    self.ear.queue.push_front(Queued::Audio { delta, bytes });
                    break;
                }
                Queued::Audio { delta, bytes } => {
                    let part = bytes.min(room);
                    room -= part;
                    frame.pieces.push((delta, part));
                    if part < bytes {
                        self.ear.queue.push_front(Queued::Audio { delta, bytes: bytes - part });
                    }
                }
            }
        }
        if !frame.pieces.is_empty() {
            self.ear.frame = Some(frame);
            self.later(self.now + FRAME_MS, Happening::Frame { stream: self.streams });
        }
    }

    /// The conversation has cut a response because too much audio waits to be heard; this piece is none of a
    /// turn then.
    pub(super) fn cut(&mut self, delta: usize, begins: bool, is_played: bool, waiting_ms: u64) {
        let bytes = self.service.deltas[delta].bytes;
        // It learns what was heard by the mark behind each piece, and after the way back.
        let longest = self.service.deltas.iter().map(|delta| delta.bytes).max().unwrap_or_default();
        let unknown_ms = u64::from(longest / 8) + 500 + 2 * self.scenario.ear_ms;
        let known_ms = waiting_ms + u64::from(bytes / 8) + unknown_ms;
        if is_played || known_ms < UNHEARD_MS {
            let what = format!("piece {delta} is cut at {waiting_ms} ms, played {is_played}");
            self.fault(Property::Playing, what);
        }
        if begins {
            self.turns.remove(&self.last_ordinal);
            self.last_ordinal -= 1;
        }
    }

    /// Audio that the ear has not heard, as the ear and the way to it know it.
    pub(super) fn waiting_ms(&self) -> u64 {
        let queued = self.ear.queue.iter().map(|queued| match queued {
            Queued::Audio { bytes, .. } => *bytes,
            Queued::Mark(_) => 0,
        });
        let on_the_way = self.agenda.values().map(|happening| match happening {
            Happening::ToEar { stream, order: Order::Media { bytes, .. } }
                if Some(*stream) == self.stream =>
            {
                *bytes
            }
            _ => 0,
        });
        u64::from(queued.chain(on_the_way).sum::<u32>() / 8)
    }
}
