//! Users and tokens in the database, and a client that logs in.

use std::net::IpAddr;
use std::sync::OnceLock;

use actors::access::{Role, Scope};
use actors::secret::Secret;
use awc::{Client, Connector};
use serde_json::{Value, json};
use switchboard::auth::{password, token};

use super::app::{TestApp, is_described};
use super::postgres::TestDatabase;

/// The password of every user of the tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// Adds a user with [`PASSWORD`].
pub async fn add_user(database: &TestDatabase, name: &str, role: Role) {
    static HASH: OnceLock<String> = OnceLock::new();
    let hash = HASH.get_or_init(|| password::hash(&Secret::new(PASSWORD.to_owned())).unwrap());
    let add = format!("INSERT INTO users (name, password_hash, role) VALUES ('{name}', '{hash}', '{role}')");
    database.query(&add).await;
}

/// Adds a token with these scopes, valid for an hour; answers it.
pub async fn add_token(database: &TestDatabase, name: &str, scopes: &[Scope]) -> String {
    let token = token::draw();
    let hash: String = token::hash(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    let scopes = scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(",");
    let add = format!(
        "INSERT INTO api_tokens (name, hash, scopes, expires_at) \
         VALUES ('{name}', '\\x{hash}', '{scopes}', now() + interval '1 hour')"
    );
    database.query(&add).await;
    token.expose().to_owned()
}

/// What the program answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// `Set-Cookie` as it came.
    pub cookie: Option<String>,
}

impl Answer {
    /// The cookie as a browser sends it back.
    pub fn session(&self) -> String {
        let cookie = self.cookie.as_ref().expect("a cookie");
        cookie.split(';').next().expect("a name and a value").to_owned()
    }
}

/// Sends requests with these headers, from an address of this machine.
pub struct Visitor {
    client: Client,
    origin: String,
    headers: Vec<(String, String)>,
}

impl Visitor {
    pub fn of(app: &TestApp) -> Self {
        Self::from("127.0.0.1", app)
    }

    /// From another address of this machine.
    pub fn from(address: &str, app: &TestApp) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let client = Client::builder().connector(Connector::new().local_address(address)).finish();
        Self { client, origin: app.origin.clone(), headers: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this session.
    pub fn holding(self, session: &str) -> Self {
        self.with("Cookie", session).with("Sec-Fetch-Site", "same-origin")
    }

    pub fn bearing(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.origin)), None).await
    }

    pub async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        self.send(self.client.post(format!("{}{path}", self.origin)), body).await
    }

    pub async fn logs_in(&self, name: &str, password: &str) -> Answer {
        self.post("/api/auth/login", Some(json!({"name": name, "password": password}))).await
    }

    async fn send(&self, request: awc::ClientRequest, body: Option<Value>) -> Answer {
        let (method, uri) = (request.get_method().clone(), request.get_uri().clone());
        let request = self
            .headers
            .iter()
            .fold(request, |request, header| request.insert_header((&*header.0, &*header.1)));
        let sent = match body {
            Some(body) => request.send_json(&body),
            None => request.send(),
        };
        let mut response = sent.await.expect("an answer");
        let cookie =
            response.headers().get("set-cookie").map(|cookie| cookie.to_str().expect("text").to_owned());
        let body = response.body().await.expect("a body");
        is_described(method.as_str(), uri.path(), &response, &body);
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: response.status().as_u16(), body, cookie }
    }
}

/// The session of a user who logs in now.
pub async fn session(app: &TestApp, name: &str) -> String {
    let answer = Visitor::of(app).logs_in(name, PASSWORD).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.session()
}
