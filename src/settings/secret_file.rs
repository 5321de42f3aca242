//! Secrets that are not in the environment: in the file that `NAME_FILE` names, or in a credential of
//! systemd.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::reader::Fault;

/// Bytes of the longest secret.
const LONGEST: u64 = 64 * 1024;
/// The folder of systemd's credentials. A credential has the name of its variable.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Variable,
    /// The file that `NAME_FILE` names.
    File(PathBuf),
    Credential(PathBuf),
}

impl Place {
    fn is_a(&self) -> &'static str {
        match self {
            Self::Variable => "as a variable",
            Self::File(_) => "by a file",
            Self::Credential(_) => "as a credential",
        }
    }
}

/// The name of the variable that names the secret's file.
pub fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}

/// The places that have this secret.
pub fn places(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Place> {
    let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let variable = value(name).map(|_| Place::Variable);
    let file = value(&file_variable(name)).map(|path| Place::File(path.into()));
    let credential = value(CREDENTIALS).map(|folder| Path::new(&folder).join(name));
    let credential = credential.filter(|path| path.exists()).map(Place::Credential);
    variable.into_iter().chain(file).chain(credential).collect()
}

/// The text of a secret, without the line break at its end; none if it is unset.
///
/// # Errors
/// It is set in two places, or its file is unreadable. The fault shows nothing of the secret.
pub fn find(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Fault> {
    let places = places(name, lookup);
    let (setting, path) = match places.as_slice() {
        [] => return Ok(None),
        [Place::Variable] => return Ok(lookup(name)),
        [Place::File(path)] => (file_variable(name), path),
        [Place::Credential(path)] => (name.to_owned(), path),
        [first, second, ..] => {
            return Err(Fault {
                name: name.to_owned(),
                wrong: format!("is set twice, {} and {}", first.is_a(), second.is_a()),
                remedy: "keep one of them".to_owned(),
            });
        }
    };
    text(path).map(Some).map_err(|wrong| Fault {
        name: setting,
        // Somebody may have put the secret itself here: only the name of a file that exists is shown.
        wrong: if path.exists() {
            format!("names {}, which {wrong}", path.display())
        } else {
            format!("names a file that {wrong}")
        },
        remedy: "give a file that holds the secret and nothing else".to_owned(),
    })
}

/// The text of the file; what is wrong with it otherwise.
fn text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err("is larger than 64 KiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct World {
        folder: tempfile::TempDir,
        variables: HashMap<String, String>,
    }

    impl World {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), variables: HashMap::new() }
        }

        fn set(mut self, name: &str, value: &str) -> Self {
            self.variables.insert(name.to_owned(), value.to_owned());
            self
        }

        /// A file of this content, which the variable names.
        fn file(self, variable: &str, content: impl AsRef<[u8]>) -> Self {
            let path = self.folder.path().join(variable.to_lowercase());
            std::fs::write(&path, content).unwrap();
            self.set(variable, path.to_str().unwrap())
        }

        fn credential(self, name: &str, content: &str) -> Self {
            std::fs::write(self.folder.path().join(name), content).unwrap();
            let folder = self.folder.path().to_str().unwrap().to_owned();
            self.set(CREDENTIALS, &folder)
        }

        fn find(&self) -> Result<Option<String>, Fault> {
            find("KEY", &|name| self.variables.get(name).cloned())
        }

        fn fault(&self) -> String {
            let Fault { name, wrong, .. } = self.find().expect_err("a fault");
            format!("{name} {wrong}").replace(self.folder.path().to_str().unwrap(), "DIR")
        }
    }

    #[test]
    fn a_secret_comes_from_the_variable_its_file_or_its_credential() {
        let found = |world: World| world.find().unwrap();
        assert_eq!(found(World::new()), None);
        assert_eq!(found(World::new().set("KEY", "").set("KEY_FILE", "")), None, "empty counts as unset");
        assert_eq!(found(World::new().set("KEY", "a")).as_deref(), Some("a"));
        assert_eq!(found(World::new().file("KEY_FILE", "a")).as_deref(), Some("a"));
        assert_eq!(found(World::new().credential("KEY", "a")).as_deref(), Some("a"));
        assert_eq!(found(World::new().credential("OTHER", "a")), None);
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_cut() {
        for (content, secret) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("a\r", "a\r")]
        {
            assert_eq!(World::new().file("KEY_FILE", content).find().unwrap().as_deref(), Some(secret));
        }
    }

    #[test]
    fn a_secret_that_is_set_twice_is_a_fault() {
        let both = World::new().set("KEY", "hush").file("KEY_FILE", "hush");
        assert_eq!(both.fault(), "KEY is set twice, as a variable and by a file");
        let both = World::new().set("KEY", "hush").credential("KEY", "hush");
        assert_eq!(both.fault(), "KEY is set twice, as a variable and as a credential");
        let both = World::new().file("KEY_FILE", "hush").credential("KEY", "hush");
        assert_eq!(both.fault(), "KEY is set twice, by a file and as a credential");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_a_fault_without_its_content() {
        let fault = |content: &[u8]| World::new().file("KEY_FILE", content).fault();
        assert_eq!(fault(b""), "KEY_FILE names DIR/key_file, which is empty");
        assert_eq!(fault(b"\n"), "KEY_FILE names DIR/key_file, which is empty");
        assert_eq!(fault(b"hush\xff"), "KEY_FILE names DIR/key_file, which is not UTF-8 text");
        let large = vec![b'a'; LONGEST as usize + 1];
        assert_eq!(fault(&large), "KEY_FILE names DIR/key_file, which is larger than 64 KiB");
        let world = World::new();
        let folder = world.folder.path().to_str().unwrap().to_owned();
        assert_eq!(world.set("KEY_FILE", &folder).fault(), "KEY_FILE names DIR, which is not a regular file");
        let missing = World::new().set("KEY_FILE", "/none/key").fault();
        assert!(missing.starts_with("KEY_FILE names a file that cannot be read: No such file"), "{missing}");
    }

    #[test]
    fn a_secret_in_place_of_its_files_name_is_not_shown() {
        for secret in ["sk-hush", "-----BEGIN PRIVATE KEY-----\nhush", "hush".repeat(2_000).as_str()] {
            let wrong = World::new().set("KEY_FILE", secret).fault();
            assert!(wrong.starts_with("KEY_FILE names a file that cannot be read: "), "{wrong}");
            assert!(!wrong.contains("hush"), "{wrong}");
        }
    }
}
