//! The log is filtered, searched, sorted, and read on from where it was left.

use std::path::Path;

use actors::call::end::Outcome;
use actors::db::{CallFilter, CallLogPage, CallQuery, Db, Sort, SortKey, Start};
use futures_util::TryStreamExt as _;

use super::{at, closed, opened, sid, start, turn, write};
use crate::support::app::Setup;
use crate::support::postgres::TestDatabase;

/// Calls of which everything differs: call `n` began at second `n`, lasted `n % 7` seconds and cost `n % 5`
/// cents; every fourth is on the line, every sixth is urgent, every tenth has a recording.
async fn log_of(calls: u32) -> TestDatabase {
    let database = TestDatabase::create().await;
    let insert = format!(
        "INSERT INTO calls (call_sid, epoch, from_number, to_number, started_at, ended_at, outcome, urgent, cost_usd,
            recordings)
         SELECT 'CA' || lpad(to_hex(n), 32, '0'), 1, '+1555' || n % 3, '+1777' || n % 2, at,
            CASE WHEN n % 4 > 0 THEN at + make_interval(secs => n % 7 + 0.9) END,
            CASE WHEN n % 4 > 0 THEN (ARRAY['completed', 'failed'])[1 + n % 2] END, n % 6 = 0,
            CASE WHEN n % 4 > 0 THEN (n % 5) / 100.0 END, (n % 10 = 0)::INT
         FROM (SELECT n, to_timestamp(1800000000 + n / 2) AS at FROM generate_series(1, {calls}) AS n) AS call"
    );
    database.query(&insert).await;
    database
}

fn query(filter: CallFilter, sort: &str, page: u32, page_size: u32) -> CallQuery {
    CallQuery { filter, start: Start::Page(page, sort.parse().unwrap()), page_size }
}

fn numbers(page: &CallLogPage) -> Vec<u32> {
    let number = |sid: &str| u32::from_str_radix(&sid[26..], 16).unwrap();
    page.calls.iter().map(|call| number(&call.call_sid)).collect()
}

async fn all(db: &Db, filter: CallFilter) -> Vec<u32> {
    numbers(&db.log().find_calls(query(filter, "-startedAt", 1, 200)).await.unwrap())
}

#[actix_rt::test]
async fn pages_and_cursors_lead_through_every_order_alike() {
    let database = log_of(57).await;
    let db = start(&database.url);
    for (key, column) in [
        (SortKey::StartedAt, "started_at"),
        (SortKey::DurationSeconds, "coalesce(duration_seconds, -1)"),
        (SortKey::CostUsd, "coalesce(cost_usd, -1)"),
    ] {
        for (descending, way) in [(true, "DESC"), (false, "ASC")] {
            let sort = Sort { key, descending };
            let sorted = format!("SELECT call_sid FROM calls ORDER BY {column} {way}, call_sid {way}");
            let expected = database.query(&sorted).await;
            let (mut by_page, mut by_cursor) = (Vec::new(), Vec::new());
            let mut cursor = None;
            for page in 1..=6 {
                let numbered = query(CallFilter::default(), &sort.to_string(), page, 10);
                let on = CallQuery { start: cursor.unwrap_or(numbered.start.clone()), ..numbered.clone() };
                let (numbered, on) =
                    (db.log().find_calls(numbered).await.unwrap(), db.log().find_calls(on).await.unwrap());
                assert_eq!((numbered.page, on.page, on.total), (page, page, 57));
                assert_eq!(on.next_cursor.is_none(), page == 6, "{sort} {page}");
                cursor = on.next_cursor.as_ref().map(|cursor| Start::After(cursor.parse().unwrap()));
                by_page.extend(numbered.calls.into_iter().map(|call| call.call_sid));
                by_cursor.extend(on.calls.into_iter().map(|call| call.call_sid));
            }
            assert_eq!(by_page, expected, "{sort}");
            assert_eq!(by_cursor, expected, "{sort}");
        }
    }
    let beyond = db.log().find_calls(query(CallFilter::default(), "-costUsd", 7, 10)).await.unwrap();
    assert_eq!((beyond.calls.len(), beyond.next_cursor), (0, None));
}

#[actix_rt::test]
async fn a_cursor_goes_on_where_it_was_although_calls_come_in() {
    let database = log_of(20).await;
    let db = start(&database.url);
    let first = db.log().find_calls(query(CallFilter::default(), "-startedAt", 1, 5)).await.unwrap();
    write(&db, [opened(900, 1)]).await;
    let cursor = first.next_cursor.unwrap().parse().unwrap();
    let on = CallQuery { filter: CallFilter::default(), start: Start::After(cursor), page_size: 5 };
    assert_eq!(numbers(&db.log().find_calls(on).await.unwrap()), [15, 14, 13, 12, 11]);
}

#[actix_rt::test]
async fn every_filter_lets_through_what_it_names() {
    let database = log_of(60).await;
    let db = start(&database.url);
    let expected = |has: fn(u32) -> bool| (1..=60).rev().filter(|&n| has(n)).collect::<Vec<_>>();
    let any = CallFilter::default;
    let from = CallFilter { from: Some("+15551".to_owned()), ..any() };
    assert_eq!(all(&db, from).await, expected(|n| n % 3 == 1));
    let last_digits = CallFilter { from: Some("551".to_owned()), ..any() };
    assert_eq!(all(&db, last_digits).await, expected(|n| n % 3 == 1));
    let to = CallFilter { to: Some("+17770".to_owned()), ..any() };
    assert_eq!(all(&db, to).await, expected(|n| n % 2 == 0));
    let last_digits = CallFilter { to: Some("770".to_owned()), ..any() };
    assert_eq!(all(&db, last_digits).await, expected(|n| n % 2 == 0));
    let time = CallFilter { since: Some(at(5)), until: Some(at(20)), ..any() };
    assert_eq!(all(&db, time).await, expected(|n| (5..20).contains(&(n / 2))));
    let outcome = CallFilter { outcome: Some(Outcome::Failed), ..any() };
    assert_eq!(all(&db, outcome).await, expected(|n| n % 4 > 0 && n % 2 == 1));
    let urgent = CallFilter { urgent: Some(true), ..any() };
    assert_eq!(all(&db, urgent).await, expected(|n| n % 6 == 0));
    let calm = CallFilter { urgent: Some(false), ..any() };
    assert_eq!(all(&db, calm).await, expected(|n| n % 6 != 0));
    let recorded = CallFilter { has_recording: Some(true), ..any() };
    assert_eq!(all(&db, recorded).await, expected(|n| n % 10 == 0));
    let unrecorded = CallFilter { has_recording: Some(false), urgent: Some(true), ..any() };
    assert_eq!(all(&db, unrecorded).await, expected(|n| n % 10 != 0 && n % 6 == 0));
    let nobody = CallFilter { from: Some("nobody".to_owned()), ..any() };
    assert_eq!(all(&db, nobody).await, [0; 0]);
}

#[actix_rt::test]
async fn a_total_is_exact_up_to_ten_thousand_and_near_beyond() {
    let database = log_of(30_000).await;
    database.query("ANALYZE calls").await;
    let db = start(&database.url);
    let total = async |filter| {
        let page = db.log().find_calls(query(filter, "-startedAt", 1, 1)).await.unwrap();
        (page.total, page.total_is_exact)
    };
    let urgent = CallFilter { urgent: Some(true), ..CallFilter::default() };
    assert_eq!(total(urgent).await, (5_000, true));
    let (all, is_exact) = total(CallFilter::default()).await;
    assert!(!is_exact && (27_000..33_000).contains(&all), "{all}");
    let to = CallFilter {
        to: Some("+17770".to_owned()),
        outcome: Some(Outcome::Completed),
        ..CallFilter::default()
    };
    assert_eq!(total(to).await, (7_500, true));
    let (to, is_exact) = total(CallFilter { to: Some("+17770".to_owned()), ..CallFilter::default() }).await;
    assert!(!is_exact && (10_001..20_000).contains(&to), "{to}");
}

fn said(words: &str) -> CallFilter {
    CallFilter { words: Some(words.to_owned()), ..CallFilter::default() }
}

#[actix_rt::test]
async fn calls_are_found_by_what_was_said_in_them() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let calls = [
        ["Good morning.", "My knee hurts; it's urgent!"],
        ["Good morning.", "I'd like a new appointment"],
        ["Good evening.", "The new knee is fine, the Knee is"],
    ];
    for (call, [agent, caller]) in (1..).zip(calls) {
        let turns = [turn(call, 1, 1, agent), turn(call, 1, 2, caller)];
        let end = closed(call, 1, if call == 3 { Outcome::Failed } else { Outcome::Completed });
        write(&db, [opened(call, 1)].into_iter().chain(turns).chain([end])).await;
    }
    for (words, expected) in [
        ("knee", &[3, 1][..]),
        ("KNEE urgent", &[1]),
        ("\"new knee\"", &[3]),
        ("knee -morning", &[3]),
        ("appointment or hurts", &[2, 1]),
        ("kne", &[]),
        ("morning", &[2, 1]),
        ("' & | ! knee", &[3, 1]),
        ("\0knee", &[3, 1]),
    ] {
        assert_eq!(all(&db, said(words)).await, expected, "{words}");
    }
    let failed = CallFilter { outcome: Some(Outcome::Failed), ..said("knee") };
    assert_eq!(all(&db, failed).await, [3]);
    let early = CallFilter { until: Some(at(3)), ..said("knee") };
    assert_eq!(all(&db, early).await, [1]);
    let page = db.log().find_calls(query(said("knee"), "startedAt", 2, 1)).await.unwrap();
    assert_eq!((numbers(&page), page.total, page.total_is_exact), (vec![3], 2, true));
    assert_eq!(page.search_is_complete, Some(true));
    assert_eq!(db.log().call_logs(1, 1).await.unwrap().search_is_complete, None);
}

#[actix_rt::test]
async fn anything_but_a_letter_or_digit_separates_words_also_in_documents_that_are_there_already() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let texts = [
        "Monday/Tuesday works for me",
        "Call 555-0100 or me@example.com",
        "caf\u{E9}\u{2014}\u{6708}\u{66DC}\u{65E5}\u{3002}it's 3.5%",
    ];
    for (call, text) in (1..).zip(texts) {
        write(&db, [opened(call, 1), turn(call, 1, 1, text), closed(call, 1, Outcome::Completed)]).await;
    }
    let questions = [
        ("tuesday", &[1][..]),
        ("monday/tuesday", &[1]),
        ("monday-tuesday", &[1]),
        ("tuesday/monday", &[]),
        ("0100", &[2]),
        ("555-0100", &[2]),
        ("(555) 0100", &[2]),
        ("-0100", &[3, 1]),
        ("example", &[2]),
        ("\"example.com\"", &[2]),
        ("caf\u{E9}", &[3]),
        ("\u{6708}\u{66DC}\u{65E5}", &[3]),
        ("it\u{2019}s 3,5", &[3]),
    ];
    for (words, expected) in questions {
        assert_eq!(all(&db, said(words)).await, expected, "{words}");
    }
    let before = "UPDATE call_search SET document = to_tsvector('simple', text) FROM turns
        WHERE turns.call_sid = call_search.call_sid";
    database.query(before).await;
    assert_eq!(all(&db, said("tuesday")).await, [0; 0], "as an earlier version made it");
    let migration =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/2026-11-23-000033_word_separators");
    database.query(&std::fs::read_to_string(migration.join("up.sql")).unwrap()).await;
    for (words, expected) in questions {
        assert_eq!(all(&db, said(words)).await, expected, "{words}");
    }
}

#[actix_rt::test]
async fn a_call_is_found_when_it_is_over_and_as_it_was_corrected() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    write(&db, [opened(1, 1), turn(1, 1, 1, "Hello there")]).await;
    assert_eq!(all(&db, said("hello")).await, [0; 0], "it is on the line");
    write(&db, [closed(1, 1, Outcome::Completed)]).await;
    assert_eq!(all(&db, said("hello there")).await, [1]);
    write(&db, [turn(1, 1, 1, "Hello"), turn(1, 1, 2, "Late")]).await;
    assert_eq!(all(&db, said("there")).await, [0; 0], "nobody heard it");
    assert_eq!(all(&db, said("hello late")).await, [1]);

    // What was never opened counts from its end, until it is known when it began.
    write(&db, [turn(2, 1, 1, "Hello"), closed(2, 1, Outcome::Completed)]).await;
    let before = CallFilter { until: Some(at(10)), ..said("hello") };
    assert_eq!(all(&db, before.clone()).await, [1]);
    write(&db, [opened(2, 1)]).await;
    assert_eq!(all(&db, before).await, [2, 1]);
}

#[actix_rt::test]
async fn a_transcript_beyond_all_measure_does_not_keep_its_call_from_ending() {
    let database = TestDatabase::create().await;
    let db = start(&database.url);
    let endless: String = (0..300_000).map(|n| format!("𝔴{n} ")).collect();
    write(&db, [opened(1, 1), turn(1, 1, 1, &endless), closed(1, 1, Outcome::Completed)]).await;
    assert_eq!(all(&db, said("𝔴17")).await, [1]);
    assert_eq!(database.value("SELECT outcome FROM calls").await, "completed");
}

#[actix_rt::test]
async fn of_a_frequent_word_the_newest_thousand_are_found_and_it_is_said() {
    let database = log_of(30_000).await;
    let document = "INSERT INTO call_search SELECT call_sid, started_at, to_tsvector('simple', 'often ' ||
        CASE WHEN epoch = 1 AND started_at < to_timestamp(1800000700) THEN 'once' ELSE '' END) FROM calls";
    database.query(document).await;
    for statistics in [false, true] {
        if statistics {
            database.query("ANALYZE").await;
        }
        let db = start(&database.url);
        let page = db.log().find_calls(query(said("often"), "-startedAt", 20, 50)).await.unwrap();
        assert_eq!((page.total, page.total_is_exact, page.search_is_complete), (1_000, false, Some(false)));
        assert_eq!(numbers(&page), (29_001..=29_050).rev().collect::<Vec<_>>());
        assert_eq!(page.next_cursor, None);
        let page = db.log().find_calls(query(said("often"), "-startedAt", 1, 50)).await.unwrap();
        assert_eq!((page.total, page.total_is_exact, page.search_is_complete), (1_000, false, Some(false)));
        assert_eq!(numbers(&page), (29_951..=30_000).rev().collect::<Vec<_>>());
        assert!(page.next_cursor.is_some());
        // The statistics say often, the newest calls say never.
        let page = db.log().find_calls(query(said("once"), "-startedAt", 1, 50)).await.unwrap();
        assert_eq!((page.total, page.search_is_complete), (1_000, Some(false)));
        assert_eq!(numbers(&page)[0], 1_399);
    }
}

#[actix_rt::test]
async fn pages_far_down_are_found_from_one_another() {
    let database = log_of(20_000).await;
    let db = start(&database.url);
    for number in [150, 300, 151, 200, 150, 199, 101] {
        let page = db.log().find_calls(query(CallFilter::default(), "-startedAt", number, 50)).await.unwrap();
        let newest = 20_000 - 50 * (number - 1);
        assert_eq!(numbers(&page), (newest - 49..=newest).rev().collect::<Vec<_>>(), "page {number}");
    }
}

#[actix_rt::test]
async fn an_export_has_every_call_once() {
    let database = log_of(2_345).await;
    let db = start(&database.url);
    let batches: Vec<_> =
        db.log().export_calls(CallFilter::default(), "costUsd".parse().unwrap()).try_collect().await.unwrap();
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 345]);
    let sids: Vec<String> = batches.into_iter().flatten().map(|call| call.call_sid).collect();
    let expected = "SELECT call_sid FROM calls ORDER BY coalesce(cost_usd, -1), call_sid";
    assert_eq!(sids, database.query(expected).await);
    let nobody = CallFilter { to: Some("nobody".to_owned()), ..CallFilter::default() };
    let batches: Vec<_> = db.log().export_calls(nobody, Sort::NEWEST_FIRST).try_collect().await.unwrap();
    assert_eq!(batches.concat(), []);
}

#[actix_rt::test]
async fn the_door_hands_out_pages_cursors_and_a_file() {
    let database = log_of(1_500).await;
    let app = Setup::new(&database.url, "http://127.0.0.1:9").start();
    let first = app.get("/api/call-logs?pageSize=2&urgent=true&from=+15550").await;
    let sids = |page: &serde_json::Value| {
        let calls = page["calls"].as_array().unwrap().iter();
        calls.map(|call| call["callSid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sids(&first), [sid(1_500).as_str(), sid(1_494).as_str()]);
    assert_eq!(first["total"], 250);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = app.get(&format!("/api/call-logs?pageSize=2&urgent=true&cursor={cursor}")).await;
    assert_eq!(sids(&second), [sid(1_488).as_str(), sid(1_482).as_str()]);
    assert_eq!(second["page"], 2);
    let same = app.get("/api/call-logs?pageSize=2&urgent=true&page=2").await;
    assert_eq!(sids(&same), sids(&second));

    let url = app.url("/api/call-logs.csv?hasRecording=true&sort=startedAt");
    let mut response = awc::Client::default().get(url).send().await.unwrap();
    assert_eq!(
        response.headers().get("content-disposition").unwrap(),
        "attachment; filename=\"call-logs.csv\""
    );
    let file = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    let lines: Vec<&str> = file.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 151);
    let line = |number| format!("{},+15551,+17770,2027-01-15T08:00:05Z,", sid(number));
    assert!(lines[1].starts_with(&line(10)), "{}", lines[1]);
}
