//! The sockets that we listen on: all that were handed over by whoever started us, so that a restart refuses
//! nobody; otherwise one of our own.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::app::StartError;

/// Connections that wait to be accepted, so that a storm of webhooks is delayed, not refused.
const BACKLOG: u32 = 1024;

/// At least one. A socket that was handed over and cannot be served is a refusal: its callers would wait for
/// ever.
pub(crate) fn listen(address: SocketAddr) -> Result<Vec<TcpListener>, StartError> {
    let inherited = inherited(ListenFd::from_env()).map_err(StartError::Inherited)?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    bind(address).map(|listener| vec![listener]).map_err(|cause| StartError::Bind { address, cause })
}

/// A socket of our own.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Refuses a socket at an address that a setting forbids.
pub(crate) fn check(
    listeners: &[TcpListener],
    forbids: impl Fn(SocketAddr) -> Option<&'static str>,
) -> Result<(), StartError> {
    for listener in listeners {
        let address = listener.local_addr().map_err(StartError::Inherited)?;
        if let Some(setting) = forbids(address) {
            return Err(StartError::Exposed { setting, address });
        }
    }
    Ok(())
}

fn inherited(mut handed_over: ListenFd) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(handed_over.len());
    for index in 0..handed_over.len() {
        if let Some(listener) = handed_over.take_tcp_listener(index)? {
            listeners.push(listener);
        }
    }
    Ok(listeners)
}
