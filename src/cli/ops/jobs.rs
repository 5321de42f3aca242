//! `switchboard ops jobs`: the background jobs, by way of their table.

use actors::db::{BadUrl, DbError, JobOrder, JobRow};
use chrono::{SecondsFormat, Utc};
use clap::Args;

use crate::cli::accounts::{Deed, Done, act, look, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Do not run this job until it is resumed; a run under way goes on
    #[arg(long, value_name = "NAME", group = "order")]
    pause: Option<String>,
    /// Run this job again when it is due
    #[arg(long, value_name = "NAME", group = "order")]
    resume: Option<String>,
    /// Let whichever process is first run this job now
    #[arg(long, value_name = "NAME", group = "order")]
    run: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Carries out what is asked for; the exit status.
pub async fn run(url: &str, arguments: Arguments) -> Result<Result<u8, DbError>, BadUrl> {
    let json = arguments.json;
    let Some((name, order, action)) = order(arguments) else {
        return look(url, async |accounts| {
            show(&accounts.operator().jobs().await?, json);
            Ok(Done::Fine)
        })
        .await;
    };
    act(url, Deed { action, object: Some(&name) }, async |accounts| {
        let Some(job) = accounts.operator().order_job(&name, order).await? else {
            return Ok(Done::Refused(format!("there is no job named {name:?}")));
        };
        let is_vain = order == JobOrder::RunNow && job.paused;
        show(&[job], json);
        if is_vain {
            return Ok(Done::InVain(format!("{name} is paused: it runs when it is resumed")));
        }
        Ok(Done::Fine)
    })
    .await
}

/// What is to be done with which job, as the audit names it. None: all are listed.
fn order(arguments: Arguments) -> Option<(String, JobOrder, &'static str)> {
    let Arguments { pause, resume, run, .. } = arguments;
    let pause = pause.map(|name| (name, JobOrder::Pause, "job-paused"));
    let resume = || resume.map(|name| (name, JobOrder::Resume, "job-resumed"));
    pause.or_else(resume).or_else(|| run.map(|name| (name, JobOrder::RunNow, "job-run")))
}

fn show(jobs: &[JobRow], json: bool) {
    if json { print_json(&jobs) } else { print!("{}", table(jobs)) }
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
