//! `switchboard ops jobs`: the background jobs, by way of their table.

use actors::db::{BadUrl, Console, DbError, JobOrder, JobRow};
use chrono::{SecondsFormat, Utc};
use clap::Args;

use crate::cli::{FAILED, FINE, USAGE};

#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Arguments {
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

/// Carries out what is asked for; the exit status.
pub async fn run(url: &str, arguments: Arguments) -> Result<Result<u8, DbError>, BadUrl> {
    Ok(match Console::open(url).await? {
        Ok(console) => obey(console, arguments).await,
        Err(error) => Err(error),
    })
}

async fn obey(mut console: Console, arguments: Arguments) -> Result<u8, DbError> {
    let order = match arguments {
        Arguments { pause: Some(name), .. } => Some((name, JobOrder::Pause)),
        Arguments { resume: Some(name), .. } => Some((name, JobOrder::Resume)),
        Arguments { run: Some(name), .. } => Some((name, JobOrder::RunNow)),
        Arguments { pause: None, resume: None, run: None } => None,
    };
    let Some((name, order)) = order else {
        print!("{}", table(&console.jobs().await?));
        return Ok(FINE);
    };
    let Some(job) = console.order_job(&name, order).await? else {
        eprintln!("there is no job named {name:?}");
        return Ok(USAGE);
    };
    print!("{}", table(std::slice::from_ref(&job)));
    if order == JobOrder::RunNow && job.paused {
        eprintln!("{name} is paused: it runs when it is resumed");
        return Ok(FAILED);
    }
    Ok(FINE)
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
