//! The program under load, as an HTTP client sees it.
//!
//! A connection is used again, as Twilio and browsers do. The document's `curl` and `ab` open one for each
//! request: over TLS that would measure handshakes, most of all those of this program.

use std::fmt;
use std::io;
use std::time::Duration;

use actors::secret::Secret;
use actors::wire::twilio::signature::sign;
use awc::error::{ConnectError, SendRequestError};
use awc::{Client, ClientRequest, Connector};
use serde::de::DeserializeOwned;
use url::Url;

use crate::sim::metrics_page::MetricsPage;
use crate::sim::phone::{Reach, sid};

/// Limit of a connect.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that nobody needed for so long is not used again: less than servers keep one for, so that no
/// request meets one that is being closed.
const IDLE: Duration = Duration::from_secs(2);
/// An answer that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// What is said where the program's API refuses us.
pub const WITHOUT_TOKENS: &str = "a load test has no token, so the program needs API_AUTH=off";

/// Where the load goes. A cheap clone, on one thread.
#[derive(Clone)]
pub struct Target {
    pub origin: Url,
    pub reach: Reach,
    /// The simulated Realtime service behind it, if there is one.
    pub realtime: Option<Url>,
    /// What webhooks are signed with; without it they are not.
    pub auth_token: Option<Secret>,
    client: Client,
}

/// Why a request was not answered as it should have been: one of a few words for all that can go wrong, so
/// that errors of one kind are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Of the program under load, or on the way to it.
    Theirs(String),
    /// Of this machine, which lacks something: it says nothing of the program.
    Ours(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Theirs(cause) => f.write_str(cause),
            Self::Ours(want) => f.write_str(want),
        }
    }
}

impl Fault {
    /// Nobody knows us.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Theirs(cause) if cause == "401" || cause == "403")
    }
}

impl Target {
    /// `reach` says whose certificate it has to have.
    pub fn new(origin: Url, reach: Reach, realtime: Option<Url>, auth_token: Option<Secret>) -> Self {
        // No limit of its own: how many requests are under way is for those who send them to say.
        let connector =
            Connector::new().limit(0).timeout(CONNECT).conn_keep_alive(IDLE).rustls_0_23(reach.tls());
        let client = Client::builder().connector(connector).timeout(PATIENCE).disable_redirects().finish();
        Self { origin, reach, realtime, auth_token, client }
    }

    /// Asks for something and reads all of the answer; it is a fault if it is not 200.
    pub async fn get(&self, path: &str) -> Result<(), Fault> {
        self.read(path).await.map(drop)
    }

    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let json = self.read(path).await?;
        serde_json::from_slice(&json).map_err(|_| Fault::Theirs("not the JSON of it".to_owned()))
    }

    pub async fn metrics(&self) -> Result<MetricsPage, Fault> {
        let text = String::from_utf8(self.read("/metrics").await?);
        text.map(MetricsPage::new).map_err(|_| Fault::Theirs("not a text".to_owned()))
    }

    /// Posts a webhook as Twilio does; it is a fault if it is not acknowledged.
    pub async fn webhook(&self, path: &str, params: &[(String, String)]) -> Result<(), Fault> {
        let url = self.url(path);
        let mut request = self
            .client
            .post(url.as_str())
            .content_type("application/x-www-form-urlencoded; charset=UTF-8")
            .insert_header(("User-Agent", "TwilioProxy/1.1"))
            .insert_header(("I-Twilio-Idempotency-Token", sid("RQ")));
        if let Some(token) = &self.auth_token {
            let signature = sign(token.expose(), url.as_str(), params);
            request = request.insert_header(("X-Twilio-Signature", signature));
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        answered(request, body).await.map(drop)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        answered(self.client.get(self.url(path).as_str()), String::new()).await
    }

    fn url(&self, path: &str) -> Url {
        self.origin.join(path).expect("the paths here are valid")
    }
}

/// Sends it and reads the answer to its end, however it went.
async fn answered(request: ClientRequest, body: String) -> Result<Vec<u8>, Fault> {
    let mut response = request.send_body(body).await.map_err(|error| fault(&error))?;
    let body = response.body().limit(MAX_ANSWER_BYTES).await;
    match response.status().as_u16() {
        200..300 => body.map(Into::into).map_err(|_| Fault::Theirs("broken off".to_owned())),
        status => Err(Fault::Theirs(status.to_string())),
    }
}

fn fault(error: &SendRequestError) -> Fault {
    if let Some(want) = io_error(error).and_then(want) {
        return Fault::Ours(want);
    }
    let word = match error {
        SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout) => "timeout",
        SendRequestError::Connect(ConnectError::Io(error))
            if error.kind() == io::ErrorKind::ConnectionRefused =>
        {
            "connection refused"
        }
        SendRequestError::Connect(ConnectError::Disconnected)
        | SendRequestError::Send(_)
        | SendRequestError::Response(_) => "connection broken",
        SendRequestError::Connect(_) => "no connection",
        _ => "not sent",
    };
    Fault::Theirs(word.to_owned())
}

fn io_error(error: &SendRequestError) -> Option<&io::Error> {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) | SendRequestError::Send(error) => Some(error),
        SendRequestError::Connect(ConnectError::Resolver(error)) => error.downcast_ref(),
        _ => None,
    }
}

/// What this machine has no more of.
fn want(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => "no file descriptor left here",
        libc::EADDRNOTAVAIL => "no port left here",
        libc::ENOBUFS | libc::ENOMEM => "no memory for a socket left here",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_the_program() {
        let failed = |code| {
            let error = io::Error::from_raw_os_error(code);
            fault(&SendRequestError::Connect(ConnectError::Io(error)))
        };
        assert_eq!(failed(libc::EMFILE), Fault::Ours("no file descriptor left here"));
        assert_eq!(failed(libc::EADDRNOTAVAIL), Fault::Ours("no port left here"));
        assert_eq!(failed(libc::ECONNREFUSED), Fault::Theirs("connection refused".to_owned()));
        assert_eq!(failed(libc::EHOSTUNREACH), Fault::Theirs("no connection".to_owned()));
    }
}
