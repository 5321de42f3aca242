//! What the database knows of a call that this process does not: what was decided, and what was said.

use std::time::Duration;

use actors::backoff::jittered;
use actors::call::flow::resume::{self, Written};
use actors::call::history::Past;
use actors::db::record::NextStep;
use actors::db::{Db, DbError};
use actors::wire::twilio::sid::CallSid;
use chrono::Utc;
use tokio::time::{Instant, sleep};

/// So long the database is asked; then the history and the registry need the rest of the time that Twilio
/// waits.
const ASKED_FOR: Duration = Duration::from_millis(1_500);
/// The pause before it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What another process decided. An error is not 'nothing': it is asked again. A database that stays away
/// does not keep the caller from the agent.
pub(crate) async fn decided(
    call_sid: CallSid,
    ask: impl AsyncFn() -> Result<Option<NextStep>, DbError>,
) -> Option<NextStep> {
    let until = Instant::now() + ASKED_FOR;
    loop {
        match ask().await {
            Ok(decided) => return decided,
            Err(error) if Instant::now() + ASK_AGAIN_AFTER >= until => {
                tracing::error!(call.sid = %call_sid, %error, "a call goes on, though it may have been decided otherwise");
                return None;
            }
            Err(_) => sleep(jittered(ASK_AGAIN_AFTER, rand::random())).await,
        }
    }
}

/// What was said in the call, as far as it is written or spooled here. `last_epoch` is that of its last
/// stream, where Twilio names it.
pub(crate) async fn past(db: &Db, call_sid: CallSid, last_epoch: Option<u32>) -> Past {
    let written = db.doors().history(call_sid).await.unwrap_or_else(|error| {
        tracing::warn!(call.sid = %call_sid, %error, "a call goes on without its history");
        Written::default()
    });
    resume::past(written, last_epoch, Utc::now())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn call_sid() -> CallSid {
        "CA00000000000000000000000000000001".parse().unwrap()
    }

    #[tokio::test]
    async fn a_decision_that_cannot_be_read_at_once_is_asked_for_again() {
        let asked = Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 {
                Err(DbError::Unavailable("away".to_owned()))
            } else {
                Ok(Some(NextStep::Human))
            }
        };
        assert_eq!(decided(call_sid(), ask).await, Some(NextStep::Human));
        assert_eq!(decided(call_sid(), async || Ok(None)).await, None);
    }

    #[tokio::test]
    async fn a_database_that_stays_away_does_not_keep_the_caller_waiting() {
        assert_eq!(decided(call_sid(), async || Err(DbError::Unavailable("away".to_owned()))).await, None);
    }
}
