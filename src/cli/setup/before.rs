//! The file of settings that is there before: its settings are taken, or a copy of it is kept.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::settings::EnvFile;
use crate::setup::Answers;

/// What was at the place of the new file.
pub enum Before {
    Nothing,
    /// They count as given.
    Settings(Answers),
    /// Why it has no settings that could be taken.
    Unreadable(String),
}

impl Before {
    /// Looks at the place of the new file.
    ///
    /// # Errors
    /// Something else than a file is there.
    pub fn of(out: &Path) -> Result<Self, String> {
        if !out.exists() {
            return Ok(Self::Nothing);
        }
        if !out.is_file() {
            return Err(format!("{} is not a regular file: give another --out", out.display()));
        }
        Ok(match EnvFile::read(&out.to_string_lossy()) {
            Ok(file) => {
                let values = file.variables.into_iter().map(|(name, variable)| (name, variable.value));
                Self::Settings(values.filter(|(_, value)| !value.is_empty()).collect())
            }
            Err(faults) => {
                let fault = faults.iter().next().map(|fault| format!("{} {}", fault.name, fault.wrong));
                Self::Unreadable(fault.unwrap_or_default())
            }
        })
    }

    /// What a person is told of it.
    pub fn says(&self, out: &Path) -> Option<String> {
        let shown = out.display();
        match self {
            Self::Nothing => None,
            Self::Settings(_) => {
                Some(format!("{shown} exists: its settings are taken, and only others are asked."))
            }
            Self::Unreadable(why) => Some(format!(
                "{shown} exists and cannot be taken: {why}. A copy is kept as {}.",
                copy_of(out).display()
            )),
        }
    }

    /// Its settings that are not empty.
    pub fn settings(&self) -> Option<&Answers> {
        match self {
            Self::Settings(settings) => Some(settings),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }

    /// Its value of a setting.
    pub fn get(&self, name: &str) -> Option<String> {
        self.settings()?.get(name).cloned()
    }

    /// Keeps a copy of what would be lost; only its owner can read it.
    ///
    /// # Errors
    /// The file cannot be read, or the copy cannot be written.
    pub fn keep(&self, out: &Path) -> io::Result<()> {
        if !matches!(self, Self::Unreadable(_)) {
            return Ok(());
        }
        let mut copy = NamedTempFile::new_in(folder(out))?;
        io::copy(&mut File::open(out)?, &mut copy)?;
        copy.persist(copy_of(out)).map(drop).map_err(|error| error.error)
    }
}

fn copy_of(out: &Path) -> PathBuf {
    let mut copy = out.as_os_str().to_owned();
    copy.push(".before");
    copy.into()
}

/// The folder of the new file.
pub fn folder(out: &Path) -> &Path {
    out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_can_be_read_has_settings_and_no_copy_of_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.env");
        assert!(Before::of(&out).unwrap().says(&out).is_none());
        std::fs::write(&out, "SECRET_KEY=hush\nREDIS_URL=\n").unwrap();
        let before = Before::of(&out).unwrap();
        assert_eq!((before.get("SECRET_KEY").as_deref(), before.get("REDIS_URL")), (Some("hush"), None));
        assert!(before.says(&out).unwrap().ends_with("its settings are taken, and only others are asked."));
        before.keep(&out).unwrap();
        assert!(!copy_of(&out).exists());
        assert!(Before::of(folder.path()).is_err());
    }

    #[test]
    fn a_copy_of_a_file_that_cannot_be_read_is_kept_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.env");
        std::fs::write(&out, "PORT=80\nhush\n").unwrap();
        let before = Before::of(&out).unwrap();
        let says = before.says(&out).unwrap();
        assert!(says.contains("a.env:2 has no `=`") && says.contains("a.env.before"), "{says}");
        assert!(!says.contains("hush") && before.get("PORT").is_none(), "{says}");
        before.keep(&out).unwrap();
        assert_eq!(std::fs::read_to_string(copy_of(&out)).unwrap(), "PORT=80\nhush\n");
        assert_eq!(std::fs::metadata(copy_of(&out)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
