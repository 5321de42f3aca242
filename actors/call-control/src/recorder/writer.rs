//! Writes a recording, line by line.

use std::fmt::Write as _;

use super::lines::{self, Place};
use super::{End, Header, Mode, Note, redact};
use crate::Millis;
use crate::conversation::kept::Kept;

/// See the module above. What it writes is appended to a text of the caller's.
#[derive(Debug)]
pub struct Writer {
    mode: Mode,
    /// Of the last line.
    at: Millis,
    place: Place,
    /// A line has begun.
    is_open: bool,
}

impl Writer {
    /// Writes the header.
    pub fn begin(header: &Header, out: &mut String) -> Self {
        let mut header = header.clone();
        if header.mode == Mode::Redacted {
            let said = header.past.iter_mut().flat_map(|past| &mut past.said);
            said.for_each(|said| said.text = redact::text(&said.text));
        }
        let line = serde_json::to_string(&header).expect("its keys are texts");
        let _ = writeln!(out, "{line}");
        Self { mode: header.mode, at: header.began_at, place: Place::default(), is_open: false }
    }

    /// Writes whole inputs with their effects.
    pub fn write(&mut self, notes: &[Note], out: &mut String) {
        notes.iter().for_each(|note| self.note(note, out));
        self.close(out);
    }

    fn note(&mut self, note: &Note, out: &mut String) {
        match note {
            Note::Begun => {
                self.line(self.at, out);
                out.push_str(lines::BEGIN);
            }
            Note::Taken { at, input } => {
                self.line(*at, out);
                self.input(input, out);
            }
            Note::Lost { at, input } => {
                self.line(*at, out);
                out.push('!');
                self.input(input, out);
            }
            Note::Played { bytes } => {
                out.push('\t');
                lines::write_played(*bytes, out);
            }
            Note::Marked(mark) => {
                out.push('\t');
                lines::write_mark(*mark, out);
            }
            Note::Done(effect) => {
                out.push('\t');
                lines::write_effect(effect, self.mode, out);
            }
        }
    }

    /// Writes the last line.
    pub fn end(mut self, at: Millis, end: &End, out: &mut String) {
        self.line(at, out);
        let _ = match end {
            End::Complete => write!(out, "{} {}", lines::END, lines::COMPLETE),
            End::Incomplete(why) => write!(out, "{} {}{why}", lines::END, lines::INCOMPLETE),
        };
        self.close(out);
    }

    fn input(&mut self, input: &Kept, out: &mut String) {
        lines::write_input(input, self.mode, &mut self.place, out);
    }

    fn line(&mut self, at: Millis, out: &mut String) {
        self.close(out);
        lines::write_digits(at.saturating_sub(self.at), out);
        out.push('\t');
        self.at = self.at.max(at);
        self.is_open = true;
    }

    fn close(&mut self, out: &mut String) {
        if std::mem::take(&mut self.is_open) {
            out.push('\n');
        }
    }
}
