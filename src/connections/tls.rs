//! A connection over TLS. The limits are those of the TCP connection below. Until it has sent its first
//! request, a connection counts as one that has said nothing, whatever its handshake has sent.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_rt::net::TcpStream;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::server::{HEAD_WITHIN, Served};
use super::stream::Stream;
use super::{Connection, Connections};

/// A connection whose handshake is done.
pub(super) struct Tls(TlsStream<Stream>);

impl Served for Tls {
    fn connection(&self) -> &Rc<Connection> {
        &self.0.get_ref().0.connection
    }
}

impl AsyncRead for Tls {
    /// TLS hides from the server that the stream below pauses, as long as it has something to hand out.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_pending() {
            self.0.get_mut().0.has_paused();
        }
        read
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Shakes hands, and waits until the peer speaks. The handshake has the time of a request's head.
pub(super) async fn accept(
    io: TcpStream,
    connections: Rc<Connections>,
    tls: TlsAcceptor,
) -> io::Result<(Tls, Option<SocketAddr>)> {
    io.set_nodelay(true)?;
    let peer = io.peer_addr().ok();
    let mut stream = Stream::new(io, connections.add(Instant::now()));
    stream.readable().await?;
    let shaken = timeout(HEAD_WITHIN, shake(stream, &tls)).await;
    let shaken = shaken.inspect_err(|_| connections.ends.handshake.inc());
    let mut stream = shaken.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    let (below, session) = stream.get_mut();
    below.is_below_tls = true;
    let has_spoken = session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
    if !has_spoken {
        below.readable().await?;
    }
    below.is_used();
    Ok((Tls(stream), peer))
}

/// Shakes hands. A signature takes the thread of the calls for a fraction of a millisecond or, with a large
/// RSA key, for some: so one is made at a time, and between two of them whatever else is ready has its turn.
async fn shake(stream: Stream, tls: &TlsAcceptor) -> io::Result<TlsStream<Stream>> {
    thread_local!(static TURN: Rc<Mutex<()>> = Rc::default());
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let turn = TURN.with(Rc::clone);
    let turn = turn.lock().await;
    let shaking = hello.into_stream(tls.config().clone()); // it signs
    yield_now().await;
    drop(turn);
    shaking.await
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpResponse, web};
    use actors::wire::https;
    use futures_util::FutureExt as _;
    use rustls::RootCertStore;
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client;

    use super::super::{Bounds, Door, Ends, in_turn, serve};
    use super::*;
    use crate::tls::{Shown, acceptor, tests::issued};

    const DEADLINE: Duration = Duration::from_secs(20);

    struct Running {
        address: SocketAddr,
        certificate: CertificateDer<'static>,
    }

    impl Running {
        fn start(most: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (address, settings) = (listener.local_addr().unwrap(), issued("127.0.0.1"));
            let certificate = settings.pair.certificate();
            let door = Door {
                workers: 1,
                bounds: Bounds { keep_alive: Duration::from_secs(60), most },
                most_with_calls: 1_000,
                ends: Ends::register(&prometheus::Registry::new()).unwrap(),
                tls: Some(acceptor(Arc::new(Shown::new(settings.pair)))),
                finish_within: Duration::from_secs(1),
            };
            let routes =
                || App::new().wrap(from_fn(in_turn)).default_service(web::to(HttpResponse::NoContent));
            actix_rt::spawn(serve(vec![listener], &door, routes).unwrap());
            Self { address, certificate }
        }

        async fn connect(&self) -> client::TlsStream<TcpStream> {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let io = TcpStream::connect(self.address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let shaken = TlsConnector::from(https::trusting(roots)).connect(name, io);
            timeout(DEADLINE, shaken).await.unwrap().unwrap()
        }

        /// Has begun a handshake.
        async fn hesitates(&self) -> TcpStream {
            let mut io = TcpStream::connect(self.address).await.unwrap();
            io.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
            io
        }
    }

    /// A request is answered.
    async fn is_served(stream: &mut client::TlsStream<TcpStream>) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            said.push(timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(said.starts_with(b"HTTP/1.1 204 "), "{}", String::from_utf8_lossy(&said));
    }

    #[actix_rt::test]
    async fn whoever_is_amid_a_handshake_goes_first_where_there_are_too_many() {
        let running = Running::start(2);
        let mut used = running.connect().await;
        is_served(&mut used).await;
        let mut hesitant = running.hesitates().await;
        let _one_more = TcpStream::connect(running.address).await.unwrap();
        let ended = timeout(DEADLINE, hesitant.read(&mut [0; 64])).await.expect("an end in time");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        is_served(&mut used).await;
    }

    #[actix_rt::test]
    async fn a_connection_serves_several_requests_and_tells_of_its_end() {
        let running = Running::start(10);
        let mut stream = running.connect().await;
        for _ in 0..3 {
            is_served(&mut stream).await;
        }
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut said)).await.unwrap().expect("it is told of the end");
        assert!(said.starts_with("HTTP/1.1 204 "), "{said}");
    }

    #[actix_rt::test]
    async fn as_little_is_read_at_once_over_tls_as_without() {
        const SENT: usize = 64 << 10;
        let bounds = Bounds { keep_alive: Duration::from_secs(60), most: 10 };
        let connections = Connections::new(bounds, Ends::register(&prometheus::Registry::new()).unwrap());
        let (listener, settings) = (TcpListener::bind("127.0.0.1:0").unwrap(), issued("127.0.0.1"));
        let running =
            Running { address: listener.local_addr().unwrap(), certificate: settings.pair.certificate() };
        listener.set_nonblocking(true).unwrap();
        let listener = actix_rt::net::TcpListener::from_std(listener).unwrap();
        let accepted = async {
            let (io, _) = listener.accept().await.unwrap();
            accept(io, connections.clone(), acceptor(Arc::new(Shown::new(settings.pair)))).await.unwrap().0
        };
        let sent = async {
            let mut peer = running.connect().await;
            for _ in 0..SENT / 1024 {
                peer.write_all(&[b'x'; 1024]).await.unwrap();
                peer.flush().await.unwrap();
            }
            peer
        };
        let (mut stream, _peer) = tokio::join!(accepted, sent);
        let mut buffer = vec![0; 2 * SENT];
        let mut taken = timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
        while let Some(more) = stream.read(&mut buffer).now_or_never() {
            taken += more.unwrap();
        }
        assert!(taken <= 8 << 10, "{taken} bytes at once");
        while taken < SENT {
            taken += timeout(DEADLINE, stream.read(&mut buffer)).await.unwrap().unwrap();
        }
    }
}
