#!/usr/bin/env bash
# bb8: a connection that hangs while it is opened keeps its place, whatever `connection_timeout` says.
#
# Version: bb8 0.9.1 with bb8-postgres 0.9.0 and tokio-postgres 0.7 (crates.io).
#
# Expected: bb8's configuration describes `connection_timeout` as how long to wait for a connection to be
# started before giving up, and the URL has a `connect_timeout` besides. So a server that takes the TCP
# connection and never answers costs each place of the pool one timeout. Then the pool tries again.
#
# Instead: `connection_timeout` ends only the wait of `get`. The attempt behind it has no limit, and counts
# against `max_size` until it ends. `connect_timeout` covers the TCP handshake alone. With a pool of one,
# every `get` fails for as long as the peer keeps that connection, although the server answers new ones at
# once. The pool does not try one.
#
# For telephony: a database that freezes, or a proxy that welcomes clients while its server is away, can take
# all places of the pool this way. Calls are then not written although the database is back, until those
# connections break or the process starts anew. Use a manager of one's own whose `connect` has a deadline.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

command -v cargo >/dev/null || cannot "cargo is not installed"
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'EOF'
[package]
name = "hung"
version = "0.0.0"
edition = "2021"

[dependencies]
bb8 = "=0.9.1"
bb8-postgres = "=0.9.0"
tokio = { version = "1", features = ["io-util", "macros", "net", "rt", "time"] }

[workspace]
EOF
cat >"$folder/src/main.rs" <<'EOF'
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bb8_postgres::tokio_postgres::NoTls;
use bb8_postgres::PostgresConnectionManager;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Lets a client in, and answers each query with an empty result.
async fn healthy(mut client: TcpStream) -> std::io::Result<()> {
    let startup = client.read_u32().await?;
    client.read_exact(&mut vec![0; startup as usize - 4]).await?;
    client.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?; // AuthenticationOk, ReadyForQuery
    loop {
        let _kind = client.read_u8().await?;
        let length = client.read_u32().await?;
        client.read_exact(&mut vec![0; length as usize - 4]).await?;
        client.write_all(b"I\0\0\0\x04Z\0\0\0\x05I").await?; // EmptyQueryResponse, ReadyForQuery
    }
}

/// A server that is frozen when its first client comes, and healthy for all others.
async fn serve(listener: TcpListener, accepted: Arc<AtomicUsize>) {
    let mut frozen = Vec::new();
    while let Ok((client, _)) = listener.accept().await {
        if accepted.fetch_add(1, Ordering::SeqCst) == 0 {
            frozen.push(client);
        } else {
            tokio::spawn(healthy(client));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(listener, Arc::clone(&accepted)));

    let url = format!("postgres://switchboard@127.0.0.1:{port}/calls?connect_timeout=1");
    let manager = PostgresConnectionManager::new_from_stringlike(&url, NoTls).expect("a URL");
    let pool = bb8::Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_millis(500))
        .build_unchecked(manager);
    let mut served = 0;
    for _ in 0..10 {
        served += usize::from(pool.get().await.is_ok());
    }
    let by_pool = accepted.load(Ordering::SeqCst);
    println!("10 times `get`, 500 ms each: {served} served; connections that the pool opened: {by_pool}");

    let direct = bb8_postgres::tokio_postgres::connect(&url, NoTls);
    let direct = timeout(Duration::from_secs(5), direct).await.is_ok_and(|connected| connected.is_ok());
    println!("a connection without the pool is served: {direct}");
    let again = pool.get().await.is_ok();
    println!("the pool serves after it: {again}");

    // Another pool of one, whose first client the server answers.
    let manager = PostgresConnectionManager::new_from_stringlike(&url, NoTls).expect("a URL");
    let fresh = bb8::Pool::builder().max_size(1).build_unchecked(manager);
    let fresh = timeout(Duration::from_secs(5), fresh.get()).await.is_ok_and(|got| got.is_ok());
    println!("a new pool to the same server serves: {fresh}");
    let as_described = served == 0 && by_pool == 1 && direct && !again && fresh;
    ExitCode::from(u8::from(!as_described))
}
EOF
export CARGO_TARGET_DIR="$folder/target"
timeout 900 cargo build --quiet --manifest-path "$folder/Cargo.toml" || cannot "cargo did not build"
timeout 60 "$folder/target/debug/hung"
