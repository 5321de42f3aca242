//! What the commands that ask the database have in common: their settings, their system, their exit status.

use actors::db::{BadUrl, DbError};

use crate::logging;
use crate::settings::{OpsSettings, environment};

/// SQLSTATE of a table that is not there.
const NO_TABLE: &str = "42P01 ";

/// Which way leads to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `DATABASE_URL`
    Usual,
    /// `DIRECT_DATABASE_URL`, past a pooler whose connections are used up; the usual one if it is not set.
    Direct,
}

/// Runs `work` with `DATABASE_URL`; the exit status.
pub fn run(name: &str, work: impl AsyncFnOnce(&str) -> Result<Result<u8, DbError>, BadUrl>) -> u8 {
    run_by(Door::Usual, name, work)
}

/// Runs `work` with the URL of this way; the exit status.
pub fn run_by(
    door: Door,
    name: &str,
    work: impl AsyncFnOnce(&str) -> Result<Result<u8, DbError>, BadUrl>,
) -> u8 {
    let settings = match OpsSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard {name} cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    let direct = settings.direct_url.filter(|_| door == Door::Direct);
    let setting = if direct.is_some() { "DIRECT_DATABASE_URL" } else { "DATABASE_URL" };
    match actix_rt::System::new().block_on(work(direct.unwrap_or(settings.url).expose())) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            eprintln!("switchboard {name} failed: {error}{}", remedy(&error, setting));
            super::FAILED
        }
        Err(error) => {
            eprintln!("switchboard {name} cannot start: {error}");
            super::USAGE
        }
    }
}

/// What to do about it, if that is known. `setting` has the URL that was used.
fn remedy(error: &DbError, setting: &str) -> String {
    match error {
        DbError::Refused(said) if said.starts_with(NO_TABLE) => "; run `switchboard migrate`".to_owned(),
        DbError::Unavailable(_) => format!(" (asked by {setting})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_does_not_answer_is_told_with_the_setting_that_leads_there() {
        let away = DbError::Unavailable("refused".to_owned());
        assert_eq!(remedy(&away, "DIRECT_DATABASE_URL"), " (asked by DIRECT_DATABASE_URL)");
        let no_table = DbError::Refused("42P01 relation".to_owned());
        assert_eq!(remedy(&no_table, "DATABASE_URL"), "; run `switchboard migrate`");
        assert_eq!(remedy(&DbError::Refused("42703 column".to_owned()), "DATABASE_URL"), "");
    }
}
