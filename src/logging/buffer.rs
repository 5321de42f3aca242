//! The lines on their way to standard error. A thread of its own writes them, so that no call waits for a
//! reader. The buffer has a size: a line that finds it full is dropped and counted. The log tells how many
//! were dropped as soon as it is written again.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A longer line is cut.
const LONGEST_LINE: usize = 32 << 10;
const CUT: &[u8] = b" [cut]\n";
/// How long the writer waits before it tries an output again that takes nothing now.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Lines that wait for the writer. With the batch that is being written they hold up to twice the size.
pub struct Buffer {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Not yet told in the log.
    dropped: u64,
}

/// What the writer does next.
pub struct Batch {
    pub lines: Vec<u8>,
    /// Lines that were dropped since the last batch.
    pub dropped: u64,
}

impl Buffer {
    pub const fn new(size: usize) -> Self {
        let state = State { waiting: Vec::new(), is_writing: false, dropped: 0 };
        Self { size, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a line, or drops it where there is no room; answers whether it was taken. It never waits for the
    /// output.
    pub fn push(&self, line: &[u8]) -> bool {
        let (line, end) = cut(line);
        let mut state = self.lock();
        if state.waiting.len() + line.len() + end.len() > self.size {
            state.dropped += 1;
            return false;
        }
        state.waiting.extend_from_slice(line);
        state.waiting.extend_from_slice(end);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Waits for lines, for at most so long; the batch may be empty. Ends with [`written`](Self::written).
    pub fn next(&self, patience: Duration) -> Batch {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, patience, |state| state.waiting.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        Batch { lines: std::mem::take(&mut state.waiting), dropped: std::mem::take(&mut state.dropped) }
    }

    /// The batch is written, but for so many lines, which are lost.
    pub fn written(&self, lost: u64) {
        let mut state = self.lock();
        state.is_writing = false;
        state.dropped += lost;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until everything is written, for at most so long; answers whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        let state = self.lock();
        let is_behind = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(state, deadline, is_behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line and what follows it.
fn cut(line: &[u8]) -> (&[u8], &[u8]) {
    if line.len() <= LONGEST_LINE { (line, b"") } else { (&line[..LONGEST_LINE], CUT) }
}

/// Writes all of it, however long that takes; answers how many lines the output refuses: they are lost.
pub fn write(output: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => break,
            Ok(count) => lines = &lines[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TRY_AGAIN_AFTER),
            Err(_) => break,
        }
    }
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Takes what `tracing` formats, a line at a time.
impl Write for &Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.push(line) {
            super::MISSING.full.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
