//! `switchboard loadtest calls | webhooks | database | all`: puts a program under load, and says how it bore
//! it.
//!
//! The sizes are the document's unless others are asked for (reference: load-testing-and-pooling.md).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::secret::Secret;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use url::Url;

use super::{FAILED, USAGE};
use crate::loadtest::calls::{Calls, Overload, Room};
use crate::loadtest::instance::Setup;
use crate::loadtest::limit::Limit;
use crate::loadtest::requests::MOST_UNANSWERED;
use crate::loadtest::result::LoadTest;
use crate::loadtest::schedule::Schedule;
use crate::loadtest::table::Table;
use crate::loadtest::{self, LIMITS_WINDOW, Load, Plan, Where, Work, compare, limit, page};
use crate::sim::arguments::{Origin, seconds, secret};
use crate::sim::phone::Reach;

/// The ceiling of a private instance that need not hold more.
const USUAL_CEILING: u16 = 20;
/// All have rung after a quarter of a call's length, and after so long at the latest.
const LONGEST_RAMP: Duration = Duration::from_secs(30);
/// As many as the document wants to have seen before production.
const QUICK_CALLS: u16 = 10;
/// The names of the files in `--report`.
const RESULT: &str = "result.json";
const PAGE: &str = "report.html";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// 20 calls of five minutes, started within 30 s
    Calls(CallsArguments),
    /// 500 status callbacks in a minute
    Webhooks(WebhooksArguments),
    /// 100 queries of the call log in 10 s, 10 at a time
    Database(DatabaseArguments),
    /// One after the other
    All(AllArguments),
}

#[derive(Debug, Args)]
pub struct CallsArguments {
    #[command(flatten)]
    size: CallsSize,
    /// More and more calls, until their quality suffers: how many does the machine hold?
    #[arg(long, conflicts_with_all = ["calls", "ramp", "overload", "soak"])]
    find_limit: bool,
    /// Half as many calls again as there is room for
    #[arg(long, conflicts_with = "calls")]
    overload: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct WebhooksArguments {
    #[command(flatten)]
    size: WebhooksSize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct DatabaseArguments {
    #[command(flatten)]
    size: DatabaseSize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub struct AllArguments {
    #[command(flatten)]
    calls: CallsSize,
    #[command(flatten)]
    webhooks: WebhooksSize,
    #[command(flatten)]
    database: DatabaseSize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Args)]
struct CallsSize {
    /// How many calls [default: 20; quick: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(limit::MOST)))]
    calls: Option<u16>,
    /// How long each call lasts; for the limit, how long all last together [default: 300; quick or for the
    /// limit: 20; both: 10]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// The time within which the calls start [default: 30, or a quarter of their length]
    #[arg(long, value_name = "S", value_parser = seconds)]
    ramp: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Args)]
struct WebhooksSize {
    /// How many webhooks [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    webhooks: Option<u32>,
    /// The time within which they come [default: 60; quick: 10]
    #[arg(long, value_name = "S", value_parser = seconds)]
    webhook_seconds: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Args)]
struct DatabaseSize {
    /// How many queries [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: Option<u32>,
    /// The time within which they come [default: 10; quick: 5]
    #[arg(long, value_name = "S", value_parser = seconds)]
    query_seconds: Option<Duration>,
    /// How many come at a time [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_UNANSWERED)))]
    at_once: Option<u32>,
}

#[derive(Debug, Args)]
struct Common {
    /// The program to be put under load; without it one is started, with a database of its own
    #[arg(long, value_name = "ORIGIN", value_parser = Origin::Any)]
    url: Option<Url>,
    #[command(flatten)]
    reach: Reach,
    /// The simulated Realtime service behind that program, whose report is read after the calls
    #[arg(long, value_name = "ORIGIN", value_parser = Origin::Loopback, requires = "url")]
    realtime: Option<Url>,
    /// What webhooks are signed with
    #[arg(long, value_name = "TOKEN", env = "TWILIO_AUTH_TOKEN", hide_env_values = true, value_parser = secret)]
    auth_token: Option<Secret>,
    /// Smaller and shorter, each scenario under a minute
    #[arg(long)]
    quick: bool,
    /// Go on for so long (90s, 30m, 1h), in rounds, and look for leaks
    #[arg(long = "for", id = "soak", value_name = "TIME", value_parser = time)]
    soak: Option<Duration>,
    /// Write result.json and report.html into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the result to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show an older result.json beside this one
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
}

/// The exit status is the verdict's; 1 also if the test could not be made.
pub fn run(command: Command) -> u8 {
    let (plan, common) = plan(&command);
    if let Where::There { origin, reach, .. } = &plan.where_to
        && has_calls(&plan.work)
        && let Err(refusal) = reach.permits(origin)
    {
        eprintln!("{refusal}");
        return USAGE;
    }
    if common.url.is_none() && !common.reach.is_usual() {
        eprintln!(
            "--allow-host and --cacert want --url: a private instance is on this machine and has no TLS"
        );
        return USAGE;
    }
    if let (Work::FindLimit(_), Where::There { realtime: None, .. }) = (&plan.work, &plan.where_to) {
        eprintln!(
            "--find-limit wants --realtime: only the service behind the program tells whether no frame is lost"
        );
        return USAGE;
    }
    let old_and_files = || Ok((common.compare.as_deref().map(read).transpose()?, Files::open(common)?));
    let (old, files) = match old_and_files() {
        Ok(both) => both,
        Err::<_, anyhow::Error>(error) => {
            eprintln!("{error:#}");
            return USAGE;
        }
    };
    let test = match actix_rt::System::new().block_on(loadtest::run(&plan)) {
        Ok(test) => test,
        Err(error) => {
            eprintln!("the load test failed: {error:#}");
            return FAILED;
        }
    };
    let status = test.verdict.exit_status();
    // A terminal that is gone does not cost the files.
    match files.write(&test, is_one_of_calls(&plan)).and_then(|()| print(&test, old.as_ref())) {
        Ok(()) => status,
        Err(error) => {
            eprintln!("{error:#}");
            FAILED.max(status)
        }
    }
}

fn plan(command: &Command) -> (Plan, &Common) {
    let (common, work, sized) = match command {
        Command::Calls(CallsArguments { size, find_limit, overload, common }) => {
            let work = if *find_limit {
                let (usual, parts) = if common.quick { (10, 3) } else { (20, 8) };
                let length = size.seconds.unwrap_or(Duration::from_secs(usual));
                Work::FindLimit(Limit { length, parts, quick: common.quick })
            } else if *overload {
                let Calls { length, ramp, quick, .. } = size.calls(common.quick);
                Work::Scenarios(vec![Load::Overload(Overload { length, ramp, quick })])
            } else {
                Work::Scenarios(vec![Load::Calls(size.calls(common.quick))])
            };
            (common, work, *size != CallsSize::DOCUMENT || *find_limit || *overload)
        }
        Command::Webhooks(WebhooksArguments { size, common }) => {
            let loads = vec![Load::Webhooks(size.schedule(common.quick))];
            (common, Work::Scenarios(loads), *size != WebhooksSize::DOCUMENT)
        }
        Command::Database(DatabaseArguments { size, common }) => {
            let loads = vec![Load::Database(size.schedule(common.quick))];
            (common, Work::Scenarios(loads), *size != DatabaseSize::DOCUMENT)
        }
        Command::All(AllArguments { calls, webhooks, database, common }) => {
            let quick = common.quick;
            let loads = vec![
                Load::Calls(calls.calls(quick)),
                Load::Webhooks(webhooks.schedule(quick)),
                Load::Database(database.schedule(quick)),
            ];
            let is_document = *calls == CallsSize::DOCUMENT
                && *webhooks == WebhooksSize::DOCUMENT
                && *database == DatabaseSize::DOCUMENT;
            (common, Work::Scenarios(loads), !is_document)
        }
    };
    // The document's sizes are within its limits; what else is asked for is meant to get through.
    let rate_limits = !sized && !common.quick;
    let where_to = match &common.url {
        Some(origin) => Where::There {
            origin: origin.clone(),
            reach: common.reach.clone(),
            realtime: common.realtime.clone(),
            auth_token: common.auth_token.clone(),
        },
        None => Where::Private(Setup { ceiling: ceiling(&work), rate_limits }),
    };
    let is_limited = common.url.is_some() || rate_limits;
    let pause = if is_limited { LIMITS_WINDOW } else { Duration::ZERO };
    (Plan { where_to, work, pause, soak: common.soak }, common)
}

fn ceiling(work: &Work) -> u16 {
    match work {
        Work::FindLimit(_) => limit::MOST,
        Work::Scenarios(loads) => {
            let counts = loads.iter().filter_map(|load| match load {
                Load::Calls(calls) => Some(calls.count),
                Load::Overload(_) | Load::Webhooks(_) | Load::Database(_) => None,
            });
            counts.max().unwrap_or_default().max(USUAL_CEILING)
        }
    }
}

fn has_calls(work: &Work) -> bool {
    match work {
        Work::FindLimit(_) => true,
        Work::Scenarios(loads) => loads.iter().any(|load| matches!(load, Load::Calls(_) | Load::Overload(_))),
    }
}

/// One scenario of calls, once.
fn is_one_of_calls(plan: &Plan) -> bool {
    let Work::Scenarios(loads) = &plan.work else { return false };
    plan.soak.is_none() && matches!(loads[..], [Load::Calls(_) | Load::Overload(_)])
}

impl CallsSize {
    const DOCUMENT: Self = Self { calls: None, seconds: None, ramp: None };

    fn calls(&self, quick: bool) -> Calls {
        let length = self.seconds.unwrap_or(Duration::from_secs(if quick { 20 } else { 300 }));
        let ramp = self.ramp.unwrap_or((length / 4).min(LONGEST_RAMP));
        let count = self.calls.unwrap_or(if quick { QUICK_CALLS } else { 20 });
        Calls { count, length, ramp, room: Room::ForAll, quick }
    }
}

impl WebhooksSize {
    const DOCUMENT: Self = Self { webhooks: None, webhook_seconds: None };

    fn schedule(&self, quick: bool) -> Schedule {
        let within = self.webhook_seconds.unwrap_or(Duration::from_secs(if quick { 10 } else { 60 }));
        Schedule { count: self.webhooks.unwrap_or(500), within, at_once: 1 }
    }
}

impl DatabaseSize {
    const DOCUMENT: Self = Self { queries: None, query_seconds: None, at_once: None };

    fn schedule(&self, quick: bool) -> Schedule {
        let within = self.query_seconds.unwrap_or(Duration::from_secs(if quick { 5 } else { 10 }));
        Schedule { count: self.queries.unwrap_or(100), within, at_once: self.at_once.unwrap_or(10) }
    }
}

/// The files that the result goes to. They are opened before the load is made, and not changed until it is
/// over.
struct Files {
    result: Option<Output>,
    page: Option<Output>,
    json: Option<Output>,
}

struct Output {
    path: PathBuf,
    file: File,
}

impl Files {
    fn open(common: &Common) -> anyhow::Result<Self> {
        if let Some(folder) = &common.report {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let in_report = |name| common.report.as_ref().map(|folder| folder.join(name));
        let open = |path: Option<PathBuf>| path.map(Output::open).transpose();
        let (result, page) = (open(in_report(RESULT))?, open(in_report(PAGE))?);
        Ok(Self { result, page, json: open(common.json.clone())? })
    }

    /// The JSON of `calls` alone is what `sim phone` and `demo` write as well.
    fn write(self, test: &LoadTest, calls_alone: bool) -> anyhow::Result<()> {
        if let Some(result) = self.result {
            result.write(&serde_json::to_vec_pretty(test)?)?;
        }
        if let Some(page) = self.page {
            page.write(page::html(test).as_bytes())?;
        }
        let calls = test.scenarios.first().and_then(|scenario| scenario.calls.as_ref());
        match (self.json, calls) {
            (Some(json), Some(calls)) if calls_alone => json.write(&serde_json::to_vec(calls)?),
            (Some(json), _) => json.write(&serde_json::to_vec(test)?),
            (None, _) => Ok(()),
        }
    }
}

impl Output {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let opened = File::options().write(true).create(true).truncate(false).open(&path);
        let file = opened.with_context(|| path.display().to_string())?;
        Ok(Self { path, file })
    }

    fn write(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut write = || {
            if self.file.metadata()?.is_file() {
                self.file.set_len(0)?; // what was there before may be longer
            }
            self.file.write_all(bytes)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

fn print(test: &LoadTest, old: Option<&LoadTest>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{}", Table(test)).context("stdout")?;
    if let Some(old) = old {
        write!(stdout, "\n{}", compare::table(old, test)).context("stdout")?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<LoadTest> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: not the result.json of a load test", path.display()))
}

/// `90s`, `30m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            _ => return None,
        };
        number.parse::<u32>().ok().map(|number| Duration::from_secs(u64::from(number) * unit))
    };
    parsed().ok_or_else(|| "a time is wanted: 90s, 30m, 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn parsed(line: &str) -> Result<Plan, clap::Error> {
        let words = std::iter::once("loadtest").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| plan(&line.command).0)
    }

    fn planned(line: &str) -> Plan {
        parsed(line).unwrap()
    }

    #[test]
    fn without_sizes_it_is_the_document() {
        let plan = planned("all");
        let seconds = Duration::from_secs;
        let Work::Scenarios(loads) = &plan.work else { panic!("{plan:?}") };
        let expected = [
            Load::Calls(Calls {
                count: 20,
                length: seconds(300),
                ramp: seconds(30),
                room: Room::ForAll,
                quick: false,
            }),
            Load::Webhooks(Schedule { count: 500, within: seconds(60), at_once: 1 }),
            Load::Database(Schedule { count: 100, within: seconds(10), at_once: 10 }),
        ];
        assert_eq!(loads[..], expected);
        assert_eq!(plan.pause, seconds(62)); // as long as its requests count
        assert!(matches!(plan.where_to, Where::Private(Setup { ceiling: 20, rate_limits: true })));
    }

    #[test]
    fn other_sizes_are_meant_to_get_through() {
        for line in ["all --quick", "calls --calls 40", "webhooks --webhooks 5000", "database --at-once 5"] {
            let plan = planned(line);
            let Where::Private(setup) = plan.where_to else { panic!("{line}") };
            assert_eq!((setup.rate_limits, plan.pause), (false, Duration::ZERO), "{line}");
        }
        assert_eq!(planned("all --quick --url http://127.0.0.1:1").pause, LIMITS_WINDOW);
        let Where::Private(setup) = planned("calls --calls 40").where_to else { panic!() };
        assert_eq!(setup.ceiling, 40);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "calls --webhooks 5",
            "calls --calls 0",
            "calls --find-limit --calls 40",
            "calls --overload --calls 40",
            "all --seconds -1",
            "all --for 1",
            "all --for h",
            "all --url ftp://a",
            "all --url http://a/b",
            "all --realtime http://127.0.0.1:1",
            "all --url http://a --realtime http://a",
            "all --url http://me:hidden@a",
            "all --url http://hidden@a",
            "all --url ftp://me:hidden@a",
            "all --url http://a --realtime http://me:hidden@127.0.0.1",
        ] {
            let refused = parsed(line).expect_err(line).to_string();
            assert!(!refused.contains("hidden"), "{refused}");
        }
        assert_eq!(planned("all --for 2h").soak, Some(Duration::from_secs(7_200)));
    }
}
