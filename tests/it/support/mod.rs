//! What the tests stand on.

pub mod accounts;
pub mod app;
pub mod browser;
pub mod certificates;
pub mod chromium;
#[allow(dead_code, reason = "the unit tests use the rest of it")]
#[path = "../../../src/http/tests/described.rs"]
pub mod described;
pub mod hang;
pub mod outage;
pub mod pgbouncer;
pub mod postgres;
pub mod postgres_with_tls;
pub mod proxy;
pub mod redis;
pub mod tls_proxy;
pub mod toll;
pub mod twilio;
pub mod world;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
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

/// A loopback address for a server that is to go and to come back: nobody listens there, and the system gives
/// its port to nobody, as it is below those that it hands out by itself (`ip_local_port_range`).
pub fn free_address() -> SocketAddr {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(COUNT)) as u16; // other tests have another process
    let next = || FIRST + (start + TAKEN.fetch_add(1, Relaxed)) % COUNT;
    let mut addresses = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], next())));
    // Bound to try it, it would be in use for as long as a child that is just being started has a copy.
    addresses.find(|address| TcpStream::connect(address).is_err()).expect("there is no end of them")
}
