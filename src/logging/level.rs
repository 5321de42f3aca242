//! What is logged, changed while the program runs. A change lasts for some minutes, so that nobody forgets a
//! log that says too much.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, Registry};

/// A longer filter is refused.
const LONGEST: usize = 500;
/// Our own crates. A level such as `debug` is for them alone: the libraries' would drown it.
const OURS: [&str; 3] = ["switchboard", "actors", "call_control"];
/// It logs the values of queries, which have callers' numbers in them.
const TELLS_VALUES: &str = "tokio_postgres";

static LEVEL: OnceLock<Level> = OnceLock::new();

struct Level {
    handle: Handle<EnvFilter, Registry>,
    /// As at the start.
    base: String,
    change: Mutex<Change>,
}

/// The change that holds, and how many there were.
#[derive(Default)]
struct Change {
    number: u64,
    now: Option<(String, DateTime<Utc>)>,
}

/// What is logged now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub filter: String,
    /// When the filter of the start holds again; none if it does.
    pub until: Option<DateTime<Utc>>,
    /// Which change this is.
    pub number: u64,
}

/// Why nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotChanged {
    /// It is no level and no filter, or one that would log callers' numbers.
    BadFilter,
    /// This process does not log by a filter.
    NoLog,
}

/// The log begins, with this filter.
pub(super) fn begin(handle: Handle<EnvFilter, Registry>, filter: &str) {
    let level = Level { handle, base: filter.to_owned(), change: Mutex::default() };
    let _ = LEVEL.set(level);
}

/// What is logged now; none if this process does not log by a filter.
pub fn logged() -> Option<Logged> {
    let level = LEVEL.get()?;
    Some(level.logged(&level.lock()))
}

/// Logs by this level or filter, for so long. Whoever changed it calls [`back`] then.
///
/// # Errors
/// It is not changed.
pub fn change(text: &str, lasts: Duration) -> Result<Logged, NotChanged> {
    let level = LEVEL.get();
    let base = level.map_or("info", |level| &level.base);
    let (filter, parsed) = filter(base, text).ok_or(NotChanged::BadFilter)?;
    let level = level.ok_or(NotChanged::NoLog)?;
    let mut change = level.lock();
    level.handle.reload(parsed).map_err(|_| NotChanged::NoLog)?;
    change.number += 1;
    change.now = Some((filter, Utc::now() + lasts));
    Ok(level.logged(&change))
}

/// Logs as at the start again, unless there was another change after this one.
pub fn back(number: u64) {
    let Some(level) = LEVEL.get() else { return };
    let mut change = level.lock();
    if change.number != number || change.now.is_none() {
        return;
    }
    if level.handle.reload(EnvFilter::new(&level.base)).is_ok() {
        change.now = None;
        drop(change);
        tracing::info!(filter = level.base, "the log says again what it said at the start");
    }
}

impl Level {
    fn lock(&self) -> MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logged(&self, change: &Change) -> Logged {
        let (filter, until) = match &change.now {
            Some((filter, until)) => (filter.clone(), Some(*until)),
            None => (self.base.clone(), None),
        };
        Logged { filter, until, number: change.number }
    }
}

/// The filter for a level or a filter that somebody wants. None: it is neither.
fn filter(base: &str, text: &str) -> Option<(String, EnvFilter)> {
    let text = text.trim().to_ascii_lowercase();
    let filter = match text.as_str() {
        "error" | "warn" | "info" => text,
        "debug" | "trace" => {
            let ours = OURS.map(|name| format!(",{name}={text}")).concat();
            format!("{base}{ours}")
        }
        filter if is_harmless(filter) => format!("{text},{TELLS_VALUES}=info"),
        _ => return None,
    };
    let parsed = EnvFilter::try_new(&filter).ok()?;
    Some((filter, parsed))
}

fn is_harmless(filter: &str) -> bool {
    let has_size = (1..=LONGEST).contains(&filter.len());
    has_size && filter.chars().all(|c| c.is_ascii_graphic()) && !filter.contains(TELLS_VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        filter("info,actix=warn", text).map(|(filter, _)| filter)
    }

    #[test]
    fn a_level_is_for_our_own_crates_and_less_than_usual_is_for_all() {
        assert_eq!(
            of("debug").as_deref(),
            Some("info,actix=warn,switchboard=debug,actors=debug,call_control=debug")
        );
        assert_eq!(of(" WARN ").as_deref(), Some("warn"));
    }

    #[test]
    fn a_filter_is_taken_unless_it_is_wrong_or_would_log_the_values_of_queries() {
        assert_eq!(of("warn,actors::db=debug").as_deref(), Some("warn,actors::db=debug,tokio_postgres=info"));
        assert_eq!(of("debug,actors=loud"), None);
        assert_eq!(of("actors=debug,tokio_postgres::query=debug"), None);
        for wrong in ["", "a b", "warn\ninfo", "=", &"a".repeat(501)] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
