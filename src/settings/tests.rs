use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use actors::call::persona::Persona;
use actors::call::phrases::Phrase;

use super::*;
use crate::http::settings::{ApiAuth, MetricsAuth};
use crate::logging::LogFormat;
use crate::rate_limit::Quota;

mod destinations;
mod tools;

const REQUIRED: [(&str, &str); 3] = [
    ("TWILIO_AUTH_TOKEN", "token-of-twilio"),
    ("OPENAI_API_KEY", "sk-key-of-openai"),
    ("DATABASE_URL", "postgresql://app:hunter2@db.example.com:6543/app"),
];

fn read(variables: &[(&str, &str)]) -> Result<Settings, Faults> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Settings::read(|name| variables.get(name).map(ToString::to_string))
}

fn with(more: &[(&str, &str)]) -> Result<Settings, Faults> {
    read(&[&REQUIRED, more].concat())
}

fn faulty(more: &[(&str, &str)]) -> Vec<String> {
    with(more).expect_err("a fault").iter().map(|fault| fault.name.clone()).collect()
}

fn with_agent_file(text: &str) -> Result<Settings, Faults> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    with(&[("AGENT_FILE", file.path().to_str().unwrap())])
}

#[test]
fn three_variables_are_enough_and_the_rest_has_defaults() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings.http.bind, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(settings.http.public_url, None);
    assert_eq!(settings.http.api_auth, ApiAuth::Required);
    assert_eq!(settings.http.trusted_proxies, []);
    assert_eq!((settings.http.metrics_auth, settings.http.metrics_addr), (MetricsAuth::Open, None));
    assert_eq!(settings.http.keep_alive.as_secs(), 75, "longer than a balancer keeps a connection");
    let per = |window, requests| Quota { requests, window: Duration::from_secs(window) };
    let quotas = Quotas { api: per(60, 100), webhook: per(60, 500), auth: per(900, 10) };
    assert_eq!(settings.quotas, quotas);
    assert!(settings.instance_id.ends_with(":8080"), "{}", settings.instance_id);
    assert_eq!(settings.registry.max_concurrent_calls, 20);
    assert_eq!(settings.db.pool_max, 20);
    assert_eq!(settings.db.idle_timeout, Duration::from_secs(30));
    assert_eq!(settings.db.connect_timeout, Duration::from_secs(10));
    assert!(settings.db.spool_dir.ends_with("switchboard/spool"), "{}", settings.db.spool_dir.display());
    assert_eq!(settings.realtime.url.as_str(), "wss://api.openai.com/v1/realtime");
    assert_eq!(settings.realtime.model, "gpt-realtime-2.1");
    assert_eq!(settings.twilio.account_sid, None);
    assert!(!settings.twilio.bypass_validation);
    assert_eq!(settings.twilio.api_base_url.as_str(), "https://api.twilio.com/");
    assert_eq!(settings.twilio.from_number, None);
    assert_eq!(settings.twilio.human_fallback_number, None);
    assert_eq!(settings.agent.persona, Persona::default());
    assert_eq!(settings.log.filter, "info");
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.traces.endpoint, None);
    assert!(settings.traces.headers.is_empty());
    assert_eq!(settings.traces.service_name, "switchboard");
}

#[test]
fn every_variable_is_read() {
    let settings = read(&[
        ("PORT", "9000"),
        ("BIND_ADDR", "0.0.0.0"),
        ("PUBLIC_URL", "https://voice.example.com:8443"),
        ("INSTANCE_ID", "b-2.example:9000"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
        ("SUPABASE_URL", "postgres://app@%2Ftmp%2Fpg/app"),
        ("DIRECT_DATABASE_URL", "postgres://app@db:5432/app"),
        ("DB_POOL_MAX", "10"),
        ("DB_POOL_IDLE_TIMEOUT_MS", "1000"),
        ("DB_POOL_CONNECT_TIMEOUT_MS", "500"),
        ("SPOOL_DIR", "/var/spool/switchboard"),
        ("MAX_CONCURRENT_CALLS", "100"),
        ("FULL_HOUSE", "message"),
        ("OPENAI_API_KEY", "sk-1"),
        ("OPENAI_REALTIME_URL", "ws://127.0.0.1:9/v1/realtime"),
        ("OPENAI_REALTIME_MODEL", "gpt-realtime-9"),
        ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"),
        ("TWILIO_AUTH_TOKEN_SECONDARY", "the-next-token"),
        ("TWILIO_SHARED_KEYS", "key1=secret1"),
        ("TWILIO_AUTH_TOKEN", "token-of-twilio"),
        ("BYPASS_TWILIO_VALIDATION", "0"),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:9200"),
        ("TWILIO_FROM_NUMBER", "+15005550006"),
        ("HUMAN_FALLBACK_NUMBER", "+14155550123"),
        ("API_AUTH", "required"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, fd00::1"),
        ("RATE_LIMIT_API", "200/1m"),
        ("RATE_LIMIT_WEBHOOK", "50/1s"),
        ("RATE_LIMIT_AUTH", "5/1h"),
        ("RUST_LOG", "warn,actors=debug"),
        ("LOG_FORMAT", "json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k1,Authorization=Bearer%20k2"),
        ("OTEL_SERVICE_NAME", "reception"),
    ])
    .unwrap();
    assert_eq!(settings.http.bind, "0.0.0.0:9000".parse().unwrap());
    assert_eq!(settings.db.spool_dir, Path::new("/var/spool/switchboard"));
    assert_eq!(settings.http.public_url.unwrap().as_str(), "https://voice.example.com:8443/");
    assert_eq!(settings.instance_id, "b-2.example:9000");
    assert_eq!(settings.secret_key.expose(), "0123456789abcdef0123456789abcdef");
    assert_eq!(settings.db.url.expose(), "postgres://app@%2Ftmp%2Fpg/app");
    assert_eq!(settings.db.pool_max, 10);
    assert_eq!(settings.db.idle_timeout, Duration::from_secs(1));
    assert_eq!(settings.db.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.registry.max_concurrent_calls, 100);
    assert_eq!(settings.realtime.url.as_str(), "ws://127.0.0.1:9/v1/realtime");
    assert_eq!(settings.realtime.model, "gpt-realtime-9");
    assert_eq!(settings.twilio.account_sid.as_deref(), Some("AC00000000000000000000000000000001"));
    assert_eq!(settings.twilio.auth_token_secondary.unwrap().expose(), "the-next-token");
    assert_eq!(settings.twilio.shared_keys[0].secret.expose(), "secret1");
    assert_eq!(settings.twilio.auth_token.unwrap().expose(), "token-of-twilio");
    assert!(!settings.twilio.bypass_validation);
    assert_eq!(settings.twilio.api_base_url.as_str(), "http://127.0.0.1:9200/");
    assert_eq!(settings.twilio.from_number.as_deref(), Some("+15005550006"));
    assert_eq!(settings.twilio.human_fallback_number.as_deref(), Some("+14155550123"));
    let proxies = ["10.0.0.0/8", "fd00::1/128"].map(|network| network.parse().unwrap());
    assert_eq!(settings.http.trusted_proxies, proxies);
    let per = |window, requests| Quota { requests, window: Duration::from_secs(window) };
    let quotas = Quotas { api: per(60, 200), webhook: per(1, 50), auth: per(3_600, 5) };
    assert_eq!(settings.quotas, quotas);
    assert_eq!(settings.log.filter, "warn,actors=debug");
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.traces.endpoint.unwrap().as_str(), "http://collector:4318/v1/traces");
    assert_eq!(settings.traces.headers["api-key"].expose(), "k1");
    assert_eq!(settings.traces.headers["Authorization"].expose(), "Bearer%20k2");
    assert_eq!(settings.traces.service_name, "reception");
}

#[test]
fn all_faults_are_told_at_once_with_name_and_remedy() {
    let faults = read(&[("PORT", "eighty"), ("BIND_ADDR", "0.0.0.0"), ("API_AUTH", "off")]).unwrap_err();
    let told = faults.to_string();
    insta::assert_snapshot!(told, @r#"
    6 settings are wrong:
      PORT is "eighty": give a port number
      PUBLIC_URL is not set: give the origin that Twilio sees, such as https://voice.example.com
      API_AUTH `off` is for a loopback BIND_ADDR only: keep it to this machine, or set API_AUTH=required
      TWILIO_AUTH_TOKEN is not set: give the account's primary auth token
      DATABASE_URL is not set: give the database, such as postgresql://user:password@host:6543/db
      OPENAI_API_KEY is not set: give an API key of your OpenAI project
    "#);
}

#[test]
fn what_lets_in_whoever_asks_is_refused_where_others_than_this_machine_can_ask() {
    let (bypass, open) = (("BYPASS_TWILIO_VALIDATION", "1"), ("API_AUTH", "off"));
    let public = ("PUBLIC_URL", "https://voice.example.com");
    for reached in [
        &[("BIND_ADDR", "0.0.0.0"), public][..],
        &[("BIND_ADDR", "::"), ("PUBLIC_URL", "http://localhost:8080")],
        &[public],
        &[("PUBLIC_URL", "https://192.0.2.1")],
        &[("TRUSTED_PROXIES", "127.0.0.1")],
    ] {
        for setting in [bypass, open] {
            assert_eq!(faulty(&[&[setting], reached].concat()), [setting.0], "{reached:?}");
        }
        assert!(with(reached).is_ok(), "{reached:?}");
    }
    for alone in [&[][..], &[("BIND_ADDR", "::1")], &[("PUBLIC_URL", "http://127.0.0.1:8080")]] {
        let settings = with(&[&[bypass, open], alone].concat()).unwrap();
        assert!(settings.twilio.bypass_validation);
        assert_eq!(settings.http.api_auth, ApiAuth::Off);
    }
}

#[test]
fn a_socket_that_was_handed_over_is_no_way_round_it() {
    let (bypass, open) = (("BYPASS_TWILIO_VALIDATION", "true"), ("API_AUTH", "off"));
    let forbids = |set: &[(&str, &str)], address: &str| with(set).unwrap().forbids(address.parse().unwrap());
    assert_eq!(forbids(&[bypass], "0.0.0.0:80"), Some("BYPASS_TWILIO_VALIDATION=true"));
    assert_eq!(forbids(&[open], "[::]:80"), Some("API_AUTH=off"));
    for address in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(forbids(&[bypass, open], address), None, "{address}");
    }
    assert_eq!(forbids(&[], "0.0.0.0:80"), None);
}

#[test]
fn each_faulty_value_is_a_fault_of_its_variable() {
    let cases = [
        ("PORT", "70000"),
        ("BIND_ADDR", "localhost"),
        ("PUBLIC_URL", "voice.example.com"),
        ("PUBLIC_URL", "https://voice.example.com/path"),
        ("PUBLIC_URL", "https://voice.example.com/?a=1"),
        ("PUBLIC_URL", "https://me@voice.example.com"),
        ("PUBLIC_URL", "http://voice.example.com"),
        ("INSTANCE_ID", "../other"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://db/app"),
        ("DIRECT_DATABASE_URL", "db:5432"),
        ("DB_POOL_MAX", "0"),
        ("DB_POOL_IDLE_TIMEOUT_MS", "30s"),
        ("DB_POOL_CONNECT_TIMEOUT_MS", "-1"),
        ("MAX_CONCURRENT_CALLS", "0"),
        ("FULL_HOUSE", "queue,voicemail"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1,"),
        ("TRUSTED_PROXIES", "::ffff:10.0.0.0/104"),
        ("TRUSTED_PROXIES", "::ffff:10.0.0.1"),
        ("RATE_LIMIT_API", "100"),
        ("RATE_LIMIT_WEBHOOK", "500 per minute"),
        ("RATE_LIMIT_AUTH", "0/15m"),
        ("OPENAI_API_KEY", "sk-1\n"),
        ("OPENAI_REALTIME_URL", "ws://api.openai.com/v1/realtime"),
        ("OPENAI_REALTIME_URL", "https://api.openai.com/v1/realtime"),
        ("OPENAI_REALTIME_MODEL", "two words"),
        ("TWILIO_ACCOUNT_SID", "AC123"),
        ("TWILIO_AUTH_TOKEN_SECONDARY", "two words"),
        ("TWILIO_SHARED_KEYS", "key1"),
        ("BYPASS_TWILIO_VALIDATION", "perhaps"),
        ("TWILIO_API_BASE_URL", "http://api.twilio.com"),
        ("TWILIO_API_BASE_URL", "https://api.twilio.com/2010-04-01"),
        ("TWILIO_FROM_NUMBER", "5550006"),
        ("HUMAN_FALLBACK_NUMBER", "0041 44 123"),
        ("HUMAN_FALLBACK_NUMBER", "+0123"),
        ("URGENT_NOTIFICATION_NUMBER", "garbage"),
        ("REDIS_URL", "garbage"),
        ("REDIS_URL", "redis://cache/first"),
        ("ALERT_WEBHOOK_URL", "hooks.example.com"),
        ("ALERT_INTERVAL_MS", "0"),
        ("ALERT_INTERVAL_MS", "soon"),
        ("ALERT_THRESHOLDS", "memory=much/more"),
        ("ALERT_THRESHOLDS", "memry=70/85"),
        ("ALERT_THRESHOLDS", "memory=85/70"),
        ("ALERT_PAGERDUTY_KEY", "two words"),
        ("SPEND_LIMIT_PER_DAY_USD", "much"),
        ("LISTEN_FDS", "all"),
        ("API_AUTH", "none"),
        ("AGENT_FILE", "/no/such/agent.toml"),
        ("RUST_LOG", "actors=loud"),
        ("LOG_FORMAT", "xml"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me@collector/v1/traces"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k1,"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=k1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=Bearer k1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=k1%0A"),
        ("RETENTION_TRANSCRIPT_DAYS", "0"),
        ("RETENTION_NUMBER_DAYS", "for ever"),
    ];
    for (name, value) in cases {
        assert_eq!(faulty(&[(name, value)]), [name], "{name}={value}");
    }
}

#[test]
fn pagerduty_needs_its_key_and_levels_are_read() {
    let pagerduty = ("ALERT_WEBHOOK_URL", "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(faulty(&[pagerduty]), ["ALERT_PAGERDUTY_KEY"]);
    let levels = ("ALERT_THRESHOLDS", "memory=60/80");
    let alerts = with(&[pagerduty, ("ALERT_PAGERDUTY_KEY", "k"), levels]).unwrap().alerts;
    let (_, memory) = alerts.levels[0];
    assert_eq!((memory.warning, memory.critical), (60.0, 80.0));
    assert_eq!(alerts.interval, Duration::from_secs(5));
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets = [
        ("TWILIO_AUTH_TOKEN", "hush twilio"),
        ("OPENAI_API_KEY", "hush openai"),
        ("SECRET_KEY", "hush"),
        ("DATABASE_URL", "app:hush@db"),
        ("DIRECT_DATABASE_URL", "app:hush@db"),
        ("PUBLIC_URL", "https://me:hush@voice.example.com"),
        ("OPENAI_REALTIME_URL", "wss://me:hush@api.openai.com/"),
        ("TWILIO_API_BASE_URL", "https://me:hush@api.twilio.com/"),
        ("REDIS_URL", "https://me:hush@redis/hush"),
        ("ALERT_WEBHOOK_URL", "ftp://hooks.example.com/hush"),
        ("ALERT_PAGERDUTY_KEY", "hush hush"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hush@collector/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush hush"),
    ];
    let faults = read(&secrets).unwrap_err();
    assert!(!format!("{faults} {faults:?}").contains("hush"), "{faults}");
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=key-of-collector");
    let settings = format!("{:?}", with(&[headers]).unwrap());
    for secret in ["token-of-twilio", "sk-key-of-openai", "hunter2", "key-of-collector"] {
        assert!(!settings.contains(secret), "{settings}");
    }
}

#[test]
fn blanks_around_the_headers_of_a_collector_are_no_part_of_them() {
    let traces = with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://all.example.com"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=abc, tenant = 1 "),
    ]);
    let headers = traces.unwrap().traces.headers;
    assert_eq!((headers["api-key"].expose(), headers["tenant"].expose()), ("abc", "1"));
}

#[test]
fn what_is_meant_for_traces_alone_goes_before_what_is_meant_for_all_telemetry() {
    let traces = with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://all.example.com/otlp/"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=traces"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=all"),
    ])
    .unwrap()
    .traces;
    assert_eq!(traces.endpoint.unwrap().as_str(), "https://all.example.com/otlp/v1/traces");
    assert_eq!(traces.headers["api-key"].expose(), "traces");
    let whole = "https://traces.example.com/api/traces";
    let traces = with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://all.example.com"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole),
    ]);
    assert_eq!(traces.unwrap().traces.endpoint.unwrap().as_str(), whole, "it is complete");
}

#[test]
fn traces_over_a_protocol_that_we_do_not_speak_are_a_fault() {
    let (protocol, endpoint) =
        (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"));
    assert_eq!(faulty(&[endpoint, protocol]), ["OTEL_EXPORTER_OTLP_PROTOCOL"]);
    assert!(with(&[protocol]).is_ok(), "nothing is sent");
}

#[test]
fn a_variable_set_to_nothing_is_unset() {
    assert_eq!(with(&[("PORT", ""), ("FULL_HOUSE", "")]).unwrap().http.bind.port(), 8080);
    assert_eq!(faulty(&[("OPENAI_API_KEY", "")]), ["OPENAI_API_KEY"]);
}

#[test]
fn the_secret_key_follows_from_the_auth_token() {
    let key = |token| with(&[("TWILIO_AUTH_TOKEN", token)]).unwrap().secret_key;
    assert_eq!(key("one"), key("one"));
    assert_ne!(key("one"), key("two"));
    assert_eq!(key("one").expose().len(), 64);
}

#[test]
fn migrate_wants_a_database_and_nothing_else() {
    let read = |variables: &[(&str, &str)]| {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        MigrateSettings::read(|name| variables.get(name).map(ToString::to_string))
    };
    let (direct, pooled) =
        (("DIRECT_DATABASE_URL", "postgres://direct/a"), ("DATABASE_URL", "postgres://pooled/a"));
    assert_eq!(read(&[direct, pooled]).unwrap().url.expose(), "postgres://direct/a");
    assert_eq!(read(&[direct]).unwrap().url.expose(), "postgres://direct/a");
    assert_eq!(read(&[pooled]).unwrap().url.expose(), "postgres://pooled/a");
    assert_eq!(read(&[]).unwrap_err().iter().count(), 1);
}

#[test]
fn everything_is_kept_for_ever_unless_a_setting_says_how_long() {
    let bookkeeping = Retentions { event_days: Some(365), audit_days: Some(400), ..Retentions::default() };
    assert_eq!(with(&[]).unwrap().retention, bookkeeping);
    let days = [
        ("RETENTION_TRANSCRIPT_DAYS", "30"),
        ("RETENTION_NUMBER_DAYS", "7"),
        ("RETENTION_EVENT_DAYS", "90"),
        ("RETENTION_AUDIT_DAYS", "800"),
    ];
    let kept = Retentions {
        transcript_days: Some(30),
        recording_days: None,
        number_days: Some(7),
        event_days: Some(90),
        audit_days: Some(800),
    };
    assert_eq!(with(&days).unwrap().retention, kept);
    let recordings = ("RETENTION_RECORDING_DAYS", "30");
    assert_eq!(faulty(&[recordings]), ["RETENTION_RECORDING_DAYS"], "they are at Twilio");
    let account = ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001");
    assert_eq!(with(&[recordings, account]).unwrap().retention.recording_days, Some(30));
}

#[test]
fn worker_wants_no_key_of_the_realtime_service_and_has_a_name_of_its_own() {
    let variables =
        HashMap::from([("DATABASE_URL", "postgres://pooled/a"), ("TWILIO_AUTH_TOKEN", "token-of-twilio")]);
    let settings = WorkerSettings::read(|name| variables.get(name).map(ToString::to_string)).unwrap();
    assert!(settings.instance_id.ends_with(":worker"), "{}", settings.instance_id);
    let faults = WorkerSettings::read(|_| None).unwrap_err();
    let names: Vec<_> = faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names, ["DATABASE_URL", "TWILIO_AUTH_TOKEN"]);
}

#[test]
fn what_the_service_is_told_is_known_by_its_place() {
    let places = with_agent_file("name = \"Harbor Clinic\"\n\nvoice = \"cedar\"\n").unwrap().places();
    let place = |name: &str| &places.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(place("voice").ends_with(":3"), "{places:?}");
    assert_eq!(place("model"), "OPENAI_REALTIME_MODEL");
    assert_eq!(place("language"), "AGENT_FILE, `language` (the default)");
}

#[test]
fn the_agent_file_makes_the_persona() {
    let persona = with_agent_file(
        "name = \"Harbor Clinic\"\nvoice = \"cedar\"\nemergency_number = \"112\"\ninstructions = \"\"\"\nBe kind.\n\"\"\"\n",
    )
    .unwrap()
    .agent
    .persona;
    assert_eq!(persona.name, "Harbor Clinic");
    assert_eq!(persona.voice, "cedar");
    assert_eq!(persona.instructions, "Be kind.\n");
    assert!(
        persona.greeting.contains("this is Harbor Clinic, an automated assistant"),
        "{}",
        persona.greeting
    );
    assert!(persona.greeting.contains("dial 112"));
}

#[test]
fn faults_of_the_agent_file_name_their_lines() {
    let faults =
        with_agent_file("name = \"Ada\"\nvoise = \"cedar\"\n\ngreeting = 5\nlanguage = \"de\"\n[tolls]\n")
            .unwrap_err();
    let told: Vec<_> = faults
        .iter()
        .map(|fault| format!("{} {}", fault.name.rsplit_once(':').map_or("", |(_, line)| line), fault.wrong))
        .collect();
    assert_eq!(
        told,
        [
            "2 has the unknown key `voise`",
            "4 has a `greeting` that is not a text",
            "6 has the unknown key `tolls`"
        ]
    );
    let broken = with_agent_file("name = \"Ada\nvoice = \"cedar\"\n").unwrap_err();
    assert!(
        broken.iter().any(|fault| fault.name.ends_with(":1") && fault.wrong.contains("not TOML")),
        "{broken}"
    );
}

#[test]
fn another_language_needs_a_greeting_of_its_own() {
    assert_eq!(with_agent_file("language = \"de\"").unwrap_err().iter().count(), 1);
    let persona = with_agent_file("language = \"de\"\ngreeting = \"Guten Tag\"").unwrap().agent.persona;
    assert_eq!((persona.language.as_str(), persona.greeting.as_str()), ("de", "Guten Tag"));
}

#[test]
fn phrases_are_english_unless_they_are_given_and_none_in_another_language() {
    let phrases = |text| with_agent_file(text).unwrap().agent.persona.phrases;
    let given = phrases("name = \"Ada\"\n[phrases]\nmoment = \"Hold on.\"");
    assert_eq!((given.get(Phrase::Moment), given.get(Phrase::Transfer).is_some()), (Some("Hold on."), true));
    let german = phrases("language = \"de\"\ngreeting = \"Guten Tag\"\n[phrases]\nmoment = \"Moment.\"");
    assert_eq!((german.get(Phrase::Moment), german.get(Phrase::Transfer)), (Some("Moment."), None));
    let faults = with_agent_file("[phrases]\nmoment = 1\nmonent = \"One moment\"").unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.wrong.as_str()).collect();
    assert_eq!(told, ["has a `moment` that is not a text", "has the unknown phrase `monent`"]);
}

#[test]
fn the_metrics_may_have_a_token_and_an_address_of_their_own() {
    let http = with(&[("METRICS_AUTH", "token"), ("METRICS_ADDR", "[::1]:9464")]).unwrap().http;
    assert_eq!(http.metrics_auth, MetricsAuth::Token);
    assert_eq!(http.metrics_addr, Some("[::1]:9464".parse().unwrap()));
    assert_eq!(
        faulty(&[("METRICS_AUTH", "off"), ("METRICS_ADDR", "9464")]),
        ["METRICS_AUTH", "METRICS_ADDR"]
    );
}

#[test]
fn a_certificate_needs_its_key_and_both_files_are_read_at_the_start() {
    let (certificate, key) = (("TLS_CERT_FILE", "/no/such.crt"), ("TLS_KEY_FILE", "/no/such.key"));
    assert_eq!(faulty(&[certificate]), ["TLS_KEY_FILE"]);
    assert_eq!(faulty(&[key]), ["TLS_CERT_FILE"]);
    assert_eq!(faulty(&[certificate, key]), ["TLS_CERT_FILE"], "there is none");
    assert!(with(&[]).unwrap().tls.is_none());
}
