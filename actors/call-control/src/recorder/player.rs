//! Takes a recording again: the same inputs at the same times, and whether the same comes of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::lines::{self, Place};
use super::{BadRecording, End, FORMAT, Header, Note};
use crate::Millis;
use crate::conversation::kept::Kept;
use crate::conversation::{Conversation, Effect};
use crate::machine::Replay as _;

/// A conversation that takes the inputs of a recording.
#[derive(Debug)]
pub struct Player {
    header: Header,
    /// None until it begins, and after a panic.
    conversation: Option<Conversation>,
    effects: Vec<Effect>,
    /// Since the recording began.
    at: Millis,
    place: Place,
    /// Of the line that was read last.
    number: u64,
    end: Option<End>,
}

/// What a line led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Played<'l> {
    Step(Step<'l>),
    /// The last line.
    End(End),
}

/// An input that was taken again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'l> {
    /// Of its line in the recording.
    pub number: u64,
    /// Milliseconds since the recording began.
    pub at: Millis,
    pub input: &'l str,
    /// The effects that were recorded, as they were written.
    pub recorded: Vec<&'l str>,
    /// The effects that come of it now, written in the same way.
    pub now: Vec<String>,
    /// The call went on without this input; it was tried apart.
    pub is_lost: bool,
    /// What a panic said that the input led to now.
    pub panic: Option<String>,
}

impl Step<'_> {
    /// Nothing else comes of the input than was recorded. An input that was lost in a panic is the same
    /// when it does not panic any more.
    pub fn is_same(&self) -> bool {
        self.panic.is_none() && (self.is_lost || self.recorded == self.now)
    }
}

impl Player {
    /// Reads the first line.
    ///
    /// # Errors
    /// It is no header, or one of a format that this program does not know.
    pub fn open(first_line: &str) -> Result<Self, BadRecording> {
        let foreign = |error: serde_json::Error| BadRecording::Foreign(error.to_string());
        let value: serde_json::Value = serde_json::from_str(first_line).map_err(foreign)?;
        match value["switchboard_recording"].as_u64().and_then(|format| u32::try_from(format).ok()) {
            Some(found) if found > FORMAT => return Err(BadRecording::Newer { found }),
            Some(_) => {}
            None => return Err(BadRecording::Foreign("it has no `switchboard_recording`".to_owned())),
        }
        let header: Header = serde_json::from_value(value).map_err(foreign)?;
        let (effects, place) = (Vec::new(), Place::default());
        Ok(Self { header, conversation: None, effects, at: 0, place, number: 1, end: None })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How long the call has lasted until the last line.
    pub fn lasted(&self) -> Millis {
        self.at
    }

    /// How the recording ends, once its last line was taken; none if it was cut off.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Takes the next line, without its line break.
    ///
    /// # Errors
    /// The line is none of a recording.
    pub fn take<'l>(&mut self, line: &'l str) -> Result<Played<'l>, BadRecording> {
        self.number += 1;
        let number = self.number;
        self.read(line).map_err(|what| BadRecording::Line { number, what })
    }

    fn read<'l>(&mut self, line: &'l str) -> Result<Played<'l>, String> {
        if self.end.is_some() {
            return Err("nothing follows the end of a recording".to_owned());
        }
        let mut fields = line.split('\t');
        let passed = fields.next().unwrap_or_default();
        let passed: Millis = passed
            .parse()
            .map_err(|_| format!("`{passed}` is no time: expected the milliseconds since the line before"))?;
        let input = fields.next().ok_or("an input is missing: expected a tab behind the time")?;
        self.at = self.at.checked_add(passed).ok_or("the time is too long")?;
        if let Some(end) = input.strip_prefix(lines::END).and_then(|rest| rest.strip_prefix(' ')) {
            let end = match end.strip_prefix(lines::INCOMPLETE) {
                Some(why) => End::Incomplete(why.to_owned()),
                None if end == lines::COMPLETE => End::Complete,
                None => return Err(format!("`{end}` is no end of a recording")),
            };
            self.end = Some(end.clone());
            return Ok(Played::End(end));
        }
        self.step(input, fields.collect()).map(Played::Step)
    }

    fn step<'l>(&mut self, input: &'l str, recorded: Vec<&'l str>) -> Result<Step<'l>, String> {
        let now = self.header.began_at.checked_add(self.at).ok_or("the time is too long")?;
        self.effects.clear();
        let is_lost = input.starts_with('!');
        let panic = if input == lines::BEGIN {
            self.begin(now);
            None
        } else {
            let kept = lines::read_input(input.trim_start_matches('!'), &mut self.place)?;
            self.input(&kept, is_lost, now)?
        };
        let now = self.effects.drain(..).map(|effect| written(&effect, &self.header)).collect();
        let (number, at) = (self.number, self.at);
        Ok(Step { number, at, input, recorded, now, is_lost, panic })
    }

    fn begin(&mut self, now: Millis) {
        let (rules, effects) = (self.header.rules.clone(), &mut self.effects);
        self.conversation = Some(match &self.header.past {
            Some(past) => Conversation::resume(rules, past, now, effects),
            None => Conversation::begin(rules, now, effects),
        });
    }

    /// Answers what a panic says. After one there is no conversation that could go on, unless the call
    /// went on without the input, too.
    fn input(&mut self, kept: &Kept, is_lost: bool, now: Millis) -> Result<Option<String>, String> {
        let mut conversation =
            self.conversation.take().ok_or("nothing can be taken before `begin`, or after a panic")?;
        let before = is_lost.then(|| conversation.clone());
        let taken = catch_unwind(AssertUnwindSafe(|| {
            conversation.step(&Conversation::kept(kept), now, &mut self.effects);
        }));
        self.conversation = match (before, &taken) {
            (Some(before), _) => Some(before),
            (None, Ok(())) => Some(conversation),
            (None, Err(_)) => None,
        };
        Ok(taken.err().map(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing").to_owned()
        }))
    }
}

/// An effect as a recording has it.
fn written(effect: &Effect, header: &Header) -> String {
    let mut out = String::new();
    match Note::of(effect) {
        Note::Played { bytes } => lines::write_played(bytes, &mut out),
        Note::Marked(mark) => lines::write_mark(mark, &mut out),
        _ => lines::write_effect(effect, header.mode, &mut out),
    }
    out
}
