//! `switchboard ops …`: what an operator asks of a running house, by way of its database.

use actors::db::{Console, DbError, JobOrder, JobRow};
use chrono::{SecondsFormat, Utc};
use clap::Subcommand;

use crate::logging;
use crate::settings::{OpsSettings, environment};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The background jobs: a table of them, or an order to one
    Jobs(Jobs),
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Jobs {
    /// Do not run this job until it is resumed; a run under way goes on
    #[arg(long, value_name = "NAME")]
    pause: Option<String>,
    /// Run this job again when it is due
    #[arg(long, value_name = "NAME")]
    resume: Option<String>,
    /// Let whichever process is first run this job now
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
}

pub fn run(command: Command) -> u8 {
    let settings = match OpsSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard ops cannot start: {faults}");
            return super::USAGE;
        }
    };
    logging::start(&settings.log);
    let answer = async {
        let console = Console::open(settings.url.expose()).await?;
        match command {
            Command::Jobs(arguments) => jobs(console, arguments).await,
        }
    };
    actix_rt::System::new().block_on(answer).unwrap_or_else(|error| {
        eprintln!("switchboard ops failed: {error}");
        super::FAILED
    })
}

async fn jobs(mut console: Console, arguments: Jobs) -> Result<u8, DbError> {
    let order = match arguments {
        Jobs { pause: Some(name), .. } => Some((name, JobOrder::Pause)),
        Jobs { resume: Some(name), .. } => Some((name, JobOrder::Resume)),
        Jobs { run: Some(name), .. } => Some((name, JobOrder::RunNow)),
        Jobs { pause: None, resume: None, run: None } => None,
    };
    let Some((name, order)) = order else {
        print!("{}", table(&console.jobs().await?));
        return Ok(super::FINE);
    };
    let Some(job) = console.order_job(&name, order).await? else {
        eprintln!("there is no job named {name:?}");
        return Ok(super::USAGE);
    };
    print!("{}", table(std::slice::from_ref(&job)));
    if order == JobOrder::RunNow && job.paused {
        eprintln!("{name} is paused: it runs when it is resumed");
        return Ok(super::FAILED);
    }
    Ok(super::FINE)
}

/// One line a job; errors below it.
fn table(jobs: &[JobRow]) -> String {
    let mut text = format!(
        "{:<14} {:<10} {:>7}  {:<20}  {:<20} {:>9}  {:<11} {:>7} {:>8}\n",
        "JOB", "STATE", "EVERY", "NEXT RUN", "LAST RUN", "TOOK", "RESULT", "RUNS", "FAILURES"
    );
    for job in jobs {
        let at = |time: chrono::DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let running = job.lease_until.is_some_and(|until| until > Utc::now());
        let state = match (job.paused, running) {
            (true, _) => "paused",
            (false, true) => "running",
            (false, false) => "waiting",
        };
        text += &format!(
            "{:<14} {state:<10} {:>6}s  {:<20}  {:<20} {:>9}  {:<11} {:>7} {:>8}\n",
            job.name,
            job.every_seconds,
            at(job.next_run_at),
            job.last_run_at.map_or_else(|| "never".to_owned(), at),
            job.last_duration_ms.map_or_else(String::new, |took| format!("{took} ms")),
            job.last_result.as_deref().unwrap_or_default(),
            job.runs,
            job.failures,
        );
        if let Some(error) = &job.last_error {
            text += &format!("  {error}\n");
        }
    }
    text
}
