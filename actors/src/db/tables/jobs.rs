//! Table `jobs`: what is done now and then, by whichever process takes it first.
//!
//! A run is held by a lease, which is a value in the row: it works behind a transaction pooler, and ends by
//! itself with a process that is gone. All times are the database's own. The number of a run names its
//! holder: what a run that lost its lease says of itself changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::jobs;
use super::text::text;
use crate::db::connect::connection::Connection;
use crate::db::connect::error::DbError;
use crate::db::handles::Operations;

/// A runner that waits longer than this for its row asks again later.
const DEADLINE: Duration = Duration::from_secs(2);
/// An error is kept up to so many characters.
const LONGEST_ERROR: usize = 500;

/// How a run of a job went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobResult {
    Ok,
    Failed,
    /// It was cut off at its deadline.
    TimedOut,
    Panicked,
    /// Its process was told to end; another one may take it up at once.
    Interrupted,
}

impl JobResult {
    pub const ALL: [Self; 5] = [Self::Ok, Self::Failed, Self::TimedOut, Self::Panicked, Self::Interrupted];

    /// The word used in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether something is wrong with the job.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Interrupted)
    }
}

/// The right to run a job, until the lease runs out.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct JobLease {
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The number of this run, from 1.
    #[diesel(sql_type = BigInt)]
    pub runs: i64,
}

/// What is to be written of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRun {
    pub lease: JobLease,
    pub instance: String,
    pub result: JobResult,
    /// Without personal data; cut at 500 characters.
    pub error: Option<String>,
    pub took: Duration,
    /// When it is due again.
    pub next_in: Duration,
}

/// A job as its row has it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = jobs, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
pub struct JobRow {
    pub name: String,
    pub paused: bool,
    pub every_seconds: i32,
    pub next_run_at: DateTime<Utc>,
    /// The instance that runs it now.
    pub leased_by: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    pub last_run_at: Option<DateTime<Utc>>,
    pub last_duration_ms: Option<i32>,
    /// A word of [`JobResult`], or `lost`: the process that ran it is gone.
    pub last_result: Option<String>,
    pub last_error: Option<String>,
    pub runs: i64,
    pub failures: i64,
}

/// What an operator wants of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOrder {
    /// It is not run until it is resumed; a run under way goes on.
    Pause,
    Resume,
    /// It is due now, unless it is paused.
    RunNow,
}

impl Operations {
    /// Makes the jobs known with their rhythms, within 2 s, and gives up runs that an earlier process of this
    /// instance's name did not end.
    pub async fn declare_jobs(&self, instance: &str, rhythms: &[(&str, Duration)]) -> Result<(), DbError> {
        self.0
            .shared
            .ask("declare_jobs", DEADLINE, async |connection| {
                Ok(declare(connection, instance, rhythms).await?)
            })
            .await
    }

    /// Takes the job of these that is due for longest, within 2 s; none if nothing is due that nobody runs.
    /// The lease lasts for `lease`.
    pub async fn lease_job(
        &self,
        names: &[&str],
        instance: &str,
        lease: Duration,
    ) -> Result<Option<JobLease>, DbError> {
        self.0
            .shared
            .ask(
                "lease_job",
                DEADLINE,
                async |connection| Ok(take(connection, names, instance, lease).await?),
            )
            .await
    }

    /// Writes how a run went and gives the lease back, within 2 s. False if the lease was lost meanwhile:
    /// then nothing is written.
    pub async fn job_ran(&self, run: &JobRun) -> Result<bool, DbError> {
        self.0.shared.ask("job_ran", DEADLINE, async |connection| Ok(ran(connection, run).await?)).await
    }

    /// All jobs that were ever declared, by name, within 2 s.
    pub async fn jobs(&self) -> Result<Vec<JobRow>, DbError> {
        self.0.shared.ask("jobs", DEADLINE, async |connection| Ok(list(connection).await?)).await
    }

    /// Gives an order, within 2 s; the job's row then. None if there is no such job.
    pub async fn order_job(&self, name: &str, order: JobOrder) -> Result<Option<JobRow>, DbError> {
        self.0
            .shared
            .ask("order_job", DEADLINE, async |connection| Ok(self::order(connection, name, order).await?))
            .await
    }
}

async fn declare(
    connection: &mut Connection,
    instance: &str,
    rhythms: &[(&str, Duration)],
) -> QueryResult<()> {
    use diesel::upsert::excluded;

    let rows: Vec<_> = rhythms
        .iter()
        .map(|(name, every)| {
            let seconds = i32::try_from(every.as_secs()).unwrap_or(i32::MAX);
            (jobs::name.eq(*name), jobs::every_seconds.eq(seconds))
        })
        .collect();
    diesel::insert_into(jobs::table)
        .values(rows)
        .on_conflict(jobs::name)
        .do_update()
        .set(jobs::every_seconds.eq(excluded(jobs::every_seconds)))
        .execute(connection)
        .await?;
    diesel::update(jobs::table.filter(jobs::leased_by.eq(text(instance))))
        .set((
            jobs::leased_by.eq(None::<String>),
            jobs::lease_until.eq(None::<DateTime<Utc>>),
            jobs::last_result.eq("lost"),
            jobs::failures.eq(jobs::failures + 1),
        ))
        .execute(connection)
        .await?;
    Ok(())
}

async fn take(
    connection: &mut Connection,
    names: &[&str],
    instance: &str,
    lease: Duration,
) -> QueryResult<Option<JobLease>> {
    let due = "WITH due AS (
            SELECT name, leased_by FROM jobs
            WHERE name = ANY ($1) AND NOT paused AND next_run_at <= now()
                AND (lease_until IS NULL OR lease_until <= now())
            ORDER BY next_run_at LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        UPDATE jobs SET
            leased_by = $2, lease_until = now() + make_interval(secs => $3), last_run_at = now(), runs = runs + 1,
            last_result = CASE WHEN due.leased_by IS NULL THEN last_result ELSE 'lost' END,
            failures = failures + (due.leased_by IS NOT NULL)::int
        FROM due WHERE jobs.name = due.name
        RETURNING jobs.name, jobs.runs";
    diesel::sql_query(due)
        .bind::<Array<Text>, _>(names)
        .bind::<Text, _>(text(instance))
        .bind::<Double, _>(lease.as_secs_f64())
        .get_result(connection)
        .await
        .optional()
}

async fn ran(connection: &mut Connection, run: &JobRun) -> QueryResult<bool> {
    // One who asked for a run while this one was under way gets another.
    let written = "UPDATE jobs SET
            leased_by = NULL, lease_until = NULL, last_result = $4, last_error = $5, last_duration_ms = $6,
            failures = failures + $7,
            next_run_at = CASE WHEN next_run_at > last_run_at THEN next_run_at
                ELSE now() + make_interval(secs => $8) END
        WHERE name = $1 AND leased_by = $2 AND runs = $3";
    let error = run.error.as_deref().map(|error| error.chars().take(LONGEST_ERROR).collect::<String>());
    let rows = diesel::sql_query(written)
        .bind::<Text, _>(&run.lease.name)
        .bind::<Text, _>(text(&run.instance))
        .bind::<BigInt, _>(run.lease.runs)
        .bind::<Text, _>(run.result.as_str())
        .bind::<Nullable<Text>, _>(error.as_deref().map(text))
        .bind::<Integer, _>(i32::try_from(run.took.as_millis()).unwrap_or(i32::MAX))
        .bind::<BigInt, _>(i64::from(run.result.is_failure()))
        .bind::<Double, _>(run.next_in.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(rows == 1)
}

pub(in crate::db) async fn list(connection: &mut Connection) -> QueryResult<Vec<JobRow>> {
    jobs::table.order(jobs::name).select(JobRow::as_select()).load(connection).await
}

pub(in crate::db) async fn order(
    connection: &mut Connection,
    name: &str,
    order: JobOrder,
) -> QueryResult<Option<JobRow>> {
    let job = diesel::update(jobs::table.filter(jobs::name.eq(text(name))));
    let row = JobRow::as_returning();
    match order {
        JobOrder::Pause => job.set(jobs::paused.eq(true)).returning(row).get_result(connection).await,
        JobOrder::Resume => job.set(jobs::paused.eq(false)).returning(row).get_result(connection).await,
        JobOrder::RunNow => job.set(jobs::next_run_at.eq(now)).returning(row).get_result(connection).await,
    }
    .optional()
}
