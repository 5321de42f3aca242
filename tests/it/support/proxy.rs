//! A TCP proxy between Twilio and the program, whose target can be changed: connections that are open live
//! on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Proxy {
    pub origin: String,
    target: Arc<Mutex<Option<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Without a target it closes what it accepts.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let target = Arc::new(Mutex::new(None));
        let shared = target.clone();
        let accepting = tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target: Option<SocketAddr> = *shared.lock().expect("not poisoned");
                tokio::task::spawn_local(forward(client, target));
            }
        });
        Self { origin, target, accepting }
    }

    /// New connections lead to this origin from now on.
    pub fn leads_to(&self, origin: &str) {
        let address = origin.trim_start_matches("http://").parse().expect("an address");
        *self.target.lock().expect("not poisoned") = Some(address);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut client: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let no_delay = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    if no_delay.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
