//! The worker: leases webhooks that are due, applies them, and marks them as done; one that fails is tried
//! again later, and given up in the end.
//!
//! A task on the database's own runtime, started by
//! [`Db::process_webhooks`](crate::db::Db::process_webhooks); it ends with the last handle. Workers of
//! several instances share the table. It owns nothing: after a panic, or the death of its process, what it
//! had leased is due again when the lease is over, and doing it twice changes nothing. It is woken when this
//! process has stored something, and looks by itself every second or two for what others left, since a
//! transaction pooler carries no notifications.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use call_control::backoff::{Backoff, jittered};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::metrics::Processed;
use super::table::{self, Leased};
use super::trouble::Trouble;
use super::{Route, apply, backlog};
use crate::db::connect::error::{DbError, Fault};
use crate::db::{Shared, spans};

/// So many are leased at once.
const BATCH: i64 = 200;
/// For so long they are ours. A batch takes some milliseconds; after a death the others wait so long.
const LEASE: Duration = Duration::from_secs(5);
/// A flight that takes longer is given up, and flown again.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long an idle worker sleeps at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pauses while the database is away.
const AWAY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// So often a webhook is tried: for about three minutes.
const ATTEMPTS: u32 = 10;
/// The pauses before the second attempt and each further one.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
/// The pause before a webhook is tried again that the database refused for a reason of its own.
const POSTPONED: Duration = Duration::from_secs(5);
/// After a panic, so that one that repeats itself is not a busy loop.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often it is counted what is left to do.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// Works until the last handle is gone.
pub(in crate::db) async fn run(shared: Arc<Shared>, mut handles: watch::Receiver<()>) {
    loop {
        let panicked = AssertUnwindSafe(work(&shared)).catch_unwind();
        tokio::select! {
            _ = handles.changed() => return,
            _ = panicked => tracing::error!("the worker of the webhooks panicked"),
        }
        sleep(RESTART_PAUSE).await;
    }
}

async fn work(shared: &Shared) {
    let mut away = AWAY;
    let mut count_at = Instant::now();
    let mut trouble = Trouble::default();
    loop {
        let turn = async {
            if Instant::now() >= count_at {
                count(shared).await?;
                count_at = Instant::now() + COUNT_EVERY;
            }
            take_turn(shared).await
        };
        let turn = turn.await;
        trouble.note(&turn.as_ref().map_err(Clone::clone).and_then(Turn::outcome));
        shared.refuses_webhooks.store(trouble.is_refusal(), Ordering::Relaxed);
        match turn {
            Ok(Turn { leased: 0, .. }) => {
                let _ = timeout(jittered(LOOK_EVERY, rand::random()), shared.inbox.stored()).await;
                away.reset();
            }
            Ok(_) => away.reset(),
            Err(_) => sleep(away.pause(rand::random())).await,
        }
    }
}

async fn count(shared: &Shared) -> Result<(), DbError> {
    let backlog = shared
        .ask("count_webhooks", DEADLINE, async |connection| Ok(backlog::count(connection).await?))
        .await?;
    shared.webhooks.backlog(&backlog);
    Ok(())
}

/// What came of a look at the table.
struct Turn {
    /// So many were due.
    leased: usize,
    /// Why some of them wait again although nothing is wrong with them.
    postponed: Option<DbError>,
}

impl Turn {
    fn outcome(&self) -> Result<(), DbError> {
        self.postponed.clone().map_or(Ok(()), Err)
    }
}

/// Leases and processes what is due.
async fn take_turn(shared: &Shared) -> Result<Turn, DbError> {
    let until = Instant::now() + LEASE;
    let mut leased = shared
        .ask("lease_webhooks", DEADLINE, async |connection| Ok(table::lease(connection, BATCH, LEASE).await?))
        .await?;
    let mut turn = Turn { leased: leased.len(), postponed: None };
    // Two workers meet in the same order, so that they wait for each other only once.
    leased.sort_by(|a, b| a.webhook.place().cmp(&b.webhook.place()));
    let mut rest = leased.as_slice();
    let mut away = AWAY;
    while !rest.is_empty() {
        let group = &rest[..group_len(rest)];
        match process(shared, group).await {
            Ok(postponed) => {
                turn.postponed = turn.postponed.or(postponed);
                rest = &rest[group.len()..];
            }
            // What is leased stays ours for a while: the database may be back by then.
            Err(error) => {
                let pause = away.pause(rand::random());
                if Instant::now() + pause >= until {
                    return Err(error);
                }
                sleep(pause).await;
            }
        }
    }
    Ok(turn)
}

/// How many of the first are processed together: all, except that a recording is alone. It locks the row of
/// its call, and so, often, does a live call's writer: with two such rows in one transaction they could wait
/// for each other.
fn group_len(leased: &[Leased]) -> usize {
    let is_alone = |one: &Leased| one.webhook.route == Route::RecordingStatus;
    leased.iter().position(is_alone).unwrap_or(leased.len()).max(1)
}

/// All in one transaction; if the database refuses that, each in its own, so that only the one at fault
/// fails. Those that the database refuses for a reason of its own are postponed: that reason is returned.
async fn process(shared: &Shared, group: &[Leased]) -> Result<Option<DbError>, DbError> {
    let refused = match process_together(shared, group).await {
        Ok(()) => return Ok(None),
        // A database that is away, or takes no writes, takes none of them.
        Err(error) if !matches!(error, DbError::Refused(_)) || error.says_read_only() => return Err(error),
        Err(error) => error,
    };
    let (mut postponed, mut cause) = (Vec::new(), None);
    for one in group {
        let result = match group.len() {
            1 => Err(refused.clone()),
            _ => process_together(shared, std::slice::from_ref(one)).await,
        };
        match result {
            Ok(()) => {}
            Err(error) if error.fault() == Fault::Server => {
                postponed.push(one.id);
                cause = Some(error);
            }
            Err(error) => fail(shared, one, error).await?,
        }
    }
    if let Some(cause) = &cause {
        let statement =
            [table::postponed(&postponed, &cause.to_string(), jittered(POSTPONED, rand::random()))?];
        let flight = shared.ask("postpone_webhooks", DEADLINE, async |connection| {
            Ok(connection.execute_together(&statement).await?)
        });
        flight.await?;
    }
    Ok(cause)
}

async fn process_together(shared: &Shared, group: &[Leased]) -> Result<(), DbError> {
    let mut statements = Vec::with_capacity(2 * group.len() + 2);
    statements.push(table::in_no_hurry()?);
    for leased in group {
        statements.extend(apply::statements(&leased.webhook)?);
    }
    statements.push(table::done(&group.iter().map(|leased| leased.id).collect::<Vec<_>>())?);
    let flight = shared.ask("process_webhooks", DEADLINE, async |connection| {
        Ok(connection.execute_together(&statements).await?)
    });
    let spans = group.iter().map(|leased| spans::processing(&leased.webhook)).collect();
    spans::flown(spans, flight).await?;
    group.iter().for_each(|leased| shared.webhooks.processed(&leased.webhook, Processed::Done));
    Ok(())
}

/// It is tried again later, or given up.
async fn fail(shared: &Shared, leased: &Leased, error: DbError) -> Result<(), DbError> {
    let DbError::Refused(cause) = error else { return Err(error) };
    let span = spans::processing(&leased.webhook);
    let pause = BACKOFF.pause_after(leased.attempts.saturating_sub(1), rand::random());
    let statement = [table::failed(leased.id, &cause, ATTEMPTS, pause)?];
    let flight = shared.ask("fail_webhook", DEADLINE, async |connection| {
        Ok(connection.execute_together(&statement).await?)
    });
    flight.await?;
    let (id, attempts, route) = (leased.id, leased.attempts, leased.webhook.route.as_str());
    if attempts >= ATTEMPTS {
        tracing::error!(
            parent: &span, id, route, cause, "a webhook is given up: see `switchboard ops dead-letters`"
        );
        shared.webhooks.processed(&leased.webhook, Processed::Dead);
    } else {
        tracing::warn!(parent: &span, id, route, attempts, cause, "a webhook cannot be processed yet");
        shared.webhooks.processed(&leased.webhook, Processed::Failed);
    }
    Ok(())
}
