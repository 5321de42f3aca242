//! The recorder's thread: text, compression and disk.
//!
//! What is written can be read up to the last flush, which comes every [`FLUSH_EVERY`], so that the
//! recordings of a process that is killed end a moment before its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use call_control::recorder::{self, End, Header, Note};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::folder::Folder;
use super::{QUEUE_FULL, RecorderMetrics};
use crate::call::Millis;
use crate::supervise::caught;

/// A flush compresses worse and asks the disk, for each call.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// The text of one recording; a call of an hour takes a tenth of it.
const LARGEST_BYTES: usize = 64 << 20;
const TOO_LARGE: &str = "it reached its limit of 64 MiB";
const PROCESS_ENDED: &str = "the process ended before the call did";

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Begin {
        call: u64,
        header: Box<Header>,
        /// Gone with the call's actor.
        alive: Weak<()>,
    },
    Notes {
        call: u64,
        notes: Vec<Note>,
        bytes: usize,
    },
    End {
        call: u64,
        at: Millis,
        end: End,
    },
    Close {
        answer: SyncSender<()>,
    },
}

/// See the module.
pub(super) struct Writer {
    folder: Folder,
    metrics: RecorderMetrics,
    /// In the queue.
    queued: Arc<AtomicUsize>,
    files: HashMap<u64, Recording>,
    /// The text that is being written.
    text: String,
    pruned_at: Option<Instant>,
}

/// One recording under way.
struct Recording {
    path: PathBuf,
    call_sid: String,
    lines: recorder::Writer,
    file: GzEncoder<File>,
    written: usize,
    /// Something was written since the last flush.
    is_dirty: bool,
    alive: Weak<()>,
    /// At the last flush nobody had the call any more, and its end may be in the queue.
    is_orphan: bool,
    at: Millis,
}

impl Writer {
    pub(super) fn new(folder: Folder, metrics: RecorderMetrics, queued: Arc<AtomicUsize>) -> Self {
        Self { folder, metrics, queued, files: HashMap::new(), text: String::new(), pruned_at: None }
    }

    /// Runs until all handles are gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut flush_at = Instant::now() + FLUSH_EVERY;
        self.prune();
        loop {
            match messages.recv_timeout(flush_at.saturating_duration_since(Instant::now())) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= flush_at {
                self.flush();
                self.prune();
                flush_at = Instant::now() + FLUSH_EVERY;
            }
        }
        self.end_all();
    }

    fn handle(&mut self, message: Message) {
        let call = match &message {
            Message::Begin { call, .. } | Message::Notes { call, .. } | Message::End { call, .. } => *call,
            Message::Close { answer } => {
                self.end_all();
                let _ = answer.send(()); // or nobody waits any more
                return;
            }
        };
        if let Message::Notes { bytes, .. } = &message {
            self.queued.fetch_sub(*bytes, Ordering::Relaxed);
        }
        let done = caught(|| match message {
            Message::Begin { header, alive, .. } => self.begin(call, &header, alive),
            Message::Notes { notes, .. } => self.write(call, &notes),
            Message::End { at, end, .. } => self.end(call, at, &end),
            Message::Close { .. } => Ok(()),
        });
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(call, &error.to_string()),
            Err(panic) => self.fail(call, &panic),
        }
    }

    fn begin(&mut self, call: u64, header: &Header, alive: Weak<()>) -> io::Result<()> {
        let (path, file) = self.folder.create(header).inspect_err(|error| {
            self.metrics.ended.with_label_values(&["incomplete"]).inc();
            tracing::warn!(call.sid = %header.call_sid, %error, "a call cannot be recorded");
        })?;
        self.text.clear();
        let lines = recorder::Writer::begin(header, &mut self.text);
        let recording = Recording {
            path,
            call_sid: header.call_sid.clone(),
            lines,
            file: GzEncoder::new(file, Compression::fast()),
            written: 0,
            is_dirty: false,
            alive,
            is_orphan: false,
            at: header.began_at,
        };
        self.files.entry(call).insert_entry(recording).get_mut().append(&self.text)
    }

    fn write(&mut self, call: u64, notes: &[Note]) -> io::Result<()> {
        let Some(recording) = self.files.get_mut(&call) else { return Ok(()) };
        self.text.clear();
        recording.lines.write(notes, &mut self.text);
        for note in notes {
            if let Note::Taken { at, .. } | Note::Lost { at, .. } = note {
                recording.at = *at;
            }
        }
        recording.append(&self.text)?;
        if recording.written > LARGEST_BYTES {
            let at = recording.at;
            return self.end(call, at, &End::Incomplete(TOO_LARGE.to_owned()));
        }
        Ok(())
    }

    fn end(&mut self, call: u64, at: Millis, end: &End) -> io::Result<()> {
        let Some(mut recording) = self.files.remove(&call) else { return Ok(()) };
        let label = if *end == End::Complete { "complete" } else { "incomplete" };
        self.text.clear();
        recording.lines.end(at, end, &mut self.text);
        let finished =
            recording.file.write_all(self.text.as_bytes()).and_then(|()| recording.file.finish().map(drop));
        let label = if finished.is_ok() { label } else { "incomplete" };
        self.metrics.ended.with_label_values(&[label]).inc();
        finished
    }

    /// Nothing more is written of this call.
    fn fail(&mut self, call: u64, cause: &str) {
        let Some(recording) = self.files.remove(&call) else { return };
        self.metrics.ended.with_label_values(&["incomplete"]).inc();
        tracing::warn!(call.sid = %recording.call_sid, cause, "the recording of a call has stopped");
    }

    fn end_all(&mut self) {
        let calls: Vec<_> = self.files.iter().map(|(call, recording)| (*call, recording.at)).collect();
        for (call, at) in calls {
            self.end_now(call, at, PROCESS_ENDED);
        }
    }

    fn end_now(&mut self, call: u64, at: Millis, why: &str) {
        if let Err(error) = self.end(call, at, &End::Incomplete(why.to_owned())) {
            tracing::warn!(%error, "a recording was not ended");
        }
    }

    /// Makes what was written so far readable, and ends the recordings whose call could not say so.
    fn flush(&mut self) {
        let (mut failed, mut left) = (Vec::new(), Vec::new());
        for (call, recording) in &mut self.files {
            let is_orphan = recording.alive.strong_count() == 0;
            if is_orphan && recording.is_orphan {
                left.push((*call, recording.at));
            }
            recording.is_orphan = is_orphan;
            if std::mem::take(&mut recording.is_dirty)
                && let Err(error) = recording.file.flush()
            {
                failed.push((*call, error.to_string()));
            }
        }
        failed.into_iter().for_each(|(call, cause)| self.fail(call, &cause));
        left.into_iter().for_each(|(call, at)| self.end_now(call, at, QUEUE_FULL));
    }

    fn prune(&mut self) {
        if self.pruned_at.is_some_and(|at| at.elapsed() < PRUNE_EVERY) {
            return;
        }
        self.pruned_at = Some(Instant::now());
        let written = self.files.values().map(|recording| Path::new(&recording.path)).collect();
        match self.folder.prune(&written, SystemTime::now()) {
            Ok(bytes) => self.metrics.folder_bytes.set(bytes.cast_signed()),
            Err(error) => tracing::warn!(%error, "old recordings cannot be deleted"),
        }
    }
}

impl Recording {
    fn append(&mut self, text: &str) -> io::Result<()> {
        self.written += text.len();
        self.is_dirty = true;
        self.file.write_all(text.as_bytes())
    }
}
