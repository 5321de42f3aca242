//! Calls go on while the API computes: over real sockets, with one HTTP worker as in the program.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use futures_util::future::{join_all, select};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::connections::{Bounds, Door, Ends, serve};
use crate::http::worker::Kind;
use crate::sim::realtime;

const CALL: &str = "CA00000000000000000000000000000001";
const STREAM: &str = "MZ00000000000000000000000000000001";

/// The worker of the API, which computes until this is dropped or released.
struct Held {
    release: mpsc::Sender<()>,
    answer: JoinHandle<Result<(), crate::http::problem::ApiError>>,
}

impl Held {
    async fn at(app: &web::Data<App>) -> Self {
        let ((release, gate), (begun, begins)) = (mpsc::channel(), tokio::sync::oneshot::channel());
        let app = app.clone();
        let answer = spawn_local(async move {
            app.api
                .run(Kind::Picture, async move || {
                    begun.send(()).unwrap();
                    let _ = gate.recv(); // its thread is not free meanwhile
                })
                .await
        });
        begins.await.unwrap();
        Self { release, answer }
    }

    async fn release(self) {
        drop(self.release);
        self.answer.await.unwrap().unwrap();
    }
}

/// Serves the app as the program does.
fn served(app: &web::Data<App>) -> (SocketAddr, ServerHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door {
        workers: 1,
        bounds: Bounds { keep_alive: Duration::from_secs(60), most: 100 },
        most_with_calls: 100,
        ends: Ends::register(&prometheus::Registry::new()).unwrap(),
        tls: None,
        finish_within: Duration::from_secs(30),
    };
    let data = app.clone();
    let routes = move || actix_web::App::new().app_data(data.clone()).configure(super::super::routes);
    let server = serve(vec![listener], &door, routes).unwrap();
    let handle = server.handle();
    actix_rt::spawn(server);
    (address, handle)
}

async fn get(address: SocketAddr, path: &str) -> u16 {
    let request = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    let answer = request.get(format!("http://{address}{path}")).send().await.unwrap();
    answer.status().as_u16()
}

/// Waits until the API's worker has so much work, itself included.
async fn under_way(app: &web::Data<App>, count: u32) {
    let line = format!("\nswitchboard_api_work_in_flight {count}\n");
    while !super::super::metrics::encode(&app.metrics).unwrap().contains(&line) {
        tokio::task::yield_now().await;
    }
}

/// The token in the answer to the webhook of an incoming call.
async fn rings(address: SocketAddr) -> String {
    let form =
        [("CallSid", CALL), ("From", "+14155550100"), ("To", "+15005550006"), ("CallStatus", "ringing")];
    let url = format!("http://{address}/api/voice/incoming");
    let body = awc::Client::default().post(url).send_form(&form).await.unwrap().body().await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let (_, rest) = text.split_once(r#"name="token" value=""#).expect(&text);
    rest.split_once('"').unwrap().0.to_owned()
}

#[actix_rt::test]
async fn a_call_is_answered_and_heard_while_the_api_computes() {
    let service = realtime::start(realtime::Options::default()).await.unwrap();
    let url = format!("ws://{}/v1/realtime", service.addr());
    let settings =
        [("API_AUTH", "off"), ("BYPASS_TWILIO_VALIDATION", "true"), ("OPENAI_REALTIME_URL", url.as_str())];
    let app = app(&settings);
    let (address, server) = served(&app);
    let held = Held::at(&app).await;
    let asked = spawn_local(get(address, "/api/call-logs"));
    under_way(&app, 2).await;

    let token = rings(address).await;
    let (mut stream, _) = connect_async(format!("ws://{address}/api/voice/stream")).await.unwrap();
    let start = format!(
        r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC00000000000000000000000000000001","streamSid":"{STREAM}","callSid":"{CALL}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"{token}"}}}},"streamSid":"{STREAM}"}}"#
    );
    for message in [r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#, &start] {
        stream.send(message.into()).await.unwrap();
    }
    loop {
        match stream.next().await.unwrap().unwrap() {
            Message::Text(text) if text.contains(r#""event":"media""#) => break,
            _ => {}
        }
    }
    assert!(!asked.is_finished(), "the API still computes");

    held.release().await;
    assert_eq!(asked.await.unwrap(), 503, "the database is away");
    drop(stream);
    server.stop(true).await;
}

#[actix_rt::test]
async fn every_answer_of_the_api_is_computed_by_its_worker() {
    let app = app(&[("API_AUTH", "off")]);
    let held = Held::at(&app).await;
    let listened = "/api/call-logs/CA00000000000000000000000000000001/voicemail/listened";
    let requests = [
        local("/api/call-logs?q=door"),
        local("/api/call-logs.csv"),
        local(super::CALL),
        local("/api/call-monitor"),
        local(listened).method(actix_web::http::Method::POST),
    ];
    let count = requests.len() as u32 + 1;
    let answers = join_all(requests.map(|request| answer(&app, request)));
    let all_wait = Box::pin(under_way(&app, count));
    let futures_util::future::Either::Right(((), answers)) = select(Box::pin(answers), all_wait).await else {
        panic!("nothing is answered without the worker")
    };
    held.release().await;
    let statuses: Vec<_> = answers.await.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [503, 503, 503, 200, 503], "the database is away");
}

#[actix_rt::test]
async fn a_request_that_is_being_computed_at_a_drain_is_answered() {
    let app = app(&[("API_AUTH", "off")]);
    let (address, server) = served(&app);
    let held = Held::at(&app).await;
    let asked = spawn_local(get(address, "/api/call-monitor"));
    under_way(&app, 2).await;
    let stopped = spawn_local(server.stop(true));
    while TcpStream::connect(address).await.is_ok() {} // until nobody is let in any more
    held.release().await;
    assert_eq!(asked.await.unwrap(), 200);
    stopped.await.unwrap();
}
