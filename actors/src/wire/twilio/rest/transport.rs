//! Requests on the wire: authenticated, within a deadline, repeated where that is safe.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::{Client, Connector};
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::{Refusal, RestError, TwilioApi};

/// Limit of a connect, and of the TLS handshake after it.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pause before a look-up: Twilio's lists lag behind.
const BEFORE_LOOK_UP: Duration = Duration::from_secs(1);
/// By how much Twilio's clock and ours may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(5);
/// The largest answer that is read: a page of a list has about 2 KiB an entry.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Entries of one page of a list.
const PAGE_SIZE: &str = "50";
/// Pages that are followed.
const MAX_PAGES: usize = 40;

thread_local! {
    static CLIENT: Client = client();
}

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

/// The deadline of a whole request is ours; a redirect would carry the credentials elsewhere.
fn client() -> Client {
    let connector = Connector::new().timeout(CONNECT).handshake_timeout(CONNECT).rustls_0_23(TLS.clone());
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// One request, as often as it is sent.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    url: Url,
    form: String,
    /// Doing it twice is doing it once.
    repeatable: bool,
}

impl Request {
    /// For an update that may be repeated: ending something that is ended changes nothing.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }
}

/// Parameters in order. A list is a name that is repeated; what is none is left out.
#[derive(Debug, Default)]
pub(super) struct Params<'a>(Vec<(&'a str, String)>);

impl<'a> Params<'a> {
    pub(super) fn with(mut self, name: &'a str, value: impl ToString) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    pub(super) fn maybe(self, name: &'a str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn each(self, name: &'a str, values: &[&str]) -> Self {
        values.iter().fold(self, |params, value| params.with(name, value))
    }

    fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

impl TwilioApi {
    pub(super) fn get(&self, path: &[&str]) -> Request {
        self.request(Method::GET, path, String::new()).repeatable()
    }

    pub(super) fn post(&self, path: &[&str], params: Params<'_>) -> Request {
        self.request(Method::POST, path, params.encoded())
    }

    pub(super) fn delete(&self, path: &[&str]) -> Request {
        self.request(Method::DELETE, path, String::new()).repeatable()
    }

    fn request(&self, method: Method, path: &[&str], form: String) -> Request {
        let mut url = self.base_url.clone();
        let (last, folders) = path.split_last().expect("a path has at least one segment");
        url.path_segments_mut()
            .expect("an http URL has a path")
            .extend(["2010-04-01", "Accounts", &self.account_sid])
            .extend(folders)
            .push(&format!("{last}.json"));
        Request { method, url, form, repeatable: false }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, RestError> {
        read(&self.send(request).await?)
    }

    /// As [`Self::ask`], where what is asked about may be gone.
    pub(super) async fn ask_if_there<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Option<T>, RestError> {
        if_there(self.ask(request).await)
    }

    /// Deletes something that may be gone.
    pub(super) async fn delete_if_there(&self, path: &[&str]) -> Result<Option<()>, RestError> {
        if_there(self.send(&self.delete(path)).await.map(|_| ()))
    }

    /// The newest entries of a list: its first page.
    pub(super) async fn newest<P: Page>(
        &self,
        path: &[&str],
        params: Params<'_>,
    ) -> Result<Vec<P::Entry>, RestError> {
        Ok(self.ask::<P>(&self.first_page(path, params)).await?.open().0)
    }

    /// All entries of a list: follows `next_page_uri`.
    pub(super) async fn list<P: Page>(
        &self,
        path: &[&str],
        params: Params<'_>,
    ) -> Result<Vec<P::Entry>, RestError> {
        let mut request = self.first_page(path, params);
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let (mut entries, next) = self.ask::<P>(&request).await?.open();
            all.append(&mut entries);
            let Some(next) = next else { return Ok(all) };
            // A path alone: the credentials do not leave the origin.
            let next = self.base_url.join(&next).ok().filter(|url| url.origin() == self.base_url.origin());
            request.url =
                next.ok_or_else(|| RestError::Unreadable("next_page_uri leads elsewhere".into()))?;
        }
        Err(RestError::Unreadable(format!("a list of more than {MAX_PAGES} pages")))
    }

    fn first_page(&self, path: &[&str], params: Params<'_>) -> Request {
        let mut request = self.get(path);
        request.url.set_query(Some(&params.with("PageSize", PAGE_SIZE).encoded()));
        request
    }

    /// Creates something: when it is not known whether that was done, `look_up` finds it out before it is tried once
    /// more. `look_up` gets the time before which what we asked for cannot have been made.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        request: &Request,
        look_up: impl AsyncFn(DateTime<Utc>) -> Result<Option<T>, RestError>,
    ) -> Result<T, RestError> {
        let not_before = Utc::now() - CLOCKS_DIFFER;
        let mut again = true;
        loop {
            match self.ask(request).await {
                Err(open) if open.leaves_open() => {
                    sleep(BEFORE_LOOK_UP).await;
                    match look_up(not_before).await {
                        Ok(Some(found)) => return Ok(found),
                        Ok(None) if again => again = false,
                        Ok(None) | Err(_) => return Err(open),
                    }
                }
                answer => return answer,
            }
        }
    }

    /// The body of the first answer that is not an error.
    async fn send(&self, request: &Request) -> Result<Vec<u8>, RestError> {
        let deadline = Instant::now() + self.whole;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let error = match timeout_at(deadline, self.attempt(request)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                Err(_) => return Err(RestError::Unanswered("no answer in time".into())),
            };
            let safe = error.did_nothing() || request.repeatable && error.leaves_open();
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.5));
            if !safe || attempt == ATTEMPTS || Instant::now() + jittered >= deadline {
                return Err(error);
            }
            sleep(jittered).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Each attempt has a connection of its own: on a kept one that the other side closes just now, it would be unknown
    /// whether the request arrived.
    async fn attempt(&self, request: &Request) -> Result<Vec<u8>, RestError> {
        let client = CLIENT.with(Client::clone);
        let sending = client
            .request(request.method.clone(), request.url.as_str())
            .basic_auth(&self.account_sid, self.auth_token.expose())
            .insert_header(("Accept", "application/json"))
            .force_close();
        let sent = if request.method == Method::POST {
            sending.content_type("application/x-www-form-urlencoded").send_body(request.form.clone()).await
        } else {
            sending.send().await
        };
        let mut response = sent.map_err(|error| match error {
            // Its way to say that the connection was closed before the answer.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                RestError::Unanswered("closed before the answer".into())
            }
            SendRequestError::Connect(error) => RestError::Unreachable(error.to_string()),
            error => RestError::Unanswered(error.to_string()),
        })?;
        let status = response.status().as_u16();
        let body = response.body().limit(MAX_ANSWER_BYTES).await;
        match status {
            200..300 => Ok(body.map_err(|error| RestError::Unanswered(error.to_string()))?.to_vec()),
            429 => Err(RestError::Throttled(Refusal::read(status, &body.unwrap_or_default()))),
            500.. => Err(RestError::Failed(Refusal::read(status, &body.unwrap_or_default()))),
            _ => Err(RestError::Refused(Refusal::read(status, &body.unwrap_or_default()))),
        }
    }
}

/// One page of a list.
pub(super) trait Page: DeserializeOwned {
    type Entry;

    /// Its entries, and the path of the next page.
    fn open(self) -> (Vec<Self::Entry>, Option<String>);
}

/// Declares the page of a list whose entries stand under `$field`.
macro_rules! page {
    ($name:ident, $field:ident: $entry:ty) => {
        #[derive(serde::Deserialize)]
        struct $name {
            $field: Vec<$entry>,
            next_page_uri: Option<String>,
        }

        impl $crate::wire::twilio::rest::transport::Page for $name {
            type Entry = $entry;

            fn open(self) -> (Vec<$entry>, Option<String>) {
                (self.$field, self.next_page_uri)
            }
        }
    };
}
pub(super) use page;

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, RestError> {
    // The error of serde_json may show a value; where it stands is enough.
    serde_json::from_slice(body).map_err(|error| {
        RestError::Unreadable(format!(
            "{:?} at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}

/// What is gone is a value.
pub(super) fn if_there<T>(answer: Result<T, RestError>) -> Result<Option<T>, RestError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

    use super::super::{NewMessage, Sender};
    use super::*;
    use crate::secret::Secret;

    /// What is left to answer: each the request expected, a status and a body.
    type Script = Mutex<VecDeque<(&'static str, u16, String)>>;

    /// An API that answers by a script, and what is left of it.
    fn scripted(script: Vec<(&'static str, u16, String)>) -> (TwilioApi, web::Data<Script>) {
        let script = web::Data::new(Mutex::new(VecDeque::from(script)));
        let left = script.clone();
        let answer = |request: HttpRequest, script: web::Data<Script>| async move {
            let (expected, status, body) = script.lock().unwrap().pop_front().unwrap();
            let path = request.path().strip_prefix("/2010-04-01/Accounts/AC1/").unwrap_or(request.path());
            assert_eq!(format!("{} {path}", request.method()), expected);
            HttpResponse::build(status.try_into().unwrap()).body(body)
        };
        let server =
            HttpServer::new(move || App::new().app_data(script.clone()).default_service(web::to(answer)));
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let base = Url::parse(&format!("http://{}", server.addrs()[0])).unwrap();
        actix_rt::spawn(server.run());
        (TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap(), left)
    }

    fn message(sid: &str, body: &str, created: DateTime<Utc>) -> String {
        let created = created.to_rfc2822();
        format!(
            r#"{{"sid":"{sid}","status":"sent","body":"{body}","date_created":"{created}","error_code":null}}"#
        )
    }

    fn list(messages: &[String]) -> String {
        format!(r#"{{"messages":[{}],"next_page_uri":null}}"#, messages.join(","))
    }

    async fn send_help(api: &TwilioApi) -> Result<String, RestError> {
        let from = Sender::Number("+15005550006");
        let new = NewMessage { to: "+14155550123", from, body: "help", status_callback: None };
        api.send_message(new).await.map(|message| message.sid)
    }

    #[actix_rt::test]
    async fn a_create_that_failed_and_is_not_found_is_sent_once_more() {
        let now = Utc::now();
        let others = [message("SM1", "other", now), message("SM0", "help", now - TimeDelta::minutes(1))];
        let (api, left) = scripted(vec![
            ("POST Messages.json", 503, "<html>".into()),
            ("GET Messages.json", 200, list(&others)),
            ("POST Messages.json", 201, message("SM2", "help", now)),
        ]);
        assert_eq!(send_help(&api).await, Ok("SM2".into()));
        assert!(left.lock().unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn a_create_that_fails_twice_is_left_open() {
        let (api, left) = scripted(vec![
            ("POST Messages.json", 500, String::new()),
            ("GET Messages.json", 200, list(&[])),
            ("POST Messages.json", 500, r#"{"code":20500,"message":"Internal"}"#.into()),
            ("GET Messages.json", 200, list(&[])),
        ]);
        let error = send_help(&api).await.unwrap_err();
        assert!(
            error.leaves_open() && error.to_string() == "failed: status 500, error 20500: Internal",
            "{error}"
        );
        assert!(left.lock().unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn a_refused_create_is_neither_looked_up_nor_repeated() {
        let body = r#"{"code":21211,"message":"Invalid 'To' Phone Number: +14155550123","status":400}"#;
        let (api, left) = scripted(vec![("POST Messages.json", 400, body.into())]);
        let error = send_help(&api).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "refused: status 400, error 21211: Invalid 'To' Phone Number: +###########"
        );
        assert!(left.lock().unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn a_fetch_is_repeated_after_a_failure_and_a_list_stays_at_its_origin() {
        let call = "CA00000000000000000000000000000001".parse().unwrap();
        let (api, left) = scripted(vec![
            ("GET Calls/CA00000000000000000000000000000001.json", 502, String::new()),
            ("GET Calls/CA00000000000000000000000000000001.json", 404, String::new()),
            ("GET Calls.json", 200, r#"{"calls":[],"next_page_uri":"//evil.example/steal"}"#.into()),
        ]);
        assert_eq!(api.call(call).await, Ok(None));
        let error = api.calls(super::super::CallFilter::default()).await.unwrap_err();
        assert_eq!(error, RestError::Unreadable("next_page_uri leads elsewhere".into()));
        assert!(left.lock().unwrap().is_empty());
    }

    #[actix_rt::test]
    async fn an_answer_that_cannot_be_read_is_not_repeated_in_the_error() {
        let body = r#"{"sid":"SM1","status":5,"body":"+14155550123"}"#;
        let (api, _left) = scripted(vec![("POST Messages.json", 201, body.into())]);
        let error = send_help(&api).await.unwrap_err();
        assert!(
            matches!(&error, RestError::Unreadable(text) if text.starts_with("Data at line 1")),
            "{error}"
        );
    }

    fn api() -> TwilioApi {
        let base = Url::parse("https://api.twilio.com").unwrap();
        TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap()
    }

    #[test]
    fn a_form_repeats_the_name_of_a_list_and_escapes_the_plus_of_a_number() {
        let params = Params::default()
            .with("To", "+14155550100")
            .maybe("Label", None::<&str>)
            .each("StatusCallbackEvent", &["initiated", "answered"])
            .with("Muted", false);
        assert_eq!(
            params.encoded(),
            "To=%2B14155550100&StatusCallbackEvent=initiated&StatusCallbackEvent=answered&Muted=false"
        );
    }

    #[test]
    fn a_name_in_a_path_cannot_leave_it() {
        let request = api().get(&["Conferences", "a/../b?c", "Participants"]);
        let path =
            "https://api.twilio.com/2010-04-01/Accounts/AC1/Conferences/a%2F..%2Fb%3Fc/Participants.json";
        assert_eq!(request.url.as_str(), path);
    }

    #[actix_rt::test]
    async fn nobody_at_home_is_unreachable_after_five_attempts() {
        let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let base = Url::parse(&format!("http://{closed}")).unwrap();
        let api = TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap();
        let started = Instant::now();
        let error = api.send(&api.post(&["Calls"], Params::default())).await.unwrap_err();
        assert!(matches!(error, RestError::Unreachable(_)), "{error}");
        let pauses = FIRST_PAUSE * (1 + 2 + 4 + 8);
        assert!(started.elapsed() >= pauses / 2 && started.elapsed() < pauses * 3, "{:?}", started.elapsed());
    }

    #[actix_rt::test]
    async fn an_https_origin_is_spoken_to_by_tls_and_a_stranger_gets_no_credentials() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
        let api = TwilioApi::new(base, "AC1", Secret::new("hush".into())).unwrap().within(CONNECT);
        let greeted = actix_rt::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut first = [0; 2];
            tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut first).await.unwrap();
            first
        });
        let error = api.send(&api.get(&["Calls"])).await.unwrap_err();
        assert_eq!(greeted.await.unwrap(), [0x16, 0x03], "a TLS handshake record");
        assert!(matches!(error, RestError::Unreachable(_)), "{error}");
    }
}
