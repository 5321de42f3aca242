//! How often a client may ask: stands before the API, behind the signatures of status callbacks, and counts
//! wrong credentials. What steers a live call is never turned away.
//!
//! Whoever is counted is told how much is left, in `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11 sections 3 and 4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, ResponseError as _};
use actors::metrics::{MetricSet as _, Registrar};
use ipnet::IpNet;
use prometheus::{IntCounter, IntCounterVec};

use super::auth;
use super::problem::ApiError;
use crate::app::App;
use crate::rate_limit::{Class, Client, Decision, Quota, Quotas, Store};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the doors need to count requests.
pub struct Limits {
    quotas: Quotas,
    trusted_proxies: Vec<IpNet>,
    store: Box<dyn Store>,
    /// In the order of [`Class::ALL`].
    counters: [Counters; 4],
    /// It was said that a proxy on this machine is not trusted.
    has_warned: AtomicBool,
}

actors::metrics! {
    /// The metrics of the limits.
    struct LimitMetrics {
        /// Decisions on requests that have a limit, by class: `api`, `page`, `webhook` or `auth`.
        decisions: IntCounterVec = "switchboard_rate_limit_decisions_total"
            ["class" = &Class::ALL.map(Class::as_str)];
        /// Requests that were one too many, by class.
        refusals: IntCounterVec = "switchboard_rate_limited_total" ["class" = &Class::ALL.map(Class::as_str)];
    }
}

/// Those of one class.
struct Counters {
    decisions: IntCounter,
    refusals: IntCounter,
}

impl Limits {
    /// Counts in this store. `trusted_proxies` are believed to say whom a request is from.
    ///
    /// # Errors
    /// The registry has the metrics already.
    pub fn new(
        quotas: Quotas,
        trusted_proxies: Vec<IpNet>,
        store: Box<dyn Store>,
        registry: &dyn Registrar,
    ) -> Result<Self, prometheus::Error> {
        let metrics = LimitMetrics::register(registry)?;
        let counters = Class::ALL.map(|class| Counters {
            decisions: metrics.decisions.with_label_values(&[class.as_str()]),
            refusals: metrics.refusals.with_label_values(&[class.as_str()]),
        });
        Ok(Self { quotas, trusted_proxies, store, counters, has_warned: AtomicBool::new(false) })
    }

    /// Requests are meant to be counted for several processes, and are counted for this one alone.
    pub fn is_alone(&self) -> bool {
        self.store.is_alone()
    }

    /// Counts one more request of this client.
    ///
    /// # Errors
    /// 429: it was one too many.
    pub async fn count(&self, class: Class, client: Client) -> Result<Standing, ApiError> {
        let decision = self.store.take(class, client).await;
        let standing = Standing { class, quota: self.quotas.of(class), decision };
        let counters = &self.counters[class as usize];
        counters.decisions.inc();
        if decision.is_allowed {
            return Ok(standing);
        }
        counters.refusals.inc();
        Err(ApiError::TooManyRequests(standing))
    }

    /// Whom a request is from.
    pub fn client(&self, request: &HttpRequest) -> Client {
        Client::address(self.address(request))
    }

    /// The address that a request is from.
    pub fn address(&self, request: &HttpRequest) -> IpAddr {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let peer = request.peer_addr().map_or(nobody, |peer| peer.ip());
        self.warn_of_proxy(peer, request.headers());
        beyond_proxies(peer, request.headers(), &self.trusted_proxies)
    }

    /// Says once that strangers are counted as this machine's user, for want of a setting.
    fn warn_of_proxy(&self, peer: IpAddr, headers: &HeaderMap) {
        let is_proxy = peer.to_canonical().is_loopback() && headers.contains_key(FORWARDED_FOR);
        if is_proxy
            && !is_within(&self.trusted_proxies, peer)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %peer,
                "all whom a proxy on this machine forwards are counted as one client: TRUSTED_PROXIES does not name it"
            );
        }
    }
}

/// How a client stands with a quota after a request.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    class: Class,
    quota: Quota,
    decision: Decision,
}

impl Standing {
    /// The quota's name.
    pub fn policy(&self) -> &'static str {
        self.class.as_str()
    }

    /// The effective window: within it no more may pass than remain. Rounded up: whoever waits so long is not
    /// told the same again.
    pub fn more_in_seconds(&self) -> u64 {
        let wait = self.decision.more_in;
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
    }

    /// Says it in an answer, beside what other quotas say.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let (policy, Quota { requests, window }) = (self.policy(), self.quota);
        let quota = format!("\"{policy}\";q={requests};w={}", window.as_secs());
        let rest = format!("\"{policy}\";r={};t={}", self.decision.remaining, self.more_in_seconds());
        for (name, value) in [(RATE_LIMIT_POLICY, quota), (RATE_LIMIT, rest)] {
            headers.append(name, HeaderValue::try_from(value).expect("it is printable ASCII"));
        }
    }
}

/// Stands before every route of the API. Whoever is known is counted as such, others by address.
pub async fn api(
    app: Data<App>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_watched = matches!(request.path(), "/api/call-monitor" | "/api/alerts" | "/api/inbox");
    let class = if is_watched { Class::Page } else { Class::Api };
    let client = auth::client(request.request()).unwrap_or_else(|| app.limits.client(request.request()));
    match app.limits.count(class, client).await {
        Ok(standing) => {
            let mut response = next.call(request).await?.map_into_boxed_body();
            standing.tell(response.headers_mut());
            Ok(response)
        }
        Err(refusal) => Ok(request.into_response(refusal.error_response())),
    }
}

/// Counts a status callback whose signature holds against its account; where it names none, against its
/// sender.
///
/// # Errors
/// 429: it was one too many. Twilio does not send it again.
pub async fn callback(
    app: &App,
    request: &HttpRequest,
    account_sid: Option<&str>,
) -> Result<Standing, ApiError> {
    let client = account_sid.and_then(Client::account).unwrap_or_else(|| app.limits.client(request));
    let counted = app.limits.count(Class::Webhook, client).await;
    counted.inspect_err(|_| tracing::warn!("a status callback was refused: there were too many"))
}

/// Counts a credential that was found wrong against its sender; a right one is not asked about here, so it is
/// good after any number of wrong ones (see [`Class::Auth`] for what a password would need).
///
/// # Errors
/// 429: it was one too many.
pub async fn wrong_credential(app: &App, request: &HttpRequest) -> Result<Standing, ApiError> {
    app.limits.count(Class::Auth, Client::guesser(app.limits.address(request))).await
}

/// The nearest address that is no trusted proxy: each of them vouches for the entry that it has added, the
/// last one. One that is no address ends the walk.
fn beyond_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for address in entries.map_while(address) {
        if !is_within(trusted, nearest) {
            break;
        }
        nearest = address;
    }
    nearest
}

fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address.to_canonical()))
}

/// Some proxies add the port, or the brackets alone.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    entry.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// A peer, and behind it lines of `X-Forwarded-For`. Whoever is counted is the peer or was named by a trusted
/// proxy; what a stranger writes before its own address makes no difference, nor does it whether the entries
/// come in one line.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_forwarded_for(data: &[u8]) {
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
    let client = |peer, lines: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).expect("a header's value"));
        }
        beyond_proxies(peer, &headers, &trusted)
    };
    let mut lines = data.split(|byte| *byte == b'\n');
    let peer = lines.next().and_then(|line| str::from_utf8(line).ok()?.parse::<IpAddr>().ok());
    let Some(peer) = peer else { return };
    let lines: Vec<_> = lines.filter(|line| HeaderValue::from_bytes(line).is_ok()).collect();
    let found = client(peer, &lines);
    assert_eq!(found, client(peer, &[&lines.join(&b","[..])]), "a line's end counts");

    // What the networks above are, without their reader.
    let is_trusted = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    };
    let mut named = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).filter_map(address);
    assert!(
        found == peer || is_trusted(peer) && named.any(|named| named == found),
        "a stranger was believed"
    );
    let forged = [&[&b"198.51.100.77"[..]][..], &lines[..]].concat();
    assert!(is_trusted(found) || client(peer, &forged) == found, "what a stranger forged was believed");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::test::TestRequest;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::rate_limit::InMemory;

    fn beyond(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        beyond_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_what_they_have_added() {
        assert_eq!(
            beyond("192.0.2.9", &["198.51.100.1"]),
            "192.0.2.9",
            "a stranger says it is somebody else"
        );
        assert_eq!(beyond("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(beyond("::ffff:10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(beyond("fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(beyond("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(beyond("10.0.0.1", &["203.0.113.7, 198.51.100.1, 10.2.3.4"]), "198.51.100.1");
        assert_eq!(beyond("10.0.0.1", &["203.0.113.7", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(beyond("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(beyond("10.0.0.1", &["198.51.100.1", "ünknown"]), "10.0.0.1", "beyond ASCII");
        assert_eq!(beyond("10.0.0.1", &["ünknown, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(beyond("10.0.0.1", &["198.51.100.1", ""]), "10.0.0.1");
        assert_eq!(beyond("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_proxy_on_this_machine_that_is_not_trusted_is_told_of_once() {
        let warnings = |trusted: &[&str], peer: &str, forwarded: Option<&str>| {
            let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let store = Box::new(InMemory::new(&Quotas::default()));
            let registry = prometheus::Registry::new();
            let limits = Limits::new(Quotas::default(), trusted, store, &registry).unwrap();
            let mut request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
            if let Some(client) = forwarded {
                request = request.insert_header((FORWARDED_FOR, client));
            }
            let (request, log) = (request.to_http_request(), NamedTempFile::new().unwrap());
            let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
            tracing::subscriber::with_default(subscriber, || {
                limits.client(&request);
                limits.client(&request);
            });
            std::fs::read_to_string(log.path()).unwrap().matches("TRUSTED_PROXIES").count()
        };
        let stranger = Some("192.0.2.1");
        assert_eq!(warnings(&[], "127.0.0.1", stranger), 1);
        assert_eq!(warnings(&["10.0.0.0/8"], "::1", stranger), 1);
        assert_eq!(warnings(&[], "::ffff:127.0.0.1", stranger), 1);
        assert_eq!(warnings(&["127.0.0.1/32"], "127.0.0.1", stranger), 0, "it is trusted");
        assert_eq!(warnings(&[], "127.0.0.1", None), 0, "it is no proxy");
        assert_eq!(warnings(&[], "192.0.2.9", stranger), 0, "it is not on this machine");
    }

    #[test]
    fn what_is_left_is_told_beside_what_other_quotas_say_and_a_wait_is_never_too_short() {
        let standing = |class, requests, more_in| Standing {
            class,
            quota: Quota { requests, window: Duration::from_secs(60) },
            decision: Decision { is_allowed: true, remaining: 7, more_in: Duration::from_millis(more_in) },
        };
        let mut headers = HeaderMap::new();
        standing(Class::Auth, 10, 2_000).tell(&mut headers);
        standing(Class::Api, 100, 2_001).tell(&mut headers);
        let told = |name| headers.get_all(name).map(|line| line.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(told("RateLimit-Policy"), [r#""auth";q=10;w=60"#, r#""api";q=100;w=60"#]);
        assert_eq!(told("RateLimit"), [r#""auth";r=7;t=2"#, r#""api";r=7;t=3"#]);
    }
}
