//! `switchboard ops idle-transactions` and `slow-queries`: what keeps the database busy. They go to the
//! database, by `DIRECT_DATABASE_URL` if that is set, and need no program that serves.

use actors::db::{
    BadUrl, DbError, IdleTransaction, IdleTransactions, RunningQuery, SlowQueries, SlowStatement,
};
use clap::Args;

use super::server::clean;
use crate::cli::accounts::{Deed, Done, act, look, print_json};
use crate::cli::shell::print_line;

#[derive(Debug, Args)]
pub struct IdleArguments {
    /// End those of the same role as this program, whoever opened them; others are listed and left alone
    #[arg(long)]
    kill: bool,
    /// Only those that are idle for so many seconds or longer [default: 0; with --kill 30, at least 1]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    older_than: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct SlowArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl IdleArguments {
    /// For how long a session must be idle.
    ///
    /// # Errors
    /// Each session that is between two statements would be ended.
    pub fn seconds(&self) -> Result<u32, &'static str> {
        match (self.kill, self.older_than) {
            (true, Some(0)) => Err("--older-than must be from 1 to 86400 with --kill"),
            (true, seconds) => Ok(seconds.unwrap_or(30)),
            (false, seconds) => Ok(seconds.unwrap_or(0)),
        }
    }
}

/// With arguments whose [seconds](IdleArguments::seconds) are right.
pub async fn idle(url: &str, arguments: IdleArguments) -> Result<Result<u8, DbError>, BadUrl> {
    let seconds = arguments.seconds().unwrap_or(30);
    let IdleArguments { kill, json, .. } = arguments;
    let show = |found: &IdleTransactions| {
        if json { print_json(found) } else { print_line(clean(&idle_text(found, kill))) }
    };
    if !kill {
        return look(url, async |accounts| {
            show(&accounts.operator().idle_transactions(seconds).await?);
            Ok(Done::Fine)
        })
        .await;
    }
    let object = format!("{seconds} s");
    act(url, Deed { action: "idle-transactions-ended", object: Some(&object) }, async |accounts| {
        show(&accounts.operator().end_idle_transactions(seconds).await?);
        Ok(Done::Fine)
    })
    .await
}

pub async fn slow(url: &str, SlowArguments { json }: SlowArguments) -> Result<Result<u8, DbError>, BadUrl> {
    act(url, Deed { action: "slow-queries-read", object: None }, async |accounts| {
        let found = accounts.operator().slow_queries().await?;
        if json {
            print_json(&found)
        } else {
            print_line(clean(&slow_text(&found)))
        }
        Ok(Done::Fine)
    })
    .await
}

fn idle_text(found: &IdleTransactions, kill: bool) -> String {
    let mut lines: Vec<_> = found.sessions.iter().map(idle_line).collect();
    let ended = found.sessions.iter().filter(|session| session.ended).count();
    let foreign = found.sessions.iter().filter(|session| !session.is_ours).count();
    match (kill, lines.is_empty()) {
        (_, true) => lines.push("no session is idle within a transaction".to_owned()),
        (true, false) => {
            lines.push(format!("{ended} ended\nnext: `switchboard ops pool` until connections are idle"));
        }
        (false, false) => lines
            .push("next: `switchboard ops idle-transactions --kill` ends those of the same role".to_owned()),
    }
    if foreign > 0 {
        lines.push(format!("{foreign} are of other roles, which this role may not end: ask their owners"));
    }
    if found.hidden > 0 {
        lines.push(format!("{} sessions of other roles cannot be looked into", found.hidden));
    }
    lines.join("\n")
}

fn idle_line(session: &IdleTransaction) -> String {
    let IdleTransaction { pid, role, application, idle_seconds, transaction_seconds, last_query, .. } =
        session;
    let state = match (session.ended, session.is_ours) {
        (true, _) => "ended",
        (false, true) => "same role",
        (false, false) => "other role",
    };
    let application = if application.is_empty() { "-" } else { application };
    format!(
        "{pid}  {state:<10}  {role}  {application}  idle {idle_seconds} s, in a transaction for {transaction_seconds} s  \
         {last_query}"
    )
}

fn slow_text(found: &SlowQueries) -> String {
    let mut lines = Vec::new();
    if found.running.is_empty() {
        lines.push("no query has run for a second or longer, and none waits for a lock".to_owned());
    }
    lines.extend(found.running.iter().map(running_line));
    if found.has_statements {
        lines
            .push(format!("{:>9} {:>10} {:>10} {:>12}  STATEMENT", "CALLS", "MEAN ms", "MAX ms", "TOTAL ms"));
    } else {
        lines.push("pg_stat_statements is not there: only what runs now is known".to_owned());
    }
    lines.extend(found.statements.iter().map(|SlowStatement { calls, mean_ms, max_ms, total_ms, query }| {
        format!("{calls:>9} {mean_ms:>10.1} {max_ms:>10.1} {total_ms:>12.0}  {query}")
    }));
    lines.push(next(&found.running).to_owned());
    lines.join("\n")
}

/// What helps: the cure of a lock is to end the session that has it.
fn next(running: &[RunningQuery]) -> &'static str {
    let waits = |query: &RunningQuery| query.waits_for.starts_with("Lock") || !query.blocked_by.is_empty();
    if running.iter().any(waits) {
        "next: `switchboard ops idle-transactions` lists sessions that may have the lock; `--kill` ends those of the \
         same role"
    } else if running.is_empty() {
        "next: look again, since the program's deadlines end a query that waits for a lock; `switchboard ops \
         idle-transactions` lists sessions that may have one"
    } else {
        "next: `switchboard ops jobs --pause NAME` while the database is slow"
    }
}

fn running_line(running: &RunningQuery) -> String {
    let RunningQuery { pid, role, seconds, waits_for, blocked_by, query } = running;
    let mut waits = if waits_for.is_empty() { "runs".to_owned() } else { format!("waits for {waits_for}") };
    if !blocked_by.is_empty() {
        let pids: Vec<_> = blocked_by.iter().map(i32::to_string).collect();
        waits += &format!(" of {}", pids.join(", "));
    }
    format!("{pid}  {role}  {seconds:.1} s  {waits}  {query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(is_ours: bool, ended: bool) -> IdleTransaction {
        IdleTransaction {
            pid: 7,
            role: "app".to_owned(),
            is_ours,
            application: String::new(),
            idle_seconds: 40,
            transaction_seconds: 41,
            last_query: "SELECT ?".to_owned(),
            ended,
        }
    }

    #[test]
    fn what_was_ended_is_said_and_what_may_not_be() {
        let found =
            IdleTransactions { sessions: vec![session(true, true), session(false, false)], hidden: 2 };
        assert_eq!(
            idle_text(&found, true).lines().collect::<Vec<_>>(),
            [
                "7  ended       app  -  idle 40 s, in a transaction for 41 s  SELECT ?",
                "7  other role  app  -  idle 40 s, in a transaction for 41 s  SELECT ?",
                "1 ended",
                "next: `switchboard ops pool` until connections are idle",
                "1 are of other roles, which this role may not end: ask their owners",
                "2 sessions of other roles cannot be looked into",
            ]
        );
        let none = IdleTransactions { sessions: vec![], hidden: 0 };
        assert_eq!(idle_text(&none, true), "no session is idle within a transaction");
    }

    #[test]
    fn sessions_between_two_statements_are_listed_and_never_ended() {
        let seconds = |kill, older_than| IdleArguments { kill, older_than, json: false }.seconds();
        assert!(seconds(true, Some(0)).is_err());
        assert_eq!((seconds(true, None), seconds(true, Some(1))), (Ok(30), Ok(1)));
        assert_eq!((seconds(false, None), seconds(false, Some(0))), (Ok(0), Ok(0)));
    }

    #[test]
    fn what_helps_depends_on_whether_a_lock_is_waited_for() {
        let query = |waits_for: &str, blocked_by: &[i32]| RunningQuery {
            pid: 7,
            role: "app".to_owned(),
            seconds: 2.0,
            waits_for: waits_for.to_owned(),
            blocked_by: blocked_by.to_vec(),
            query: "SELECT ?".to_owned(),
        };
        let told = |running| {
            let found = SlowQueries { has_statements: false, statements: vec![], running };
            slow_text(&found).lines().last().unwrap().to_owned()
        };
        let locked = told(vec![query("", &[]), query("Lock relation", &[8])]);
        assert!(locked.contains("idle-transactions") && locked.contains("--kill"), "{locked}");
        assert!(told(vec![]).contains("idle-transactions"), "the query may have been ended");
        assert!(told(vec![query("IO DataFileRead", &[])]).contains("jobs --pause NAME"));
    }

    #[test]
    fn a_query_that_waits_for_a_lock_names_who_has_it() {
        let running = RunningQuery {
            pid: 7,
            role: "app".to_owned(),
            seconds: 2.25,
            waits_for: "Lock relation".to_owned(),
            blocked_by: vec![8, 9],
            query: "UPDATE calls".to_owned(),
        };
        assert_eq!(running_line(&running), "7  app  2.2 s  waits for Lock relation of 8, 9  UPDATE calls");
    }
}
