//! The folder of the recordings: their names, and which are deleted.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use call_control::recorder::Header;
use chrono::DateTime;

use super::RecorderSettings;

const SUFFIX: &str = ".recording.gz";
/// Recordings of one call that begin within the same second.
const MOST_OF_A_SECOND: u32 = 9;

pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
    max_age: Duration,
}

impl Folder {
    /// Makes the folder if there is none, for us alone (mode 0700), and tries to write to it. One that is
    /// there already may be for others, too.
    pub(super) fn open(settings: &RecorderSettings) -> io::Result<Self> {
        let RecorderSettings { folder, max_bytes, max_age, .. } = settings;
        let is_new = !folder.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if is_new {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?; // whatever the umask
        }
        let tried = folder.join(format!("{:016x}.tmp", rand::random::<u64>()));
        File::create_new(&tried)?;
        fs::remove_file(tried)?;
        Ok(Self { path: folder.clone(), max_bytes: *max_bytes, max_age: *max_age })
    }

    /// A new file for a call, for us alone (mode 0600).
    pub(super) fn create(&self, header: &Header) -> io::Result<(PathBuf, File)> {
        let began_at = DateTime::from_timestamp_millis(header.began_at.cast_signed()).unwrap_or_default();
        let name = format!("{}_{}", began_at.format("%Y-%m-%dT%H-%M-%SZ"), header.call_sid);
        for number in 1..=MOST_OF_A_SECOND {
            let more = if number == 1 { String::new() } else { format!("_{number}") };
            let path = self.path.join(format!("{name}{more}{SUFFIX}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("there are recordings named {name}")))
    }

    /// Deletes recordings that are too old, then the oldest ones until the rest fits. Those that are being
    /// `written` stay. Answers the bytes of the rest.
    pub(super) fn prune(&self, written: &BTreeSet<&Path>, now: SystemTime) -> io::Result<u64> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX));
            // Another process that shares the folder may have deleted it meanwhile.
            let Some(meta) = entry.metadata().ok().filter(|meta| is_ours && meta.is_file()) else { continue };
            found.push((meta.modified()?, entry.path(), meta.len()));
        }
        found.sort();
        let mut total: u64 = found.iter().map(|(.., bytes)| bytes).sum();
        for (modified, path, bytes) in found {
            let is_old = now.duration_since(modified).is_ok_and(|age| age > self.max_age);
            if !(is_old || total > self.max_bytes) || written.contains(&*path) {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => total -= bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => total -= bytes,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}
