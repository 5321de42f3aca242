//! The bridge's own figures, read from its `/metrics` while calls are on the line.

use std::cell::RefCell;
use std::time::Duration;

use awc::Client;
use tokio::time::{MissedTickBehavior, interval};
use url::Url;

use super::Options;
use super::network::Inner;
use crate::sim::metrics_page::MetricsPage;

/// How often the bridge is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest page of metrics that is read.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// One reading of the standard process metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    resident_bytes: f64,
    /// Tells one process from another: behind a proxy there may be several.
    started_at: Option<f64>,
}

impl Reading {
    fn of(page: &MetricsPage) -> Option<Self> {
        Some(Self {
            cpu_seconds: page.sum("process_cpu_seconds_total", &[])?,
            resident_bytes: page.sum("process_resident_memory_bytes", &[])?,
            started_at: page.sum("process_start_time_seconds", &[]),
        })
    }

    /// Seconds of CPU since `before`; none if another process answered then.
    fn cpu_since(self, before: Self) -> Option<f64> {
        let seconds = self.cpu_seconds - before.cpu_seconds;
        (self.started_at == before.started_at && seconds >= 0.0).then_some(seconds)
    }
}

/// Watches the process of the bridge over a run.
pub struct Watch {
    client: Client,
    url: Url,
    before: Option<Reading>,
    /// The most memory that was resident while all calls were live.
    most_resident: RefCell<Option<f64>>,
}

impl Watch {
    /// Takes the first reading, before any call.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let url = options.url.join("/metrics")?;
        let client = options.reach.client(url.scheme(), PATIENCE, Some(PATIENCE));
        let mut watch = Self { client, url, before: None, most_resident: RefCell::default() };
        watch.before = watch.read().await;
        Ok(watch)
    }

    /// Reads on until dropped; `calls` is how many are asked for.
    pub async fn run(&self, net: &Inner, calls: usize) {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            if net.live.get() == calls
                && let Some(reading) = self.read().await
                && self.before.is_some_and(|before| before.started_at == reading.started_at)
            {
                let mut most = self.most_resident.borrow_mut();
                *most = Some(most.unwrap_or_default().max(reading.resident_bytes));
            }
        }
    }

    /// Seconds of CPU since the start, and KiB for each of `calls`; none for what is not known.
    pub async fn finish(&self, calls: usize) -> (Option<f64>, Option<f64>) {
        let after = self.read().await;
        let cpu = self.before.zip(after).and_then(|(before, after)| after.cpu_since(before));
        let most = *self.most_resident.borrow();
        let bytes = self.before.zip(most).map(|(before, most)| most - before.resident_bytes);
        let bytes = bytes.filter(|bytes| *bytes >= 0.0);
        (cpu, bytes.map(|bytes| bytes / 1024.0 / calls.max(1) as f64))
    }

    /// Seconds of CPU that the bridge has used so far, if it tells.
    pub async fn cpu_seconds(&self) -> Option<f64> {
        self.read().await.map(|reading| reading.cpu_seconds)
    }

    async fn read(&self) -> Option<Reading> {
        let mut response = self.client.get(self.url.as_str()).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let page = response.body().limit(MAX_PAGE_BYTES).await.ok()?;
        Reading::of(&MetricsPage::new(String::from_utf8(page.into()).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_metrics_are_found_among_the_others() {
        let page = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25\n\
                    process_resident_memory_bytes 1.5e7 1700000000\nother 1\n";
        let reading = |page: &str| Reading::of(&MetricsPage::new(page.to_owned()));
        assert_eq!(
            reading(page),
            Some(Reading { cpu_seconds: 1.25, resident_bytes: 15_000_000.0, started_at: None })
        );
        assert_eq!(reading("process_cpu_seconds_total 1\n"), None);
    }

    #[test]
    fn the_cpu_of_two_processes_is_not_subtracted() {
        let of = |cpu_seconds, started_at| Reading { cpu_seconds, resident_bytes: 1.0, started_at };
        let before = of(2.0, Some(100.0));
        assert_eq!(of(2.5, Some(100.0)).cpu_since(before), Some(0.5));
        assert_eq!(of(2.5, Some(101.0)).cpu_since(before), None, "another process answered");
        assert_eq!(of(0.5, Some(100.0)).cpu_since(before), None);
    }
}
