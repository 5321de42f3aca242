//! Places deep in the log, remembered for a while.
//!
//! To skip 50,000 calls takes some milliseconds of the database, however good the index. Whoever turns pages
//! by number sees calls shift from page to page anyway as others come in; by a memory of ten seconds they
//! shift a little later. From a place that is known the way to the next one is short.

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
    known: Known,
}

/// The place of the call behind so many.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) skipped: i64,
    pub(super) place: Place,
    /// When it was so; of a place that was found from another one, when that was so.
    pub(super) at: Instant,
}

impl Remembered {
    fn is_of(&self, query: &CallQuery) -> bool {
        self.known.is_fresh() && self.sort == query.start.sort() && self.filter == query.filter
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < REMEMBERED_FOR
    }
}

impl Places {
    /// The last known place of a call behind so many or fewer.
    pub(super) fn recall(&self, query: &CallQuery, skipped: i64) -> Option<Known> {
        let places = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = places.iter().filter(|place| place.is_of(query)).map(|place| place.known);
        known.filter(|known| known.skipped <= skipped).max_by_key(|known| known.skipped)
    }

    /// A place that is not deep, or among the matches of a search, is not remembered.
    pub(super) fn remember(&self, query: &CallQuery, known: Known) {
        if known.skipped < DEEP || query.filter.words.is_some() {
            return;
        }
        let mut places = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        places.retain(|place| {
            place.known.is_fresh() && !(place.is_of(query) && place.known.skipped == known.skipped)
        });
        if places.len() == CAPACITY {
            places.remove(0);
        }
        places.push(Remembered { filter: query.filter.clone(), sort: query.start.sort(), known });
    }
}
