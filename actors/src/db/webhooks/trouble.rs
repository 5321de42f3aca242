//! What the worker's errors are worth in the log: each change once, by kind.

use std::mem::discriminant;

use crate::db::connect::error::DbError;

/// The worker's last error, if its last turn failed.
#[derive(Default)]
pub(super) struct Trouble(Option<DbError>);

/// What a turn's result adds to the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// The database refuses the worker's queries. No webhook is processed until somebody mends that.
    Refused,
    /// The database does not answer, or is busy. The worker waits.
    Waits,
    Over,
}

impl Trouble {
    /// Compares the result of a turn with the one before.
    pub(super) fn learn<T>(&mut self, turn: &Result<T, DbError>) -> News {
        let before = self.0.take();
        let Err(error) = turn else {
            return if before.is_some() { News::Over } else { News::None };
        };
        let is_known = before.is_some_and(|before| match (&before, error) {
            (DbError::Refused(before), DbError::Refused(now)) => before == now,
            // The text of an outage changes while it lasts.
            (before, now) => discriminant(before) == discriminant(now),
        });
        self.0 = Some(error.clone());
        match error {
            _ if is_known => News::None,
            DbError::Refused(_) => News::Refused,
            DbError::Unavailable(_) | DbError::Busy(_) => News::Waits,
        }
    }

    /// Whether the last turn was refused: no webhook is processed until somebody mends that.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.0, Some(DbError::Refused(_)))
    }

    /// The same, and logs the change.
    pub(super) fn note<T>(&mut self, turn: &Result<T, DbError>) {
        match (self.learn(turn), turn) {
            (News::Refused, Err(error)) => tracing::error!(%error, "webhooks cannot be processed"),
            (News::Waits, Err(error)) => tracing::warn!(%error, "webhooks wait to be processed"),
            (News::Over, _) => tracing::info!("webhooks are processed again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(cause: &str) -> Result<(), DbError> {
        Err(DbError::Refused(cause.to_owned()))
    }

    fn away(cause: &str) -> Result<(), DbError> {
        Err(DbError::Unavailable(cause.to_owned()))
    }

    #[test]
    fn a_refusal_is_an_error_once_per_cause_and_an_outage_is_said_once() {
        let mut trouble = Trouble::default();
        let turns = [
            (Ok(()), News::None),
            (refused("42501 permission denied for table webhooks"), News::Refused),
            (refused("42501 permission denied for table webhooks"), News::None),
            (refused("42P01 relation \"webhooks\" does not exist"), News::Refused),
            (away("no answer within 2s"), News::Waits),
            (away("connection refused"), News::None),
            (refused("42P01 relation \"webhooks\" does not exist"), News::Refused),
            (Ok(()), News::Over),
            (Ok(()), News::None),
        ];
        for (turn, news) in turns {
            assert_eq!(trouble.learn(&turn), news, "{turn:?}");
            assert_eq!(trouble.is_refusal(), matches!(turn, Err(DbError::Refused(_))), "{turn:?}");
        }
    }
}
