//! Lines that have more to say than whether they pass.

use chrono::TimeDelta;

use super::judge;
use super::tests::{NONE, address, after, good, names, now, one};
use crate::loadtest::result::Verdict;
use crate::preflight::Level::{Fail, Warn};
use crate::preflight::facts::{Direct, Disk, Facts, LoadTested};

/// What a line says of these facts.
fn seen(facts: &Facts, name: &str) -> String {
    judge(facts).into_iter().find(|line| line.name == name).unwrap().seen
}

fn direct(change: fn(&mut Direct)) -> impl FnOnce(&mut Facts) {
    move |facts: &mut Facts| change(facts.direct.as_mut().unwrap())
}

#[test]
fn the_direct_connection_is_no_pooler_answers_and_is_encrypted() {
    one("direct-url", Fail, "port 6543", direct(|direct| direct.address = Ok(address(6543))));
    one(
        "direct-url",
        Fail,
        "port 6543",
        direct(|direct| {
            direct.address = Ok(address(6543));
            direct.is_transaction_pooler = Err("no answer within 4 s".to_owned());
        }),
    );
    one("direct-url", Fail, "a transaction pooler", direct(|direct| direct.is_transaction_pooler = Ok(true)));
    one(
        "direct-url",
        Fail,
        "cannot be reached: refused",
        direct(|direct| {
            direct.is_transaction_pooler = Err("refused".to_owned());
        }),
    );
    one("direct-url", Fail, "no URL", direct(|direct| direct.address = Err("no URL".to_owned())));
    one(
        "direct-url",
        Fail,
        "DIRECT_DATABASE_URL leads to another machine",
        direct(|direct| {
            direct.address.as_mut().unwrap().is_encrypted = false;
        }),
    );
    let local = direct(|direct| {
        let address = direct.address.as_mut().unwrap();
        (address.is_encrypted, address.is_local) = (false, true);
    });
    assert_eq!(after(local), NONE);
}

#[test]
fn a_database_without_tls_is_a_warning_inside_a_private_network() {
    let at = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        after(|facts| (facts.said.database.hosts, facts.said.database.is_encrypted) = (hosts, false))
    };
    for host in ["pgbouncer", "10.0.0.5", "172.18.0.2", "fd00::1"] {
        let lines = at(&[host]);
        assert_eq!(names(&lines), [("database-tls", Warn)], "{host}");
        assert!(lines[0].2.contains("inside a private network"), "{lines:?}");
    }
    for hosts in [&["db.example.com"][..], &["192.0.2.1"], &["2001:db8::1"], &["pgbouncer", "db.example.com"]]
    {
        assert_eq!(names(&at(hosts)), [("database-tls", Fail)], "{hosts:?}");
    }
    one(
        "direct-url",
        Warn,
        "DIRECT_DATABASE_URL allows",
        direct(|direct| {
            let address = direct.address.as_mut().unwrap();
            (address.hosts, address.is_encrypted) = (vec!["postgres".to_owned()], false);
        }),
    );
}

#[test]
fn the_check_is_a_process_only_where_none_serves() {
    let pool = |alive: Option<&[&str]>| {
        let mut facts = good();
        facts.database.as_mut().unwrap().instances =
            alive.map(|alive| alive.iter().map(|name| (*name).to_owned()).collect());
        seen(&facts, "pool-size")
    };
    let one = "20 connections; a `switchboard worker` has its own, which are not counted";
    assert_eq!(pool(Some(&["b:1"])), one, "by whichever name it runs");
    assert_eq!((pool(Some(&[])), pool(None)), (one.to_owned(), one.to_owned()));
    assert!(pool(Some(&["b:1", "c:1"])).starts_with("2 processes with 20"));
}

#[test]
fn a_flight_recorder_that_keeps_words_is_a_warning() {
    one("flight-recorder", Warn, "what callers and the agent say", |facts| facts.said.keeps_words = true);
}

#[test]
fn the_verdict_of_the_load_test_is_a_line() {
    for (verdict, level, says) in [
        (Verdict::Warning, Warn, "the load test is warning: webhooks"),
        (Verdict::Critical, Fail, "the load test is critical: webhooks"),
    ] {
        one("load-test-verdict", level, says, |facts| {
            let tested = facts.load_test.as_mut().unwrap();
            (tested.verdict, tested.scenarios) = (verdict, vec!["webhooks".to_owned()]);
        });
    }
}

#[test]
fn the_line_of_the_proxies_says_what_is_set_and_not_that_it_is_right() {
    let said = seen(&good(), "trusted-proxies");
    assert_eq!(said, "TRUSTED_PROXIES is 10.0.0.9/32; whether the proxy is there is not known");
}

#[test]
fn what_holds_for_root_is_not_said_of_the_programs_user() {
    let unknown = "root may write; whether the program's user may is not known";
    let mut facts = good();
    assert!(!seen(&facts, "spool").contains("root"));
    assert!(seen(&facts, "file-descriptors").contains("whoever runs this check is allowed 65536"));
    facts.is_root = true;
    assert!(seen(&facts, "spool").contains(unknown));
    one("spool", Fail, "255 MiB are free", |facts| {
        facts.is_root = true;
        facts.disk = Ok(Disk { folder: "/s".to_owned(), is_writable: true, free_bytes: 255 << 20 });
    });
}

#[test]
fn whether_alerts_are_texted_is_not_known_where_twilio_refuses_the_number() {
    let mut facts = good();
    facts.twilio.as_mut().unwrap().number = Some(Ok(None));
    let line = judge(&facts).into_iter().find(|line| line.name == "alert-number").unwrap();
    assert_eq!((line.seen.as_str(), line.remedy.as_deref()), ("not known", Some("mend `number` first")));
    facts.twilio.as_mut().unwrap().account.as_mut().unwrap().status = "suspended".to_owned();
    let line = judge(&facts).into_iter().find(|line| line.name == "alert-number").unwrap();
    assert_eq!(line.remedy.as_deref(), Some("mend `twilio-account` first"));
}

#[test]
fn a_clock_that_differs_by_more_than_thirty_seconds_is_a_warning() {
    one("clock", Warn, "31 s behind Twilio's", |facts| facts.twilio_ahead_ms = Ok(31_000));
    one("clock", Warn, "31 s ahead of the database's", |facts| facts.database_ahead_ms = Some(-31_000));
    one("clock", Warn, "not known", |facts| {
        facts.twilio_ahead_ms = Err("no answer".to_owned());
        facts.database_ahead_ms = None;
    });
    assert_eq!(after(|facts| facts.twilio_ahead_ms = Ok(-30_000)), NONE);
}

#[test]
fn a_load_test_counts_for_thirty_days_if_it_was_large_and_fast() {
    fn tested(change: fn(&mut LoadTested)) -> impl FnOnce(&mut Facts) {
        move |facts: &mut Facts| change(facts.load_test.as_mut().unwrap())
    }
    one("load-test", Fail, "9 calls at once", tested(|test| test.calls = 9));
    one("load-test", Warn, "is of 2026-10-30", tested(|test| test.at = now() - TimeDelta::days(31)));
    one("load-test-p95", Fail, "P95 is 2000 ms", tested(|test| test.p95_ms = Some(2_000.0)));
    one("load-test-p95", Warn, "no response times", tested(|test| test.p95_ms = None));
    let none = after(|facts| facts.load_test = Err("no load test was reported in x".to_owned()));
    let wanted = [("load-test", Warn), ("load-test-verdict", Warn), ("load-test-p95", Warn)];
    assert_eq!(names(&none), wanted);
}
