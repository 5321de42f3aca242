//! The connections of an HTTP worker, up to the moment that one becomes a media stream.
//!
//! A connection is idle while none of its requests is under way. An idle one ends after the keep-alive time,
//! or earlier when there are too many: strangers may not take the descriptors that calls need. One whose
//! answers wait unread gets no further requests started, and ends if it reads nothing for long.

mod body;
mod server;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Version};
use actix_web::middleware::Next;
use actors::metrics::{MetricSet as _, Registrar};
use prometheus::{IntCounter, IntCounterVec};

pub use self::server::{Door, serve};

/// A peer that reads nothing of its answers for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// From a request's head to the end of its body; longer than a webhook is waited for.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// The server ends idle connections by itself. Those that it does not see as idle, as amid a request's head,
/// end so much later.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked who has been idle for too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

actors::metrics! {
    /// The metrics of the connections.
    struct ConnectionMetrics {
        /// Connections we ended: `crowded` out, `idle` for too long, `stalled` amid a body or answers, or
        /// without a TLS `handshake` in time.
        ends: IntCounterVec = "switchboard_http_connections_ended_total"
            ["reason" = &["crowded", "handshake", "idle", "stalled"]];
    }
}

/// Why we ended connections.
#[derive(Clone)]
pub struct Ends {
    crowded: IntCounter,
    handshake: IntCounter,
    idle: IntCounter,
    stalled: IntCounter,
}

impl Ends {
    /// Registers the metric.
    ///
    /// # Errors
    /// The registry has it already.
    pub fn register(metrics: &dyn Registrar) -> prometheus::Result<Self> {
        let ends = ConnectionMetrics::register(metrics)?.ends;
        let of = |reason| ends.with_label_values(&[reason]);
        let (crowded, handshake) = (of("crowded"), of("handshake"));
        Ok(Self { crowded, handshake, idle: of("idle"), stalled: of("stalled") })
    }
}

/// How long connections may be idle, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub keep_alive: Duration,
    /// Beyond so many connections of a worker an idle one has to go.
    pub most: usize,
}

/// The connections of one worker that are no media streams.
pub struct Connections {
    bounds: Bounds,
    ends: Ends,
    open: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next: Cell<u64>,
}

/// One connection, as its stream and its requests share it.
pub struct Connection {
    all: Rc<Connections>,
    number: u64,
    state: Cell<State>,
    idle_since: Cell<Instant>,
    /// Since when answers wait for the peer to read.
    blocked_since: Cell<Option<Instant>>,
    /// Requests that have no answer yet.
    requests: Cell<u32>,
    /// Bytes that came since the last request was answered.
    unanswered: Cell<usize>,
    /// Bytes have come of which no request has been started.
    has_news: Cell<bool>,
    /// Since when there is a request with a body of which the end has not come.
    body_since: Cell<Option<Instant>>,
    /// A request waits until others had their turn, or until answers are read: nothing more is read
    /// meanwhile.
    waits: Cell<bool>,
    /// Something would have been read, but for that.
    is_held: Cell<bool>,
    /// The task of the connection, where it is to be woken.
    task: RefCell<Option<Waker>>,
}

/// The order is the order in which idle connections have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// We have said all, and the peer is waited for.
    Closing,
    /// Nothing has come yet.
    Silent,
    Used,
    /// It is a media stream: whatever comes and goes passes.
    Call,
    Ended,
}

impl Connections {
    fn new(bounds: Bounds, ends: Ends) -> Rc<Self> {
        Rc::new(Self { bounds, ends, open: RefCell::default(), next: Cell::new(0) })
    }

    /// Takes one more; where there are too many, the one goes that is idle for longest.
    fn add(self: &Rc<Self>, now: Instant) -> Rc<Connection> {
        let number = self.next.replace(self.next.get() + 1);
        let connection = Rc::new(Connection {
            all: self.clone(),
            number,
            state: Cell::new(State::Silent),
            idle_since: Cell::new(now),
            blocked_since: Cell::new(None),
            requests: Cell::new(0),
            unanswered: Cell::new(0),
            has_news: Cell::new(false),
            body_since: Cell::new(None),
            waits: Cell::new(false),
            is_held: Cell::new(false),
            task: RefCell::default(),
        });
        if self.open.borrow().len() >= self.bounds.most {
            let idle = |one: &&Rc<Connection>| one.requests.get() == 0 || one.body_since.get().is_some();
            let longest = |one: &&Rc<Connection>| (one.state.get(), one.idle_since.get());
            let leaving = self.open.borrow().values().filter(idle).min_by_key(longest).cloned();
            if let Some(leaving) = leaving {
                self.ends.crowded.inc();
                leaving.end();
            }
        }
        self.open.borrow_mut().insert(number, connection.clone());
        connection
    }

    /// Ends those that have been idle, or have not read, for too long.
    fn sweep(&self, now: Instant) {
        let open: Vec<_> = self.open.borrow().values().cloned().collect();
        for connection in open {
            if let Some(counter) = self.overdue(&connection, now) {
                counter.inc();
                connection.end();
            }
        }
    }

    /// Why a connection has to end, if it has to.
    fn overdue(&self, connection: &Connection, now: Instant) -> Option<&IntCounter> {
        let lasts = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let is_idle = connection.requests.get() == 0;
        let (blocked, body) = (connection.blocked_since.get(), connection.body_since.get());
        let patience = match connection.state.get() {
            _ if body.is_some() => GRACE, // it was answered without it
            State::Silent => self.bounds.keep_alive,
            _ => self.bounds.keep_alive + GRACE,
        };
        if blocked.is_some_and(|since| lasts(since, STALLED_AFTER))
            || (!is_idle && body.is_some_and(|since| lasts(since, BODY_WITHIN)))
        {
            return Some(&self.ends.stalled);
        }
        (is_idle && blocked.is_none() && lasts(connection.idle_since.get(), patience))
            .then_some(&self.ends.idle)
    }
}

impl Connection {
    /// It becomes a media stream, which others look after.
    pub fn becomes_call(&self) {
        self.state.set(State::Call);
        self.leave();
    }

    fn is_call(&self) -> bool {
        self.state.get() == State::Call
    }

    fn has_ended(&self) -> bool {
        self.state.get() == State::Ended
    }

    /// Its task ends it as soon as it is woken.
    fn end(&self) {
        self.state.set(State::Ended);
        self.leave();
        self.wake();
    }

    fn leave(&self) {
        self.all.open.borrow_mut().remove(&self.number);
    }

    fn is_blocked(&self) -> bool {
        self.blocked_since.get().is_some()
    }

    /// A request is answered of which nothing more has to come. What follows it stays with the system: the
    /// server would make requests of all that it reads, and keep them.
    fn is_answering(&self) -> bool {
        self.requests.get() > 0 && self.body_since.get().is_none()
    }

    /// Keeps the task's waker.
    fn watch(&self, context: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if task.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }

    fn wake(&self) {
        let task = self.task.borrow().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Waits until a request may start: one that came with others lets other connections go first, and none
    /// starts while answers wait unread.
    async fn turn(&self) {
        self.waits.set(true);
        if !self.has_news.replace(false) {
            tokio::task::yield_now().await;
        }
        let may_start = |context: &mut Context<'_>| {
            if self.is_blocked() && !self.has_ended() {
                self.watch(context);
                return Poll::Pending;
            }
            Poll::Ready(())
        };
        poll_fn(may_start).await;
        self.waits.set(false);
        if self.is_held.replace(false) {
            self.wake();
        }
    }
}

/// A request that has no answer yet.
struct UnderWay(Rc<Connection>);

impl UnderWay {
    fn new(connection: Rc<Connection>) -> Self {
        connection.requests.set(connection.requests.get() + 1);
        Self(connection)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.requests.set(connection.requests.get() - 1);
        connection.unanswered.set(0);
        connection.waits.set(false);
        connection.idle_since.set(Instant::now());
        if connection.is_held.replace(false) {
            connection.wake();
        }
    }
}

/// Wraps all routes, before anything is done for a request.
pub async fn in_turn<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let connection = request.conn_data::<Rc<Connection>>().cloned();
    let _under_way = connection.clone().map(UnderWay::new);
    if let Some(connection) = connection {
        connection.turn().await;
        body::watch(&mut request, &connection, Instant::now());
    }
    let is_old = request.version() < Version::HTTP_11;
    let mut answer = next.call(request).await?;
    if is_old && answer.response().body().size() == BodySize::Stream {
        // It knows no chunks: the end of the body is that of the connection.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(answer)
}
