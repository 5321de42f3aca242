//! The program under load, as an HTTP client sees it. Each request has a connection of its own, as those of `curl`,
//! `ab` and Twilio's have.

use std::sync::Arc;
use std::time::Duration;

use actors::secret::Secret;
use actors::wire::twilio::signature::sign;
use awc::error::{ConnectError, SendRequestError};
use awc::{Client, ClientRequest, Connector};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use url::Url;

use super::metrics_page::MetricsPage;

/// Limit of a connect.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Where the load goes. A cheap clone, on one thread.
#[derive(Clone)]
pub struct Target {
    pub origin: Url,
    /// The simulated Realtime service behind it, if there is one.
    pub realtime: Option<Url>,
    /// What webhooks are signed with; without it they are not.
    pub auth_token: Option<Secret>,
    client: Client,
}

impl Target {
    pub fn new(origin: Url, realtime: Option<Url>, auth_token: Option<Secret>) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // No limit: who waits for a connection here would be late by our fault.
        let connector = Connector::new().limit(0).timeout(CONNECT).rustls_0_23(Arc::new(tls));
        let client = Client::builder().connector(connector).timeout(PATIENCE).disable_redirects().finish();
        Self { origin, realtime, auth_token, client }
    }

    /// Asks for something and reads all of the answer; the cause if it is not 200.
    pub async fn get(&self, path: &str) -> Result<(), String> {
        self.read(path).await.map(drop)
    }

    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        serde_json::from_slice(&self.read(path).await?).map_err(|_| "not the JSON of it".to_owned())
    }

    pub async fn metrics(&self) -> Result<MetricsPage, String> {
        let text = String::from_utf8(self.read("/metrics").await?);
        text.map(MetricsPage::new).map_err(|_| "not a text".to_owned())
    }

    /// Posts a webhook as Twilio does; the cause if it is not acknowledged.
    pub async fn webhook(&self, path: &str, params: &[(String, String)]) -> Result<(), String> {
        let url = self.url(path);
        let mut request = self
            .client
            .post(url.as_str())
            .content_type("application/x-www-form-urlencoded; charset=UTF-8")
            .insert_header(("User-Agent", "TwilioProxy/1.1"))
            .insert_header(("I-Twilio-Idempotency-Token", format!("RQ{:032x}", rand::random::<u128>())));
        if let Some(token) = &self.auth_token {
            let signature = sign(token.expose(), url.as_str(), params);
            request = request.insert_header(("X-Twilio-Signature", signature));
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        answered(request, body).await.map(drop)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        answered(self.client.get(self.url(path).as_str()), String::new()).await
    }

    fn url(&self, path: &str) -> Url {
        self.origin.join(path).expect("the paths here are valid")
    }
}

/// Sends it and reads the answer to its end, however it went.
async fn answered(request: ClientRequest, body: String) -> Result<Vec<u8>, String> {
    let mut response = request.force_close().send_body(body).await.map_err(|error| cause(&error))?;
    let body = response.body().limit(MAX_ANSWER_BYTES).await;
    match response.status().as_u16() {
        200..300 => body.map(Into::into).map_err(|_| "broken off".to_owned()),
        status => Err(status.to_string()),
    }
}

/// One of a few words for all that can go wrong on the way, so that errors of one kind are counted together.
fn cause(error: &SendRequestError) -> String {
    let word = match error {
        SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout) => "timeout",
        SendRequestError::Connect(ConnectError::Io(error))
            if error.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            "connection refused"
        }
        SendRequestError::Connect(ConnectError::Disconnected)
        | SendRequestError::Send(_)
        | SendRequestError::Response(_) => "connection broken",
        SendRequestError::Connect(_) => "no connection",
        _ => "not sent",
    };
    word.to_owned()
}
