//! Records that the database refused are asked about again while the process runs: a constraint, a trigger or
//! a version of the schema may have changed meanwhile.
//!
//! They are written beside the queue and the spool, one at a time, so one that is refused again holds nobody
//! up.

use std::slice;
use std::time::Duration;

use call_control::backoff::Backoff;
use tokio::time::sleep;

use super::spool::SpoolFailure;
use super::writer::{DEADLINE, Failed, fly};
use crate::db::Shared;

/// The first round, and each one after one that wrote something, comes after this; the pause doubles up to
/// the longest.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(60), Duration::from_secs(15 * 60));
/// So many are asked about in one round; the next round goes on behind them.
const ROUND: usize = 1_000;
/// So many are read at once.
const CHUNK: usize = 100;

/// How a round went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::db) struct Round {
    pub(in crate::db) written: usize,
    pub(in crate::db) refused: usize,
}

/// Tries again for ever.
pub(super) async fn try_again(shared: &Shared) {
    let (mut backoff, mut from) = (BACKOFF, 0);
    let mut pause = backoff.pause(rand::random());
    loop {
        sleep(pause).await;
        match round(shared, &mut from).await {
            Ok(round) => pause = pause_after(round, &mut backoff, rand::random()),
            Err(failure) => tracing::warn!(%failure, "refused records are not tried again yet"),
        }
    }
}

/// Nothing, or nothing more, is refused: the next one that is set aside need not wait for long.
fn pause_after(round: Round, backoff: &mut Backoff, spread: f64) -> Duration {
    if round.written > 0 || round.refused == 0 {
        backoff.reset();
    }
    backoff.pause(spread)
}

/// Asks the database about the next refused records, from this order number on; ends early while it takes
/// nothing.
pub(in crate::db) async fn round(shared: &Shared, from: &mut u64) -> Result<Round, SpoolFailure> {
    let mut round = Round::default();
    if shared.spool.backlog().refused == 0 {
        return Ok(round);
    }
    while round.written + round.refused < ROUND {
        let chunk = shared.spool.refused(*from, CHUNK).await?;
        let (mut written, mut is_over) = (Vec::new(), chunk.len() < CHUNK);
        *from = if is_over { 0 } else { chunk.last().map_or(0, |(order, _)| order + 1) };
        for (order, record) in &chunk {
            match fly(shared, slice::from_ref(record), DEADLINE).await {
                Ok(()) => written.push(*order),
                Err(Failed::Record(_) | Failed::Refused(_)) => round.refused += 1,
                Err(Failed::Database(_)) => {
                    (*from, is_over) = (*order, true);
                    break;
                }
            }
        }
        if !written.is_empty() {
            round.written += written.len();
            tracing::info!(records = written.len(), "records that the database had refused are written");
            shared.inbox.wake_the_worker(); // there may have been webhooks among them
            shared.spool.drop_refused(written).await?;
        }
        if is_over {
            break;
        }
    }
    Ok(round)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_records_are_tried_less_and_less_often_until_one_is_taken() {
        let mut backoff = BACKOFF;
        assert_eq!(backoff.pause(1.0).as_secs(), 60);
        let mut after =
            |written, refused| pause_after(Round { written, refused }, &mut backoff, 1.0).as_secs() / 60;
        assert_eq!([(); 5].map(|()| after(0, 3)), [2, 4, 8, 15, 15]);
        assert_eq!(after(1, 2), 1);
        assert_eq!(after(0, 2), 2);
        assert_eq!(after(0, 0), 1);
    }
}
