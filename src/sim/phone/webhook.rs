//! Webhooks on the wire: signed, delivered by the plan of their URL's fragment, to hosts that may be rung.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actors::secret::Secret;
use awc::Client;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::CONTENT_TYPE;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::delivery::{Delivery, Failure};
use super::reach::Reach;
use super::sid;
use super::signature::sign;
use super::twiml::Method;

/// The largest document Twilio takes (error 11750 beyond).
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The simulated network's HTTP side. One for all calls, on one thread.
pub struct Webhooks {
    auth_token: Option<Secret>,
    retry_gap: Duration,
    reach: Reach,
    /// One client for each connect timeout in use, with and without TLS; each request has a connection of its
    /// own.
    clients: RefCell<HashMap<(Duration, bool), Client>>,
}

/// An answer with a status below 400.
#[derive(Debug)]
pub struct Answer {
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    /// Requests it took.
    pub attempts: u32,
}

/// All attempts failed; the last for this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure} (attempt {attempts})")]
pub struct Undelivered {
    pub failure: Failure,
    pub attempts: u32,
}

impl Webhooks {
    pub fn new(auth_token: Option<Secret>, retry_gap: Duration, reach: Reach) -> Self {
        Self { auth_token, retry_gap, reach, clients: RefCell::default() }
    }

    /// Delivers `params` to `url`, as often and as long as the fragment of `url` says. All attempts carry the
    /// same idempotency token.
    pub async fn deliver(
        &self,
        url: &Url,
        method: Method,
        params: &[(String, String)],
    ) -> Result<Answer, Undelivered> {
        let (plan, bare) = Delivery::of(url);
        let (started, token) = (Instant::now(), sid("RQ"));
        let mut attempt = 0;
        loop {
            let left = plan.total.saturating_sub(started.elapsed());
            let tried =
                timeout(left.min(plan.read), self.attempt(&bare, method, params, plan.connect, &token)).await;
            let failure = match tried.unwrap_or(Err(Failure::Read)) {
                Ok((content_type, body)) => return Ok(Answer { content_type, body, attempts: attempt + 1 }),
                Err(failure) => failure,
            };
            let in_time = started.elapsed() + self.retry_gap < plan.total;
            if !plan.tries_again(attempt, &failure) || !in_time {
                return Err(Undelivered { failure, attempts: attempt + 1 });
            }
            sleep(self.retry_gap).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        url: &Url,
        method: Method,
        params: &[(String, String)],
        connect: Duration,
        token: &str,
    ) -> Result<(Option<String>, Vec<u8>), Failure> {
        self.reach.permits(url).map_err(|refusal| Failure::Connect(refusal.to_string()))?;
        let mut url = url.clone();
        let (request, body, signed) = match method {
            Method::Get => {
                url.query_pairs_mut().extend_pairs(params);
                (self.client(&url, connect).get(url.as_str()), String::new(), &[][..])
            }
            Method::Post => {
                let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
                let request = self.client(&url, connect).post(url.as_str());
                (request.content_type("application/x-www-form-urlencoded; charset=UTF-8"), body, params)
            }
        };
        let mut request = request
            .force_close()
            .insert_header(("User-Agent", "TwilioProxy/1.1"))
            .insert_header(("I-Twilio-Idempotency-Token", token));
        if let Some(auth_token) = &self.auth_token {
            request = request
                .insert_header(("X-Twilio-Signature", sign(auth_token.expose(), url.as_str(), signed)));
        }
        let mut response = request.send_body(body).await.map_err(|error| match error {
            SendRequestError::Connect(ConnectError::Disconnected) => {
                Failure::Broken("closed before the answer".into())
            }
            SendRequestError::Connect(error) => Failure::Connect(error.to_string()),
            error => Failure::Broken(error.to_string()),
        })?;
        let status = response.status().as_u16();
        let body = response.body().limit(MAX_ANSWER_BYTES).await;
        if !(200..300).contains(&status) {
            return Err(Failure::Status(status));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = body.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok((content_type.map(str::to_owned), body.to_vec()))
    }

    fn client(&self, url: &Url, connect: Duration) -> Client {
        let key = (connect, url.scheme() == "https");
        let new = || self.reach.client(url.scheme(), connect, None);
        self.clients.borrow_mut().entry(key).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

    use super::*;

    /// What a flaky server has seen.
    #[derive(Default)]
    struct Seen {
        requests: AtomicU32,
        tokens: std::sync::Mutex<Vec<String>>,
    }

    /// A server that fails `faults` times (by status, or by sleeping when the status is 0), then answers.
    async fn flaky(faults: u32, status: u16) -> (String, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let shared = web::Data::from(seen.clone());
        let server = HttpServer::new(move || {
            let answer = move |request: HttpRequest, seen: web::Data<Seen>| async move {
                let token = request.headers().get("I-Twilio-Idempotency-Token").unwrap();
                seen.tokens.lock().unwrap().push(token.to_str().unwrap().to_owned());
                match (seen.requests.fetch_add(1, Relaxed) < faults, status) {
                    (true, 0) => {
                        sleep(Duration::from_secs(5)).await;
                        HttpResponse::Ok().finish()
                    }
                    (true, status) => HttpResponse::build(status.try_into().unwrap()).finish(),
                    _ => HttpResponse::Ok().content_type("text/xml").body("<Response/>"),
                }
            };
            App::new().app_data(shared.clone()).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(("127.0.0.1", 0)).unwrap();
        let origin = format!("http://{}", server.addrs()[0]);
        actix_rt::spawn(server.run());
        (origin, seen)
    }

    async fn deliver(url: &str, retry_gap: Duration) -> Result<Answer, Undelivered> {
        Webhooks::new(None, retry_gap, Reach::default())
            .deliver(&url.parse().unwrap(), Method::Post, &[])
            .await
    }

    #[actix_rt::test]
    async fn a_server_error_is_final_unless_the_fragment_asks_for_more() {
        let (origin, seen) = flaky(2, 503).await;
        let failed = deliver(&origin, Duration::ZERO).await.unwrap_err();
        assert_eq!(failed, Undelivered { failure: Failure::Status(503), attempts: 1 });
        let answer = deliver(&format!("{origin}/#rc=5&rp=5xx"), Duration::ZERO).await.unwrap();
        assert_eq!((answer.attempts, answer.body.as_slice()), (2, b"<Response/>".as_slice()));
        let tokens = seen.tokens.lock().unwrap();
        assert!(tokens[0] != tokens[1] && tokens[1] == tokens[2]);
    }

    #[actix_rt::test]
    async fn a_client_error_is_not_tried_again_by_5xx() {
        let (origin, _) = flaky(1, 403).await;
        let failed = deliver(&format!("{origin}/#rc=5&rp=ct,rt,5xx"), Duration::ZERO).await.unwrap_err();
        assert_eq!(failed.attempts, 1);
    }

    #[actix_rt::test]
    async fn a_slow_answer_is_given_up_at_the_read_timeout_and_tried_again() {
        let (origin, _) = flaky(1, 0).await;
        let started = Instant::now();
        let answer = deliver(&format!("{origin}/#rt=100&rp=rt"), Duration::ZERO).await.unwrap();
        assert_eq!(answer.attempts, 2);
        assert!(
            started.elapsed() >= Duration::from_millis(100) && started.elapsed() < Duration::from_secs(4)
        );
        let (origin, _) = flaky(1, 0).await;
        assert_eq!(
            deliver(&format!("{origin}/#rt=100"), Duration::ZERO).await.unwrap_err().failure,
            Failure::Read
        );
    }

    #[actix_rt::test]
    async fn a_refused_connection_is_tried_once_more_by_default_and_the_total_bounds_the_rest() {
        let failed = deliver("http://127.0.0.1:1/", Duration::ZERO).await.unwrap_err();
        assert!(matches!(failed, Undelivered { failure: Failure::Connect(_), attempts: 2 }));
        let url = "http://127.0.0.1:1/#rc=5&rp=ct&tt=250";
        assert_eq!(deliver(url, Duration::from_millis(100)).await.unwrap_err().attempts, 3);
    }

    #[actix_rt::test]
    async fn a_server_that_comes_back_during_the_retries_is_reached() {
        let bound = tokio::net::TcpSocket::new_v4().unwrap();
        bound.bind(([127, 0, 0, 1], 0).into()).unwrap(); // ours, but it does not listen yet
        let url = format!("http://{}/#rc=5&rp=ct", bound.local_addr().unwrap());
        let delivery = actix_rt::spawn(async move { deliver(&url, Duration::from_millis(200)).await });
        sleep(Duration::from_millis(300)).await;
        let app = || App::new().default_service(web::to(HttpResponse::Ok));
        let listener = bound.listen(8).unwrap().into_std().unwrap();
        let server =
            HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(0).listen(listener).unwrap();
        actix_rt::spawn(server.run());
        assert!(delivery.await.unwrap().unwrap().attempts >= 3);
    }

    #[actix_rt::test]
    async fn nobody_but_this_machine_is_spoken_to() {
        for url in ["http://192.0.2.1/", "https://192.0.2.1/"] {
            let failed = deliver(url, Duration::ZERO).await.unwrap_err();
            let Failure::Connect(why) = failed.failure else { panic!("{failed}") };
            assert!(why.contains("is not on this machine"), "{why}");
        }
    }
}
