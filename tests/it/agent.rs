//! The agent file: tried at the service, and read again while the program serves.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::postgres::TestDatabase;
use crate::support::world::{World, asks, is_answered};
use switchboard::sim::speech::CALLER;

/// A program with an agent file that says this.
struct House {
    world: World,
    app: TestApp,
    folder: tempfile::TempDir,
}

impl House {
    async fn with_agent(text: &str) -> Self {
        let world = World::around(&TestDatabase::create().await.url).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(&folder), text).unwrap();
        let setup = world.setup.clone().with("AGENT_FILE", path(&folder).to_str().unwrap());
        let app = setup.start_on(&world.listener);
        Self { world, app, folder }
    }

    /// The file appears whole.
    fn writes(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path(&self.folder)).unwrap();
    }

    fn path(&self) -> PathBuf {
        path(&self.folder)
    }

    async fn is_well(&self) {
        eventually("the agent is taken as it is", async || {
            let health = self.app.get("/healthz").await;
            health["status"] == "healthy" && health["warnings"] == json!(["api-auth-off"])
        })
        .await;
    }

    async fn warns(&self) {
        eventually("the file is not used", async || {
            let health = self.app.get("/healthz").await;
            health["warnings"].as_array().unwrap().contains(&"agent-file-not-used".into())
        })
        .await;
    }
}

fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("agent.toml")
}

fn place(path: &Path, line: u32) -> String {
    format!("{}:{line}", path.display())
}

#[actix_rt::test]
async fn a_voice_that_the_service_refuses_is_named_with_its_line_until_the_file_is_mended() {
    let house = House::with_agent("name = \"Ada\"\n\nvoice = \"nova\"\n").await;
    let mut health = Value::Null;
    eventually("the refusal is known", async || {
        health = house.app.get("/healthz").await;
        health["realtime"] == "failing"
    })
    .await;
    assert_eq!((&health["status"], &health["causes"]), (&"degraded".into(), &json!(["realtime-refused"])));
    let refusal = json!({"code": "invalid_value", "parameter": "session.audio.output.voice", "value": "nova",
        "setting": place(&house.path(), 3)});
    assert_eq!(health["realtimeRefusal"], refusal);

    house.writes("name = \"Ada\"\n\nvoice = \"cedar\"\n");
    house.is_well().await;
    let caller = house.world.network.ring().await.unwrap();
    is_answered(&caller).await;
    caller.hangs_up().await;
    assert_eq!(house.app.logged(caller.call_sid()).await["call"]["outcome"], "completed");
    house.app.empties().await;
}

/// What the session is told counts as input of each response, so the usage tells one persona from another.
async fn input_tokens(house: &House, caller: &switchboard::sim::phone::Caller) -> u64 {
    caller.hangs_up().await;
    let log = house.app.logged(caller.call_sid()).await;
    log["usage"]["tokens"]["input_token_details"]["text_tokens"].as_u64().unwrap_or_else(|| panic!("{log}"))
}

#[actix_rt::test]
async fn new_calls_have_the_agent_file_as_it_is_now_and_running_calls_keep_theirs() {
    let house = House::with_agent("instructions = \"Be kind.\"").await;
    house.is_well().await;
    let running = house.world.in_conversation(&[]).await;
    house.writes("voise = \"cedar\"");
    house.warns().await;
    let during = house.world.in_conversation(&[]).await;
    let long = "Be kind. ".repeat(4_000);
    house.writes(&format!("instructions = \"{long}\""));
    house.is_well().await;
    let after = house.world.in_conversation(&[]).await;
    asks(&running, &CALLER[0]).await;

    let is_long = |tokens| tokens > long.len() as u64 / 4;
    assert!(!is_long(input_tokens(&house, &running).await), "a call keeps its agent");
    assert!(!is_long(input_tokens(&house, &during).await), "a faulty file changes nothing");
    assert!(is_long(input_tokens(&house, &after).await), "a new call has the new agent");
    house.world.is_content();
    house.app.empties().await;
}

#[actix_rt::test]
async fn a_file_that_the_service_refuses_is_not_used_and_sighup_has_it_read_at_once() {
    let house = House::with_agent("voice = \"marin\"").await;
    house.is_well().await;
    house.writes("voice = \"nova\"");
    house.app.signal(Signal::HUP);
    house.warns().await;
    assert_eq!(house.app.get("/healthz").await["status"], "healthy", "calls are answered all the same");
    let caller = house.world.in_conversation(&[]).await;
    caller.hangs_up().await;
    house.writes("voice = \"marin\"");
    house.app.signal(Signal::HUP);
    house.is_well().await;
    house.app.empties().await;
}
