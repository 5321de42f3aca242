//! The spool's folders: one a process, each with a lock, and how a dead process' folder comes to an end.
//!
//! A folder is free when its lock is. Its files are then moved, not copied: whoever owned it can start again
//! at once.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::SpoolError;

const LOCK: &str = "lock";
const RECORDS: &str = "records.redb";
/// Since when the folder's process has been heard of, in microseconds since 1970.
const HEARD_SINCE: &str = "heard-since";
/// How the files that came from other folders are called.
const ADOPTED: &str = "adopted-";
const SUFFIX: &str = ".redb";
/// A process that starts beside us may be looking at our folder: its lock is waited for so long.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A folder of our own, as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none, for us alone (mode 0700), and locks it.
    pub(super) fn hold(root: &Path, instance: &str) -> Result<Self, SpoolError> {
        let path = root.join(instance);
        let until = Instant::now() + LOCK_PATIENCE;
        loop {
            match make(&path).and_then(|()| lock(&path)) {
                Ok(Some(lock)) => return Ok(Self { path, root: root.to_owned(), _lock: lock }),
                Ok(None) if Instant::now() >= until => return Err(SpoolError::Locked(path)),
                Ok(None) => sleep(LOCK_POLL),
                // Whoever held it is about to remove it: then it is made anew.
                Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < until => {
                    sleep(LOCK_POLL);
                }
                Err(error) => return Err(SpoolError::Unusable { folder: path, cause: error.to_string() }),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where our own records are.
    pub(super) fn records(&self) -> PathBuf {
        self.path.join(RECORDS)
    }

    /// Since when the process has been heard of that held the folder last; none if that is not known.
    pub(super) fn heard_since(&self) -> Option<DateTime<Utc>> {
        let text = fs::read_to_string(self.path.join(HEARD_SINCE)).ok()?;
        DateTime::from_timestamp_micros(text.trim().parse().ok()?)
    }

    /// Replaces what [`heard_since`](Self::heard_since) answers, whole or not at all.
    pub(super) fn remember(&self, since: DateTime<Utc>) -> io::Result<()> {
        let new = self.path.join(format!("{HEARD_SINCE}.new"));
        fs::write(&new, since.timestamp_micros().to_string())?;
        fs::rename(new, self.path.join(HEARD_SINCE))
    }

    /// The files that others left and nobody has taken in yet.
    pub(super) fn adopted(&self) -> Vec<PathBuf> {
        adopted_in(&self.path).collect()
    }

    /// Moves the files of folders whose process is gone into this one, and removes those folders. What fails
    /// is logged, and tried again at the next start.
    pub(super) fn move_in_what_the_dead_left(&self) {
        let is_another = |path: &PathBuf| path.join(RECORDS).is_file() && *path != self.path;
        for other in entries(&self.root).filter(is_another) {
            if let Err(error) = self.move_in(&other) {
                tracing::error!(%error, folder = %other.display(), "another spool cannot be looked into");
            }
        }
    }

    fn move_in(&self, other: &Path) -> io::Result<()> {
        let Some(_lock) = lock(other)? else { return Ok(()) };
        // Its own records last: they are what makes it a spool.
        for file in adopted_in(other).chain([other.join(RECORDS)]) {
            let adopted = format!("{ADOPTED}{:032x}{SUFFIX}", rand::random::<u128>());
            fs::rename(file, self.path.join(adopted))?;
        }
        sync(&self.path)?;
        let _ = fs::remove_file(other.join(HEARD_SINCE));
        fs::remove_file(other.join(LOCK))?;
        // What is left in it, if anything, is damaged, and a person's to look at.
        let _ = fs::remove_dir(other);
        Ok(())
    }
}

/// Makes what was done to the names in a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// The folder's lock, unless another process has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The one before may have removed the file between our opening and locking it: then the lock locks
    // nothing.
    let is_in_place = fs::metadata(&path)?.ino() == file.metadata()?.ino();
    Ok(is_in_place.then_some(file))
}

fn adopted_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let is_adopted = move |path: &PathBuf| {
        name(path).is_some_and(|name| name.starts_with(ADOPTED) && name.ends_with(SUFFIX))
    };
    entries(folder).filter(is_adopted)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Gives a damaged file another name; answers that.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension(format!("damaged-{}", Utc::now().timestamp_millis()));
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_and_is_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let held = Folder::hold(root.path(), "a").unwrap();
        let error = Folder::hold(root.path(), "a").err().unwrap();
        assert!(matches!(&error, SpoolError::Locked(path) if path == held.path()), "{error}");
        assert!(error.to_string().contains("INSTANCE_ID"), "{error}");
        assert_eq!(fs::metadata(held.path()).unwrap().mode() & 0o777, 0o700);
        drop(held);
        Folder::hold(root.path(), "a").unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_the_setting() {
        let root = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::hold(root.path(), "a").err().unwrap().to_string();
        assert!(error.contains("SPOOL_DIR"), "{error}");
    }

    #[test]
    fn a_successor_in_the_folder_knows_since_when_its_predecessor_was_heard_of() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::hold(root.path(), "a").unwrap();
        assert_eq!(first.heard_since(), None);
        let since = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        first.remember(DateTime::UNIX_EPOCH).unwrap();
        first.remember(since).unwrap();
        drop(first);
        let successor = Folder::hold(root.path(), "a").unwrap();
        assert_eq!(successor.heard_since(), Some(since));
        assert_eq!(
            Folder::hold(root.path(), "b").unwrap().heard_since(),
            None,
            "another folder is another's"
        );
    }

    #[test]
    fn files_of_the_dead_are_moved_in_and_those_of_the_living_are_not() {
        let root = tempfile::tempdir().unwrap();
        for (instance, file) in [("dead", RECORDS), ("dead", "adopted-1.redb"), ("alive", RECORDS)] {
            drop(Folder::hold(root.path(), instance).unwrap());
            fs::write(root.path().join(instance).join(file), "").unwrap();
        }
        Folder::hold(root.path(), "dead").unwrap().remember(DateTime::UNIX_EPOCH).unwrap();
        let _alive = Folder::hold(root.path(), "alive").unwrap();
        let ours = Folder::hold(root.path(), "ours").unwrap();
        ours.move_in_what_the_dead_left();
        assert_eq!(ours.adopted().len(), 2);
        assert!(!root.path().join("dead").exists());
        assert!(root.path().join("alive").join(RECORDS).exists());
    }
}
