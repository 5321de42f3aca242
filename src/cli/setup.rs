//! `switchboard setup`: asks for what a deployment needs, checks each answer, and writes the files.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use actors::db::migrate::migrate;
use actors::db::{Address, SchemaState};
use clap::Args;
use url::Url;

use super::preflight::{agrees, check};
use super::{FAILED, USAGE};
use crate::preflight::gather::{self, Beside};
use crate::preflight::{Level, Line, judge};
use crate::private_postgres::data_home;
use crate::settings::{
    Fault, MigrateSettings, OpsSettings, Place, Settings, TestAlertSettings, environment, places,
};
use crate::setup::{Answers, QUESTIONS, Question, agent_file, env_file, fault, value};

mod before;

use before::{Before, folder};

/// How often a question is asked.
const TRIES: u32 = 3;
/// Where the database's pooler is known by its port.
const POOLER_PORT: u16 = 6543;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the settings to this file
    #[arg(long, value_name = "FILE", default_value = "switchboard.env")]
    out: PathBuf,
    /// Write an agent file to begin with; one that exists is kept
    #[arg(long, value_name = "FILE", default_value = "agent.toml")]
    agent: PathBuf,
    /// What the agent calls itself
    #[arg(long, value_name = "NAME")]
    agent_name: Option<String>,
    /// Answer a question that is not about a secret; may be repeated
    ///
    /// NAME is PUBLIC_URL, TRUSTED_PROXIES, TWILIO_ACCOUNT_SID, TWILIO_FROM_NUMBER, HUMAN_FALLBACK_NUMBER or
    /// URGENT_NOTIFICATION_NUMBER. Export any other setting before: setup takes it over.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Ask nothing, and do what would be offered: answers come from --set and from the environment
    #[arg(long)]
    yes: bool,
    /// Replace a file of settings that exists
    #[arg(long)]
    overwrite: bool,
    /// What Twilio runs if the program cannot be reached: the URL of a TwiML Bin
    #[arg(long, value_name = "URL")]
    fallback_url: Option<Url>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    match QUESTIONS.iter().find(|question| question.name == name) {
        Some(question) if question.is_secret => {
            Err("a secret is not given here, where others see it: put it into the environment".to_owned())
        }
        Some(_) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!(
            "{name} is not asked for; expected one of {}. Export {name} instead: setup takes it over",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What `--set` takes.
fn names() -> impl Iterator<Item = &'static str> {
    QUESTIONS.iter().filter(|question| !question.is_secret).map(|question| question.name)
}

/// The exit status is that of `preflight`; 64 if nothing was written.
pub fn run(arguments: &Arguments) -> u8 {
    let answers = arguments.set.iter().cloned().collect();
    let mut dialogue = Dialogue { arguments, answers, before: Before::Nothing, is_pooler: false };
    let system = actix_rt::System::new();
    let status = system.block_on(dialogue.run()).unwrap_or_else(|End { status, why }| {
        eprintln!("switchboard setup: {why}");
        status
    });
    // Its end would wait for whoever still looks up a name.
    std::mem::forget(system);
    status
}

/// Why it goes no further.
struct End {
    status: u8,
    why: String,
}

fn usage(why: impl Into<String>) -> End {
    End { status: USAGE, why: why.into() }
}

struct Dialogue<'a> {
    arguments: &'a Arguments,
    answers: Answers,
    before: Before,
    /// `DATABASE_URL` leads to a transaction pooler.
    is_pooler: bool,
}

impl Dialogue<'_> {
    async fn run(&mut self) -> Result<u8, End> {
        self.may_write()?;
        for question in QUESTIONS {
            if self.is_asked(question.name) {
                self.asks(question).await?;
            }
        }
        self.draws_a_key();
        self.writes_the_agent()?;
        let settings =
            Settings::read(|name| self.lookup(name)).map_err(|faults| usage(faults.to_string()))?;
        self.writes_the_settings()?;
        self.migrates().await?;
        self.checks(&settings).await
    }

    fn lookup(&self, name: &str) -> Option<String> {
        value(name, &self.answers, &environment, &|name| self.before.get(name))
    }

    fn has(&self, name: &str) -> bool {
        !places(name, &|name| self.lookup(name)).is_empty()
    }

    /// Before anybody answers in vain.
    fn may_write(&mut self) -> Result<(), End> {
        let Arguments { out, yes, overwrite, .. } = self.arguments;
        let shown = out.display();
        tempfile::NamedTempFile::new_in(folder(out))
            .map_err(|error| usage(format!("{shown} cannot be written: {error}")))?;
        self.before = Before::of(out).map_err(usage)?;
        let Some(says) = self.before.says(out) else { return Ok(()) };
        if *overwrite {
            eprintln!("{says}");
            return Ok(());
        }
        if *yes {
            return Err(usage(format!("{shown} exists: give --overwrite, or another --out")));
        }
        if agrees(&format!("{says} Replace it? [y/N] "), &mut io::stdin().lock()) {
            Ok(())
        } else {
            Err(usage("nothing was written"))
        }
    }

    fn is_asked(&self, name: &str) -> bool {
        match name {
            "DIRECT_DATABASE_URL" => self.is_pooler,
            "TRUSTED_PROXIES" => {
                let is_https = self.lookup("PUBLIC_URL").is_some_and(|url| url.starts_with("https:"));
                is_https && !self.has("TLS_CERT_FILE")
            }
            _ => true,
        }
    }

    async fn asks(&mut self, question: Question) -> Result<(), End> {
        let name = question.name;
        let mut is_given = self.has(name);
        for _ in 0..TRIES {
            if !self.arguments.yes && !is_given {
                let answer =
                    answer(question, question.default).map_err(|error| usage(format!("{name}: {error}")))?;
                if answer.is_empty() && question.is_required {
                    eprintln!("  it is required");
                    continue;
                }
                self.answers.insert(name.to_owned(), answer);
            }
            if !self.has(name) {
                return Ok(()); // what is missing is told with all other faults
            }
            let fault = fault(name, &|name| self.lookup(name));
            let is_well_formed = fault.is_none();
            let wrong = match fault {
                Some(fault) => Some(told(&fault)),
                None => self.is_wrong_live(name).await,
            };
            let Some(wrong) = wrong else { return Ok(()) };
            eprintln!("{wrong}");
            if self.arguments.yes || agrees("  Keep it all the same? [y/N] ", &mut io::stdin().lock()) {
                return Ok(());
            }
            self.may_replace(name)?;
            if name == "TWILIO_AUTH_TOKEN" && is_well_formed {
                self.asks_for_the_account()?;
            }
            self.answers.remove(name);
            is_given = false;
        }
        Err(usage(format!("{name} has no answer that will do")))
    }

    /// An answer hides a variable and a file, but no credential.
    fn may_replace(&self, name: &str) -> Result<(), End> {
        let places = places(name, &|name| self.lookup(name));
        match places.into_iter().find(|place| matches!(place, Place::Credential(_))) {
            Some(Place::Credential(path)) => {
                Err(usage(format!("{name} is the credential {}: correct it there", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Twilio does not say which of the two it refuses. An empty answer keeps the SID.
    fn asks_for_the_account(&mut self) -> Result<(), End> {
        let name = "TWILIO_ACCOUNT_SID";
        let Some(question) = QUESTIONS.iter().find(|question| question.name == name) else { return Ok(()) };
        let kept = self.lookup(name).unwrap_or_default();
        for _ in 0..TRIES {
            let answer = answer(*question, &kept).map_err(|error| usage(format!("{name}: {error}")))?;
            self.answers.insert(name.to_owned(), answer);
            let Some(fault) = fault(name, &|name| self.lookup(name)) else { return Ok(()) };
            eprintln!("{}", told(&fault));
        }
        Err(usage(format!("{name} has no answer that will do")))
    }

    /// Tries an answer with whom it is about, and says how it went; what is wrong with it.
    async fn is_wrong_live(&mut self, name: &str) -> Option<String> {
        let line = self.tried(name).await?;
        if line.level == Level::Fail {
            let remedy = line.remedy.unwrap_or_default();
            return Some(format!("  {}; {remedy}", line.seen));
        }
        eprintln!("  {}", line.seen);
        None
    }

    async fn tried(&mut self, name: &str) -> Option<Line> {
        let lookup = |name: &str| self.lookup(name);
        match name {
            "DATABASE_URL" => {
                let url = OpsSettings::read(lookup).ok()?.url;
                let address = match Address::of(url.expose()) {
                    Ok(address) => address,
                    Err(error) => return Some(judge::reachable::<()>(Err(&error.to_string()))),
                };
                let found = gather::look_at_database(url.expose()).await;
                self.is_pooler = address.ports.contains(&POOLER_PORT)
                    || found.as_ref().is_ok_and(|(found, _)| found.is_transaction_pooler);
                Some(judge::reachable(found.as_ref()))
            }
            "DIRECT_DATABASE_URL" => {
                let url = OpsSettings::read(lookup).ok()?.direct_url;
                Some(judge::direct_connection(&gather::look_at_direct(url.as_ref()).await?))
            }
            "TWILIO_AUTH_TOKEN" | "TWILIO_FROM_NUMBER" => {
                let twilio = gather::twilio(&TestAlertSettings::read(lookup).ok()?.twilio).await?;
                let is_token = name == "TWILIO_AUTH_TOKEN";
                Some(if is_token { judge::account(&twilio) } else { judge::number(&twilio) })
            }
            "OPENAI_API_KEY" => {
                let settings = Settings::read(lookup).ok()?;
                Some(judge::trial(&gather::try_realtime(&settings).await))
            }
            _ => None,
        }
    }

    /// So that the key does not change with the auth token.
    fn draws_a_key(&mut self) {
        if !self.has("SECRET_KEY") {
            let key = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
            self.answers.insert("SECRET_KEY".to_owned(), key);
        }
    }

    fn writes_the_agent(&mut self) -> Result<(), End> {
        if self.has("AGENT_FILE") {
            return Ok(());
        }
        let path = &self.arguments.agent;
        let failed = |error: io::Error| End { status: FAILED, why: format!("{}: {error}", path.display()) };
        if path.exists() {
            eprintln!("{} exists and is kept", path.display());
        } else {
            let name = match &self.arguments.agent_name {
                Some(name) => name.clone(),
                None if self.arguments.yes => String::new(),
                None => line("What the agent calls itself, such as Harbor Clinic: ").map_err(failed)?,
            };
            let name = if name.trim().is_empty() { "Robin" } else { name.trim() };
            let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
            file.write_all(agent_file(name).as_bytes()).map_err(failed)?;
            eprintln!("wrote {}: say there what the agent is to know", path.display());
        }
        let absolute = path.canonicalize().map_err(failed)?;
        self.answers.insert("AGENT_FILE".to_owned(), absolute.display().to_string());
        Ok(())
    }

    /// For its owner alone, and whole or not at all.
    fn writes_the_settings(&self) -> Result<(), End> {
        let text = env_file(&self.answers, &|name| self.lookup(name), self.before.settings())
            .map_err(|name| usage(format!("{name} has a line break, which no file of settings can have")))?;
        let out = &self.arguments.out;
        let written = self.before.keep(out).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder(out))?;
            file.write_all(text.as_bytes())?;
            file.persist(out).map_err(|error| error.error)
        });
        written.map_err(|error| End { status: FAILED, why: format!("{}: {error}", out.display()) })?;
        eprintln!("wrote {}: `switchboard serve --env-file {}` uses it", out.display(), out.display());
        Ok(())
    }

    /// Offers to bring an older schema up to date.
    async fn migrates(&self) -> Result<(), End> {
        let lookup = |name: &str| self.lookup(name);
        let Ok(MigrateSettings { url, .. }) = MigrateSettings::read(lookup) else { return Ok(()) };
        let is_older = match gather::look_at_database(url.expose()).await {
            Ok((found, _)) => matches!(found.schema, SchemaState::Older { .. }),
            Err(error) => {
                eprintln!("whether the database lacks tables is not known: {error}");
                false
            }
        };
        let offer = "The database lacks tables. Create them now? [y/N] ";
        if !is_older || !(self.arguments.yes || agrees(offer, &mut io::stdin().lock())) {
            return Ok(());
        }
        match migrate(url.expose()).await {
            Ok(applied) => eprintln!("applied {} migrations", applied.len()),
            Err(error) => eprintln!("switchboard migrate failed: {error}"),
        }
        Ok(())
    }

    async fn checks(&self, settings: &Settings) -> Result<u8, End> {
        let database = Address::of(settings.db.url.expose()).map_err(|error| usage(error.to_string()))?;
        let beside =
            Beside { has_secret_key: true, remarks: Vec::new(), report: data_home().join("loadtest") };
        let Arguments { yes, fallback_url, .. } = self.arguments;
        let arguments = super::preflight::Arguments::fixing(*yes, fallback_url.clone());
        Ok(check(settings, database, &beside, &arguments).await)
    }
}

fn told(fault: &Fault) -> String {
    format!("  {} {}: {}", fault.name, fault.wrong, fault.remedy)
}

/// What somebody types; a secret is not shown. An empty answer means `default`.
fn answer(question: Question, default: &str) -> io::Result<String> {
    let Question { name, text, is_required, .. } = question;
    let more = match (default, is_required) {
        ("", true) => String::new(),
        ("", false) => " [none]".to_owned(),
        (default, _) => format!(" [{default}]"),
    };
    let prompt = format!("{name}: {text}{more}: ");
    let typed = if question.is_secret && io::stdin().is_terminal() {
        rpassword::prompt_password(prompt)?
    } else {
        line(&prompt)?
    };
    Ok(if typed.trim().is_empty() { default.to_owned() } else { typed.trim().to_owned() })
}

fn line(prompt: &str) -> io::Result<String> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nobody answers"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_the_names_that_set_takes() {
        let mut command = crate::cli::command();
        let help = command.find_subcommand_mut("setup").unwrap().render_long_help().to_string();
        for name in names() {
            assert!(help.contains(name), "{name}: {help}");
        }
    }

    #[test]
    fn a_secret_is_not_taken_from_the_command_line() {
        assert_eq!(pair("TRUSTED_PROXIES=10.0.0.1").unwrap().1, "10.0.0.1");
        for (text, told) in [
            ("OPENAI_API_KEY=hush", "a secret"),
            ("PORT=80", "URGENT_NOTIFICATION_NUMBER. Export PORT instead"),
            ("hush", "NAME=VALUE"),
        ] {
            let refused = pair(text).unwrap_err();
            assert!(refused.contains(told) && !refused.contains("hush"), "{refused}");
        }
    }
}
