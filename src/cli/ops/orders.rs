//! `switchboard ops drain`, `resume`, `pool`, `log-level`, `hang-up` and `transfer`: what an operator tells
//! the program that serves.

use awc::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::server::{Server, order};

#[derive(Debug, Args)]
pub struct PoolArguments {
    /// Give the pool so many connections, 1 to 100, until the next start
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    size: Option<u32>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub struct LogLevelArguments {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,actors::db=debug`
    level: String,
    /// For so many minutes, up to 1440
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub struct CallArguments {
    /// The call, by its SID
    #[arg(value_parser = call_sid)]
    call: String,
    #[command(flatten)]
    server: Server,
}

fn call_sid(text: &str) -> Result<String, String> {
    let sid = text.parse::<actors::wire::twilio::sid::CallSid>();
    sid.map(|sid| sid.to_string()).map_err(|_| "expected `CA` and 32 hexadecimal digits".to_owned())
}

pub fn drain(server: &Server) -> u8 {
    order("drain", server, (Method::POST, "/api/ops/drain", None), |now| {
        format!(
            "no new calls are taken; {}\n\
             without another instance, new callers hear that all lines are busy; a call that comes back after \
             its stream was lost elsewhere goes to a person\n\
             next: `switchboard ops status --watch` until no call is left; `switchboard ops resume` takes calls again",
            going_on(now)
        )
    })
}

/// The calls of a process that drains.
fn going_on(now: &Value) -> String {
    format!("{} calls go on, {} are expected", now["active"], now["reserved"])
}

pub fn resume(server: &Server) -> u8 {
    order("resume", server, (Method::POST, "/api/ops/resume", None), |_| {
        "new calls are taken\nnext: `switchboard ops health --ready` says when the load balancer sends them"
            .to_owned()
    })
}

pub fn pool(PoolArguments { size, server }: &PoolArguments) -> u8 {
    let request = match size {
        Some(size) => (Method::POST, "/api/ops/pool", Some(json!({"size": size}))),
        None => (Method::GET, "/api/ops/pool", None),
    };
    order("pool", server, request, |now| {
        let line = pool_line(now);
        match size {
            Some(_) => format!(
                "{line}\n{} (DB_POOL_MAX={})\nnext: `switchboard ops status --watch` until nobody waits",
                now["note"].as_str().unwrap_or_default(),
                now["configured"]
            ),
            None => line,
        }
    })
}

/// The pool in a line.
pub(super) fn pool_line(now: &Value) -> String {
    format!(
        "{} of {} connections open, {} idle; {} wait",
        now["total"], now["size"], now["idle"], now["waiting"]
    )
}

pub fn log_level(LogLevelArguments { level, minutes, server }: &LogLevelArguments) -> u8 {
    let body = json!({"level": level, "minutes": minutes});
    order("log-level", server, (Method::POST, "/api/ops/log-level", Some(body)), |now| {
        let [filter, until] = [&now["filter"], &now["until"]].map(|text| text.as_str().unwrap_or("-"));
        format!("the log says {filter} until {until}, then what it said at the start")
    })
}

pub fn hang_up(CallArguments { call, server }: &CallArguments) -> u8 {
    let path = format!("/api/ops/calls/{call}/hang-up");
    order("hang-up", server, (Method::POST, path.as_str(), None), |_| format!("{call} is over"))
}

pub fn transfer(CallArguments { call, server }: &CallArguments) -> u8 {
    let path = format!("/api/ops/calls/{call}/transfer");
    order("transfer", server, (Method::POST, path.as_str(), None), |_| {
        format!(
            "{call} goes to a person\nnext: the log of calls has `transferred` once somebody has taken it"
        )
    })
}
