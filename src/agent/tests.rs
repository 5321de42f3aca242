use actors::call::persona::Persona;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;

use super::*;

/// A Realtime service that does what a test says, an app that asks it, and the app's keeper.
struct House {
    service: TcpListener,
    app: Data<App>,
    keeper: Keeper,
}

impl House {
    async fn new() -> Self {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/realtime", service.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap(); // no phrase is on disk
        let phrases = folder.path().to_str().unwrap();
        let app = crate::http::tests::app(&[("OPENAI_REALTIME_URL", &url), ("PHRASES_DIR", phrases)]);
        let keeper = Keeper { has_passed: true, ..Keeper::new(app.clone()) };
        Self { service, app, keeper }
    }

    fn heeds(&mut self, text: &str) {
        let agent = Some(Agent::read("agent.toml", Ok(text.into())));
        self.keeper.heed(News { agent, is_asked: false });
    }

    /// Lets the keeper work until the service has done this.
    async fn while_service<T>(&mut self, does: impl AsyncFnOnce(&TcpListener) -> T) -> T {
        let work = async {
            tokio::select! {
                done = does(&self.service) => done,
                never = self.keeper.settle() => match never {},
            }
        };
        timeout(Duration::from_secs(20), work).await.unwrap()
    }

    /// Who answers new calls, and whether the agent file is another one.
    fn answers(&self) -> (String, bool) {
        let Persona { name, voice, .. } = &*self.app.persona.now();
        (format!("{name} {voice}"), self.app.agent_is_stale.load(Ordering::Relaxed))
    }
}

type Socket = WebSocketStream<TcpStream>;

/// The next session, and the voice that it is to have.
async fn session(service: &TcpListener) -> (Socket, String) {
    let mut socket = tokio_tungstenite::accept_async(service.accept().await.unwrap().0).await.unwrap();
    let event: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
    (socket, event["session"]["audio"]["output"]["voice"].as_str().unwrap().to_owned())
}

async fn text(socket: &mut Socket) -> String {
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

async fn says(socket: &mut Socket, event: Value) {
    socket.send(event.to_string().into()).await.unwrap();
}

/// Takes the next session, and tells its voice.
async fn takes(service: &TcpListener) -> String {
    let (mut socket, voice) = session(service).await;
    says(&mut socket, json!({"type": "session.updated", "session": {}})).await;
    text(&mut socket).await;
    says(&mut socket, json!({"type": "response.done", "response": {"id": "r", "status": "completed"}})).await;
    voice
}

#[actix_rt::test]
async fn a_file_that_the_service_takes_answers_new_calls_and_its_phrases_are_rendered_in_its_voice() {
    let mut house = House::new().await;
    house.heeds("name = \"Ada\"\nvoice = \"cedar\"");
    assert_eq!(house.answers(), ("Robin marin".into(), false), "not before it was tried");
    let voices = house.while_service(async |service| [takes(service).await, session(service).await.1]).await;
    assert_eq!((voices, house.answers()), ([(); 2].map(|()| "cedar".into()), ("Ada cedar".into(), false)));
}

#[actix_rt::test]
async fn a_file_that_changes_during_a_trial_is_tried_instead() {
    let mut house = House::new().await;
    house.heeds("voice = \"ash\"");
    let (mut first, voice) = house.while_service(session).await;
    assert_eq!(voice, "ash");
    house.heeds("voice = \"cedar\"");
    let voice = house
        .while_service(async |service| {
            while let Some(Ok(_)) = first.next().await {} // that trial is over
            let voice = takes(service).await;
            session(service).await; // for its phrases
            voice
        })
        .await;
    assert_eq!((&*voice, house.answers()), ("cedar", ("Robin cedar".into(), false)));
}

#[actix_rt::test]
async fn a_file_that_the_service_refuses_is_not_used_and_the_agent_that_answers_is_well() {
    let mut house = House::new().await;
    house.heeds("voice = \"nova\"");
    let app = house.app.clone();
    house
        .while_service(async |service| {
            let error = json!({"type": "invalid_request_error", "code": "invalid_value", "message": "no",
                "param": "session.audio.output.voice", "event_id": "configure"});
            let (mut socket, _) = session(service).await;
            says(&mut socket, json!({"type": "error", "error": error})).await;
            while !app.agent_is_stale.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    assert_eq!(house.answers(), ("Robin marin".into(), true));
    assert_eq!(house.app.voice.pump.metrics.realtime.refused(), None);
    house.heeds("voice = \"marin\"");
    assert_eq!(house.answers(), ("Robin marin".into(), false));
}

#[actix_rt::test]
async fn a_faulty_file_changes_nothing_until_it_is_mended() {
    let mut house = House::new().await;
    house.heeds("voice = \"cedar\"");
    house.heeds("voise = \"cedar\"");
    assert_eq!(house.answers(), ("Robin marin".into(), true));
    assert_eq!(house.keeper.candidate, None, "the file before it is not tried any more");
    house.heeds("# as it was");
    assert_eq!(house.answers(), ("Robin marin".into(), false));
}

#[actix_rt::test]
async fn sighup_has_the_same_agent_tried_again() {
    let mut house = House::new().await;
    house.keeper.heed(News { agent: None, is_asked: true });
    assert_eq!(house.while_service(takes).await, "marin");
}

#[actix_rt::test]
async fn during_a_drain_no_agent_is_tried() {
    let house = House::new().await;
    let reloads = Reloads::default();
    house.app.drains();
    reloads.ask();
    timeout(Duration::from_secs(20), look_after(house.app, reloads)).await.unwrap();
}
