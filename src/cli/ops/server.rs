//! The program that serves, asked and told by HTTP: what acts on that process goes this way.

use std::convert::Infallible;
use std::time::Duration;

use actors::secret::Secret;
use actors::wire::{https, is_loopback, lenient, roots};
use awc::http::Method;
use awc::{Client, Connector};
use clap::Args;
use serde_json::Value;
use url::Url;

use super::health::Target;
use crate::cli::accounts::print_json;
use crate::cli::shell::print_line;
use crate::cli::{FAILED, FINE, USAGE};
use crate::settings::environment;

const CONNECTED_WITHIN: Duration = Duration::from_secs(4);
/// For all of it. The program itself answers or refuses within 15 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read at most.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Args)]
pub struct Server {
    /// Where the process listens, such as `https://voice.example.com` [default: this machine, at PORT]
    #[arg(long, value_name = "URL", value_parser = origin)]
    url: Option<Url>,
    /// A token with the scope that this needs; `switchboard token add` makes one
    #[arg(long, env = "SWITCHBOARD_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<Secret>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_origin = matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/";
    is_origin.then_some(url).ok_or_else(|| "expected an origin such as `http://127.0.0.1:8080`".to_owned())
}

/// What the program answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Null if it is no JSON.
    pub body: Value,
}

impl Answer {
    pub fn is_fine(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it says of a request that it refused, and what to do.
    pub fn refusal(&self) -> String {
        let detail = self.body["detail"].as_str().unwrap_or("no reason is given");
        match self.status {
            401 | 403 => format!("{detail} (--token or SWITCHBOARD_TOKEN)"),
            status => format!("{detail} ({status})"),
        }
    }

    /// The exit status.
    pub fn exit(&self) -> u8 {
        match self.status {
            200..300 => FINE,
            400 => USAGE,
            _ => FAILED,
        }
    }
}

/// A way to the program.
pub struct Way {
    client: Client,
    origin: Url,
    token: Option<Secret>,
}

impl Server {
    /// The way to it.
    ///
    /// # Errors
    /// A setting is wrong, or a token would be sent in clear text over a network.
    pub fn way(&self) -> Result<Way, String> {
        let trusting = || https::trusting(roots::of_the_system().unwrap_or_else(|_| roots::compiled_in()));
        let (origin, tls) = match &self.url {
            Some(url) => (url.clone(), trusting()),
            None => {
                let target = Target::of(None, environment)?;
                let is_here = target.address.ip().to_canonical().is_loopback();
                let tls = if is_here { lenient::of_any_certificate() } else { trusting() };
                let scheme = if target.name.is_some() { "https" } else { "http" };
                let origin = Url::parse(&format!("{scheme}://{}", target.address));
                (origin.map_err(|error| error.to_string())?, tls)
            }
        };
        let token = self.token.clone().filter(|token| !token.expose().is_empty());
        if token.is_some() && origin.scheme() == "http" && !is_loopback(&origin) {
            return Err(format!("{origin}: a token is sent over https only, or to this machine"));
        }
        let connector = Connector::new().timeout(CONNECTED_WITHIN).rustls_0_23(tls);
        let client = Client::builder().connector(connector).timeout(ANSWERED_WITHIN).finish();
        Ok(Way { client, origin, token })
    }
}

impl Way {
    /// Sends a request, with this body if there is one.
    ///
    /// # Errors
    /// There is no answer: the cause.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, String> {
        let url = self.origin.join(path).map_err(|error| error.to_string())?;
        let mut request = self.client.request(method, url.as_str());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let failed = |error: &dyn std::fmt::Display| format!("{} does not answer: {error}", self.origin);
        let sent = match body {
            Some(body) => request.send_json(&body),
            None => request.send(),
        };
        let mut response = sent.await.map_err(|error| failed(&error))?;
        let read = response.body().limit(LARGEST).await;
        let read = read.map_err(|error| failed(&error))?;
        let body = serde_json::from_slice(&read).unwrap_or(Value::Null);
        Ok(Answer { status: response.status().as_u16(), body })
    }
}

/// Sends one request and shows its answer: as JSON, or by what `told` makes of it. The exit status.
pub fn order(
    name: &str,
    server: &Server,
    (method, path, body): (Method, &str, Option<Value>),
    told: impl FnOnce(&Value) -> String,
) -> u8 {
    let way = match server.way() {
        Ok(way) => way,
        Err(wrong) => {
            eprintln!("switchboard ops {name}: {wrong}");
            return USAGE;
        }
    };
    match actix_rt::System::new().block_on(way.ask(method, path, body)) {
        Ok(answer) if answer.is_fine() => {
            if server.json {
                print_json(&answer.body);
            } else {
                print_line(clean(&told(&answer.body)));
            }
            FINE
        }
        Ok(answer) => {
            eprintln!("switchboard ops {name}: {}", clean(&answer.refusal()));
            answer.exit()
        }
        Err(wrong) => {
            eprintln!("switchboard ops {name}: {wrong}");
            FAILED
        }
    }
}

/// A text that cannot steer the terminal.
pub fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn to(url: &str, token: Option<&str>) -> Server {
        Server {
            url: Some(origin(url).unwrap()),
            token: token.map(|token| Secret::new(token.to_owned())),
            json: false,
        }
    }

    #[test]
    fn a_token_goes_to_this_machine_or_over_https_and_nowhere_else() {
        for (url, token, may) in [
            ("http://127.0.0.1:8080", Some("sbt_x"), true),
            ("https://voice.example.com", Some("sbt_x"), true),
            ("http://voice.example.com", Some("sbt_x"), false),
            ("http://voice.example.com", Some(""), true),
            ("http://voice.example.com", None, true),
        ] {
            let way = actix_rt::System::new().block_on(async { to(url, token).way().map(drop) });
            assert_eq!(way.is_ok(), may, "{url} {token:?}");
        }
        for wrong in ["voice.example.com", "ftp://a", "http://a/b", ""] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_missing_and_ends_with_the_status_of_its_kind() {
        let answer = |status, detail| Answer { status, body: json!({"detail": detail}) };
        let refused = answer(403, "this needs the scope `admin`");
        assert_eq!(refused.refusal(), "this needs the scope `admin` (--token or SWITCHBOARD_TOKEN)");
        assert_eq!(refused.exit(), FAILED);
        assert_eq!(answer(400, "size must be…").exit(), USAGE);
        assert_eq!(answer(503, "temporarily unavailable").refusal(), "temporarily unavailable (503)");
        assert_eq!(Answer { status: 204, body: Value::Null }.exit(), FINE);
    }
}
