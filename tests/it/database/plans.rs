//! How the database answers the log: by its indexes, whatever is asked. The plans are those of the queries
//! that the program sends, as the server writes them down itself (`auto_explain`).

use std::fs;
use std::path::{Path, PathBuf};

use actors::call::end::Outcome;
use actors::db::{CallFilter, CallQuery, Db, Start};
use actors::wire::twilio::sid::CallSid;
use chrono::{TimeDelta, Utc};
use serde_json::Value;
use switchboard::private_postgres::PrivatePostgres;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::start;
use crate::support::eventually;
use crate::support::postgres::{TestDatabase, shared_folder, start_in};

#[path = "../../../benches/call_log/fill.rs"]
mod fill;

const CALLS: u64 = 50_000;
/// A page, and one row that tells whether there is another.
const PAGE: f64 = 51.0;
/// What a total counts, and one row that tells that there are too many.
const COUNTED: f64 = 10_001.0;

/// A server with many calls that writes down its plans; it stops with the process.
struct Filled {
    url: String,
    written: PathBuf,
    _cluster: PrivatePostgres,
}

/// The log of that server, for one test at a time.
struct Log {
    db: Db,
    written: &'static Path,
    read: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Filled {
    async fn prepare() -> Self {
        let folder = shared_folder("plans");
        let cluster = start_in(&folder);
        let database = TestDatabase::create_on(&cluster).await;
        fill::fill(&database.url, CALLS).await.unwrap();
        let name = database.value("SELECT current_database()").await;
        for setting in [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
            "auto_explain.log_format = json",
        ] {
            database.query(&format!("ALTER DATABASE {name} SET {setting}")).await;
        }
        Self { url: database.url, written: folder.join("postgres.log"), _cluster: cluster }
    }
}

impl Log {
    async fn open() -> Self {
        static FILLED: OnceCell<Filled> = OnceCell::const_new();
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let filled = FILLED.get_or_init(Filled::prepare).await;
        Self { db: start(&filled.url), written: &filled.written, read: 0, _turn: turn }
    }

    /// The plans that the server has written down since the last time, of queries for calls.
    fn plans(&mut self) -> Vec<Value> {
        let log = fs::read_to_string(self.written).unwrap();
        let new = log[self.read..].to_owned();
        self.read = log.len();
        let begun = new.split("plan:\n").skip(1);
        let plans = begun.filter_map(|text| {
            serde_json::Deserializer::from_str(text.trim_start()).into_iter::<Value>().next()?.ok()
        });
        let of_calls = |plan: &Value| {
            let query = plan["Query Text"].as_str().unwrap();
            let is_run = !query.starts_with("EXPLAIN");
            is_run && (query.contains("\"calls\"") || query.contains("\"call_search\""))
        };
        plans.filter(of_calls).collect()
    }

    async fn answer(&mut self, filter: CallFilter, sort: &str, page: u32) -> (Vec<Value>, String) {
        self.plans();
        let query = CallQuery { filter, start: Start::Page(page, sort.parse().unwrap()), page_size: 50 };
        let what = format!("{query:?}");
        let answered = self.db.log().find_calls(query).await.unwrap();
        assert!(!answered.calls.is_empty(), "{what}");
        let mut plans = vec![];
        // The server writes it down when it ends the statement, which may be after the answer.
        eventually("a plan is written down", async || {
            plans.extend(self.plans());
            !plans.is_empty()
        })
        .await;
        (plans, what)
    }
}

/// A node of a plan and all below it.
fn nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(plan).chain(below).collect()
}

fn is(node: &Value, kind: &str) -> bool {
    node["Node Type"].as_str().unwrap().contains(kind)
}

/// Rows that a node went through, those it threw away included.
fn rows(node: &Value) -> f64 {
    let number = |field: &str| node[field].as_f64().unwrap_or(0.0);
    (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
}

#[actix_rt::test]
async fn every_list_is_read_from_an_index() {
    let mut log = Log::open().await;
    let newest = log.db.log().call_logs(1, 1).await.unwrap().calls.pop().unwrap();
    let all = CallFilter::default;
    let lists = [
        (all(), "-startedAt"),
        (all(), "startedAt"),
        (all(), "-durationSeconds"),
        (all(), "durationSeconds"),
        (all(), "-costUsd"),
        (all(), "costUsd"),
        (CallFilter { from: newest.from, ..all() }, "-startedAt"),
        (CallFilter { to: Some("+15550193".to_owned()), ..all() }, "-startedAt"),
        (CallFilter { since: Some(Utc::now() - TimeDelta::days(1)), ..all() }, "-startedAt"),
        (CallFilter { until: Some(Utc::now() - TimeDelta::days(9)), ..all() }, "-startedAt"),
        (CallFilter { outcome: Some(Outcome::Failed), ..all() }, "-startedAt"),
        (CallFilter { outcome: Some(Outcome::Completed), ..all() }, "-startedAt"),
        (CallFilter { urgent: Some(true), ..all() }, "-startedAt"),
        (CallFilter { urgent: Some(false), ..all() }, "-startedAt"),
        (CallFilter { has_recording: Some(true), ..all() }, "-startedAt"),
        (CallFilter { has_recording: Some(false), ..all() }, "-startedAt"),
    ];
    for (filter, sort) in lists {
        // Few calls have this number: those may be sorted.
        let sorted = if filter.from.is_some() { PAGE } else { 0.0 };
        let (plans, what) = log.answer(filter, sort, 1).await;
        for node in plans.iter().flat_map(|plan| nodes(&plan["Plan"])) {
            assert!(!is(node, "Seq Scan"), "{what}: {node:#}");
            assert!(!is(node, "Sort") || rows(node) <= sorted, "{what}: {node:#}");
            assert!(rows(node) <= COUNTED, "{what}: {node:#}");
        }
        let page =
            plans.iter().find(|plan| plan["Query Text"].as_str().unwrap().contains("ORDER BY")).unwrap();
        for node in nodes(&page["Plan"]) {
            assert!(rows(node) <= 2.0 * PAGE, "{what}: {node:#}");
        }
    }
}

#[actix_rt::test]
async fn a_deep_page_is_skipped_to_through_an_index_alone() {
    let mut log = Log::open().await;
    for sort in ["-startedAt", "startedAt", "-durationSeconds", "costUsd"] {
        let (plans, what) = log.answer(CallFilter::default(), sort, 900).await;
        for node in plans.iter().flat_map(|plan| nodes(&plan["Plan"])) {
            assert!(!is(node, "Seq Scan") && !is(node, "Sort"), "{what}: {node:#}");
            assert!(
                rows(node) <= PAGE || is(node, "Limit") || is(node, "Index Only Scan"),
                "{what}: {node:#}"
            );
            assert_eq!(node["Heap Fetches"].as_f64().unwrap_or(0.0), 0.0, "{what}: {node:#}");
        }
        let (plans, what) = log.answer(CallFilter::default(), sort, 900).await;
        assert_eq!(plans.len(), 1, "{what}: the place is remembered");
    }
}

#[actix_rt::test]
async fn a_search_never_reads_all_documents() {
    let mut log = Log::open().await;
    for words in ["w1", "w30", "w300", "w1000", "w4000", "w30 w40", "w1 -w2"] {
        let filter = CallFilter { words: Some(words.to_owned()), ..CallFilter::default() };
        let (plans, what) = log.answer(filter, "-startedAt", 1).await;
        for node in plans.iter().flat_map(|plan| nodes(&plan["Plan"])) {
            assert!(!is(node, "Seq Scan"), "{what}: {node:#}");
            let read = if is(node, "Bitmap Index Scan") { 0.0 } else { rows(node) };
            assert!(read <= 0.5 * CALLS as f64, "{what}: {node:#}");
        }
    }
}

#[actix_rt::test]
async fn one_call_is_read_from_indexes() {
    let mut log = Log::open().await;
    let newest = log.db.log().call_logs(1, 1).await.unwrap().calls.pop().unwrap();
    log.plans();
    let call_sid: CallSid = newest.call_sid.parse().unwrap();
    let call = log.db.log().call_log(call_sid).await.unwrap().unwrap();
    assert_eq!(call.turns.len() as u64, fill::TURNS);
    let plans = log.plans();
    for node in plans.iter().flat_map(|plan| nodes(&plan["Plan"])) {
        assert!(!is(node, "Seq Scan") || node["Relation Name"] != "calls", "{node:#}");
    }
}
