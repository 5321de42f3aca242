//! `switchboard preflight`: what a first deployment gets wrong, and how to mend it.

use std::io::{BufRead, Write as _};
use std::path::PathBuf;

use actors::db::Address;
use clap::Args;
use url::Url;

use super::accounts::print_json;
use super::shell::print;
use super::{FAILED, USAGE};
use crate::preflight::facts::Facts;
use crate::preflight::fix::{self, Change};
use crate::preflight::gather::{self, Beside};
use crate::preflight::judge::judge;
use crate::preflight::{Level, show, worst};
use crate::private_postgres::data_home;
use crate::settings::{Environment, Fault, Settings, is_set};

#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Enter the number's URLs at Twilio, after asking
    #[arg(long)]
    fix: bool,
    /// Do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
    /// What Twilio runs if the program cannot be reached: the URL of a TwiML Bin
    #[arg(long, value_name = "URL", requires = "fix")]
    fallback_url: Option<Url>,
    /// The folder in which `loadtest --report` wrote its last result [default: `loadtest` in the data folder]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl Arguments {
    /// With everything that can be mended.
    pub fn fixing(yes: bool, fallback_url: Option<Url>) -> Self {
        Self { fix: true, yes, fallback_url, ..Self::default() }
    }
}

/// The exit status is 0 if all lines pass, 1 for a warning, 2 for a failure, 64 for faulty settings or
/// arguments.
pub fn run(arguments: &Arguments) -> u8 {
    let environment = Environment::default();
    let settings = match Settings::read(|name| environment.get(name)) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard preflight cannot start: {faults}");
            if arguments.json {
                print_json(&show::faults(faults.iter()));
            }
            return USAGE;
        }
    };
    let database = match Address::of(settings.db.url.expose()) {
        Ok(database) => database,
        Err(error) => {
            eprintln!("switchboard preflight cannot start: the database URL is of no use: {error}");
            if arguments.json {
                let remedy = "give DATABASE_URL a PostgreSQL URL".to_owned();
                let fault = Fault { name: "DATABASE_URL".to_owned(), wrong: error.to_string(), remedy };
                print_json(&show::faults([&fault]));
            }
            return USAGE;
        }
    };
    let beside = Beside {
        has_secret_key: is_set("SECRET_KEY"),
        remarks: environment.remarks(),
        report: arguments.report.clone().unwrap_or_else(|| data_home().join("loadtest")),
    };
    let system = actix_rt::System::new();
    let level = system.block_on(check(&settings, database, &beside, arguments));
    // Its end would wait for whoever still looks up a name.
    std::mem::forget(system);
    level
}

/// Gathers, mends if it is asked to, judges and prints; the exit status.
pub async fn check(settings: &Settings, database: Address, beside: &Beside, arguments: &Arguments) -> u8 {
    let mut facts = gather::gather(settings, database, beside).await;
    let mut status = Level::Pass.exit_status();
    let fallback = arguments.fallback_url.as_ref();
    let wrong = fallback.and_then(|url| fix::is_no_fallback(url, settings.http.public_url.as_ref()));
    if let Some(wrong) = wrong {
        eprintln!("{wrong}; nothing was changed at Twilio");
        status = USAGE;
    } else if arguments.fix {
        match fix::change(&facts, fallback) {
            None => eprintln!("nothing is to be changed at Twilio"),
            Some(change) => status = mend(settings, &mut facts, &change, arguments.yes).await,
        }
    }
    let lines = judge(&facts);
    if arguments.json {
        print_json(&show::json(&lines));
    } else {
        print(show::text(&lines).as_bytes());
    }
    worst(&lines).exit_status().max(status)
}

/// Makes the change if it may, and looks again; the exit status.
async fn mend(settings: &Settings, facts: &mut Facts, change: &Change, yes: bool) -> u8 {
    for says in &change.says {
        eprintln!("{says}");
    }
    if !yes && !agrees("Change this at Twilio? [y/N] ", &mut std::io::stdin().lock()) {
        eprintln!("nothing was changed");
        return Level::Pass.exit_status();
    }
    let Ok(Some(api)) = settings.twilio.api() else { return FAILED };
    if let Err(error) = fix::apply(&api, change).await {
        eprintln!("Twilio has not taken it: {error}");
        return FAILED;
    }
    facts.twilio = gather::twilio(&settings.twilio).await;
    Level::Pass.exit_status()
}

/// Whether the answer begins with y. The end of the input is a no.
pub fn agrees(question: &str, input: &mut impl BufRead) -> bool {
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    input.read_line(&mut answer).is_ok() && answer.trim().to_ascii_lowercase().starts_with('y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_no() {
        for (answer, agreed) in
            [("y\n", true), ("Yes\n", true), ("", false), ("\n", false), ("n\ny\n", false)]
        {
            assert_eq!(agrees("", &mut answer.as_bytes()), agreed, "{answer:?}");
        }
    }
}
