//! Looks at the disk that the spool is to be on. Creates nothing: the folder may have to be another user's.

use std::io;
use std::path::{Path, PathBuf};

use actix_rt::task::spawn_blocking;
use rustix::fs::{Access, access, statvfs};
use tokio::time::timeout;

use super::late;
use crate::preflight::DEADLINE;
use crate::preflight::facts::{Asked, Disk};

pub(super) async fn disk(spool_dir: PathBuf) -> Asked<Disk> {
    let looked = timeout(DEADLINE, spawn_blocking(move || look(&spool_dir)));
    looked.await.map_err(|_| late())?.map_err(|error| error.to_string())?
}

fn look(spool_dir: &Path) -> Asked<Disk> {
    let absolute = std::path::absolute(spool_dir).map_err(|error| error.to_string())?;
    // The folder, or the one above it in which it will be created: there is a first one.
    let folder = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(&absolute);
    let shown = folder.display().to_string();
    if !folder.is_dir() {
        return Err(format!("{shown} is no folder"));
    }
    let disk = statvfs(folder).map_err(|error| format!("{shown}: {}", io::Error::from(error)))?;
    let is_writable = access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    Ok(Disk { folder: shown, is_writable, free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_looked_at_where_it_will_be() {
        let above = tempfile::tempdir().unwrap();
        let found = look(&above.path().join("a/b")).unwrap();
        assert_eq!((found.folder.as_str(), found.is_writable), (above.path().to_str().unwrap(), true));
        assert!(found.free_bytes > 0);
        assert!(!above.path().join("a").exists(), "nothing was created");
        std::fs::write(above.path().join("file"), "").unwrap();
        assert!(look(&above.path().join("file/b")).unwrap_err().ends_with("file is no folder"));
    }
}
