//! `--env-file FILE`: variables of a file become variables of this process, before any part of it reads one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::settings::{EnvFile, Faults};

/// Where the variables are that came from a file.
static ORIGINS: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Sets what the environment does not set. To be called before there is another thread.
///
/// # Errors
/// The file is unreadable or has a fault.
pub fn take(path: &str) -> Result<(), Faults> {
    let file = EnvFile::read(path)?;
    let mut origins = BTreeMap::new();
    for (name, variable) in file.variables {
        if std::env::var_os(&name).is_none_or(|value| value.is_empty()) {
            // SAFETY: the process has one thread, the caller's, so nobody reads the environment meanwhile.
            #[allow(unsafe_code)]
            unsafe {
                std::env::set_var(&name, &variable.value);
            }
            origins.insert(name, format!("{path}:{}", variable.line));
        }
    }
    let _ = ORIGINS.set(origins);
    Ok(())
}

/// The file and line that set a variable; none if the environment did.
pub fn origin(name: &str) -> Option<String> {
    ORIGINS.get()?.get(name).cloned()
}
