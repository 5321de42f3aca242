//! Servers that do not answer as they should.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::certificates::ServerCertificate;

/// Whoever connects is never answered.
pub async fn silence() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    address
}

/// Whoever connects gets this answer, by TLS with this certificate or without.
pub async fn says(answer: &'static str, certificate: Option<&ServerCertificate>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = certificate.map(ServerCertificate::acceptor);
    actix_rt::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let tls = tls.clone();
            actix_rt::spawn(async move {
                let mut head = [0; 4096];
                if let Some(tls) = tls {
                    let mut socket = tls.accept(socket).await?;
                    let _ = socket.read(&mut head).await?;
                    socket.write_all(answer.as_bytes()).await?;
                    return socket.shutdown().await;
                }
                let _ = socket.read(&mut head).await?;
                socket.write_all(answer.as_bytes()).await?;
                socket.shutdown().await
            });
        }
    });
    address
}

/// A proxy that TLS ends in, and that forwards requests without the headers of a websocket.
pub async fn drops_upgrades(listen: SocketAddr, certificate: &ServerCertificate, program: SocketAddr) {
    let listener = TcpListener::bind(listen).await.unwrap();
    let tls = certificate.acceptor();
    actix_rt::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let tls = tls.clone();
            actix_rt::spawn(async move {
                let mut client = tls.accept(socket).await?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let head = String::from_utf8(head).map_err(std::io::Error::other)?;
                let kept = head
                    .split_inclusive("\r\n")
                    .filter(|line| !line.starts_with("Upgrade:") && !line.starts_with("Connection:"));
                let mut server = TcpStream::connect(program).await?;
                server.write_all(kept.collect::<String>().as_bytes()).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}
