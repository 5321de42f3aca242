//! What the simulated Realtime service behind the bridge tells of the calls.

use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::sim::report::{RealtimeReport, RealtimeState};

/// How long the service may take to see the ends of its sessions, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest report that is read.
const MAX_REPORT_BYTES: usize = 1 << 30;

/// How far it has come.
pub async fn state(origin: &Url) -> anyhow::Result<RealtimeState> {
    fetch(origin.join("/state")?).await
}

/// The report of what came after `before`, once the new sessions are closed.
pub async fn report_since(origin: &Url, before: &RealtimeState) -> anyhow::Result<RealtimeReport> {
    let mut url = origin.join("/report")?;
    url.set_query(Some(&format!("after={}", before.last_session)));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut report: RealtimeReport = fetch(url.clone()).await?;
        report.violations.drain(..before.refused.min(report.violations.len()));
        if !report.sessions.iter().any(|session| session.open) || Instant::now() > deadline {
            return Ok(report);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn fetch<T: DeserializeOwned>(url: Url) -> anyhow::Result<T> {
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    let mut response =
        client.get(url.as_str()).send().await.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
    anyhow::ensure!(response.status().is_success(), "{url}: {}", response.status());
    let body = response.body().limit(MAX_REPORT_BYTES).await.with_context(|| url.to_string())?;
    serde_json::from_slice(&body).with_context(|| url.to_string())
}
