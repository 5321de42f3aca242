use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::layer::SubscriberExt as _;

use super::buffer::{self, Buffer};
use super::repeats::{Repeats, Verdict, WINDOW};
use super::{FirstOfEachPlace, NOTES, WARNINGS};

const LONG: Duration = Duration::from_secs(20);

/// An output that takes something only when it is told to, as a pipe does.
struct Pipe {
    opened: Receiver<()>,
    written: Sender<Vec<u8>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.opened.recv();
        let _ = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stands_still_stops_no_writer_and_is_told_what_it_missed() {
    let buffer = Arc::new(Buffer::new(100));
    let (open, opened) = channel();
    let (written, lines) = channel();
    let (writer, drops) = (buffer.clone(), channel());
    thread::spawn(move || {
        let mut pipe = Pipe { opened, written };
        loop {
            let batch = writer.next(LONG);
            let _ = drops.0.send(batch.dropped);
            writer.written(buffer::write(&mut pipe, &batch.lines));
        }
    });
    assert!(buffer.push(b"first\n"));
    assert_eq!(drops.1.recv_timeout(LONG), Ok(0), "the writer waits for the pipe");
    let taken = (0..50).filter(|_| buffer.push(b"0123456789\n")).count();
    assert_eq!(taken, 9, "as many as there is room for");
    assert!(!buffer.flush(Duration::ZERO), "nothing is written yet");
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(drops.1.recv_timeout(LONG), Ok(41));
    assert!(buffer.flush(LONG), "everything is written");
    let all: Vec<u8> = lines.try_iter().flatten().collect();
    assert_eq!(String::from_utf8(all).unwrap(), format!("first\n{}", "0123456789\n".repeat(9)));
}

/// Answers one call after the other.
struct Moody(VecDeque<io::Result<usize>>);

impl Write for Moody {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.0.pop_front().expect("it is not asked so often")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_busy_output_is_tried_again_and_lines_that_it_refuses_are_counted() {
    use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock};
    let mut busy = Moody([Err(Interrupted.into()), Ok(2), Err(WouldBlock.into()), Ok(4)].into());
    assert_eq!(buffer::write(&mut busy, b"a\nb\nc\n"), 0);
    let mut closed = Moody([Ok(2), Err(BrokenPipe.into())].into());
    assert_eq!(buffer::write(&mut closed, b"a\nb\nc\n"), 2);
    let mut full = Moody([Ok(0)].into());
    assert_eq!(buffer::write(&mut full, b"a\nb\n"), 2);
}

#[test]
fn a_line_without_end_is_cut() {
    let buffer = Buffer::new(1 << 20);
    assert!(buffer.push(&vec![b'x'; 900 << 10]));
    let lines = buffer.next(LONG).lines;
    assert_eq!(lines.len(), (32 << 10) + " [cut]\n".len());
    assert!(lines.ends_with(b"x [cut]\n"));
}

#[test]
fn what_repeats_is_left_out_until_the_window_is_over_and_then_told_once() {
    let (lines, began) = (Repeats::new(), Instant::now());
    let counted =
        |place: &'static str, second: u64| lines.count(place, 2, began + Duration::from_secs(second));
    assert_eq!([0, 1].map(|second| counted("a", second)), [Verdict::Written; 2]);
    assert_eq!(counted("a", 2), Verdict::FirstLeftOut);
    lines.illustrate(&"a", "forged".to_owned());
    assert_eq!(counted("a", 3), Verdict::LeftOut);
    assert_eq!(counted("b", 3), Verdict::Written, "another place has its own limit");
    let at = |second: u64| began + Duration::from_secs(second);
    assert!(lines.overdue(at(11), false).is_empty(), "a window after the first line that was left out");
    assert_eq!([10, 11].map(|second| counted("a", second)), [Verdict::Written; 2]);
    assert_eq!(counted("a", 11), Verdict::LeftOut);
    let told = lines.overdue(at(2) + WINDOW, false);
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told.lines, &*told.example), (3, "forged"));
    assert!(lines.overdue(at(100), false).is_empty(), "it was told");
    assert_eq!(counted("a", 12), Verdict::FirstLeftOut);
    assert_eq!(lines.overdue(at(12), true).len(), 1, "at the end all is told");
}

#[test]
fn a_storm_of_warnings_leaves_a_bounded_log() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let layer = tracing_subscriber::fmt::layer().with_writer(Arc::new(log.reopen().unwrap()));
    let subscriber = tracing_subscriber::registry().with(FirstOfEachPlace(layer));
    tracing::subscriber::with_default(subscriber, || {
        (0..WARNINGS + 500).for_each(|_| tracing::warn!("a storm"));
        (0..NOTES + 500).for_each(|_| tracing::info!("a note"));
        tracing::warn!("something else");
    });
    let log = std::fs::read_to_string(log.path()).unwrap();
    let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!([count("a storm"), count("a note"), count("something else")], [100, 1_000, 1]);
}
