//! The flight recorder: writes what each conversation was told, and what it did about it, to a file of the
//! call.
//!
//! A call's actor notes its inputs in a [`Tape`], in plain data, and hands them over in batches. A thread
//! of its own turns them into text, compresses it and writes it ([`writer`]). The actor never waits for
//! it: the queue takes [`QUEUE`] batches and [`QUEUED_BYTES`] bytes of texts. A call that finds it full is
//! not recorded any further, and its recording says so at its end; so does one whose disk fails.
//!
//! [`Recorder::start`] starts the thread, and [`Recorder::close`] or the last handle ends it. A panic in
//! it ends the recording that it was writing; the others go on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use call_control::journal::Entry;
use call_control::machine::Replay as _;
pub use call_control::recorder::Mode;
use call_control::recorder::{End, FORMAT, Header, Note};
use prometheus::{IntCounterVec, IntGauge};

use self::folder::Folder;
use self::writer::{Message, Writer};
use super::conversation::kept::Kept;
use super::conversation::{Conversation, Effect, Rules};
use super::history::Past;
use super::{CallIdentity, Millis};
use crate::metrics::{MetricSet as _, Registrar};

mod folder;
pub mod replay;
mod writer;

const QUEUE: usize = 1_024;
const QUEUED_BYTES: usize = 16 << 20;
/// Notes of a batch. Each batch may wake the thread, which costs more than its text.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// What a rare effect is taken to hold.
const EFFECT_BYTES: usize = 512;
/// A batch that is not full waits so long for the next input.
const BATCH_MS: Millis = 4_000;
/// Between two tries to hand over the last message.
const CLOSE_POLL: Duration = Duration::from_millis(5);
const QUEUE_FULL: &str = "the queue of the recorder was full";

/// What the recorder is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSettings {
    /// What is recorded (`FLIGHT_RECORDER`).
    pub mode: Mode,
    /// Where to (`FLIGHT_RECORDER_DIR`).
    pub folder: PathBuf,
    /// What all recordings may take together (`FLIGHT_RECORDER_MAX_MB`).
    pub max_bytes: u64,
    /// How long each is kept (`FLIGHT_RECORDER_DAYS`).
    pub max_age: Duration,
}

crate::metrics! {
    /// The metrics of the recorder.
    pub(super) struct RecorderMetrics {
        /// Recordings of the flight recorder that ended, by result: `complete`, or `incomplete` because
        /// its queue was full, its disk failed, a recording reached its limit or the process ended.
        ended: IntCounterVec = "switchboard_flight_recordings_total" ["result" = &["complete", "incomplete"]];
        /// Bytes of all recordings in the folder of the flight recorder, as of its last look.
        folder_bytes: IntGauge = "switchboard_flight_recordings_bytes";
    }
}

/// The handle of the recorder. All calls share it.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mode: Mode,
    queue: SyncSender<Message>,
    /// In the queue.
    bytes: Arc<AtomicUsize>,
    calls: AtomicU64,
}

impl Recorder {
    /// Makes the folder, for us alone, and starts the thread.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or its metrics are registered already.
    pub fn start(settings: &RecorderSettings, registrar: &dyn Registrar) -> io::Result<Self> {
        let metrics = RecorderMetrics::register(registrar).map_err(io::Error::other)?;
        let folder = Folder::open(settings)?;
        let bytes = Arc::new(AtomicUsize::new(0));
        let (queue, messages) = sync_channel(QUEUE);
        let writer = Writer::new(folder, metrics, bytes.clone());
        thread::Builder::new().name("recorder".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Self(Arc::new(Shared { mode: settings.mode, queue, bytes, calls: AtomicU64::new(0) })))
    }

    /// Begins the recording of a call.
    pub(super) fn begin(
        &self,
        identity: &CallIdentity,
        rules: &Rules,
        past: Option<&Past>,
        began_at: Millis,
    ) -> Tape {
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.0.mode,
            call_sid: identity.call_sid.to_string(),
            began_at,
            rules: rules.clone(),
            past: past.cloned(),
        };
        let mut tape = Tape {
            recorder: self.clone(),
            call: self.0.calls.fetch_add(1, Ordering::Relaxed),
            notes: Vec::new(),
            bytes: 0,
            staged: None,
            sent_at: began_at,
            at: began_at,
            stopped: None,
            alive: Arc::new(()),
        };
        let alive = Arc::downgrade(&tape.alive);
        tape.send(Message::Begin { call: tape.call, header: Box::new(header), alive });
        tape
    }

    /// Waits until all that was noted so far is written, and ends the recordings that are under way. False if
    /// that takes longer than `within`. Blocks: for a program's end.
    pub fn close(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let (answer, answered) = sync_channel(1);
        loop {
            match self.0.queue.try_send(Message::Close { answer: answer.clone() }) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if Instant::now() >= until => return false,
                Err(TrySendError::Full(_)) => thread::sleep(CLOSE_POLL),
            }
        }
        drop(answer);
        let left = until.saturating_duration_since(Instant::now());
        !matches!(answered.recv_timeout(left), Err(RecvTimeoutError::Timeout))
    }
}

/// What one call notes. Its end is the end of the recording.
pub(super) struct Tape {
    recorder: Recorder,
    call: u64,
    notes: Vec<Note>,
    /// What the notes hold besides themselves.
    bytes: usize,
    /// The first note of the input that is being carried out.
    staged: Option<usize>,
    sent_at: Millis,
    /// Of the last note.
    at: Millis,
    /// Why nothing more is recorded.
    stopped: Option<&'static str>,
    /// For the writer to see when this ends.
    alive: Arc<()>,
}

impl Tape {
    /// Notes how the conversation begins.
    pub(super) fn begun(&mut self, effects: &[Effect]) {
        self.notes.push(Note::Begun);
        self.notes.extend(effects.iter().map(Note::of));
    }

    /// Notes an input and what is to be done about it; [`complete`](Self::complete) or [`lost`](Self::lost)
    /// follows.
    pub(super) fn taken(&mut self, Entry { now, input }: &Entry<Kept>, effects: &[Effect]) {
        if self.stopped.is_some() {
            return;
        }
        self.staged = Some(self.notes.len());
        self.at = *now;
        self.bytes += Conversation::heap_bytes(input);
        self.notes.push(Note::Taken { at: *now, input: input.clone() });
        for note in effects.iter().map(Note::of) {
            self.bytes += if matches!(note, Note::Done(_)) { EFFECT_BYTES } else { 0 };
            self.notes.push(note);
        }
    }

    /// The effects of the last input are carried out.
    pub(super) fn complete(&mut self) {
        let Some(first) = self.staged.take() else { return };
        let is_over = self.notes[first..]
            .iter()
            .any(|note| matches!(note, Note::Done(effect) if matches!(**effect, Effect::End { .. })));
        let is_full = self.notes.len() >= BATCH || self.bytes >= BATCH_BYTES;
        if is_full || is_over || self.at >= self.sent_at + BATCH_MS {
            self.flush();
        }
    }

    /// The call goes on without this input.
    pub(super) fn lost(&mut self, Entry { now, input }: &Entry<Kept>) {
        if self.stopped.is_some() {
            return;
        }
        if let Some(staged) = self.staged.take() {
            self.notes.truncate(staged);
        }
        self.at = *now;
        self.notes.push(Note::Lost { at: *now, input: input.clone() });
        self.flush();
    }

    fn flush(&mut self) {
        let (notes, bytes) = (std::mem::take(&mut self.notes), std::mem::take(&mut self.bytes));
        self.sent_at = self.at;
        if notes.is_empty() || self.stopped.is_some() {
            return;
        }
        let queued = &self.recorder.0.bytes;
        if queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUED_BYTES {
            queued.fetch_sub(bytes, Ordering::Relaxed);
            self.stopped = Some(QUEUE_FULL);
            return;
        }
        if !self.send(Message::Notes { call: self.call, notes, bytes }) {
            self.recorder.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn send(&mut self, message: Message) -> bool {
        let sent = self.recorder.0.queue.try_send(message);
        if sent.is_err() {
            self.stopped = Some(QUEUE_FULL);
        }
        sent.is_ok()
    }
}

impl Drop for Tape {
    /// The writer notices by itself if this finds its queue full.
    fn drop(&mut self) {
        self.staged = None;
        self.flush();
        let end = self.stopped.map_or(End::Complete, |why| End::Incomplete(why.to_owned()));
        self.send(Message::End { call: self.call, at: self.at, end });
    }
}

#[cfg(test)]
mod tests;
