//! The HTTP server over [streams](super::stream) of our own. It is built as `actix_web` builds its own, but
//! for the limits.

use std::cell::OnceCell;
use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response};
use actix_rt::net::TcpStream;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::stop::Stop;
use super::stream::Stream;
use super::{Bounds, Connection, Connections, Ends, SWEEP_EVERY, tls};

/// From the first byte of a connection to the end of its first request's head.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// What the server has to know besides its sockets and its routes.
pub struct Door {
    pub workers: usize,
    pub bounds: Bounds,
    /// Connections of one worker, media streams among them. More are not accepted until others end.
    pub most_with_calls: usize,
    pub ends: Ends,
    /// TLS ends here.
    pub tls: Option<TlsAcceptor>,
    /// How long requests under way may take at the end.
    pub finish_within: Duration,
}

/// What the HTTP server reads and writes.
pub(super) trait Served: AsyncRead + AsyncWrite + Unpin + 'static {
    fn connection(&self) -> &Rc<Connection>;
}

impl Served for Stream {
    fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

/// Serves these sockets.
///
/// # Errors
/// A socket cannot be served.
pub fn serve<F, I, S, B>(listeners: Vec<TcpListener>, door: &Door, app: F) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let mut server = Server::build()
        .workers(door.workers)
        .max_concurrent_connections(door.most_with_calls)
        .disable_signals()
        .shutdown_timeout(door.finish_within.as_secs());
    let stops = server.graceful_shutdown_signal();
    for listener in listeners {
        let address = listener.local_addr()?;
        let (bounds, ends, app) = (door.bounds, door.ends.clone(), app.clone());
        let stops = stops.clone();
        let stop = move || {
            let stops = stops.clone();
            Stop::of_this_worker(async move { stops.notified().await })
        };
        let name = format!("http {address}");
        server = match door.tls.clone() {
            None => server.listen(name, listener, move || {
                let connections = of_this_worker(bounds, &ends);
                let accept = move |io| accept(io, connections.clone());
                service(accept, address, bounds, stop(), app())
            })?,
            Some(tls) => server.listen(name, listener, move || {
                let (connections, tls) = (of_this_worker(bounds, &ends), tls.clone());
                let accept = move |io| tls::accept(io, connections.clone(), tls.clone());
                service(accept, address, bounds, stop(), app())
            })?,
        };
    }
    Ok(server.run())
}

/// Accepts connections in this way, and answers their requests.
fn service<T, A, W, I, S, B>(
    accept: A,
    address: SocketAddr,
    bounds: Bounds,
    stop: Rc<Stop>,
    app: I,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: Served,
    A: Fn(TcpStream) -> W + Clone + 'static,
    W: Future<Output = io::Result<(T, Option<SocketAddr>)>> + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let unspoken = stop.clone();
    let accepted = fn_service(move |io: TcpStream| {
        let (accepted, stops) = (accept(io), unspoken.awaited());
        async move {
            tokio::select! {
                biased;
                accepted = accepted => accepted.map_err(DispatchError::Io),
                () = stops => Err(DispatchError::DisconnectTimeout),
            }
        }
    });
    let routes = app.into_factory().map_err(|error| error.into().error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || stop.awaited())
        .keep_alive(bounds.keep_alive)
        .client_request_timeout(HEAD_WITHIN)
        .client_disconnect_timeout(Duration::ZERO) // the stream lingers by itself
        .local_addr(address)
        .on_connect_ext(|stream: &T, data| {
            data.insert(stream.connection().clone());
        })
        // Its address is for URLs that nobody asks for.
        .h1(map_config(routes, |()| AppConfig::default()));
    accepted.and_then(http)
}

/// Waits until the peer speaks: until then a connection costs little, and owes no answer.
async fn accept(io: TcpStream, connections: Rc<Connections>) -> io::Result<(Stream, Option<SocketAddr>)> {
    io.set_nodelay(true)?;
    let peer = io.peer_addr().ok();
    let mut stream = Stream::new(io, connections.add(Instant::now()));
    stream.speaks().await?;
    Ok((stream, peer))
}

/// A worker has one list, whatever the number of its sockets.
fn of_this_worker(bounds: Bounds, ends: &Ends) -> Rc<Connections> {
    thread_local!(static CONNECTIONS: OnceCell<Rc<Connections>> = const { OnceCell::new() });
    let new = || {
        let connections = Connections::new(bounds, ends.clone());
        let swept = connections.clone();
        actix_rt::spawn(async move {
            loop {
                sleep(SWEEP_EVERY).await;
                swept.sweep(Instant::now());
            }
        });
        connections
    };
    CONNECTIONS.with(|connections| connections.get_or_init(new).clone())
}
