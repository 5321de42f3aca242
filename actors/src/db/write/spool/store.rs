//! The spool's file: records by order number, each durable when its transaction is.
//!
//! A value is one byte for the format and then JSON. An error of the disk makes redb give its file up: the
//! next task opens it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::value::fuzz_record;
use self::value::{Entry, decode, encode, oldest};
use super::folder::{set_aside, sync};
use super::{Backlog, SpoolFailure};
use crate::db::write::record::Record;
use crate::wire::twilio::sid::CallSid;

/// By order number; the call's SID (blank: of none) beside it, to be found without reading the value.
const RECORDS: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("records");
/// Those that the database refuses or this version cannot read, out of the others' way; keys and values are
/// made alike.
const ASIDE: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("aside");
/// Refused records that are set aside hold this share of the capacity at most. What cannot be read is set
/// aside without a limit of its own: it has been in the spool, whose size is bounded.
const ASIDE_SHARE: u64 = 4;
/// redb's page cache; its default is a gigabyte.
const CACHE_BYTES: usize = 4 << 20;
/// A file of this size is made small again when it is empty.
const WORTH_COMPACTING_BYTES: u64 = 16 << 20;
/// So many records of another file are taken in at once.
const CHUNK: usize = 1_000;

/// A record with its order number.
pub(in crate::db) type Numbered = (u64, Arc<Record>);

/// The oldest records.
#[derive(Debug, Default)]
pub(in crate::db) struct Front {
    pub(in crate::db) records: Vec<Numbered>,
    /// How many more there are among them that cannot be read.
    pub(in crate::db) unreadable: usize,
    /// The last order number, readable or not.
    pub(in crate::db) last: Option<u64>,
}

/// What is set aside.
#[derive(Default)]
struct Aside {
    /// Records that the database refuses, and their bytes.
    refused: usize,
    refused_bytes: u64,
    /// Records that this version cannot read.
    unreadable: usize,
    /// Others like them, which are settled and could not be moved: the disk is full.
    stuck: usize,
}

impl Aside {
    fn all(&self) -> usize {
        self.refused + self.unreadable + self.stuck
    }
}

pub(super) struct Store {
    path: PathBuf,
    /// None after an error, until it is opened again.
    database: Option<Database>,
    next: u64,
    records: usize,
    bytes: u64,
    capacity: u64,
    oldest: Option<DateTime<Utc>>,
    aside: Aside,
    /// Up to this one the records in the file are settled: it could not be made smaller.
    gone: Option<u64>,
}

impl Store {
    /// Opens the file, or makes it; one that is damaged is set aside, logged, and made anew. Records that
    /// were set aside are to be tried again, behind the others: perhaps by a version that can do better.
    pub(super) fn open_or_replace(path: PathBuf, capacity: u64) -> Result<Self, SpoolFailure> {
        let mut store = Self {
            path,
            database: None,
            next: 0,
            records: 0,
            bytes: 0,
            capacity,
            oldest: None,
            aside: Aside::default(),
            gone: None,
        };
        if let Err(error) = store.open() {
            if matches!(&error, redb::Error::Io(cause) if cause.kind() != std::io::ErrorKind::InvalidData) {
                return Err(failure(&error));
            }
            let aside = set_aside(&store.path).map_err(|error| SpoolFailure(error.to_string()))?;
            tracing::error!(%error, file = %aside.display(), "the spool is damaged: it is set aside");
            store.open().map_err(|error| failure(&error))?;
        }
        store.bring_back()?;
        Ok(store)
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            records: self.records,
            oldest: self.oldest,
            aside: self.aside.all(),
            refused: self.aside.refused,
            adopting: false,
        }
    }

    pub(super) fn append(&mut self, records: &[Arc<Record>]) -> Result<usize, SpoolFailure> {
        let at = Utc::now();
        let entries = records.iter().map(|record| encode(at, record, None)).collect::<Result<Vec<_>, _>>()?;
        self.append_entries(&entries)
    }

    /// As many as there is room for, at least one, in one transaction.
    fn append_entries(&mut self, entries: &[Entry]) -> Result<usize, SpoolFailure> {
        self.reopen()?;
        let room = self.capacity.saturating_sub(self.bytes);
        let mut size = 0;
        let fits = |(_, value): &&Entry| {
            size += value.len() as u64;
            size <= room
        };
        let entries: Vec<&Entry> = entries.iter().take_while(fits).collect();
        let Some(first) = entries.first() else {
            return Err(SpoolFailure(format!("it is full: {} bytes wait in it", self.bytes)));
        };
        let first_at = decode(&first.1).map(|spooled| spooled.at);
        self.attempt(|store| {
            let transaction = store.database()?.begin_write()?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for (order, (call_sid, value)) in (store.next..).zip(&entries) {
                    table.insert((order, call_sid.as_str()), value.as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        })?;
        self.next += entries.len() as u64;
        self.records += entries.len();
        self.bytes += entries.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
        self.oldest = self.oldest.or(first_at);
        self.checked();
        Ok(entries.len())
    }

    /// Keeps a record that the database refuses.
    pub(super) fn put_aside(&mut self, record: &Record, cause: &str) -> Result<(), SpoolFailure> {
        let (call_sid, value) = encode(Utc::now(), record, Some(cause))?;
        self.reopen()?;
        let bytes = self.aside.refused_bytes + value.len() as u64;
        if bytes > self.capacity / ASIDE_SHARE {
            return Err(SpoolFailure(format!(
                "{} refused records are set aside already",
                self.aside.refused
            )));
        }
        self.attempt(|store| {
            let transaction = store.database()?.begin_write()?;
            {
                let mut table = transaction.open_table(ASIDE)?;
                let order = table.last()?.map_or(0, |(key, _)| key.value().0 + 1);
                table.insert((order, call_sid.as_str()), value.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })?;
        self.aside.refused += 1;
        self.aside.refused_bytes = bytes;
        self.checked();
        Ok(())
    }

    /// The refused records that were set aside first, from this order number on; at most `limit`.
    pub(super) fn refused(&mut self, from: u64, limit: usize) -> Result<Vec<Numbered>, SpoolFailure> {
        self.attempt(|store| {
            let mut refused = Vec::new();
            let table = store.database()?.begin_read()?.open_table(ASIDE)?;
            for entry in table.range((from, "")..)? {
                let (key, value) = entry?;
                if let Some(spooled) = decode(value.value()) {
                    refused.push((key.value().0, Arc::new(spooled.record)));
                }
                if refused.len() == limit {
                    break;
                }
            }
            Ok(refused)
        })
    }

    /// The refused records of these order numbers need not be kept any more.
    pub(super) fn drop_refused(&mut self, orders: &[u64]) -> Result<(), SpoolFailure> {
        let (dropped, bytes) = self.attempt(|store| {
            let (mut dropped, mut bytes) = (0, 0);
            let transaction = store.database()?.begin_write()?;
            transaction.open_table(ASIDE)?.retain(|(order, _), value| {
                let is_kept = orders.binary_search(&order).is_err();
                if !is_kept {
                    (dropped, bytes) = (dropped + 1, bytes + value.len() as u64);
                }
                is_kept
            })?;
            transaction.commit()?;
            Ok((dropped, bytes))
        })?;
        self.aside.refused = self.aside.refused.saturating_sub(dropped);
        self.aside.refused_bytes = self.aside.refused_bytes.saturating_sub(bytes);
        self.checked();
        Ok(())
    }

    /// Puts what was set aside behind the others.
    fn bring_back(&mut self) -> Result<(), SpoolFailure> {
        if self.aside.all() == 0 {
            return Ok(());
        }
        let next = self.next;
        let (brought, bytes) = self.attempt(|store| {
            let (mut brought, mut bytes) = (0, 0);
            let transaction = store.database()?.begin_write()?;
            {
                let mut aside = transaction.open_table(ASIDE)?;
                let mut records = transaction.open_table(RECORDS)?;
                while let Some((key, value)) = aside.pop_first()? {
                    records.insert((next + brought, key.value().1), value.value())?;
                    (brought, bytes) = (brought + 1, bytes + value.value().len() as u64);
                }
            }
            transaction.commit()?;
            Ok((brought, bytes))
        })?;
        self.next += brought;
        self.records += brought as usize;
        self.bytes += bytes;
        self.aside = Aside::default();
        self.oldest = self.oldest.or_else(|| Some(Utc::now()));
        self.checked();
        Ok(())
    }

    pub(super) fn front(&mut self, limit: usize) -> Result<Front, SpoolFailure> {
        self.attempt(|store| {
            let mut front = Front::default();
            let table = store.database()?.begin_read()?.open_table(RECORDS)?;
            for entry in table.range((store.first(), "")..)?.take(limit) {
                let (key, value) = entry?;
                let (order, _) = key.value();
                front.last = Some(order);
                match decode(value.value()) {
                    Some(spooled) => front.records.push((order, Arc::new(spooled.record))),
                    None => front.unreadable += 1,
                }
            }
            Ok(front)
        })
    }

    /// The records up to this one need not be written any more. Those among them that this version cannot
    /// read are set aside with their bytes: a later version may be able to. A disk that is too full even to
    /// take them out is no reason to keep them: they are passed over, and with the last one the file is begun
    /// anew.
    pub(super) fn settle(&mut self, through: u64) -> Result<(), SpoolFailure> {
        if self.gone.is_none()
            && let Err(failure) = self.remove(through)
        {
            tracing::warn!(%failure, "the spool has no room to shrink: what is settled is passed over");
        } else if self.gone.is_none() {
            return Ok(());
        }
        let stuck = self.unreadable_through(through)?;
        self.gone = Some(through);
        self.aside.stuck += stuck;
        self.count().map_err(|error| failure(&error))?;
        if self.records == 0 && self.aside.all() == 0 {
            self.begin_anew()?;
        }
        self.checked();
        Ok(())
    }

    fn remove(&mut self, through: u64) -> Result<(), SpoolFailure> {
        let (records, bytes, oldest, unreadable) = self.attempt(|store| {
            let (mut freed, mut unreadable) = (0, Vec::new());
            let transaction = store.database()?.begin_write()?;
            let (records, oldest) = {
                let mut table = transaction.open_table(RECORDS)?;
                table.retain_in(..(through + 1, ""), |(_, call_sid), value| {
                    freed += value.len() as u64;
                    if decode(value).is_none() {
                        unreadable.push((call_sid.to_owned(), value.to_vec()));
                    }
                    false
                })?;
                (table.len()?, oldest(&table, 0)?)
            };
            {
                let mut aside = transaction.open_table(ASIDE)?;
                let first = aside.last()?.map_or(0, |(key, _)| key.value().0 + 1);
                for (order, (call_sid, value)) in (first..).zip(&unreadable) {
                    aside.insert((order, call_sid.as_str()), value.as_slice())?;
                }
            }
            transaction.commit()?;
            Ok((records as usize, store.bytes.saturating_sub(freed), oldest, unreadable.len()))
        })?;
        (self.records, self.bytes, self.oldest) = (records, bytes, oldest);
        self.aside.unreadable += unreadable;
        if records == 0 {
            self.bytes = 0;
            self.compact();
        }
        self.checked();
        Ok(())
    }

    /// How many of the records that wait, up to this one, this version cannot read.
    fn unreadable_through(&mut self, through: u64) -> Result<usize, SpoolFailure> {
        self.attempt(|store| {
            let table = store.database()?.begin_read()?.open_table(RECORDS)?;
            let mut unreadable = 0;
            for entry in table.range((store.first(), "")..(through + 1, ""))? {
                unreadable += usize::from(decode(entry?.1.value()).is_none());
            }
            Ok(unreadable)
        })
    }

    /// Makes an empty file of one in which nothing waits.
    fn begin_anew(&mut self) -> Result<(), SpoolFailure> {
        self.database = None;
        fs::remove_file(&self.path).map_err(|error| SpoolFailure(error.to_string()))?;
        self.gone = None;
        self.open().map_err(|error| failure(&error))
    }

    /// The first order number that may be waited for.
    fn first(&self) -> u64 {
        self.gone.map_or(0, |through| through + 1)
    }

    pub(super) fn of_call(&mut self, call_sid: &CallSid) -> Result<Vec<Arc<Record>>, SpoolFailure> {
        self.attempt(|store| {
            let mut records = Vec::new();
            let table = store.database()?.begin_read()?.open_table(RECORDS)?;
            for entry in table.range((store.first(), "")..)? {
                let (key, value) = entry?;
                if key.value().1 == call_sid.as_str() {
                    records.extend(decode(value.value()).map(|spooled| Arc::new(spooled.record)));
                }
            }
            Ok(records)
        })
    }

    /// Appends all of another file's entries, then removes the file; returns how many. Taking some in twice,
    /// after a crash in between, changes nothing: they are written in order again.
    pub(super) fn take_in(&mut self, file: &Path) -> Result<usize, SpoolFailure> {
        let mut other = Self::open_or_replace(file.to_owned(), u64::MAX)?;
        let mut from = 0;
        loop {
            let entries = other.entries(from)?;
            let Some((last, _)) = entries.last() else { break };
            from = last + 1;
            let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                rest = &rest[self.append_entries(rest)?..];
            }
        }
        let records = other.records;
        drop(other);
        fs::remove_file(file).map_err(|error| SpoolFailure(error.to_string()))?;
        Ok(records)
    }

    fn entries(&mut self, from: u64) -> Result<Vec<(u64, Entry)>, SpoolFailure> {
        self.attempt(|store| {
            let table = store.database()?.begin_read()?.open_table(RECORDS)?;
            let mut entries = Vec::new();
            for entry in table.range((from, "")..)?.take(CHUNK) {
                let (key, value) = entry?;
                let (order, call_sid) = key.value();
                entries.push((order, (call_sid.to_owned(), value.value().to_vec())));
            }
            Ok(entries)
        })
    }

    /// The next task opens the file anew.
    pub(super) fn close(&mut self) {
        self.database = None;
    }

    /// Opens the file, and counts what is in it, if it is closed.
    fn reopen(&mut self) -> Result<(), SpoolFailure> {
        if self.database.is_none() {
            self.open().map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    /// Runs a task on the file; after an error the file is opened anew by the next one.
    fn attempt<T>(&mut self, task: impl FnOnce(&Self) -> Result<T, redb::Error>) -> Result<T, SpoolFailure> {
        self.reopen()?;
        task(self).map_err(|error| {
            self.database = None;
            failure(&error)
        })
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    /// Writes nothing to a file that has its tables: the disk may be full.
    fn open(&mut self) -> Result<(), redb::Error> {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&self.path)?;
        if database.begin_read()?.list_tables()?.count() < 2 {
            let transaction = database.begin_write()?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(ASIDE)?;
            transaction.commit()?;
            if let Some(folder) = self.path.parent() {
                sync(folder)?;
            }
        }
        self.database = Some(database);
        self.count()?;
        self.count_aside()?;
        if self.records == 0 {
            self.compact();
        }
        Ok(())
    }

    /// Counts what is in the file.
    fn count(&mut self) -> Result<(), redb::Error> {
        let first = self.first();
        let transaction = self.database()?.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let (mut records, mut bytes) = (0, 0);
        for entry in table.range((first, "")..)? {
            (records, bytes) = (records + 1, bytes + entry?.1.value().len() as u64);
        }
        // An order number is never given twice while somebody may still settle the first one.
        let next = table.last()?.map_or(0, |(key, _)| key.value().0 + 1);
        self.next = self.next.max(next);
        (self.records, self.bytes, self.oldest) = (records, bytes, oldest(&table, first)?);
        Ok(())
    }

    /// Counts what is set aside in the file.
    fn count_aside(&mut self) -> Result<(), redb::Error> {
        let mut aside = Aside { stuck: self.aside.stuck, ..Aside::default() };
        for entry in self.database()?.begin_read()?.open_table(ASIDE)?.iter()? {
            let (_, value) = entry?;
            if decode(value.value()).is_some() {
                aside.refused += 1;
                aside.refused_bytes += value.value().len() as u64;
            } else {
                aside.unreadable += 1;
            }
        }
        self.aside = aside;
        Ok(())
    }

    /// Gives the disk back what an empty file holds.
    fn compact(&mut self) {
        let is_large = fs::metadata(&self.path).is_ok_and(|file| file.len() >= WORTH_COMPACTING_BYTES);
        if is_large
            && let Some(database) = &mut self.database
            && let Err(error) = database.compact()
        {
            tracing::warn!(%error, "the empty spool stays large");
        }
    }
}

fn failure(error: &redb::Error) -> SpoolFailure {
    SpoolFailure(error.to_string())
}

mod check;
#[cfg(feature = "fault-injection")]
pub(super) mod foreign;
#[cfg(test)]
mod tests;
mod value;
