//! What the commands about users, tokens and the audit have in common: each writes an entry of the audit.

use actors::access::AccountName;
use actors::db::{Accounts, AuditEntry, BadUrl, DbError};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{FAILED, FINE, USAGE};

/// What a command did, for its exit status and the audit.
pub enum Done {
    Fine,
    /// The arguments do not fit what is there, for this reason.
    Refused(String),
    /// It is done, and does not do what is wanted, for this reason.
    InVain(String),
}

impl Done {
    /// Says why, if it is not fine; the exit status.
    fn status(self) -> u8 {
        let (why, status) = match self {
            Self::Fine => return FINE,
            Self::Refused(why) => (why, USAGE),
            Self::InVain(why) => (why, FAILED),
        };
        eprintln!("{why}");
        status
    }
}

/// What a command does, as the audit names it.
pub struct Deed<'a> {
    pub action: &'static str,
    /// Whom or what it is done to.
    pub object: Option<&'a str>,
}

/// Connects and looks at what nobody has to account for; the exit status.
pub async fn look(
    url: &str,
    work: impl AsyncFnOnce(&Accounts) -> Result<Done, DbError>,
) -> Result<Result<u8, DbError>, BadUrl> {
    Ok(match Accounts::connect(url).await? {
        Ok(accounts) => work(&accounts).await.map(Done::status),
        Err(error) => Err(error),
    })
}

/// Connects, does the work and writes the entry of the audit; the exit status.
pub async fn act(
    url: &str,
    deed: Deed<'_>,
    work: impl AsyncFnOnce(&Accounts) -> Result<Done, DbError>,
) -> Result<Result<u8, DbError>, BadUrl> {
    let accounts = match Accounts::connect(url).await? {
        Ok(accounts) => accounts,
        Err(error) => return Ok(Err(error)),
    };
    let done = work(&accounts).await;
    let outcome = if matches!(done, Ok(Done::Fine | Done::InVain(_))) { "ok" } else { "failed" };
    let entry = AuditEntry {
        who: who(),
        client: None,
        action: deed.action.to_owned(),
        object: deed.object.map(str::to_owned),
        outcome: outcome.to_owned(),
    };
    let written = accounts.audit(&entry).await;
    Ok(done.map(|done| {
        let status = done.status();
        match written {
            Ok(()) => status,
            Err(error) => {
                eprintln!("the audit has no entry of this: {error}");
                status.max(FAILED)
            }
        }
    }))
}

/// Who runs this, as the audit names it.
pub fn who() -> String {
    format!("cli:{}", unix_user())
}

/// A name on the command line.
pub fn name(text: &str) -> Result<String, String> {
    text.parse::<AccountName>().map(|name| name.to_string()).map_err(|error| error.to_string())
}

/// Done, unless nobody has the name.
pub fn if_found(found: bool, what: &str, name: &str) -> Done {
    if found { Done::Fine } else { Done::Refused(format!("there is no {what} named {name:?}")) }
}

/// To the second.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The value as indented JSON on standard output.
pub fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => super::shell::print_line(text),
        Err(error) => tracing::error!(%error, "the answer cannot be written as JSON"),
    }
}

/// Who runs this: the name of the real user, or the number of one who is not in the file.
fn unix_user() -> String {
    let id = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(id, &users).map_or_else(|| id.to_string(), str::to_owned)
}

/// The name of a user in the text of `/etc/passwd`.
fn name_of(id: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_number_and_not_by_the_group() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nanna:x:1000:7:,,,:/home/anna:/bin/sh\n\
                     bert:x:7:1000::/:/bin/sh\n";
        assert_eq!(name_of(0, users), Some("root"));
        assert_eq!(name_of(1000, users), Some("anna"));
        assert_eq!(name_of(7, users), Some("bert"));
        assert_eq!(name_of(1, users), None);
    }
}
