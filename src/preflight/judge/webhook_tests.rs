//! The line of the webhooks: whether they reach the program, and who stands in their way.

use super::tests::{NONE, after, answers, breaks, names, one, ours, public};
use crate::preflight::Level::{Fail, Warn};
use crate::preflight::facts::{Answer, Broken, Facts};

/// A webhook that is not signed is answered with this.
fn webhook(status: u16) -> impl FnOnce(&mut Facts) {
    move |facts: &mut Facts| facts.public.as_mut().unwrap().webhook = Some(answers(status))
}

#[test]
fn a_webhook_gets_through_if_the_program_itself_refuses_it() {
    one("public-webhook", Fail, "the proxy refuses POST /api/voice/incoming (403)", webhook(403));
    one("public-webhook", Fail, "the proxy demands a login for POST /api/voice/incoming (401)", webhook(401));
    one("public-webhook", Fail, "is answered with 404", webhook(404));
    one("public-webhook", Fail, "is answered with 405", webhook(405));
    one("public-webhook", Fail, "the proxy answers POST /api/voice/incoming with 502", webhook(502));
    one("public-webhook", Fail, "without a signature is taken (200)", webhook(200));
    one("public-webhook", Warn, "is limited (429)", webhook(429));
    one(
        "public-webhook",
        Fail,
        "is redirected to https://www.example.com",
        public(|public| {
            let leads_to = Some("https://www.example.com".to_owned());
            let moved = Answer { status: 308, leads_to, is_ours: false, is_draining: false };
            public.webhook = Some(Ok(moved));
        }),
    );
    one(
        "public-webhook",
        Fail,
        "no answer within 4 s",
        public(|public| public.webhook = Some(Err(Broken::Silent))),
    );
}

#[test]
fn a_proxy_that_asks_everybody_for_a_login_does_not_pass_for_one_that_closes_healthz() {
    let lines = after(public(|public| {
        (public.health, public.stream, public.webhook) = (answers(401), Ok(401), Some(answers(401)));
    }));
    let failed = ["public-health", "public-stream", "public-webhook"].map(|name| (name, Fail));
    assert_eq!(names(&lines), failed);
    let closed = after(public(|public| public.health = answers(401)));
    assert_eq!(closed, NONE, "only /healthz is closed");
    let no_streams = after(public(|public| (public.health, public.stream) = (answers(403), Ok(400))));
    assert_eq!(names(&no_streams), [("public-stream", Fail)], "the program is behind it");
}

#[test]
fn a_program_that_believes_every_webhook_is_sent_none() {
    let lines = after(|facts| {
        facts.said.bypasses_validation = true;
        facts.public.as_mut().unwrap().webhook = None;
    });
    assert_eq!(names(&lines), [("public-webhook", Warn), ("twilio-signatures", Fail)]);
}

#[test]
fn a_program_that_drains_answers_and_takes_no_new_calls() {
    let lines = after(public(|public| {
        let Ok(health) = &mut public.health else { panic!("it answers") };
        health.is_draining = true;
    }));
    assert_eq!(names(&lines), [("public-health", Warn)]);
    assert!(lines[0].2.contains("drains"), "{lines:?}");
}

#[test]
fn without_an_address_the_name_is_to_be_mended_first() {
    let lines = after(public(|public| {
        public.addresses = Err("NXDOMAIN".to_owned());
        breaks(public, &Broken::Unreachable("no address".to_owned()));
    }));
    let unknown =
        ["certificate", "public-health", "public-stream", "public-webhook"].map(|name| (name, Warn));
    assert_eq!(names(&lines), [&[("public-url", Fail)][..], &unknown].concat());
    assert!(lines[1..].iter().all(|(.., seen)| seen == "not known"), "{lines:?}");
}

#[test]
fn a_connection_is_kept_for_longer_than_a_proxy_keeps_it() {
    one("keep-alive", Warn, "for 60 s", |facts| facts.said.keep_alive_seconds = 60);
    let alone = after(|facts| (facts.said.keep_alive_seconds, facts.said.ends_tls) = (5, true));
    assert_eq!(alone, NONE, "no proxy is in front of it");
    assert_eq!(after(|facts| facts.public.as_mut().unwrap().health = ours(200)), NONE);
}
