//! Opens a TCP connection to a name that may have several addresses, of which some may swallow packets.
//!
//! Addresses are tried in the order of RFC 8305: the families by turns, the next one as soon as the one
//! before has failed, or after [`STAGGER`]. The first connection wins, the other attempts are dropped.
//! Without that a host whose IPv6 packets are lost is never reached by IPv4: the operating system tries one
//! address for minutes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

/// The pause before the next address is tried beside the ones before it (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses tried of one name; further ones are left out.
const MAX_ADDRESSES: usize = 8;

/// Connects to `host` and `port`. Has no deadline of its own: its caller has one.
///
/// # Errors
/// The name has no address, or no address was connected to (the last address' error).
pub async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    dial_any(lookup_host((host, port)).await?.collect()).await
}

/// Connects to whichever of these addresses answers first; earlier ones have a head start.
///
/// # Errors
/// There is no address, or no address was connected to (the last address' error).
pub async fn dial_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = by_turns(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match waiting.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let stagger = async {
            if waiting.len() == 0 {
                std::future::pending::<()>().await;
            }
            sleep(STAGGER).await;
        };
        tokio::select! {
            biased;
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = stagger => {}
        }
    }
}

/// The addresses in the order in which they are tried: the families by turns, the first address' family
/// first.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return vec![] };
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first.is_ipv6());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut ordered = vec![];
    while ordered.len() < MAX_ADDRESSES {
        let before = ordered.len();
        ordered.extend(same.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A listener whose queue is full: further connections to it get no answer at all.
    async fn swallows() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address("127.0.0.1:0")).unwrap();
        let listener = socket.listen(1).unwrap();
        let full = listener.local_addr().unwrap();
        let mut held = vec![];
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(full)).await
        {
            held.push(stream);
        }
        (listener, held)
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "10.0.0.1:1", "[::3]:1", "10.0.0.2:1"].map(address).to_vec();
        let ordered = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(by_turns(addresses), ordered);
        assert_eq!(by_turns(vec![address("10.0.0.1:1"); 100]).len(), MAX_ADDRESSES);
        assert_eq!(by_turns(vec![]), []);
    }

    #[actix_rt::test]
    async fn an_address_that_swallows_packets_does_not_hide_the_next_one() {
        let (listener, held) = swallows().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![listener.local_addr().unwrap(), good.local_addr().unwrap()];
        let stream = dial_any(addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
        drop(held);
    }

    #[actix_rt::test]
    async fn an_address_that_refuses_is_passed_over_at_once_and_the_last_error_is_told() {
        let refused = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = dial_any(vec![refused, good.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
        let error = dial_any(vec![refused, refused]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(dial_any(vec![]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
