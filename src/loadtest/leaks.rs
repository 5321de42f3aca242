//! Whether a program that was loaded again and again keeps something of it: what it holds when nobody calls,
//! after the first round and after the last.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::time::{Instant, sleep};

use super::judge;
use super::result::{Check, Scenario};
use super::target::Target;
use crate::sim::metrics_page::MetricsPage;

/// How long it may take until nothing of a round is left.
const RESTS_WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// For so long no connection has ended: longer than either side keeps one that nobody uses.
const STEADY_FOR: Duration = Duration::from_secs(6);
/// Memory that a process may have more, in percent: pages that are touched once, buffers that grow to what
/// they need.
const MEMORY: [f64; 2] = [20.0, 50.0];
/// Sockets and files that may be open by chance, and threads and tasks that see to them.
const DESCRIPTORS: [f64; 2] = [5.0, 50.0];

/// What a process holds when it has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtRest {
    /// Seconds since the Unix epoch: another one is another process.
    started: f64,
    memory_bytes: f64,
    /// Without those of the database's pool, which comes and goes.
    descriptors: f64,
    threads: f64,
    /// Without the drivers of those connections.
    tasks: f64,
    actors: f64,
    slots: f64,
    /// Webhooks and records that wait to be processed.
    pending: f64,
}

/// Waits until no call and no webhook is left; a minute at most.
///
/// # Errors
/// As [`AtRest::of`].
pub async fn rests(target: &Target) -> anyhow::Result<()> {
    looked(target, AtRest::is_idle).await.map(drop)
}

/// Looks until `is_settled`, a minute at most; answers the last look.
async fn looked(target: &Target, mut is_settled: impl FnMut(&AtRest) -> bool) -> anyhow::Result<AtRest> {
    let deadline = Instant::now() + RESTS_WITHIN;
    loop {
        let look = match target.metrics().await {
            Ok(page) => AtRest::read(&page).context("/metrics lacks what a process holds"),
            Err(cause) => Err(anyhow!("/metrics: {cause}")),
        };
        if Instant::now() > deadline || look.as_ref().is_ok_and(&mut is_settled) {
            return look;
        }
        sleep(LOOKS_EVERY).await;
    }
}

impl AtRest {
    /// Waits until no call and no webhook is left, and until connections have ended that nobody uses, such as
    /// those that brought the load. After a minute it is as it is.
    ///
    /// # Errors
    /// The program does not tell its metrics, all that time.
    pub async fn of(target: &Target) -> anyhow::Result<Self> {
        let (mut fewest, mut since) = (f64::INFINITY, Instant::now());
        looked(target, |look| {
            if look.descriptors < fewest {
                (fewest, since) = (look.descriptors, Instant::now());
            }
            look.is_idle() && since.elapsed() >= STEADY_FOR
        })
        .await
    }

    fn is_idle(&self) -> bool {
        self.slots == 0.0 && self.pending == 0.0
    }

    fn read(page: &MetricsPage) -> Option<Self> {
        let metric = |name| page.sum(name, &[]);
        let pool = metric("switchboard_db_pool_connections").unwrap_or_default();
        Some(Self {
            started: metric("process_start_time_seconds")?,
            memory_bytes: metric("process_resident_memory_bytes")?,
            descriptors: metric("process_open_fds")? - pool,
            threads: metric("process_threads")?,
            tasks: metric("switchboard_tasks_live")? - pool,
            actors: metric("switchboard_actors_live")?,
            slots: metric("switchboard_calls_active")? + metric("switchboard_calls_reserved")?,
            pending: page.count("switchboard_webhooks_pending", &[])
                + page.count("switchboard_db_queue_depth", &[]),
        })
    }
}

/// What is more after the last of `rounds` than after the first one.
pub fn judged(rounds: u32, first: AtRest, last: AtRest) -> Scenario {
    let growth = (last.memory_bytes / first.memory_bytes.max(1.0) - 1.0) * 100.0;
    let anew = if last.started == first.started { 0.0 } else { 1.0 };
    let checks = vec![
        Check::new("times it was started anew", Some(anew), "", 0.0, 0.0),
        Check::new("memory more than after the first round", Some(growth), "%", MEMORY[0], MEMORY[1]),
        Check::new(
            "file descriptors more",
            Some(last.descriptors - first.descriptors),
            "",
            DESCRIPTORS[0],
            DESCRIPTORS[1],
        ),
        Check::new("threads more", Some(last.threads - first.threads), "", DESCRIPTORS[0], DESCRIPTORS[1]),
        Check::new("tasks more", Some(last.tasks - first.tasks), "", DESCRIPTORS[0], DESCRIPTORS[1]),
        Check::new("actors more", Some(last.actors - first.actors), "", 0.0, DESCRIPTORS[1]),
        Check::new("slots still held", Some(last.slots), "", 0.0, 0.0),
    ];
    Scenario {
        name: "leaks".to_owned(),
        task: format!("what the process holds at rest after {rounds} rounds: no more than after the first"),
        verdict: judge::worst(&checks),
        checks,
        ..Scenario::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::result::Verdict;

    fn text(memory: u32, fds: u32, active: u32) -> String {
        format!(
            "process_start_time_seconds 1.7e9\nprocess_resident_memory_bytes {memory}\nprocess_open_fds {fds}\n\
             process_threads 5\nswitchboard_tasks_live 30\nswitchboard_actors_live{{actor=\"db\"}} 1\n\
             switchboard_calls_active {active}\nswitchboard_calls_reserved 0\nswitchboard_db_pool_connections 10\n"
        )
    }

    fn page(memory: u32, fds: u32, active: u32) -> AtRest {
        AtRest::read(&MetricsPage::new(text(memory, fds, active))).unwrap()
    }

    #[test]
    fn what_grows_between_the_first_round_and_the_last_is_a_leak() {
        let first = page(100, 40, 0);
        let verdict = |last| judged(2, first, last).verdict;
        assert_eq!(verdict(page(110, 44, 0)), Verdict::Fine);
        assert_eq!(verdict(page(130, 40, 0)), Verdict::Warning);
        assert_eq!(verdict(page(100, 60, 0)), Verdict::Warning);
        assert_eq!(verdict(page(100, 40, 1)), Verdict::Critical);
        assert_eq!(verdict(AtRest { tasks: 40.0, ..first }), Verdict::Warning);
        assert_eq!(verdict(AtRest { actors: 2.0, ..first }), Verdict::Warning);
    }

    #[test]
    fn a_program_that_was_started_anew_is_not_leaner() {
        let first = page(100, 40, 0);
        let fresh = AtRest { started: first.started + 60.0, ..page(50, 20, 0) };
        assert_eq!(judged(2, first, fresh).verdict, Verdict::Critical);
    }

    #[test]
    fn what_is_not_told_is_not_nothing() {
        let text = text(100, 40, 0).replace("switchboard_actors_live", "other");
        assert_eq!(AtRest::read(&MetricsPage::new(text)), None);
    }
}
