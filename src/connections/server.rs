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
use tokio::time::sleep;

use super::stop::Stop;
use super::stream::Stream;
use super::{Bounds, Connections, Ends, SWEEP_EVERY};

/// From the first byte of a connection to the end of its first request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// What the server has to know besides its sockets and its routes.
pub struct Door {
    pub workers: usize,
    pub bounds: Bounds,
    /// Connections of one worker, media streams among them. More are not accepted until others end.
    pub most_with_calls: usize,
    pub ends: Ends,
    /// How long requests under way may take at the end.
    pub finish_within: Duration,
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
        let (bounds, ends, app, stops) = (door.bounds, door.ends.clone(), app.clone(), stops.clone());
        server = server.listen(format!("http {address}"), listener, move || {
            let connections = of_this_worker(bounds, &ends);
            let (unspoken, signal) = (stops.clone(), stops.clone());
            let spoken = Stop::of_this_worker(async move { signal.notified().await });
            let accepted = fn_service(move |io: TcpStream| {
                let (connections, stops) = (connections.clone(), unspoken.clone());
                async move {
                    tokio::select! {
                        biased;
                        accepted = accept(io, &connections) => accepted.map_err(DispatchError::Io),
                        () = stops.notified() => Err(DispatchError::DisconnectTimeout),
                    }
                }
            });
            let routes = app().into_factory().map_err(|error| error.into().error_response());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || spoken.awaited())
                .keep_alive(bounds.keep_alive)
                .client_request_timeout(HEAD_WITHIN)
                .client_disconnect_timeout(Duration::ZERO) // the stream lingers by itself
                .local_addr(address)
                .on_connect_ext(|stream: &Stream, data| {
                    data.insert(stream.connection.clone());
                })
                // Its address is for URLs that nobody asks for.
                .h1(map_config(routes, |()| AppConfig::default()));
            accepted.and_then(http)
        })?;
    }
    Ok(server.run())
}

/// Waits until the peer speaks: until then a connection costs little, and owes no answer.
async fn accept(io: TcpStream, connections: &Rc<Connections>) -> io::Result<(Stream, Option<SocketAddr>)> {
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
