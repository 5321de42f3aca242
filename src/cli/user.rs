//! `switchboard user …`: the people who may log in.

use std::io::{BufRead, IsTerminal as _};

use actors::access::Role;
use actors::db::{AddError, ListedUser};
use actors::secret::Secret;
use clap::{Args, Subcommand};

use super::accounts::{Deed, Done, act, if_found, name, print_json, time};
use super::shell::print_line;
use super::{USAGE, database};
use crate::auth::password;

/// Bytes of a line that may be a password: more than the longest one has.
const LONGEST_LINE: u64 = 4 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a user, who can log in at once
    ///
    /// The password is asked for twice on the terminal, which does not show it. When standard input is no
    /// terminal, its first line is the password, so that a script can pipe it in. A password has 12 to 256
    /// characters.
    Add(AddArguments),
    /// List the users
    List(ListArguments),
    /// Give a user another password, and end the user's sessions
    ///
    /// The password is asked for twice on the terminal, which does not show it. When standard input is no
    /// terminal, its first line is the password, so that a script can pipe it in. A password has 12 to 256
    /// characters.
    Passwd(NameArguments),
    /// Give a user another role, which holds for the next request
    Role(RoleArguments),
    /// Let a user log in no more, and end the user's sessions
    Disable(NameArguments),
    /// Let a user who was disabled log in again
    Enable(NameArguments),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Up to 64 letters, digits, `.`, `_`, `-`, `@` and `+`; capitals make no difference
    #[arg(value_parser = name)]
    name: String,
    /// `viewer` sees calls and the log, `operator` also steers calls, `admin` may do everything
    #[arg(long)]
    role: Role,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct NameArguments {
    #[arg(value_parser = name)]
    name: String,
}

#[derive(Debug, Args)]
pub struct RoleArguments {
    #[arg(value_parser = name)]
    name: String,
    /// `viewer`, `operator` or `admin`
    role: Role,
}

pub fn run(command: Command) -> u8 {
    match command {
        Command::Add(AddArguments { name, role }) => add(&name, role),
        Command::List(ListArguments { json }) => list(json),
        Command::Passwd(NameArguments { name }) => passwd(&name),
        Command::Role(RoleArguments { name, role }) => {
            change("user-role-set", &name, async |accounts| accounts.set_role(&name, role).await)
        }
        Command::Disable(NameArguments { name }) => {
            change("user-disabled", &name, async |accounts| accounts.set_disabled(&name, true).await)
        }
        Command::Enable(NameArguments { name }) => {
            change("user-enabled", &name, async |accounts| accounts.set_disabled(&name, false).await)
        }
    }
}

fn add(name: &str, role: Role) -> u8 {
    let hash = match new_password(name) {
        Ok(hash) => hash,
        Err(why) => {
            eprintln!("switchboard user add: {why}");
            return USAGE;
        }
    };
    let deed = Deed { action: "user-added", object: Some(name) };
    database::run("user add", async |url| {
        act(url, deed, async |accounts| match accounts.add_user(name, &hash, role).await {
            Ok(()) => {
                print_line(added(name, role));
                Ok(Done::Fine)
            }
            Err(AddError::NameTaken) => Ok(Done::Refused(format!(
                "there is a user named {name:?} already; capitals make no difference"
            ))),
            Err(AddError::Db(error)) => Err(error),
        })
        .await
    })
}

fn added(name: &str, role: Role) -> String {
    format!("{name} can log in, as {}", role.as_str())
}

fn passwd(name: &str) -> u8 {
    match new_password(name) {
        Ok(hash) => {
            change("user-password-set", name, async |accounts| accounts.set_password(name, &hash).await)
        }
        Err(why) => {
            eprintln!("switchboard user passwd: {why}");
            USAGE
        }
    }
}

fn change(
    action: &'static str,
    name: &str,
    change: impl AsyncFnOnce(&actors::db::Accounts) -> Result<bool, actors::db::DbError>,
) -> u8 {
    database::run("user", async |url| {
        act(url, Deed { action, object: Some(name) }, async |accounts| {
            Ok(if_found(change(accounts).await?, "user", name))
        })
        .await
    })
}

fn list(json: bool) -> u8 {
    database::run("user list", async |url| {
        act(url, Deed { action: "users-listed", object: None }, async |accounts| {
            let users = accounts.users().await?;
            if json {
                print_json(&users)
            } else {
                print!("{}", table(&users))
            }
            Ok(Done::Fine)
        })
        .await
    })
}

/// One line a user.
fn table(users: &[ListedUser]) -> String {
    let line = |name: &str, role: &str, state: &str, created: &str, changed: &str| {
        format!("{name:<32} {role:<9} {state:<9} {created:<20}  {changed}\n")
    };
    let head = line("NAME", "ROLE", "STATE", "ADDED", "PASSWORD SET");
    users.iter().fold(head, |text, user| {
        let state = if user.disabled_at.is_some() { "disabled" } else { "active" };
        let (created, changed) = (time(user.created_at), time(user.password_changed_at));
        text + &line(&user.name, user.role.as_str(), state, &created, &changed)
    })
}

/// The hash of the password that a person or a script gives.
fn new_password(name: &str) -> Result<String, String> {
    let password = if std::io::stdin().is_terminal() {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Secret::new);
        let once = ask(&format!("Password for {name}: ")).map_err(|error| unreadable(&error))?;
        password::check(&once).map_err(|error| error.to_string())?;
        let again = ask("The same again: ").map_err(|error| unreadable(&error))?;
        if once != again {
            return Err("the two passwords differ; nothing was changed".to_owned());
        }
        once
    } else {
        first_line(std::io::stdin().lock())?
    };
    password::hash(&password).map_err(|error| error.to_string())
}

fn unreadable(error: &std::io::Error) -> String {
    format!("the password cannot be read: {error}")
}

/// The first line, without its end.
fn first_line(input: impl BufRead) -> Result<Secret, String> {
    let mut line = String::new();
    input.take(LONGEST_LINE).read_line(&mut line).map_err(|error| unreadable(&error))?;
    if line.is_empty() {
        return Err("standard input is empty; give the password on its first line".to_owned());
    }
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Secret::new(password.strip_suffix('\r').unwrap_or(password).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gives_the_password_on_the_first_line() {
        let read = |input: &str| first_line(input.as_bytes()).map(|line| line.expose().to_owned());
        for input in [" correct horse ", " correct horse \n", " correct horse \r\nmore\n"] {
            assert_eq!(read(input).as_deref(), Ok(" correct horse "), "{input:?}");
        }
        assert_eq!(read("\nsecond line").as_deref(), Ok(""));
        assert!(read("").unwrap_err().contains("is empty"));
        assert_eq!(read(&"a".repeat(10_000)).unwrap().len(), 4_096, "a stream without end is not read to it");
        assert!(first_line(&b"\xff\xfe\n"[..]).unwrap_err().contains("UTF-8"));
    }
}
