//! The file of a process that is gone, for tests: written as another version of this program may write it,
//! and read without being tried again.

use std::path::Path;

use redb::{Database, Error, ReadableDatabase, ReadableTable};

use super::{ASIDE, RECORDS};

/// Puts values of no call behind the records.
pub fn append_to_spool(file: &Path, values: &[Vec<u8>]) -> Result<(), Error> {
    let database = Database::open(file)?;
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        let first = records.last()?.map_or(0, |(key, _)| key.value().0 + 1);
        for (order, value) in (first..).zip(values) {
            records.insert((order, ""), value.as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}

/// The values that are set aside, in order.
pub fn aside_in_spool(file: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let database = Database::open(file)?;
    let aside = database.begin_read()?.open_table(ASIDE)?;
    aside.iter()?.map(|entry| Ok(entry?.1.value().to_vec())).collect()
}
