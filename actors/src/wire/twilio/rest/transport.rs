//! Requests on the wire: authenticated, within a deadline, repeated where that is safe.

use std::time::Duration;

use awc::Client;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use call_control::backoff::Backoff;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::{Refusal, RestError, TwilioApi};
use crate::secret::Secret;
use crate::wire::https;

/// How often a request is sent at most.
const ATTEMPTS: u32 = 5;
/// The pauses before the second attempt and each further one.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(150), Duration::from_millis(1_200));
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
    static CLIENT: Client = https::client();
}

/// One request, as often as it is sent.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    url: Url,
    form: String,
    /// Doing it twice is doing it once.
    repeatable: bool,
    accept: &'static str,
    /// A longer answer is not read.
    most_bytes: usize,
}

impl Request {
    /// For an update that may be repeated: ending something that is ended changes nothing.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// For what stands at the same path with another ending.
    pub(super) fn of_kind(mut self, ending: &str, accept: &'static str, most_bytes: usize) -> Self {
        let path = self.url.path().strip_suffix(".json").map(|path| format!("{path}.{ending}"));
        if let Some(path) = path {
            self.url.set_path(&path);
        }
        Self { accept, most_bytes, ..self }
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
        // Without a path, it is the account itself that is asked about.
        let (last, folders) = path.split_last().unwrap_or((&"", &[]));
        let mut segments = url.path_segments_mut().expect("an http URL has a path");
        segments.extend(["2010-04-01", "Accounts"]);
        if last.is_empty() {
            segments.push(&format!("{}.json", self.account_sid));
        } else {
            segments.push(&self.account_sid).extend(folders).push(&format!("{last}.json"));
        }
        drop(segments);
        Request {
            method,
            url,
            form,
            repeatable: false,
            accept: "application/json",
            most_bytes: MAX_ANSWER_BYTES,
        }
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

    /// The bytes of something that may be gone.
    pub(super) async fn bytes_if_there(&self, request: &Request) -> Result<Option<Vec<u8>>, RestError> {
        if_there(self.send(request).await)
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

    /// Creates something: when it is not known whether that was done, `look_up` finds it out before it is
    /// tried once more. `look_up` gets the time before which what we asked for cannot have been made.
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
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            let error = match timeout_at(deadline, self.attempt(request)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                Err(_) => return Err(RestError::Unanswered("no answer in time".into())),
            };
            let safe = error.did_nothing() || request.repeatable && error.leaves_open();
            let pause = backoff.pause(rand::random());
            if !safe || attempt == ATTEMPTS || Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
        }
        unreachable!("the last attempt returns")
    }

    /// Sends the request with one auth token, and with the other one if Twilio refuses the first.
    async fn attempt(&self, request: &Request) -> Result<Vec<u8>, RestError> {
        let mut refused = None;
        for token in self.tokens.in_order() {
            let answer = self.attempt_with(token, request).await;
            match answer {
                Err(error) if error.is_unauthorized() => refused = refused.or(Some(error)),
                answer => {
                    if refused.is_some() && answer.is_ok() {
                        self.tokens.was_taken(token);
                    }
                    return answer;
                }
            }
        }
        Err(refused.unwrap_or_else(|| RestError::Unreachable("there is no auth token".into())))
    }

    /// Each attempt has a connection of its own: on a kept one that the other side closes just now, it would
    /// be unknown whether the request arrived.
    async fn attempt_with(&self, token: &Secret, request: &Request) -> Result<Vec<u8>, RestError> {
        let client = CLIENT.with(Client::clone);
        let sending = client
            .request(request.method.clone(), request.url.as_str())
            .basic_auth(&self.account_sid, token.expose())
            .insert_header(("Accept", request.accept))
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
        let body = response.body().limit(request.most_bytes).await;
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
mod tests;
