//! `switchboard token …`: what programs show instead of a password.

use std::io::Write as _;

use actors::access::Scopes;
use actors::db::{AddError, ListedToken};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};

use super::accounts::{Deed, Done, act, if_found, name, print_json, time};
use super::database;
use super::span::{self, Span};
use crate::auth::token;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a token, and print it once
    ///
    /// The token is the only line on standard output. It is not kept, only its hash is: store it at once.
    Add(AddArguments),
    /// List the tokens; what they are is not known
    List(ListArguments),
    /// Revoke a token, which is refused from the next request on
    Revoke(NameArguments),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// What the token is for: up to 64 letters, digits, `.`, `_`, `-`, `@` and `+`
    #[arg(value_parser = name)]
    name: String,
    /// What its holder may do: a list with commas of `monitor`, `logs`, `operate`, `admin`, `metrics`
    #[arg(long, value_name = "SCOPES")]
    scopes: Scopes,
    /// How long it is valid, such as `12h` or `90d`; at most `3650d`
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    expires: Span,
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

pub fn run(command: Command) -> u8 {
    match command {
        Command::Add(arguments) => add(&arguments),
        Command::List(ListArguments { json }) => list(json),
        Command::Revoke(NameArguments { name }) => revoke(&name),
    }
}

fn add(arguments: &AddArguments) -> u8 {
    let AddArguments { name, scopes, expires } = arguments;
    let deed = Deed { action: "token-added", object: Some(name) };
    database::run("token add", async |url| {
        act(url, deed, async |accounts| {
            let token = token::draw();
            let until = Utc::now() + TimeDelta::from(*expires);
            match accounts.add_token(name, &token::hash(&token), *scopes, until).await {
                Ok(()) => {}
                Err(AddError::NameTaken) => {
                    return Ok(Done::Refused(format!(
                        "there is a token named {name:?} already; revoke it first, or take another name"
                    )));
                }
                Err(AddError::Db(error)) => return Err(error),
            }
            eprintln!("{name} may {scopes} until {}. This is its only appearance:", time(until));
            let mut stdout = std::io::stdout();
            let printed = writeln!(stdout, "{}", token.expose()).and_then(|()| stdout.flush());
            Ok(match printed {
                Ok(()) => Done::Fine,
                Err(error) => Done::Refused(format!("standard output is closed ({error}): revoke {name}")),
            })
        })
        .await
    })
}

fn list(json: bool) -> u8 {
    database::run("token list", async |url| {
        act(url, Deed { action: "tokens-listed", object: None }, async |accounts| {
            let tokens = accounts.tokens().await?;
            if json {
                print_json(&tokens)
            } else {
                print!("{}", table(&tokens, Utc::now()))
            }
            Ok(Done::Fine)
        })
        .await
    })
}

fn revoke(name: &str) -> u8 {
    database::run("token revoke", async |url| {
        act(url, Deed { action: "token-revoked", object: Some(name) }, async |accounts| {
            Ok(if_found(accounts.revoke_token(name).await?, "living token", name))
        })
        .await
    })
}

/// One line a token.
fn table(tokens: &[ListedToken], now: DateTime<Utc>) -> String {
    let line = |name: &str, state: &str, created: &str, expires: &str, used: &str, scopes: &str| {
        format!("{name:<32} {state:<8} {created:<20}  {expires:<20}  {used:<20}  {scopes}\n")
    };
    let head = line("NAME", "STATE", "ADDED", "EXPIRES", "LAST USED", "SCOPES");
    tokens.iter().fold(head, |text, token| {
        let state = match token.revoked_at {
            Some(_) => "revoked",
            None if token.expires_at <= now => "expired",
            None => "valid",
        };
        let used = token.last_used_at.map_or_else(|| "never".to_owned(), time);
        let (created, expires) = (time(token.created_at), time(token.expires_at));
        text + &line(&token.name, state, &created, &expires, &used, &token.scopes.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_of_each_token_whether_it_is_valid() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let token = |expires: i64, revoked_at| ListedToken {
            name: "prometheus".to_owned(),
            scopes: "metrics".parse().unwrap(),
            created_at: now,
            expires_at: now + TimeDelta::seconds(expires),
            revoked_at,
            last_used_at: None,
        };
        let text = table(&[token(1, None), token(0, None), token(1, Some(now))], now);
        let states: Vec<_> =
            text.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(states, ["valid", "expired", "revoked"]);
    }
}
