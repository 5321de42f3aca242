//! What the tests stand on.

pub mod app;
pub mod certificates;
pub mod hang;
pub mod outage;
pub mod pgbouncer;
pub mod postgres;
pub mod postgres_with_tls;
pub mod proxy;
pub mod toll;
pub mod twilio;
pub mod world;

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A fact that has not come true by then is a failure.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `fact` holds; panics naming `what` if it never does.
pub async fn eventually(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !fact().await {
        assert!(Instant::now() < until, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A TCP port of the loopback address that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port()
}
