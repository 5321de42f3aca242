//! Each line by itself: what is seen, and what it says.

use actors::db::{Address, Inspection, SchemaState};
use actors::wire::twilio::rest::{Account, Capabilities, PhoneNumber, Refusal, RestError};
use chrono::{DateTime, TimeDelta, Utc};

use super::judge;
use crate::loadtest::result::Verdict;
use crate::preflight::Level::{self, Fail, Warn};
use crate::preflight::facts::{
    Answer, Broken, Direct, Disk, Facts, LoadTested, Public, Realtime, Said, TlsFault, Twilio,
};
use crate::preflight::worst;

const OWN: &str = "+15005550006";
pub(super) const NONE: [(&str, Level, String); 0] = [];

pub(super) fn now() -> DateTime<Utc> {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

/// A deployment in which nothing is wrong.
pub(in crate::preflight) fn good() -> Facts {
    let said = Said {
        database: address(6543),
        pool_max: 20,
        calls: 20,
        has_secret_key: true,
        secret_key_is_weak: false,
        bypasses_validation: false,
        api_is_open: false,
        keeps_words: false,
        public_url: Some("https://voice.example.com".parse().unwrap()),
        twilio_is_local: false,
        ends_tls: false,
        keep_alive_seconds: 75,
        trusted_proxies: vec!["10.0.0.9/32".to_owned()],
        from_number: Some(OWN.to_owned()),
        urgent_number: Some("+14155550100".to_owned()),
        human_number: Some("+14155550101".to_owned()),
        has_alert_webhook: false,
        model: "gpt-realtime-2.1".to_owned(),
        agent: Some("Harbor Clinic".to_owned()),
        remarks: vec![],
    };
    Facts {
        now: now(),
        said,
        database: Ok(Inspection {
            is_transaction_pooler: true,
            schema: SchemaState::Fits,
            is_read_only: false,
            now: now(),
            instances: Some(vec!["a:8080".to_owned()]),
            admins: Some(1),
        }),
        direct: Some(Direct { address: Ok(address(5432)), is_transaction_pooler: Ok(false) }),
        redis: Some(Ok(())),
        twilio: Some(Twilio {
            account: Ok(Account { status: "active".to_owned(), kind: "Full".to_owned() }),
            number: Some(Ok(Some(number()))),
        }),
        public: Some(Public {
            addresses: Ok(vec!["192.0.2.1".parse().unwrap()]),
            certificate: Some(Ok(now() + TimeDelta::days(60))),
            health: ours(200),
            stream: Ok(101),
            webhook: Some(ours(403)),
        }),
        realtime: Realtime::Answers,
        twilio_ahead_ms: Ok(400),
        database_ahead_ms: Some(-20),
        disk: Ok(Disk { folder: "/var/lib/switchboard".to_owned(), is_writable: true, free_bytes: 10 << 30 }),
        is_root: false,
        descriptors: 65_536,
        load_test: Ok(LoadTested {
            at: now() - TimeDelta::days(3),
            calls: 20,
            p95_ms: Some(900.0),
            verdict: Verdict::Fine,
            scenarios: vec![],
        }),
    }
}

/// An answer of this program.
pub(super) fn ours(status: u16) -> Result<Answer, Broken> {
    Ok(Answer { status, leads_to: None, is_ours: true, is_draining: false })
}

/// On another machine, with TLS.
pub(super) fn address(port: u16) -> Address {
    Address {
        hosts: vec!["db.example.com".to_owned()],
        ports: vec![port],
        is_local: false,
        is_encrypted: true,
    }
}

fn number() -> PhoneNumber {
    let post = || "POST".to_owned();
    let hook = |path: &str| {
        format!("https://voice.example.com/api/voice/{path}#ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000")
    };
    PhoneNumber {
        sid: "PN1".to_owned(),
        phone_number: OWN.to_owned(),
        capabilities: Capabilities { voice: true, sms: true },
        voice_url: hook("incoming"),
        voice_method: post(),
        voice_fallback_url: "https://handler.twilio.com/twiml/EH1".to_owned(),
        status_callback: hook("call-status"),
        status_callback_method: post(),
        voice_application_sid: String::new(),
        trunk_sid: String::new(),
    }
}

/// The lines that do not pass after this change of a good deployment: name, level, and what is seen.
pub(super) fn after(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Level, String)> {
    let mut facts = good();
    change(&mut facts);
    let lines = judge(&facts).into_iter().filter(|line| line.level != Level::Pass);
    lines
        .map(|line| {
            assert!(line.remedy.is_some_and(|remedy| !remedy.is_empty()), "{}: how to mend it", line.name);
            (line.name, line.level, line.seen)
        })
        .collect()
}

/// One change leads to one line, which says this among others.
pub(super) fn one(name: &str, level: Level, says: &str, change: impl FnOnce(&mut Facts)) {
    let lines = after(change);
    let [(found, at, seen)] = &lines[..] else { panic!("{name}: {lines:?}") };
    assert_eq!((*found, *at), (name, level), "{seen}");
    assert!(seen.contains(says), "{name}: {seen}");
}

pub(super) fn names(lines: &[(&'static str, Level, String)]) -> Vec<(&'static str, Level)> {
    lines.iter().map(|(name, level, _)| (*name, *level)).collect()
}

#[test]
fn a_good_deployment_passes_all_lines_and_each_line_has_a_name_of_its_own() {
    assert_eq!(after(|_| {}), NONE);
    let lines = judge(&good());
    assert_eq!(worst(&lines), Level::Pass);
    let mut names: Vec<_> = lines.iter().map(|line| line.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), lines.len());
    assert!(lines.len() >= 36, "{}", lines.len());
}

#[test]
fn the_database_is_judged_by_its_port_its_encryption_and_what_it_says() {
    let found =
        |change: fn(&mut Inspection)| move |facts: &mut Facts| change(facts.database.as_mut().unwrap());
    one("pooler", Warn, "port 5432 is a direct", |facts| {
        facts.said.database.ports = vec![5432];
        facts.database.as_mut().unwrap().is_transaction_pooler = false;
    });
    assert_eq!(after(|facts| facts.said.database.ports = vec![6432]), NONE, "a pooler is seen at work");
    assert_eq!(
        after(found(|found| found.is_transaction_pooler = false)),
        NONE,
        "a busy one is known by its port"
    );
    one("direct-url", Warn, "refuses a transaction pooler", |facts| facts.direct = None);
    one("database-tls", Fail, "without TLS", |facts| facts.said.database.is_encrypted = false);
    assert_eq!(
        after(|facts| facts.said.database = Address { is_local: true, is_encrypted: false, ..address(6543) }),
        NONE
    );
    one(
        "schema",
        Fail,
        "the migration 17_more is missing",
        found(|found| {
            found.schema = SchemaState::Older { missing: vec!["17_more".to_owned()] };
        }),
    );
    one(
        "schema",
        Fail,
        "does not own",
        found(|found| found.schema = SchemaState::Hidden { role: "web".to_owned() }),
    );
    one("schema", Warn, "does not know", found(|found| found.schema = SchemaState::Newer));
    one("database-writable", Fail, "takes no writes", found(|found| found.is_read_only = true));
    one("first-user", Fail, "no administrator", found(|found| found.admins = Some(0)));
    let lines = after(|facts| {
        facts.database = Err("no answer within 4 s".to_owned());
        facts.database_ahead_ms = None;
    });
    let unknown = ["schema", "database-writable", "first-user"].map(|name| (name, Warn));
    assert_eq!(names(&lines), [&[("database", Fail)][..], &unknown].concat());
}

#[test]
fn all_processes_together_stay_within_the_limit_of_the_database_and_share_what_they_must() {
    let three = |facts: &mut Facts| {
        let alive = ["b:1", "c:1", "d:1"].map(str::to_owned);
        facts.database.as_mut().unwrap().instances = Some(alive.into());
    };
    one("pool-size", Fail, "3 processes with 20 connections each are 60, and the most is 25", three);
    assert_eq!(
        after(|facts| {
            three(facts);
            facts.said.pool_max = 8;
        }),
        NONE
    );
    one("pool-size", Fail, "3 processes with 9", |facts| {
        three(facts);
        facts.said.pool_max = 9;
    });
    one("pool-size", Warn, "10 connections", |facts| facts.said.pool_max = 10);
    one("pool-size", Fail, "26 connections, and the most is 25", |facts| facts.said.pool_max = 26);
    one("rate-limits", Fail, "Redis does not answer: refused", |facts| {
        facts.redis = Some(Err("refused".to_owned()))
    });
    assert_eq!(after(|facts| facts.redis = None), NONE, "one process counts by itself");
    assert_eq!(after(|facts| facts.said.has_secret_key = false), NONE);
    let alone = after(|facts| {
        three(facts);
        facts.said.pool_max = 8;
        facts.redis = None;
        facts.said.has_secret_key = false;
    });
    assert_eq!(names(&alone), [("rate-limits", Fail), ("secret-key", Warn)]);
}

pub(super) fn public(change: fn(&mut Public)) -> impl FnOnce(&mut Facts) {
    move |facts: &mut Facts| change(facts.public.as_mut().unwrap())
}

/// An answer of somebody else.
pub(super) fn answers(status: u16) -> Result<Answer, Broken> {
    Ok(Answer { status, leads_to: None, is_ours: false, is_draining: false })
}

/// Nothing is answered.
pub(super) fn breaks(public: &mut Public, broken: &Broken) {
    public.certificate = Some(Err(broken.clone()));
    public.health = Err(broken.clone());
    public.stream = Err(broken.clone());
    public.webhook = Some(Err(broken.clone()));
}

#[test]
fn the_public_url_is_judged_by_its_name_and_its_addresses() {
    let unset = after(|facts| {
        facts.said.public_url = None;
        facts.public = None;
    });
    assert_eq!(unset[0].1, Fail, "{unset:?}");
    let unknown = unset[1..].iter().map(|(name, _, seen)| (*name, seen.as_str()));
    assert_eq!(
        unknown.collect::<Vec<_>>(),
        [
            "certificate",
            "public-health",
            "public-stream",
            "public-webhook",
            "trusted-proxies",
            "number-voice",
            "number-fallback",
            "number-status"
        ]
        .map(|name| (name, "not known"))
    );
    one(
        "public-url",
        Fail,
        "no address: NXDOMAIN",
        public(|public| public.addresses = Err("NXDOMAIN".to_owned())),
    );
    for private in ["10.0.0.5", "127.0.0.1", "100.64.0.1", "fd00::1", "169.254.0.1"] {
        let address = private.parse().unwrap();
        let lines = after(|facts| facts.public.as_mut().unwrap().addresses = Ok(vec![address]));
        assert_eq!(names(&lines), [("public-url", Warn)], "{private}");
    }
    let here = |facts: &mut Facts| {
        facts.said.public_url = Some("https://127.0.0.1:8443".parse().unwrap());
        facts.public.as_mut().unwrap().addresses = Ok(vec!["127.0.0.1".parse().unwrap()]);
    };
    assert!(names(&after(here)).contains(&("public-url", Fail)));
    let simulated = after(|facts| {
        here(facts);
        facts.said.twilio_is_local = true;
    });
    assert_eq!(
        names(&simulated),
        [("number-voice", Fail), ("number-status", Warn)],
        "Twilio is here as well"
    );
}

#[test]
fn the_certificate_and_the_answers_of_the_proxy_are_judged() {
    one("certificate", Warn, "valid until 2026-12-13", |facts| {
        facts.public.as_mut().unwrap().certificate = Some(Ok(now() + TimeDelta::days(13)));
    });
    one("certificate", Warn, "no TLS", public(|public| public.certificate = None));
    let tls = after(public(|public| {
        breaks(public, &Broken::Tls(TlsFault::Expired));
    }));
    let unknown = [("public-health", Warn), ("public-stream", Warn), ("public-webhook", Warn)];
    assert_eq!(names(&tls), [&[("certificate", Fail)][..], &unknown].concat());
    let away = after(public(|public| {
        breaks(public, &Broken::Unreachable("Connection refused".to_owned()));
    }));
    let unknown = [("public-stream", Warn), ("public-webhook", Warn)];
    assert_eq!(names(&away), [&[("certificate", Warn), ("public-health", Fail)][..], &unknown].concat());
    assert!(away[1].2.contains("Connection refused"), "{away:?}");
    one("public-health", Fail, "redirects to https://www.example.com", |facts| {
        let leads_to = Some("https://www.example.com".to_owned());
        let moved = Answer { status: 301, leads_to, is_ours: false, is_draining: false };
        facts.public.as_mut().unwrap().health = Ok(moved);
    });
    one("public-health", Fail, "answers 502", public(|public| public.health = answers(502)));
    one("public-health", Fail, "another program", public(|public| public.health = answers(200)));
    one("public-health", Fail, "answers 500", public(|public| public.health = answers(500)));
    assert_eq!(after(public(|public| public.health = answers(403))), NONE, "a proxy may close it");
    assert_eq!(
        names(&after(public(|public| {
            public.health = answers(404);
            public.stream = Ok(404);
            public.webhook = Some(answers(404));
        }))),
        [("public-health", Fail), ("public-stream", Fail), ("public-webhook", Fail)]
    );
    for status in [200, 400, 426] {
        let lines = after(|facts| facts.public.as_mut().unwrap().stream = Ok(status));
        assert_eq!(names(&lines), [("public-stream", Fail)]);
        assert!(lines[0].2.contains("forwards no websocket"), "{lines:?}");
    }
    one("public-stream", Fail, "signed correctly is refused", public(|public| public.stream = Ok(403)));
    one("public-stream", Fail, "no answer", public(|public| public.stream = Err(Broken::Silent)));
    one("trusted-proxies", Warn, "share one rate limit", |facts| facts.said.trusted_proxies.clear());
    assert_eq!(
        after(|facts| {
            facts.said.trusted_proxies.clear();
            facts.said.ends_tls = true;
        }),
        NONE
    );
}

#[test]
fn twilio_is_judged_by_its_answers() {
    let refused = |status| Err(RestError::Refused(Refusal { status, code: None, message: String::new() }));
    one("twilio-signatures", Fail, "believed", |facts| facts.said.bypasses_validation = true);
    for (error, says) in [
        (refused(401), "refuses the credentials"),
        (Err(RestError::Failed(Refusal { status: 500, code: None, message: String::new() })), "status 500"),
        (Err(RestError::Unanswered("no answer within 4 s".to_owned())), "no answer within 4 s"),
    ] {
        let lines = after(|facts| {
            let twilio = facts.twilio.as_mut().unwrap();
            twilio.number = Some(error.clone().map(|_: Account| None));
            twilio.account = error;
        });
        let wanted = [&[("twilio-account", Fail), ("number", Warn)], &HOOKS[..], &[("alert-number", Warn)]];
        assert_eq!(names(&lines), wanted.concat());
        assert!(lines[0].2.contains(says), "{lines:?}");
    }
    let account = |status: &str, kind: &str| Ok(Account { status: status.to_owned(), kind: kind.to_owned() });
    let suspended = after(|facts| facts.twilio.as_mut().unwrap().account = account("suspended", "Full"));
    assert_eq!(names(&suspended), [("twilio-account", Fail), ("alert-number", Warn)]);
    assert!(suspended[0].2.contains("suspended"), "{suspended:?}");
    one("twilio-account", Warn, "trial", |facts| {
        facts.twilio.as_mut().unwrap().account = account("active", "Trial")
    });
    let without = after(|facts| facts.twilio = None);
    let wanted = [&[("twilio-account", Warn), ("number", Warn)], &HOOKS[..], &[("alert-number", Fail)]];
    assert_eq!(names(&without), wanted.concat());
}

/// The lines of the number's URLs, where the number is not known.
const HOOKS: [(&str, Level); 3] =
    [("number-voice", Warn), ("number-fallback", Warn), ("number-status", Warn)];

fn of_number(change: fn(&mut PhoneNumber)) -> impl FnOnce(&mut Facts) {
    move |facts: &mut Facts| {
        let mut number = number();
        change(&mut number);
        facts.twilio.as_mut().unwrap().number = Some(Ok(Some(number)));
    }
}

#[test]
fn the_number_leads_to_the_program_and_its_fallback_leads_elsewhere() {
    one("number-voice", Fail, "not set", of_number(|number| number.voice_url.clear()));
    one(
        "number-voice",
        Fail,
        "it leads to https://demo.twilio.com/welcome",
        of_number(|number| {
            number.voice_url = "https://me:hush@demo.twilio.com/welcome?key=hush".to_owned();
        }),
    );
    one("number-voice", Fail, "requested by GET", of_number(|number| number.voice_method = "GET".to_owned()));
    one(
        "number-voice",
        Warn,
        "try again",
        of_number(|number| {
            number.voice_url = "https://voice.example.com/api/voice/incoming".to_owned();
        }),
    );
    one("number-status", Warn, "not set", of_number(|number| number.status_callback.clear()));
    one("number-fallback", Warn, "not set", of_number(|number| number.voice_fallback_url.clear()));
    one(
        "number-fallback",
        Warn,
        "program itself",
        of_number(|number| {
            number.voice_fallback_url = "https://voice.example.com/api/voice/fallback".to_owned();
        }),
    );
    one(
        "number",
        Fail,
        "a TwiML application",
        of_number(|number| number.voice_application_sid = "AP1".to_owned()),
    );
    one("number", Fail, "a SIP trunk", of_number(|number| number.trunk_sid = "TK1".to_owned()));
    one("number", Fail, "takes no calls", of_number(|number| number.capabilities.voice = false));
    let gone = after(|facts| facts.twilio.as_mut().unwrap().number = Some(Ok(None)));
    assert_eq!(names(&gone), [&[("number", Fail)], &HOOKS[..], &[("alert-number", Warn)]].concat());
    assert!(gone[0].2.contains("does not have"), "{gone:?}");
}

/// The service refuses, and what it says is about the key.
pub(super) fn refuses(code: &str) -> Realtime {
    let (code, setting) = (code.to_owned(), "OPENAI_API_KEY".to_owned());
    Realtime::Refuses { said: code.clone(), code, setting }
}

#[test]
fn the_realtime_service_the_model_and_the_agent_are_judged() {
    one("realtime", Fail, "refuses: invalid_api_key", |facts| {
        facts.realtime = refuses("invalid_api_key");
    });
    one("realtime", Fail, "no answer within 4 s", |facts| {
        facts.realtime = Realtime::Fails("no answer within 4 s".to_owned());
    });
    one("model", Warn, "gpt-realtime ends on 2027-01-20", |facts| {
        facts.said.model = "gpt-realtime".to_owned()
    });
    one("model", Fail, "has ended", |facts| facts.said.model = "gpt-4o-realtime-preview".to_owned());
    one("agent", Warn, "built-in", |facts| facts.said.agent = None);
}

#[test]
fn somebody_hears_of_an_alert_and_somebody_takes_a_call() {
    one("alert-number", Fail, "nobody hears", |facts| facts.said.urgent_number = None);
    one("alert-number", Warn, "ALERT_WEBHOOK_URL alone", |facts| {
        facts.said.urgent_number = None;
        facts.said.has_alert_webhook = true;
    });
    one("alert-number", Fail, "our own number", |facts| facts.said.urgent_number = Some(OWN.to_owned()));
    one("alert-number", Fail, "can be texted", |facts| facts.said.urgent_number = Some("+112".to_owned()));
    one("alert-number", Fail, "cannot send", of_number(|number| number.capabilities.sms = false));
    let without = after(|facts| {
        facts.said.from_number = None;
        facts.twilio.as_mut().unwrap().number = None;
    });
    assert_eq!(names(&without), [&[("number", Warn)], &HOOKS[..], &[("alert-number", Fail)]].concat());
    one("human-fallback", Warn, "voicemail", |facts| facts.said.human_number = None);
    one("human-fallback", Fail, "calls the agent", |facts| facts.said.human_number = Some(OWN.to_owned()));
    one("human-fallback", Warn, "from everywhere", |facts| facts.said.human_number = Some("+112".to_owned()));
}

#[test]
fn the_machine_and_its_settings_are_judged() {
    one("settings", Warn, "PROT is not a setting", |facts| {
        facts.said.remarks = vec!["PROT is not a setting: is PORT meant?".to_owned()];
    });
    one("api-auth", Fail, "API_AUTH is off", |facts| facts.said.api_is_open = true);
    one("file-descriptors", Fail, "whoever runs this check is allowed 123, and 124 are needed", |facts| {
        facts.descriptors = 123
    });
    let disk = |is_writable, free_bytes| Ok(Disk { folder: "/spool".to_owned(), is_writable, free_bytes });
    one("spool", Fail, "may not write in /spool", |facts| facts.disk = disk(false, 10 << 30));
    one("spool", Fail, "255 MiB are free", |facts| facts.disk = disk(true, 255 << 20));
    one("spool", Warn, "511 MiB are free", |facts| facts.disk = disk(true, 511 << 20));
    one("spool", Fail, "no folder", |facts| facts.disk = Err("/a is no folder".to_owned()));
}
