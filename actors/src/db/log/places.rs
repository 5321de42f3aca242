//! Places deep in the log, remembered for a while.
//!
//! To skip 50,000 calls takes some milliseconds of the database, however good the index. Whoever turns pages by number
//! sees calls shift from page to page anyway as others come in; by a memory of ten seconds they shift a little later.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::query::{CallFilter, CallQuery, Place, Sort};

/// What is not so far in is found anew each time.
const DEEP: i64 = 5_000;
/// So many places at most; the oldest goes.
const CAPACITY: usize = 64;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// The places that are remembered.
#[derive(Default)]
pub(in crate::db) struct Places(Mutex<Vec<Remembered>>);

struct Remembered {
    filter: CallFilter,
    sort: Sort,
    skipped: i64,
    place: Place,
    at: Instant,
}

impl Remembered {
    fn is_of(&self, query: &CallQuery, skipped: i64) -> bool {
        self.skipped == skipped && self.sort == query.start.sort() && self.filter == query.filter
    }
}

impl Places {
    /// The place of the call behind so many, if it is known.
    pub(super) fn recall(&self, query: &CallQuery, skipped: i64) -> Option<Place> {
        let known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = known.iter().find(|known| known.is_of(query, skipped))?;
        (known.at.elapsed() < REMEMBERED_FOR).then_some(known.place)
    }

    /// A place that is not deep, or among the matches of a search, is not remembered.
    pub(super) fn remember(&self, query: &CallQuery, skipped: i64, place: Place) {
        if skipped < DEEP || query.filter.words.is_some() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|known| known.at.elapsed() < REMEMBERED_FOR && !known.is_of(query, skipped));
        if known.len() == CAPACITY {
            known.remove(0);
        }
        let (filter, sort) = (query.filter.clone(), query.start.sort());
        known.push(Remembered { filter, sort, skipped, place, at: Instant::now() });
    }
}
