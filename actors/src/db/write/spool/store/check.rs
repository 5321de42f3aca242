//! What must hold of the spool's file after each step.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::{ASIDE, RECORDS, Store};

/// The records of a fuller file are not all weighed again at each step.
const WEIGHED: usize = 500;

impl Store {
    /// In debug builds: see [`check`](Self::check). A file that cannot be read now has nothing to be held
    /// against.
    pub(super) fn checked(&self) {
        if cfg!(debug_assertions) {
            let _ = self.check();
        }
    }

    /// Panics where one of these does not hold:
    /// - As many records are counted as the file holds that are not settled, and as many bytes.
    /// - As many records are counted as set aside as are in their table.
    /// - The next order number is above all that are used.
    /// - The oldest record is known only while one waits.
    pub(super) fn check(&self) -> Result<(), redb::Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let transaction = database.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let held = match self.gone {
            None => table.len()? as usize,
            Some(_) => table.range((self.first(), "")..)?.count(),
        };
        let counted = self.records;
        assert_eq!(counted, held, "{counted} records are counted, and {held} are in the file");
        if held <= WEIGHED {
            let mut bytes = 0;
            for entry in table.range((self.first(), "")..)? {
                bytes += entry?.1.value().len() as u64;
            }
            let counted = self.bytes;
            assert_eq!(counted, bytes, "{counted} bytes are counted, and {bytes} are in the file");
        }
        let last = table.last()?.map(|(key, _)| key.value().0);
        assert!(last.is_none_or(|last| last < self.next), "the order number {} was given twice", self.next);
        assert!(held > 0 || self.oldest.is_none(), "nothing waits, and the oldest record is known");
        let aside = transaction.open_table(ASIDE)?.len()? as usize;
        let counted = self.aside.refused + self.aside.unreadable;
        assert_eq!(counted, aside, "{counted} records are counted as set aside, and {aside} are");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, open};
    use super::*;

    fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&folder, 1 << 20);
        store.append(&[event(1, "a"), event(1, "b")]).unwrap();
        (store, folder)
    }

    #[test]
    fn what_a_file_holds_is_counted_alike_before_and_after_it_is_opened_again() {
        let (store, folder) = store();
        let bytes = store.bytes;
        drop(store);
        let store = open(&folder, 1 << 20);
        assert_eq!((store.records, store.bytes), (2, bytes));
    }

    #[test]
    #[should_panic(expected = "3 records are counted, and 2 are in the file")]
    fn a_record_that_is_counted_and_not_held_is_noticed() {
        let (mut store, _folder) = store();
        store.records = 3;
        store.check().unwrap();
    }

    #[test]
    #[should_panic(expected = "1 bytes are counted")]
    fn bytes_that_are_counted_wrong_are_noticed() {
        let (mut store, _folder) = store();
        store.bytes = 1;
        store.check().unwrap();
    }

    #[test]
    #[should_panic(expected = "the order number 1 was given twice")]
    fn an_order_number_that_is_given_twice_is_noticed() {
        let (mut store, _folder) = store();
        store.next = 1;
        store.check().unwrap();
    }

    #[test]
    #[should_panic(expected = "1 records are counted as set aside, and 0 are")]
    fn a_record_that_is_not_set_aside_is_noticed() {
        let (mut store, _folder) = store();
        store.aside.refused = 1;
        store.check().unwrap();
    }
}
