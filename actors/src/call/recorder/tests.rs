use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use call_control::journal::Journal;
use chrono::DateTime;
use tempfile::TempDir;

use super::replay::{ReplayError, replay};
use super::*;
use crate::call::conversation::kept::LIMITS;
use crate::call::conversation::{Conversation, Input};
use crate::wire::realtime::events::ServerEvent;

const WITHIN: Duration = Duration::from_secs(20);
const BEGAN_AT: Millis = 1_796_000_000_000;

fn settings(folder: &TempDir) -> RecorderSettings {
    RecorderSettings {
        mode: Mode::Full,
        folder: folder.path().join("a/recordings"),
        max_bytes: 1 << 20,
        max_age: Duration::from_secs(86_400),
    }
}

fn recorder(settings: &RecorderSettings) -> Recorder {
    Recorder::start(settings, &prometheus::Registry::new()).unwrap()
}

fn identity() -> CallIdentity {
    CallIdentity {
        call_sid: "CA00000000000000000000000000000001".parse().unwrap(),
        serial: 1,
        first_epoch: 1,
        started_at: DateTime::from_timestamp_millis(BEGAN_AT.cast_signed()).unwrap(),
    }
}

/// A call that is recorded.
struct Call {
    journal: Journal<Conversation>,
    tape: Tape,
    now: Millis,
    effects: Vec<Effect>,
}

impl Call {
    fn begin(recorder: &Recorder) -> Self {
        let (rules, mut effects) = (Rules { jitter_seed: 7, ..Rules::default() }, vec![]);
        let mut tape = recorder.begin(&identity(), &rules, None, BEGAN_AT);
        let conversation = Conversation::begin(rules, BEGAN_AT, &mut effects);
        tape.begun(&effects);
        Self { journal: Journal::new(conversation, LIMITS), tape, now: BEGAN_AT, effects: vec![] }
    }

    fn stages(&mut self, input: &Input<'_>) {
        self.now += 100;
        self.effects.clear();
        self.journal.step(input, self.now, &mut self.effects);
        self.tape.taken(self.journal.pending().unwrap(), &self.effects);
    }

    fn takes(&mut self, input: &Input<'_>) {
        self.stages(input);
        self.journal.complete();
        self.tape.complete();
    }

    fn loses(&mut self, input: &Input<'_>) {
        self.stages(input);
        self.tape.lost(self.journal.pending().unwrap());
        self.journal.restore();
    }

    fn is_answered(&mut self) {
        for event in [
            ServerEvent::SessionCreated,
            ServerEvent::SessionUpdated,
            ServerEvent::SpeechStarted,
            ServerEvent::Committed { item_id: "u1".into() },
            ServerEvent::TranscriptCompleted {
                item_id: "u1".into(),
                transcript: "I am Mary.".into(),
                usage: Default::default(),
                urgent: None,
            },
        ] {
            self.takes(&Input::Service(event));
        }
    }
}

fn files(settings: &RecorderSettings) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(&settings.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The number of inputs, those that differ, those that were lost, and the end.
fn played(path: &Path) -> Result<(u64, Vec<String>, u64, Option<End>), ReplayError> {
    let (mut inputs, mut different, mut lost) = (0, vec![], 0);
    let player = replay(path, |_, step| {
        inputs += 1;
        lost += u64::from(step.is_lost);
        different.extend((!step.is_same()).then(|| format!("{step:?}")));
        ControlFlow::Continue(())
    })?;
    Ok((inputs, different, lost, player.end().cloned()))
}

#[test]
fn a_call_is_recorded_to_a_file_for_us_alone_and_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let recorder = recorder(&settings);
    let mut call = Call::begin(&recorder);
    call.is_answered();
    call.loses(&Input::Digit('5'));
    call.takes(&Input::CallOver);
    drop(call);
    assert!(recorder.close(WITHIN));
    let files = files(&settings);
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["2026-11-30T00-53-20Z_CA00000000000000000000000000000001.recording.gz"]);
    assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&settings.folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(played(&files[0]).unwrap(), (8, vec![], 1, Some(End::Complete)));
}

#[test]
fn a_redacted_file_has_no_word_of_the_caller_and_is_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = RecorderSettings { mode: Mode::Redacted, ..settings(&folder) };
    let recorder = recorder(&settings);
    Call::begin(&recorder).is_answered();
    assert!(recorder.close(WITHIN));
    let file = &files(&settings)[0];
    let mut text = String::new();
    io::Read::read_to_string(&mut flate2::read::GzDecoder::new(fs::File::open(file).unwrap()), &mut text)
        .unwrap();
    assert!(!text.contains("Mary") && text.contains("x xx xxxx."), "{text}");
    assert_eq!(played(file).unwrap(), (6, vec![], 0, Some(End::Complete)));
}

#[test]
fn two_calls_at_once_have_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let recorder = recorder(&settings);
    let mut calls = [Call::begin(&recorder), Call::begin(&recorder)];
    calls.iter_mut().for_each(Call::is_answered);
    drop(calls);
    assert!(recorder.close(WITHIN));
    let ends: Vec<_> = files(&settings).iter().map(|file| played(file).unwrap()).collect();
    assert_eq!(ends, vec![(6, vec![], 0, Some(End::Complete)); 2]);
}

#[test]
fn the_recording_of_a_call_that_outlives_the_recorder_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let recorder = recorder(&settings);
    let mut call = Call::begin(&recorder);
    call.is_answered();
    call.now += BATCH_MS;
    call.takes(&Input::Tick);
    assert!(recorder.close(WITHIN));
    let (inputs, different, _, end) = played(&files(&settings)[0]).unwrap();
    assert_eq!((inputs, different), (7, vec![]));
    assert_eq!(end, Some(End::Incomplete("the process ended before the call did".into())));
}

#[test]
fn what_was_flushed_can_be_played_without_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let recorder = recorder(&settings);
    let mut call = Call::begin(&recorder);
    call.is_answered();
    call.now += BATCH_MS;
    call.takes(&Input::Tick);
    let file = &files_within(&settings)[0];
    let until = Instant::now() + WITHIN;
    while played(file).is_err() || played(file).unwrap().0 < 7 {
        assert!(Instant::now() < until, "{:?}", played(file));
        thread::yield_now();
    }
    assert_eq!(played(file).unwrap(), (7, vec![], 0, None), "as after a crash");
    drop(call);
    assert!(recorder.close(WITHIN));
    let whole = fs::read(file).unwrap();
    for cut in [20, whole.len() / 2, whole.len() - 9] {
        fs::write(file, &whole[..cut]).unwrap();
        match played(file) {
            Ok((_, different, ..)) => assert_eq!(different, vec![""; 0]),
            Err(error) => assert!(error.to_string().contains("no recording"), "{error}"),
        }
    }
}

/// The thread makes the file when it comes to it.
fn files_within(settings: &RecorderSettings) -> Vec<PathBuf> {
    let until = Instant::now() + WITHIN;
    loop {
        let files = files(settings);
        if !files.is_empty() {
            return files;
        }
        assert!(Instant::now() < until);
        thread::yield_now();
    }
}

/// A recorder whose thread does not come to anything.
fn stuck(queue: usize) -> (Recorder, Receiver<Message>) {
    let (queue, messages) = sync_channel(queue);
    let bytes = Arc::default();
    (Recorder(Arc::new(Shared { mode: Mode::Full, queue, bytes, calls: AtomicU64::new(0) })), messages)
}

#[test]
fn a_full_queue_stops_the_recording_and_never_the_call() {
    let (recorder, messages) = stuck(2);
    let mut call = Call::begin(&recorder);
    for _ in 0..10 * BATCH {
        call.takes(&Input::Pong);
    }
    assert!(call.tape.notes.is_empty(), "nothing more is kept");
    assert!(matches!(messages.recv(), Ok(Message::Begin { .. })));
    let Ok(Message::Notes { notes, .. }) = messages.recv() else { panic!("a batch") };
    assert!(notes.len() >= 10 && matches!(notes[0], Note::Begun));
    drop(call);
    let Ok(Message::End { end, .. }) = messages.recv() else { panic!("the end") };
    assert_eq!(end, End::Incomplete(QUEUE_FULL.to_owned()));
    assert!(!recorder.close(Duration::from_millis(1)), "a stuck thread is not waited for");
}

#[test]
fn texts_beyond_the_bound_of_the_queue_stop_the_recording() {
    let (recorder, messages) = stuck(QUEUE);
    let mut call = Call::begin(&recorder);
    let delta = "a".repeat(1 << 20);
    for _ in 0..20 {
        let (response_id, item_id, delta) = ("r".into(), "i".into(), delta.clone());
        call.takes(&Input::Service(ServerEvent::TranscriptDelta { response_id, item_id, delta }));
    }
    assert!(call.tape.notes.is_empty() && call.tape.stopped == Some(QUEUE_FULL));
    let queued = recorder.0.bytes.load(Ordering::Relaxed);
    assert!(queued <= QUEUED_BYTES && queued > QUEUED_BYTES / 2, "{queued}");
    drop((call, messages));
}

#[test]
fn old_recordings_are_deleted_and_the_oldest_ones_until_the_rest_fits() {
    let folder = tempfile::tempdir().unwrap();
    let settings = RecorderSettings { max_bytes: 2_500, ..settings(&folder) };
    let opened = Folder::open(&settings).unwrap();
    let now = SystemTime::now();
    let file = |name: &str, hours: u64| {
        let path = settings.folder.join(name);
        fs::write(&path, [0; 1_000]).unwrap();
        let modified = now - Duration::from_secs(hours * 3_600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        path
    };
    let old = file("a.recording.gz", 30);
    let open = file("b.recording.gz", 29);
    let large = file("c.recording.gz", 5);
    let kept = [file("d.recording.gz", 4), file("other.txt", 99), open.clone()];
    let left = opened.prune(&BTreeSet::from([&*open]), now).unwrap();
    assert_eq!(left, 2_000);
    assert!(!old.exists() && !large.exists() && kept.iter().all(|path| path.exists()));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let settings = RecorderSettings { folder: file.join("recordings"), ..settings(&folder) };
    assert!(Recorder::start(&settings, &prometheus::Registry::new()).is_err());
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for (bytes, expected) in [
        (&b""[..], "no recording of a call"),
        (b"hello\n", "no recording of a call"),
        (b"\xFF\xFE\n", "neither text nor compressed"),
        (b"\x1F\x8B nonsense", "cannot be read"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = played(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(played(&folder.path().join("missing")), Err(ReplayError::Read(_))));
}
