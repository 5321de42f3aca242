//! The flight recorder: the calls of a real process, recorded to files and replayed by `switchboard replay`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use switchboard::sim::phone::{self, AfterDrop, Caller};
use switchboard::sim::realtime;
use switchboard::sim::speech::{AGENT, CALLER, Clip};
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::postgres::TestDatabase;
use crate::support::world::{World, asks, is_answered, streams_are, turns_are_written};
use crate::support::{DEADLINE, eventually};

/// A program that records, and where.
struct House {
    world: World,
    _database: TestDatabase,
    folder: TempDir,
}

impl House {
    async fn open(mode: &str) -> Self {
        let database = TestDatabase::create().await;
        let phone = phone::Options { after_drop: AfterDrop::Action, ..phone::Options::default() };
        let mut world = World::with(&database.url, phone, realtime::Options::default()).await;
        let folder = tempfile::tempdir().unwrap();
        world.setup = world
            .setup
            .with("FLIGHT_RECORDER", mode)
            .with("FLIGHT_RECORDER_DIR", folder.path().join("recordings").to_str().unwrap());
        Self { world, _database: database, folder }
    }

    /// The recordings of this call, the first one first.
    fn recordings(&self, caller: &Caller) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path().join("recordings")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.to_str().unwrap().contains(caller.call_sid()));
        files.sort();
        files
    }
}

/// The agent is interrupted in the middle of an answer.
async fn interrupts(caller: &Caller, question: &Clip, interruption: &Clip) {
    caller.say(question).await.unwrap();
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.listens_for(Duration::from_secs(1)).await.unwrap();
    caller.interrupts_with(interruption).await.unwrap().expect("the agent was speaking");
    is_answered(caller).await;
}

async fn recordings_have_ended(app: &TestApp, count: f64) {
    eventually("the recordings have ended", async || {
        app.metric(r#"switchboard_flight_recordings_total{result="complete"}"#).await == count
    })
    .await;
}

fn replay(path: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.arg("replay").arg(path).args(flags).output().unwrap()
}

/// What `--json` says of a recording of which the same comes.
fn is_the_same(path: &Path) -> Value {
    let Output { status, stdout, stderr } = replay(path, &["--json"]);
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(0), "{}: {said}", path.display());
    let told: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(told["result"], "same", "{said}");
    told
}

fn text(path: &Path) -> String {
    let (mut text, file) = (String::new(), File::open(path).unwrap());
    // Of a process that was killed, there is a part.
    let _ = GzDecoder::new(file).read_to_string(&mut text);
    text
}

#[actix_rt::test]
async fn two_calls_with_an_interruption_and_a_panic_are_recorded_and_replayed() {
    let house = House::open("full").await;
    let app = house.world.start();
    let callers = [house.world.in_conversation(&[]).await, house.world.in_conversation(&[&CALLER[2]]).await];
    for caller in &callers {
        interrupts(caller, &CALLER[0], &CALLER[1]).await;
    }
    let panics = format!("call-{}-Digit", callers[0].call_sid());
    app.panics_at(&panics, async { callers[0].presses('5') }).await;
    callers[1].presses('5');
    for caller in &callers {
        asks(caller, &CALLER[3]).await;
        caller.hangs_up().await;
    }
    recordings_have_ended(&app, 2.0).await;
    for (caller, panics) in callers.iter().zip([1, 0]) {
        let files = house.recordings(caller);
        let [file] = &files[..] else { panic!("{files:?}") };
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let told = is_the_same(file);
        assert_eq!((&told["incomplete"], &told["mode"]), (&Value::Null, &"full".into()), "{told}");
        assert_eq!(told["lostInputs"], panics, "the call went on in the same recording");
        assert!(told["inputs"].as_u64() > Some(50), "{told}");
        let shown = replay(file, &["--inputs"]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        for part in ["> clear", "> ask {\"truncate\":", "< sound ", CALLER[0].text, "same: "] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        is_found_to_differ(file, house.folder.path());
    }
    house.world.is_content();
    app.empties().await;
}

/// The same file, with another effect in it.
fn is_found_to_differ(file: &Path, folder: &Path) {
    let altered = text(file).replacen("\tclear", "\tping", 1);
    let path = folder.join("altered.gz");
    let mut compressed = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    compressed.write_all(altered.as_bytes()).and_then(|()| compressed.finish().map(drop)).unwrap();
    let Output { status, stdout, .. } = replay(&path, &["--check"]);
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("different: line ") && said.contains("speech-started"), "{said}");
    let (recorded, now) = said.split_once("\n  now").unwrap();
    assert!(recorded.contains("ping") && now.contains("clear"), "{said}");
}

#[actix_rt::test]
async fn a_killed_process_leaves_a_recording_and_the_next_one_makes_its_own_without_a_word() {
    let house = House::open("redacted").await;
    let app = house.world.start();
    let caller = house.world.in_conversation(&[&CALLER[0]]).await;
    turns_are_written(&app, &caller, 3).await;
    eventually("the first words are on the disk", async || {
        text(&house.recordings(&caller)[0]).contains("transcript-completed")
    })
    .await;
    app.kill();
    let app = house.world.start();
    streams_are(&caller, 2).await;
    is_answered(&caller).await;
    asks(&caller, &CALLER[1]).await;
    caller.hangs_up().await;
    recordings_have_ended(&app, 1.0).await;

    let files = house.recordings(&caller);
    let [cut, whole] = &files[..] else { panic!("{files:?}") };
    assert_eq!(is_the_same(cut)["incomplete"], "it was cut off");
    assert_eq!(is_the_same(whole)["incomplete"], Value::Null);
    assert!(text(whole).contains(r#""past":{"#), "the second one begins with what was said before");
    for file in &files {
        for clip in AGENT.iter().chain(CALLER.iter()) {
            let word = clip.text.split(' ').max_by_key(|word| word.len()).unwrap();
            assert!(word.len() < 6 || !text(file).contains(word), "{word} in {}", text(file));
        }
    }
    house.world.is_content();
    app.empties().await;
}

#[test]
fn what_is_no_recording_is_refused_with_status_64() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    fs::write(&path, "name = \"Ann\"\n").unwrap();
    let missing = folder.path().join("missing");
    for (path, expected) in [(&path, "this is no recording of a call"), (&missing, "it cannot be read")] {
        let Output { status, stderr, .. } = replay(path, &[]);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64), "{said}");
        assert!(said.contains(expected) && said.contains(path.to_str().unwrap()), "{said}");
    }
}
