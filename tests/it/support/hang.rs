//! A network that hangs: a TCP way to a database on a unix socket, which can stop without closing anything.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::postgres::TestDatabase;

pub struct Hang {
    /// The database by this way.
    pub url: String,
    hangs: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
}

impl Hang {
    pub async fn before(database: &TestDatabase) -> Self {
        let (server, name) = database.url.split_once('@').expect("a user").1.split_once('/').expect("a name");
        let socket = format!("{}/.s.PGSQL.5432", server.replace("%2F", "/"));
        let name = name.split('?').next().expect("a name");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let hangs = Arc::new(watch::Sender::new(false));
        let accepting = tokio::spawn({
            let hangs = Arc::clone(&hangs);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let Ok(server) = UnixStream::connect(&socket).await else { continue };
                    let (client_reads, client_writes) = client.into_split();
                    let (server_reads, server_writes) = server.into_split();
                    tokio::spawn(pass_on(client_reads, server_writes, hangs.subscribe()));
                    tokio::spawn(pass_on(server_reads, client_writes, hangs.subscribe()));
                }
            }
        });
        Self { url: format!("postgres://switchboard@{address}/{name}?sslmode=disable"), hangs, accepting }
    }

    /// From now on nothing arrives, and no connection ends.
    pub fn begins(&self) {
        self.hangs.send_replace(true);
    }

    /// What was under way arrives.
    pub fn ends(&self) {
        self.hangs.send_replace(false);
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut hangs: watch::Receiver<bool>,
) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let goes_on = hangs.wait_for(|hangs| !hangs).await.is_ok();
        if !goes_on || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
