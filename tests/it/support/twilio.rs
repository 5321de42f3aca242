//! Twilio by hand, for what no well-behaved network would send.

use actors::wire::twilio::signature::sign;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::DEADLINE;
use super::app::{AUTH_TOKEN, TestApp, is_described};

pub const STREAM: &str = "MZ00000000000000000000000000000001";

/// A call's identifier.
pub fn call_sid(number: u32) -> String {
    format!("CA{number:032x}")
}

/// The answer to a webhook.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl Answer {
    /// The one-time token in it.
    pub fn token(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="token" value=""#).expect("a token");
        rest.split_once('"').expect("the token's end").0.to_owned()
    }
}

/// Posts a webhook as Twilio signs it.
pub async fn webhook(app: &TestApp, path: &str, parameters: &[(&str, &str)]) -> Answer {
    let owned: Vec<_> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    post(app, path, parameters, &sign(AUTH_TOKEN, &app.url(path), &owned)).await
}

/// Posts a webhook with any signature.
pub async fn post(app: &TestApp, path: &str, parameters: &[(&str, &str)], signature: &str) -> Answer {
    let request = awc::Client::default().post(app.url(path)).insert_header(("X-Twilio-Signature", signature));
    let mut response = request.send_form(&parameters).await.expect("an answer");
    let content_type =
        response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    let body = response.body().await.expect("a body");
    is_described("POST", path, &response, &body);
    Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

/// A call rings; its answer.
pub async fn rings(app: &TestApp, call_sid: &str) -> Answer {
    let parameters =
        [("CallSid", call_sid), ("From", "+14155550100"), ("To", "+15005550006"), ("CallStatus", "ringing")];
    webhook(app, "/api/voice/incoming", &parameters).await
}

/// A media stream's socket, written to by hand.
pub struct RawStream(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl RawStream {
    /// Opens a stream as Twilio does.
    pub async fn open(app: &TestApp) -> Self {
        let url = app.url("/api/voice/stream").replacen("http", "ws", 1);
        Self::open_signed(app, &sign(AUTH_TOKEN, &url, &[])).await.expect("the upgrade is accepted")
    }

    /// Opens a stream with any signature; the status where it is refused.
    pub async fn open_signed(app: &TestApp, signature: &str) -> Result<Self, u16> {
        let url = app.url("/api/voice/stream").replacen("http", "ws", 1);
        let mut request = url.into_client_request().expect("a request");
        request.headers_mut().insert("X-Twilio-Signature", signature.parse().expect("a header"));
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.expect("sent");
    }

    /// `connected` and `start` with this token.
    pub async fn start(&mut self, call_sid: &str, token: &str) {
        self.send(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#).await;
        self.send(format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC00000000000000000000000000000001","streamSid":"{STREAM}","callSid":"{call_sid}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"{token}"}}}},"streamSid":"{STREAM}"}}"#
        ))
        .await;
    }

    pub async fn stop(&mut self) {
        self.send(format!(r#"{{"event":"stop","sequenceNumber":"9","streamSid":"{STREAM}","stop":{{}}}}"#))
            .await;
    }

    /// 20 ms of silence, said at this time of the stream.
    pub async fn frame(&mut self, timestamp_ms: u32) {
        let payload = "/".repeat(212) + "/w==";
        self.send(format!(
            r#"{{"event":"media","media":{{"track":"inbound","timestamp":"{timestamp_ms}","payload":"{payload}"}},"streamSid":"{STREAM}"}}"#
        ))
        .await;
    }

    /// Closes the socket without a `stop`, and waits until that is done.
    pub async fn close(mut self) {
        self.0.close(None).await.expect("closing");
        let closed = async { while let Some(Ok(_)) = self.0.next().await {} };
        timeout(DEADLINE, closed).await.expect("closed in time");
    }

    /// The next message that is text.
    pub async fn hears(&mut self) -> String {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("in time") {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                end => panic!("no text, but {end:?}"),
            }
        }
    }

    /// The code with which the program closes the stream.
    pub async fn close_code(mut self) -> u16 {
        loop {
            match timeout(DEADLINE, self.0.next()).await.expect("closed in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                end => panic!("ended without a close code: {end:?}"),
            }
        }
    }
}
