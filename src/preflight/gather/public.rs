//! Asks `PUBLIC_URL` as Twilio will: by name, with TLS, through the proxy; and reads other clocks.

use std::net::IpAddr;

use actors::secret::Secret;
use actors::wire::https::Tls;
use actors::wire::realtime::socket;
use actors::wire::twilio::signature::{HEADER, sign};
use chrono::{DateTime, Utc};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

use super::{late, web};
use crate::preflight::DEADLINE;
use crate::preflight::facts::{Answer, Asked, Broken, Public};
use crate::settings::Settings;

const STREAM: &str = "/api/voice/stream";
const INCOMING: &str = "/api/voice/incoming";
/// What the program says of a webhook that nobody has signed.
const UNSIGNED: &str = "the request is not signed by Twilio";

/// None: `PUBLIC_URL` is not set.
pub(super) async fn look(settings: &Settings, tls: &Tls) -> Option<Public> {
    let url = settings.http.public_url.as_ref()?;
    let believes_all = settings.twilio.bypass_validation;
    let (addresses, (certificate, health), stream, webhook) = tokio::join!(
        addresses(url),
        health(url, tls),
        stream(url, tls, settings.twilio.auth_token.as_ref()),
        async { if believes_all { None } else { Some(webhook(url, tls).await) } },
    );
    let certificate = (url.scheme() == "https").then_some(certificate);
    Some(Public { addresses, certificate, health, stream, webhook })
}

async fn addresses(url: &Url) -> Asked<Vec<IpAddr>> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found = timeout(DEADLINE, lookup_host((host, 0))).await.map_err(|_| late())?;
    let mut found: Vec<_> = found.map_err(|error| error.to_string())?.map(|address| address.ip()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Until when the certificate holds, and how `/healthz` answers.
async fn health(url: &Url, tls: &Tls) -> (Result<DateTime<Utc>, Broken>, Result<Answer, Broken>) {
    let asked = timeout(DEADLINE, async {
        let connection = match web::open(url, tls).await {
            Ok(connection) => connection,
            Err(broken) => return (Err(broken.clone()), Err(broken)),
        };
        let until = connection.until.ok_or(Broken::NotHttp);
        (until, connection.get("/healthz").await.map(|answer| of_health(url, &answer)))
    });
    asked.await.unwrap_or((Err(Broken::Silent), Err(Broken::Silent)))
}

fn of_health(url: &Url, answer: &web::Answer) -> Answer {
    // Nobody else's health has both.
    let is_ours = ["\"poolStats\"", "\"uptimeSeconds\""].iter().all(|field| answer.body.contains(field));
    let is_draining = is_ours && answer.body.contains("\"status\":\"draining\"");
    Answer { status: answer.status, leads_to: leads_to(url, answer), is_ours, is_draining }
}

/// How a webhook that is not signed, and names no call, is answered.
async fn webhook(url: &Url, tls: &Tls) -> Result<Answer, Broken> {
    let asked = timeout(DEADLINE, async { web::open(url, tls).await?.post(INCOMING).await });
    let answer = asked.await.unwrap_or(Err(Broken::Silent))?;
    let is_problem =
        answer.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
    let is_ours = is_problem && answer.body.contains(UNSIGNED);
    Ok(Answer { status: answer.status, leads_to: leads_to(url, &answer), is_ours, is_draining: false })
}

/// The origin of a redirect.
fn leads_to(url: &Url, answer: &web::Answer) -> Option<String> {
    answer.header("location").map(|target| match url.join(target) {
        Ok(target) => target.origin().ascii_serialization(),
        Err(_) => "something that is no URL".to_owned(),
    })
}

/// The status with which a media stream is answered; an open one is closed again.
async fn stream(url: &Url, tls: &Tls, token: Option<&Secret>) -> Result<u16, Broken> {
    let socket = format!("ws{}", url.origin().ascii_serialization().trim_start_matches("http")) + STREAM;
    let signature = token.map(|token| sign(token.expose(), &socket, &[])).unwrap_or_default();
    let asked = timeout(DEADLINE, async {
        web::open(url, tls).await?.upgrade(STREAM, &[(HEADER, &signature)]).await
    });
    asked.await.unwrap_or(Err(Broken::Silent))
}

/// By how many milliseconds the clock of whoever answers there is ahead of ours. Nothing is asked for.
pub(super) async fn clock(url: &Url) -> Asked<i64> {
    let asked = timeout(DEADLINE, async {
        let before = Utc::now();
        let answer = web::open(url, &socket::tls()).await?.get("/2010-04-01/Accounts.json").await?;
        let middle = before + (Utc::now() - before) / 2;
        let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        // It is cut to the second.
        date.map(|date| (date.to_utc() - middle).num_milliseconds() + 500).ok_or(Broken::NotHttp)
    });
    asked.await.map_err(|_| late())?.map_err(|broken| broken.to_string())
}
