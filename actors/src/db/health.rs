//! What is known of the database without asking it: whether it answers, and whether its schema fits this program.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::DbError;

/// Whether the database answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbHealth {
    Healthy,
    /// It does not, and why.
    Unavailable(String),
}

/// How the database's schema compares with the one this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// The database was not reached yet.
    Unknown,
    /// These migrations have not been applied.
    Older {
        missing: Vec<String>,
    },
    Fits,
    /// All known migrations have been applied, and others: a later version of this program was here.
    Newer,
}

/// Both, as last seen.
pub(super) struct Seen(Mutex<(DbHealth, SchemaState)>);

impl Seen {
    pub(super) fn new() -> Self {
        let health = DbHealth::Unavailable("the database was not reached yet".to_owned());
        Self(Mutex::new((health, SchemaState::Unknown)))
    }

    pub(super) fn health(&self) -> DbHealth {
        self.lock().0.clone()
    }

    pub(super) fn schema(&self) -> SchemaState {
        self.lock().1.clone()
    }

    pub(super) fn schema_is(&self, schema: SchemaState) {
        self.lock().1 = schema;
    }

    /// Learns from how a query went. Returns true when it shows that the database is back.
    pub(super) fn learn<T>(&self, result: &Result<T, DbError>) -> bool {
        let now = match result {
            Ok(_) | Err(DbError::Refused(_)) => DbHealth::Healthy,
            Err(DbError::Unavailable(cause)) => DbHealth::Unavailable(cause.clone()),
            Err(DbError::Busy(_)) => return false, // says nothing of the database
        };
        let mut seen = self.lock();
        let before = std::mem::replace(&mut seen.0, now);
        match (&before, &seen.0) {
            (DbHealth::Unavailable(_), DbHealth::Healthy) => {
                tracing::info!("the database answers");
                true
            }
            (DbHealth::Healthy, DbHealth::Unavailable(cause)) => {
                tracing::warn!(cause, "the database is unavailable");
                false
            }
            _ => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (DbHealth, SchemaState)> {
        // Both halves are replaced whole: a panic elsewhere cannot leave them half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_busy_pool_says_nothing_of_the_database_and_a_refusal_proves_it_alive() {
        let seen = Seen::new();
        assert!(seen.learn::<()>(&Err(DbError::Refused("42P01".to_owned()))));
        assert!(!seen.learn::<()>(&Err(DbError::Busy(Duration::ZERO))));
        assert_eq!(seen.health(), DbHealth::Healthy);
        assert!(!seen.learn::<()>(&Err(DbError::Unavailable("gone".to_owned()))));
        assert_eq!(seen.health(), DbHealth::Unavailable("gone".to_owned()));
        assert!(seen.learn(&Ok(())));
    }
}
