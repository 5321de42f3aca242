//! TLS on the way to the Realtime service: whom the program believes.

use std::io;
use std::path::Path;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::DEADLINE;
use crate::support::app::Setup;
use crate::support::certificates::{Authority, ServerCertificate};
use crate::support::postgres::{Folder, TestDatabase};

/// How the service sees the handshake of a program that trusts the CA in this file.
async fn handshake(shown: &ServerCertificate, trusted: &Path) -> io::Result<()> {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", service.local_addr().unwrap());
    let database = TestDatabase::create().await;
    let no_phrases = Folder::new(); // so that it asks for them at once
    let _app = Setup::new(&database.url, &origin)
        .with("SSL_CERT_FILE", trusted.to_str().unwrap())
        .with("PHRASES_DIR", no_phrases.path().to_str().unwrap())
        .start();
    let (socket, _) = timeout(DEADLINE, service.accept()).await.expect("a connection in time").unwrap();
    timeout(DEADLINE, shown.acceptor().accept(socket)).await.expect("a handshake in time").map(drop)
}

#[actix_rt::test]
async fn the_service_is_believed_whose_ca_this_machine_trusts() {
    let authority = Authority::new();
    handshake(&authority.issue("127.0.0.1"), &authority.file()).await.unwrap();
}

#[actix_rt::test]
async fn a_service_with_the_certificate_of_another_ca_is_not_talked_to() {
    let error = handshake(&Authority::new().issue("127.0.0.1"), &Authority::new().file()).await.unwrap_err();
    assert!(error.to_string().contains("UnknownCA"), "{error}");
}
