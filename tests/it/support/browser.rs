//! A real browser that clicks and types: Chromium, by its own protocol.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::eventually;

/// A browser takes a second; a busy machine takes it longer.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// One page of a browser, which ends when it is dropped.
pub struct Browser {
    process: Child,
    page: WebSocketStream<MaybeTlsStream<TcpStream>>,
    number: u64,
    _profile: TempDir,
}

impl Browser {
    /// A window of this size, in a profile of its own. It takes any certificate.
    pub async fn open(url: &str, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let mut process = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-port=0",
            ])
            .arg("--ignore-certificate-errors")
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium is installed: `make test` does that");
        let (said, listening) = mpsc::channel();
        let stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("DevTools listening on ws://") {
                    let _ = said.send(rest.split('/').next().unwrap_or_default().to_owned());
                }
            }
        });
        let address = listening.recv_timeout(STARTS_WITHIN).expect("Chromium starts in time");
        let mut tabs =
            awc::Client::default().get(format!("http://{address}/json/list")).send().await.expect("tabs");
        let tabs: Value = tabs.json().await.expect("JSON");
        let tab =
            tabs.as_array().and_then(|tabs| tabs.iter().find(|tab| tab["type"] == "page")).expect("a tab");
        let (page, _) =
            connect_async(tab["webSocketDebuggerUrl"].as_str().expect("a URL")).await.expect("connected");
        let mut browser = Self { process, page, number: 0, _profile: profile };
        browser.tell("Page.navigate", json!({"url": url})).await;
        browser
    }

    /// The value of an expression in the page; a promise is waited for.
    pub async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.tell("Runtime.evaluate", asked).await["result"]["value"].take()
    }

    /// Waits until an expression in the page is true.
    pub async fn shows(&mut self, expression: &str) {
        eventually(expression, async || self.value(expression).await == true).await;
    }

    /// A screen of this size, also one that is smaller than a window can be.
    pub async fn on_screen(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The reader sits there from the next load of the page on.
    pub async fn in_time_zone(&mut self, zone: &str) {
        self.tell("Emulation.setTimezoneOverride", json!({"timezoneId": zone})).await;
    }

    /// Fills in the form and sends it, as a person does.
    pub async fn logs_in(&mut self, name: &str, password: &str) {
        self.shows("!!document.getElementById('login') && !document.getElementById('login').hidden").await;
        let type_in = format!(
            "document.getElementById('login-name').value = {};
             document.getElementById('login-password').value = {};
             document.getElementById('log-in').click()",
            json!(name),
            json!(password)
        );
        self.value(&type_in).await;
    }

    async fn tell(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let message = json!({"id": self.number, "method": method, "params": params}).to_string();
        self.page.send(Message::text(message)).await.expect("sent");
        loop {
            let message =
                timeout(STARTS_WITHIN, self.page.next()).await.expect("in time").expect("a message");
            let Ok(Message::Text(text)) = message else { continue };
            let mut answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.number {
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
