//! What a line tells to do: it fits the cause, and names what is missing.

use super::judge;
use super::tests::{address, breaks, good, refuses};
use crate::preflight::Level;
use crate::preflight::facts::{Broken, Direct, Facts, Realtime, TlsFault};

/// The level and the remedy of a line after this change of a good deployment.
fn remedy(name: &str, change: impl FnOnce(&mut Facts)) -> (Level, String) {
    let mut facts = good();
    change(&mut facts);
    let line = judge(&facts).into_iter().find(|line| line.name == name).unwrap();
    (line.level, line.remedy.unwrap_or_default())
}

/// What is missing, and a good deployment without it.
type Without = (&'static str, fn(&mut Facts));

#[test]
fn every_line_stands_whatever_is_not_known() {
    let names = |change: fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        judge(&facts).into_iter().map(|line| line.name).collect::<Vec<_>>()
    };
    let all = names(|_| {});
    let without: [Without; 5] = [
        ("PUBLIC_URL", |facts| (facts.said.public_url, facts.public) = (None, None)),
        ("TWILIO_ACCOUNT_SID", |facts| facts.twilio = None),
        ("TWILIO_FROM_NUMBER", |facts| facts.twilio.as_mut().unwrap().number = None),
        ("the number", |facts| facts.twilio.as_mut().unwrap().number = Some(Ok(None))),
        ("the database", |facts| facts.database = Err("refused".to_owned())),
    ];
    for (missing, change) in without {
        assert_eq!(names(change), all, "without {missing}");
    }
}

#[test]
fn a_database_that_does_not_answer_is_told_with_what_helps_against_it() {
    for (why, helps) in [
        ("FATAL: password authentication failed for user \"u\"", "user and the password"),
        ("FATAL: database \"d\" does not exist", "name of the database"),
        ("server login has been failing, try again later (server_login_retry)", "after up to 15 s"),
        ("FATAL: sorry, too many clients already", "idle-transactions --kill"),
        ("no answer within 4 s", "if a pooler has no connection left"),
        ("Connection refused (os error 111)", "whether the server runs"),
    ] {
        let (level, told) = remedy("database", |facts| facts.database = Err(why.to_owned()));
        assert!(level == Level::Fail && told.contains(helps), "{why}: {told}");
    }
}

#[test]
fn whether_a_pooler_answers_is_not_known_of_a_database_that_does_not() {
    let away = |facts: &mut Facts| {
        facts.said.database = address(6432);
        facts.database = Err("no answer within 4 s".to_owned());
    };
    let first = (Level::Warn, "mend `database` first".to_owned());
    assert_eq!(remedy("pooler", away), first);
    let lone = |facts: &mut Facts| {
        away(facts);
        facts.direct = None;
    };
    assert_eq!(remedy("direct-url", lone), first);
    let by_port = remedy("pooler", |facts| facts.database = Err("refused".to_owned()));
    assert_eq!(by_port.0, Level::Pass, "6543 is the port of a pooler");
    let direct = |facts: &mut Facts| {
        away(facts);
        facts.direct = Some(Direct { address: Ok(address(5432)), is_transaction_pooler: Ok(false) });
    };
    assert_eq!(remedy("direct-url", direct).0, Level::Pass, "it answers by itself");
}

#[test]
fn each_fault_of_tls_has_words_and_a_remedy_of_its_own() {
    for (fault, seen, helps) in [
        (TlsFault::UnknownIssuer, "no CA that is trusted", "whole chain"),
        (TlsFault::OfACa, "self-signed", "public CA"),
        (TlsFault::Expired, "expired", "renew"),
        (TlsFault::NotYet, "not hold yet", "clock"),
        (TlsFault::OtherName, "not valid for the name", "for the name in PUBLIC_URL"),
        (TlsFault::Plain, "speaks no TLS", "443 ssl"),
        (TlsFault::OldVersion, "TLS 1.2", "ssl_protocols"),
        (TlsFault::Other("odd".to_owned()), "odd", "log"),
    ] {
        let mut facts = good();
        breaks(facts.public.as_mut().unwrap(), &Broken::Tls(fault.clone()));
        let line = judge(&facts).into_iter().find(|line| line.name == "certificate").unwrap();
        assert!(line.seen.contains(seen), "{fault:?}: {}", line.seen);
        assert!(line.remedy.unwrap().contains(helps), "{fault:?}");
    }
}

#[test]
fn a_service_that_refuses_for_money_or_for_its_limits_does_not_ask_for_another_key() {
    let told = |realtime: Realtime| remedy("realtime", |facts| facts.realtime = realtime).1;
    assert_eq!(told(refuses("invalid_api_key")), "change OPENAI_API_KEY");
    for code in ["insufficient_quota", "billing_hard_limit_reached"] {
        assert_eq!(told(refuses(code)), "add credit to the OpenAI account, or raise its limit");
    }
    let limited = told(Realtime::Limits("the service answered 429".to_owned()));
    assert!(limited.contains("rate limits"), "{limited}");
}

#[test]
fn whoever_hears_of_no_alert_learns_all_that_is_missing_at_once() {
    let unset = |facts: &mut Facts| facts.said.urgent_number = None;
    let all = "set ALERT_WEBHOOK_URL, or for text messages URGENT_NOTIFICATION_NUMBER";
    assert_eq!(remedy("alert-number", unset), (Level::Fail, all.to_owned()));
    let (_, told) = remedy("alert-number", |facts| {
        (facts.said.urgent_number, facts.said.from_number, facts.twilio) = (None, None, None);
    });
    assert_eq!(told, format!("{all} and TWILIO_ACCOUNT_SID and TWILIO_FROM_NUMBER"));
}

#[test]
fn a_clock_that_cannot_be_compared_waits_for_whoever_would_tell_the_time() {
    let (level, told) = remedy("clock", |facts| {
        facts.twilio_ahead_ms = Err("no answer".to_owned());
        facts.database_ahead_ms = None;
    });
    assert_eq!((level, told.as_str()), (Level::Warn, "mend `database` or `twilio-account` first"));
}

#[test]
fn a_key_that_can_be_guessed_fails() {
    let (level, told) = remedy("secret-key", |facts| facts.said.secret_key_is_weak = true);
    assert!(level == Level::Fail && told.contains("openssl rand -hex 32"), "{told}");
}
