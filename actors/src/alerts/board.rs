//! The alerts of this process, in memory: they are known while the database is away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use call_control::alerts::{Change, Severity, Turn, position, text};
use chrono::{DateTime, Utc};

use crate::db::{Acknowledged, AlertRow};

/// So many alerts that are over are remembered until they are stored; the oldest gives way.
const MOST_PAST: usize = 64;

/// A cheap clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    /// At most one a rule.
    open: Vec<Entry>,
    past: VecDeque<Entry>,
}

struct Entry {
    row: AlertRow,
    /// Grows with each change.
    version: u64,
    stored: u64,
    /// It was critical, and told so.
    was_urgent: bool,
    /// A person was told of it, by this instance or another.
    is_known: bool,
    /// The acknowledgement was passed on.
    has_passed: bool,
    /// Other instances do not know of the acknowledgement.
    is_unshared: bool,
}

/// An alert after a change, for those who tell of it.
pub(super) struct Told {
    pub(super) row: AlertRow,
    /// It was critical, and told so, at some time.
    pub(super) was_urgent: bool,
}

impl Board {
    /// The open alerts, the newest first.
    pub fn open(&self) -> Vec<AlertRow> {
        let mut rows: Vec<_> = self.lock().open.iter().map(|entry| entry.row.clone()).collect();
        rows.sort_by(|one, other| other.id.cmp(&one.id));
        rows
    }

    /// Somebody takes care of the alert of this rule, if one is open.
    pub fn acknowledge_rule(&self, rule: &str, who: &str, at: DateTime<Utc>) {
        if let Some(entry) = self.lock().open.iter_mut().find(|entry| entry.row.rule == rule) {
            entry.acknowledge(at, who);
        }
    }

    /// Somebody takes care of an alert. None: no open alert has the identifier.
    pub fn acknowledge(&self, id: &str, who: &str, at: DateTime<Utc>) -> Option<AlertRow> {
        let mut entries = self.lock();
        let entry = entries.open.iter_mut().find(|entry| entry.row.id == id)?;
        entry.acknowledge(at, who);
        Some(entry.row.clone())
    }

    /// The database did not take the acknowledgement of an alert: it does later, also for the alerts of other
    /// instances.
    pub fn share_later(&self, id: &str) {
        if let Some(entry) = self.lock().entry(id) {
            entry.is_unshared = true;
        }
    }

    /// The open alerts whose acknowledgement the database has not taken, and who acknowledged each.
    pub(super) fn unshared(&self) -> Vec<(String, String)> {
        let entries = self.lock();
        let unshared = entries.open.iter().filter(|entry| entry.is_unshared);
        let who = |entry: &Entry| entry.row.acknowledged_by.clone().unwrap_or_default();
        unshared.map(|entry| (entry.row.id.clone(), who(entry))).collect()
    }

    /// The database has taken it.
    pub(super) fn shared(&self, id: &str) {
        if let Some(entry) = self.lock().entry(id) {
            entry.is_unshared = false;
        }
    }

    /// The same, as the database has it.
    pub(super) fn acknowledged(&self, known: &[Acknowledged]) {
        let mut entries = self.lock();
        for Acknowledged { id, at, by } in known {
            // One that has got worse since is stored first: it needs another acknowledgement.
            let is_stored = |entry: &Entry| entry.stored >= entry.version;
            let open = entries.open.iter_mut().find(|entry| entry.row.id == *id && is_stored(entry));
            if let (Some(entry), Some(at), Some(by)) = (open, at, by) {
                entry.acknowledge(*at, by);
            }
        }
    }

    /// Whether somebody takes care of an alert.
    pub(super) fn is_acknowledged(&self, id: &str) -> bool {
        self.lock().entry(id).is_some_and(|entry| entry.row.acknowledged_at.is_some())
    }

    /// The open alerts that somebody has acknowledged, where that was not passed on.
    pub(super) fn pass_acknowledgements(&self) -> Vec<AlertRow> {
        let mut entries = self.lock();
        let open = entries.open.iter_mut();
        let new = open.filter(|entry| entry.row.acknowledged_at.is_some() && !entry.has_passed);
        new.map(|entry| {
            entry.has_passed = true;
            entry.row.clone()
        })
        .collect()
    }

    /// Notes a change of an alert of this instance.
    pub(super) fn apply(&self, change: &Change, instance: &str, at: DateTime<Utc>) -> Option<Told> {
        let mut entries = self.lock();
        let rule = change.rule;
        if change.turn == Turn::Raised {
            entries.open.retain(|entry| entry.row.rule != rule.name);
            entries.open.push(Entry::raised(rule.name, instance, at));
        }
        let index = entries.open.iter().position(|entry| entry.row.rule == rule.name)?;
        let entry = &mut entries.open[index];
        entry.row.severity = change.severity.as_str().to_owned();
        entry.row.value = change.value.filter(|value| value.is_finite());
        if change.turn != Turn::Cleared {
            entry.row.text = text::notice(rule, Turn::Raised, change.severity, change.value, instance);
        }
        if change.turn == Turn::Worsened {
            (entry.row.acknowledged_at, entry.row.acknowledged_by) = (None, None);
            (entry.has_passed, entry.is_unshared) = (false, false);
        }
        entry.was_urgent |= change.is_told && change.severity == Severity::Critical;
        entry.version += 1;
        let was_urgent = entry.was_urgent;
        if change.turn == Turn::Cleared {
            let mut entry = entries.open.remove(index);
            entry.row.cleared_at = Some(at);
            let row = entry.row.clone();
            entries.bury(entry);
            return Some(Told { row, was_urgent });
        }
        Some(Told { row: entry.row.clone(), was_urgent })
    }

    /// A person was told of an alert.
    pub(super) fn was_told(&self, id: &str, at: DateTime<Utc>) {
        if let Some(entry) = self.lock().entry(id) {
            entry.row.notified_at = Some(at);
            entry.is_known = true;
            entry.row.notifications = entry.row.notifications.saturating_add(1);
            entry.version += 1;
        }
    }

    /// Another instance has told a person of the same.
    pub(super) fn was_told_elsewhere(&self, id: &str) {
        if let Some(entry) = self.lock().entry(id) {
            entry.is_known = true;
        }
    }

    /// When this instance told a person of an alert last.
    pub(super) fn notified_at(&self, id: &str) -> Option<DateTime<Utc>> {
        self.lock().entry(id)?.row.notified_at
    }

    /// An alert of which a person was told, by whichever instance.
    pub(super) fn known(&self, id: &str) -> Option<AlertRow> {
        let mut entries = self.lock();
        entries.entry(id).filter(|entry| entry.is_known).map(|entry| entry.row.clone())
    }

    /// Takes up an open alert of an earlier process of this name, by its row. False: the rule has one
    /// already, or is not known any more; then the row is cleared.
    pub(super) fn adopt(&self, mut row: AlertRow, at: DateTime<Utc>) -> bool {
        let mut entries = self.lock();
        let is_taken = entries.open.iter().any(|entry| entry.row.rule == row.rule);
        let is_ours = !is_taken && position(&row.rule).is_some();
        let has_passed = row.acknowledged_at.is_some();
        let is_known = row.notified_at.is_some();
        let was_urgent = is_known && row.severity == Severity::Critical.as_str();
        if is_ours {
            let entry = Entry { version: 1, stored: 1, was_urgent, is_known, has_passed, ..Entry::of(row) };
            entries.open.push(entry);
        } else if !entries.open.iter().any(|entry| entry.row.id == row.id) {
            row.cleared_at = Some(at);
            let entry = Entry { version: 2, stored: 1, was_urgent, is_known, has_passed, ..Entry::of(row) };
            entries.bury(entry);
        }
        is_ours
    }

    /// What is not in the database as it is now, each with its version; the oldest first.
    pub(super) fn unstored(&self) -> Vec<(AlertRow, u64)> {
        let entries = self.lock();
        let unstored = entries.past.iter().chain(&entries.open).filter(|entry| entry.stored < entry.version);
        unstored.map(|entry| (entry.row.clone(), entry.version)).collect()
    }

    /// This version is in the database.
    pub(super) fn stored(&self, id: &str, version: u64) {
        let mut entries = self.lock();
        if let Some(entry) = entries.entry(id) {
            entry.stored = entry.stored.max(version);
        }
        // What is over stays for a word of its notices, until others need the place.
        let is_done = |entry: &Entry| entry.stored >= entry.version;
        while entries.past.len() > MOST_PAST / 2 && entries.past.front().is_some_and(is_done) {
            entries.past.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn entry(&mut self, id: &str) -> Option<&mut Entry> {
        self.open.iter_mut().chain(&mut self.past).find(|entry| entry.row.id == id)
    }

    fn bury(&mut self, entry: Entry) {
        if self.past.len() >= MOST_PAST {
            self.past.pop_front();
        }
        self.past.push_back(entry);
    }
}

impl Entry {
    fn raised(rule: &str, instance: &str, at: DateTime<Utc>) -> Self {
        let row = AlertRow {
            // As long for every time, so that later ones are greater.
            id: format!("{:011x}{:016x}", at.timestamp_millis().max(0), rand::random::<u64>()),
            rule: rule.to_owned(),
            instance: instance.to_owned(),
            severity: Severity::Warning.as_str().to_owned(),
            raised_at: at,
            cleared_at: None,
            value: None,
            text: String::new(),
            acknowledged_at: None,
            acknowledged_by: None,
            notified_at: None,
            notifications: 0,
        };
        Self::of(row)
    }

    /// One of which nothing is known but its row.
    fn of(row: AlertRow) -> Self {
        Self {
            row,
            version: 0,
            stored: 0,
            was_urgent: false,
            is_known: false,
            has_passed: false,
            is_unshared: false,
        }
    }

    fn acknowledge(&mut self, at: DateTime<Utc>, who: &str) {
        if self.row.acknowledged_at.is_none() {
            self.row.acknowledged_at = Some(at);
            self.row.acknowledged_by = Some(who.to_owned());
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use call_control::alerts::RULES;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn change(turn: Turn, severity: Severity) -> Change {
        let rule = &RULES[position("memory").unwrap()];
        Change { rule, turn, severity, value: Some(90.0), is_told: true }
    }

    #[test]
    fn an_alert_is_open_until_it_is_cleared_and_then_waits_to_be_stored() {
        let board = Board::default();
        let raised = board.apply(&change(Turn::Raised, Severity::Critical), "a", at(0)).unwrap();
        assert_eq!((raised.row.rule.as_str(), raised.row.severity.as_str()), ("memory", "critical"));
        assert_eq!(board.open(), [raised.row]);
        let (row, version) = board.unstored().remove(0);
        board.was_told(&row.id, at(1));
        board.stored(&row.id, version);
        assert_eq!(board.unstored().len(), 1, "it has changed meanwhile");
        let over = board.apply(&change(Turn::Cleared, Severity::Critical), "a", at(60)).unwrap();
        assert!(over.was_urgent);
        assert_eq!(board.open(), []);
        let (row, version) = board.unstored().remove(0);
        assert_eq!((row.cleared_at, row.notifications, row.notified_at), (Some(at(60)), 1, Some(at(1))));
        board.stored(&row.id, version);
        assert_eq!(board.unstored(), []);
    }

    #[test]
    fn an_acknowledgement_is_kept_and_passed_on_once() {
        let board = Board::default();
        let id = board.apply(&change(Turn::Raised, Severity::Critical), "a", at(0)).unwrap().row.id;
        assert_eq!(board.acknowledge("0", "user:anna", at(5)), None);
        assert!(board.acknowledge(&id, "user:anna", at(5)).is_some());
        let later = Acknowledged { id, at: Some(at(9)), by: Some("user:bert".to_owned()) };
        board.acknowledged(&[later]);
        let passed = board.pass_acknowledgements();
        assert_eq!(passed[0].acknowledged_by.as_deref(), Some("user:anna"));
        assert_eq!(board.pass_acknowledgements(), []);
    }

    #[test]
    fn an_alert_that_gets_worse_is_not_acknowledged_any_more() {
        let board = Board::default();
        let id = board.apply(&change(Turn::Raised, Severity::Warning), "a", at(0)).unwrap().row.id;
        board.acknowledge(&id, "user:anna", at(5)).unwrap();
        assert_eq!(board.pass_acknowledgements().len(), 1);
        let worse = board.apply(&change(Turn::Worsened, Severity::Critical), "a", at(9)).unwrap().row;
        assert_eq!((worse.acknowledged_at, worse.acknowledged_by), (None, None));
        let earlier = Acknowledged { id: id.clone(), at: Some(at(5)), by: Some("user:anna".to_owned()) };
        board.acknowledged(&[earlier]);
        assert_eq!(board.pass_acknowledgements(), [], "the table has the earlier one until it is stored");
        board.acknowledge(&id, "user:anna", at(10)).unwrap();
        assert_eq!(board.pass_acknowledgements().len(), 1);
    }

    #[test]
    fn an_acknowledgement_without_the_database_counts_here_at_once_and_is_shared_later() {
        let board = Board::default();
        let id = board.apply(&change(Turn::Raised, Severity::Critical), "a", at(0)).unwrap().row.id;
        board.acknowledge(&id, "user:anna", at(5)).unwrap();
        board.share_later(&id);
        assert!(board.is_acknowledged(&id));
        let due = [(id.clone(), "user:anna".to_owned())];
        assert_eq!(board.unshared(), due);
        assert_eq!(board.unshared(), due, "until the database has taken it");
        board.shared(&id);
        assert_eq!(board.unshared(), []);
        board.share_later(&id);
        board.apply(&change(Turn::Worsened, Severity::Critical), "a", at(9)).unwrap();
        assert_eq!(board.unshared(), [], "it needs another acknowledgement");
        assert!(!board.is_acknowledged(&id));
    }

    #[test]
    fn an_alert_of_an_earlier_process_is_taken_up_or_cleared() {
        let earlier = Board::default();
        let row = earlier.apply(&change(Turn::Raised, Severity::Critical), "a", at(0)).unwrap().row;
        let board = Board::default();
        assert!(board.adopt(row.clone(), at(5)));
        assert_eq!(board.open(), std::slice::from_ref(&row));
        let other = AlertRow { id: "1".to_owned(), ..row.clone() };
        assert!(!board.adopt(other, at(5)), "the rule has one");
        let unknown = AlertRow { id: "2".to_owned(), rule: "gone".to_owned(), ..row };
        assert!(!board.adopt(unknown, at(5)));
        let cleared = board.unstored();
        assert!(cleared.iter().all(|(row, _)| row.cleared_at == Some(at(5))), "{cleared:?}");
        assert_eq!(cleared.len(), 2);
    }

    #[test]
    fn what_is_over_and_cannot_be_stored_does_not_grow() {
        let board = Board::default();
        for second in 0..1_000 {
            board.apply(&change(Turn::Raised, Severity::Warning), "a", at(second));
            board.apply(&change(Turn::Cleared, Severity::Warning), "a", at(second));
        }
        assert_eq!(board.unstored().len(), MOST_PAST);
    }
}
