//! Everything around the program, which outlives it: the telephone network with its REST API, the Realtime
//! service, and the socket that it listens on.

use std::net::TcpListener;
use std::time::Duration;

use actors::secret::Secret;
use serde_json::Value;
use switchboard::sim::phone::{self, Caller, Event, Heard, Network};
use switchboard::sim::realtime::{self, Server};
use switchboard::sim::report::SessionReport;
use switchboard::sim::speech::{AGENT, Clip};

use super::app::{AUTH_TOKEN, Setup, TestApp};
use super::{DEADLINE, eventually, free_address};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// What Twilio sends at a time.
const FRAME_MS: u128 = 20;

/// See the module.
pub struct World {
    pub listener: TcpListener,
    pub setup: Setup,
    pub network: Network,
    pub realtime: Server,
}

impl World {
    /// Around a program with this database.
    pub async fn around(database_url: &str) -> Self {
        Self::with(database_url, phone::Options::default(), realtime::Options::default()).await
    }

    /// With peers of this kind; their addresses, the token and the REST API of the network are given.
    pub async fn with(database_url: &str, phone: phone::Options, realtime: realtime::Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        Self::on(listener, database_url, phone::Options { url, ..phone }, realtime).await
    }

    /// Around processes that Twilio reaches at this origin.
    pub async fn behind(origin: &str, database_url: &str) -> Self {
        let phone = phone::Options { url: origin.parse().unwrap(), ..phone::Options::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let world = Self::on(listener, database_url, phone, realtime::Options::default()).await;
        Self { setup: world.setup.with("PUBLIC_URL", origin), ..world }
    }

    async fn on(
        listener: TcpListener,
        database_url: &str,
        phone: phone::Options,
        realtime: realtime::Options,
    ) -> Self {
        let options = phone::Options {
            auth_token: Some(Secret::new(AUTH_TOKEN.to_owned())),
            api_listen: Some("127.0.0.1:0".parse().unwrap()),
            quiet: true,
            ..phone
        };
        let network = Network::start(options).unwrap();
        let realtime = realtime::Options { listen: free_address(), ..realtime };
        let realtime = realtime::start(realtime).await.unwrap();
        let setup = Setup::new(database_url, &format!("http://{}", realtime.addr()))
            .with("TWILIO_ACCOUNT_SID", ACCOUNT)
            .with("TWILIO_API_BASE_URL", &format!("http://{}", network.api_addr().unwrap()));
        Self { listener, setup, network, realtime }
    }

    /// Starts the program on the socket that stays ours.
    pub fn start(&self) -> TestApp {
        self.setup.clone().start_on(&self.listener)
    }

    /// A caller who has been greeted and has had the answers to these questions.
    pub async fn in_conversation(&self, questions: &[&Clip]) -> Caller {
        let caller = self.network.ring().await.unwrap();
        is_answered(&caller).await;
        for question in questions {
            asks(&caller, question).await;
        }
        caller
    }

    /// What any session was told that carried this caller last.
    pub fn last_session_of(&self, caller: &Caller) -> SessionReport {
        let sessions = self.realtime.report().sessions.into_iter().rev();
        let mut of_caller = sessions.filter(|session| session.callers.contains(&caller.number()));
        of_caller.next().expect("a session of the caller")
    }

    /// Waits until the service has heard so much more of the caller, silence included.
    pub async fn hears_more_of(&self, caller: &Caller, length: Duration) {
        let frames = || self.last_session_of(caller).arrivals.len();
        let enough = frames() + (length.as_millis() / FRAME_MS) as usize;
        eventually("the service hears the caller", async || frames() >= enough).await;
    }

    /// The peers had nothing to complain of.
    pub fn is_content(&self) {
        assert_eq!(self.network.violations().1, []);
        assert_eq!(self.realtime.report().violations, []);
    }
}

/// The agent is heard to its end.
pub async fn is_answered(caller: &Caller) {
    caller.hears_agent_within(DEADLINE).await.unwrap();
    caller.waits_until_silent().await.unwrap();
}

/// Waits until the call's media stream has been opened so often.
pub async fn streams_are(caller: &Caller, count: usize) {
    eventually("the stream is open again", async || {
        let started = |(_, event): &&(_, Event)| *event == Event::StreamStarted;
        caller.events().iter().filter(started).count() == count
    })
    .await;
}

/// One question and its answer.
pub async fn asks(caller: &Caller, question: &Clip) {
    caller.say(question).await.unwrap();
    is_answered(caller).await;
}

/// How often the caller was greeted.
pub fn greetings(caller: &Caller) -> usize {
    let greeting = |heard: &&Heard| matches!(heard, Heard::Agent { clip, .. } if *clip == AGENT[0].id);
    caller.heard().iter().filter(greeting).count()
}

/// The turns of a call's log: ordinal and text.
pub fn turns(log: &Value) -> Vec<(u64, String)> {
    let turns = log["turns"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    turns.map(|turn| (turn["ordinal"].as_u64().unwrap(), turn["text"].as_str().unwrap().to_owned())).collect()
}

/// Waits until so many turns of the call are written, and none of them will be told better.
pub async fn turns_are_written(app: &TestApp, caller: &Caller, count: usize) {
    eventually("the turns are written", async || {
        let log = app.get(&format!("/api/call-logs/{}", caller.call_sid())).await;
        let known = |turn: &Value| turn["speaker"] == "caller" || turn["heardMs"].is_u64();
        log["turns"].as_array().is_some_and(|turns| turns.len() == count && turns.iter().all(known))
    })
    .await;
}

/// Waits until so many records are in the spool, or more.
pub async fn is_spooled(app: &TestApp, records: u64) {
    eventually("the records are in the spool", async || {
        app.get("/healthz").await["spool"]["pending"].as_u64() >= Some(records)
    })
    .await;
}

/// Waits until all that was spooled is in the database.
pub async fn is_caught_up(app: &TestApp) {
    eventually("the spool is empty", async || app.get("/healthz").await["spool"]["pending"] == 0).await;
}
