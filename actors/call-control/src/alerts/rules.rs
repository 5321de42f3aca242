//! The table of rules: what is watched, from where on it is bad, and what to do then.

use super::Millis;
use super::sample::{Figure, Timing};
use crate::policy::thresholds::{self, Levels};

/// What a rule looks at, over its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Watch {
    /// The least that a level was: it has to last. The levels are as these figures have them.
    Level(Figure),
    /// The same in percent of another figure.
    Percent(Figure, Figure),
    /// By how much a count grew.
    Growth(Figure),
    /// How many of a hundred, of what was counted; judged from so many on.
    Share { part: Figure, whole: Figure, least: f64 },
    /// The time that 95 of 100 did not exceed, in milliseconds; judged from so many on.
    P95 { timing: Timing, least: f64 },
}

/// One thing that can be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// A slug that never changes.
    pub name: &'static str,
    pub watch: Watch,
    /// What the value is counted in; empty for a state.
    pub unit: &'static str,
    pub levels: Levels,
    /// How far back it looks.
    pub window: Millis,
    /// It is over at this part of the level that was exceeded, and below.
    pub clear_at: f64,
    /// For how long it must be there.
    pub clear_after: Millis,
    /// What it means, as a sentence.
    pub text: &'static str,
    /// What to do, as a sentence.
    pub remedy: &'static str,
}

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
/// No window is longer.
pub const LONGEST_WINDOW: Millis = 5 * MINUTE;
/// A percentile or a share of fewer requests says nothing.
const LEAST_REQUESTS: f64 = 20.0;
/// A state is 1 or 0.
const IS_SO: f64 = 0.5;

/// A rule with the usual rhythm: a minute's window, over after a minute at nine tenths of the level.
const fn rule(
    name: &'static str,
    watch: Watch,
    unit: &'static str,
    levels: Levels,
    text: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule { name, watch, unit, levels, window: MINUTE, clear_at: 0.9, clear_after: MINUTE, text, remedy }
}

/// Something that is so or not, for some time.
const fn state(
    name: &'static str,
    figure: Figure,
    levels: Levels,
    text: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule { window: 15 * SECOND, ..rule(name, Watch::Level(figure), "", levels, text, remedy) }
}

/// Something that should not happen, in five minutes.
const fn count(
    name: &'static str,
    figure: Figure,
    levels: Levels,
    text: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule { window: LONGEST_WINDOW, ..rule(name, Watch::Growth(figure), "in 5 min", levels, text, remedy) }
}

const MORE_ROOM: &str =
    "Raise `MAX_CONCURRENT_CALLS` if machine and OpenAI account allow it, or start another instance.";
const WARNING: Levels = Levels::warning(IS_SO);
const CRITICAL: Levels = Levels::critical(IS_SO);

/// Every rule there is. A rule keeps its place for as long as the process runs.
pub const RULES: &[Rule] = &[
    rule(
        "api-response-time",
        Watch::P95 { timing: Timing::ApiResponse, least: LEAST_REQUESTS },
        "ms",
        thresholds::RESPONSE_MS,
        "The API answers slowly (P95).",
        "See `switchboard ops slow-queries` and `switchboard ops pool`; pause jobs with `switchboard ops jobs`.",
    ),
    rule(
        "webhook-response-time",
        Watch::P95 { timing: Timing::WebhookResponse, least: LEAST_REQUESTS },
        "ms",
        thresholds::RESPONSE_MS,
        "Twilio's webhooks are answered slowly (P95).",
        "Look at the machine's CPU; see `switchboard ops slow-queries`; pause jobs with `switchboard ops jobs`.",
    ),
    rule(
        "api-errors",
        Watch::Share { part: Figure::ApiErrors, whole: Figure::ApiRequests, least: LEAST_REQUESTS },
        "%",
        thresholds::ERROR_PERCENT,
        "The API answers with errors (5xx).",
        "Read the log; ask `/healthz` for the causes.",
    ),
    rule(
        "webhook-errors",
        Watch::Share { part: Figure::WebhookErrors, whole: Figure::WebhookRequests, least: LEAST_REQUESTS },
        "%",
        thresholds::ERROR_PERCENT,
        "Twilio's webhooks are answered with errors (5xx).",
        "Read the log; ask `/healthz` for the causes. Twilio repeats what failed.",
    ),
    Rule {
        window: 30 * SECOND,
        ..rule(
            "database-pool",
            Watch::Percent(Figure::PoolDemand, Figure::PoolLimit),
            "%",
            thresholds::POOL_PERCENT,
            "The database's connections are nearly used up.",
            "See `switchboard ops idle-transactions` and `switchboard ops slow-queries`; enlarge `switchboard ops pool`.",
        )
    },
    Rule {
        clear_at: 0.95,
        ..rule(
            "memory",
            Watch::Percent(Figure::MemoryUsed, Figure::MemoryLimit),
            "%",
            thresholds::MEMORY_PERCENT,
            "The process uses much of the memory that it may have.",
            "If another instance takes calls, drain this one with `switchboard ops drain`; raise the limit.",
        )
    },
    rule(
        "turn-latency",
        Watch::P95 { timing: Timing::Turn, least: LEAST_REQUESTS },
        "ms",
        Levels::of(2_000.0, 5_000.0),
        "Callers wait long for an answer of the agent (P95).",
        "Look at OpenAI's status page and at the machine's CPU.",
    ),
    rule(
        "ceiling-reached",
        Watch::Percent(Figure::CallsHeld, Figure::CallsLimit),
        "%",
        Levels::warning(99.9),
        "No slot is free: the next caller is turned away.",
        MORE_ROOM,
    ),
    count(
        "callers-turned-away",
        Figure::CallersTurnedAway,
        Levels::of(0.0, 10.0),
        "Callers found no free slot.",
        MORE_ROOM,
    ),
    count(
        "account-without-headroom",
        Figure::CallersWithoutHeadroom,
        Levels::of(0.0, 10.0),
        "Callers were turned away: the account's tokens at OpenAI do not carry another call.",
        "Raise the account's limit of tokens a minute at OpenAI, or choose a smaller model.",
    ),
    Rule {
        window: LONGEST_WINDOW,
        ..rule(
            "calls-failed",
            Watch::Share { part: Figure::CallsFailed, whole: Figure::CallsEnded, least: 5.0 },
            "%",
            Levels::of(5.0, 20.0),
            "Calls end because something failed.",
            "Look at `reason` in the log of calls; ask `/healthz` for the causes.",
        )
    },
    rule(
        "frames-dropped",
        Watch::Share { part: Figure::CallerFramesDropped, whole: Figure::CallerFrames, least: 500.0 },
        "%",
        Levels::of(1.0, 5.0),
        "Parts of what callers say do not reach the Realtime service.",
        "Look at the network to OpenAI and at the machine's CPU.",
    ),
    count(
        "one-way-audio",
        Figure::OneWayAudio,
        Levels::warning(2.0),
        "Nothing is heard of callers whose stream is open.",
        "Look at the network between Twilio and this machine.",
    ),
    Rule {
        window: 30 * SECOND,
        ..rule(
            "spool-pending",
            Watch::Level(Figure::SpoolPending),
            "records",
            Levels::of(1_000.0, 50_000.0),
            "Many records wait on disk for the database.",
            "Repair the database; see `The spool` in docs/operating.md. Watch the free space of the disk.",
        )
    },
    Rule {
        window: 15 * SECOND,
        ..rule(
            "spool-oldest",
            Watch::Level(Figure::SpoolOldestSeconds),
            "s",
            Levels::of(60.0, 900.0),
            "Records have waited on disk for the database for long.",
            "Repair the database; see `switchboard ops status` and `The spool` in docs/operating.md.",
        )
    },
    state(
        "records-set-aside",
        Figure::SpoolAside,
        Levels::warning(0.0),
        "The database refuses records, or this version cannot read them.",
        "See `Records that were set aside` in docs/operating.md.",
    ),
    count(
        "spool-failing",
        Figure::SpoolFailures,
        Levels::critical(0.0),
        "The spool took nothing: its disk is full or fails.",
        "Free space below `SPOOL_DIR`, or repair the disk.",
    ),
    count(
        "records-lost",
        Figure::RecordsLost,
        Levels::critical(0.0),
        "Records were lost: there was no room for them, or the database refuses them for good.",
        "Read the log for the cause; free space below `SPOOL_DIR` and repair the database.",
    ),
    Rule {
        window: 30 * SECOND,
        ..rule(
            "webhook-backlog",
            Watch::Level(Figure::WebhooksPending),
            "callbacks",
            Levels::of(500.0, 5_000.0),
            "Status callbacks wait to be processed.",
            "See `switchboard ops webhooks` and `switchboard ops slow-queries`; start a `switchboard worker`.",
        )
    },
    rule(
        "webhook-delay",
        Watch::P95 { timing: Timing::WebhookDelay, least: LEAST_REQUESTS },
        "ms",
        thresholds::WEBHOOK_DELAY_MS,
        "Status callbacks are processed late (P95).",
        "See `switchboard ops webhooks` and `switchboard ops slow-queries`; start a `switchboard worker`.",
    ),
    state(
        "dead-letters",
        Figure::WebhooksDead,
        Levels::warning(0.0),
        "Status callbacks were given up.",
        "List them with `switchboard ops dead-letters`; repair the cause and use `--retry`.",
    ),
    count(
        "webhooks-not-stored",
        Figure::WebhooksNotStored,
        Levels::of(0.0, 5.0),
        "Status callbacks could be stored neither in the database nor on disk.",
        "Free space below `SPOOL_DIR` and repair the database. Twilio repeats what failed.",
    ),
    count(
        "webhooks-forged",
        Figure::WebhooksForged,
        Levels::warning(20.0),
        "Webhooks are refused for their signature.",
        "Compare `PUBLIC_URL` and `TWILIO_AUTH_TOKEN` with Twilio's console. If they match, somebody forges requests.",
    ),
    count(
        "webhooks-limited",
        Figure::WebhooksLimited,
        Levels::of(0.0, 100.0),
        "Webhooks of Twilio were answered with 429.",
        "Raise `RATE_LIMIT_WEBHOOK`.",
    ),
    rule(
        "realtime-connects-fail",
        Watch::Share {
            part: Figure::RealtimeConnectsFailed,
            whole: Figure::RealtimeConnects,
            least: LEAST_REQUESTS,
        },
        "%",
        thresholds::REALTIME_FAILURE_PERCENT,
        "Sockets to the Realtime service cannot be opened.",
        "Look at the network and at OpenAI's status page.",
    ),
    rule(
        "realtime-responses-fail-often",
        Watch::Share {
            part: Figure::RealtimeResponsesFailed,
            whole: Figure::RealtimeResponses,
            least: LEAST_REQUESTS,
        },
        "%",
        thresholds::REALTIME_FAILURE_PERCENT,
        "Responses of the Realtime service fail.",
        "Look at OpenAI's status page and at the limits of the account.",
    ),
    count(
        "realtime-reconnects",
        Figure::RealtimeReconnects,
        Levels::of(5.0, 40.0),
        "Sessions at the Realtime service are lost and opened again.",
        "Look at the network and at OpenAI's status page.",
    ),
    count(
        "actor-restarts",
        Figure::ActorRestarts,
        Levels::of(0.0, 5.0),
        "Actors panicked and were started again.",
        "Keep the log's lines `an actor panicked`; report them as a bug.",
    ),
    count(
        "jobs-fail",
        Figure::JobFailures,
        Levels::warning(2.0),
        "Background jobs fail.",
        "Read their errors with `switchboard ops jobs`.",
    ),
    state(
        "database-unavailable",
        Figure::DatabaseUnavailable,
        CRITICAL,
        "PostgreSQL does not answer. Calls go on, and records wait on disk.",
        "Repair the database; see `The spool` in docs/operating.md. If its server runs, see `switchboard ops \
         idle-transactions`.",
    ),
    state(
        "database-read-only",
        Figure::DatabaseReadOnly,
        CRITICAL,
        "PostgreSQL takes no writes. Calls go on, and records wait on disk.",
        "Repair the database, or wait for its failover; see `The spool` in docs/operating.md.",
    ),
    state(
        "records-wait",
        Figure::RecordsWait,
        WARNING,
        "The oldest record has waited for 10 s or longer.",
        "See `switchboard ops slow-queries` and `switchboard ops idle-transactions`.",
    ),
    state(
        "realtime-refused",
        Figure::RealtimeRefused,
        CRITICAL,
        "The Realtime service refuses the key, quota, voice or model. Callers reach the human fallback.",
        "Read the log line `the Realtime service fails`: it names the setting.",
    ),
    state(
        "realtime-unreachable",
        Figure::RealtimeUnreachable,
        CRITICAL,
        "The Realtime service cannot be reached. Callers reach the human fallback.",
        "Look at the network and at OpenAI's status page.",
    ),
    state(
        "realtime-responses-fail",
        Figure::RealtimeResponsesFail,
        CRITICAL,
        "Responses of the Realtime service fail, and none has succeeded since.",
        "Look at OpenAI's status page and at the limits of the account.",
    ),
    state(
        "webhooks-refused",
        Figure::WebhooksRefused,
        WARNING,
        "The database refuses the queries that process status callbacks.",
        "Read the log line `webhooks cannot be processed`: a grant or the `search_path` is missing.",
    ),
    state(
        "agent-file-not-used",
        Figure::AgentFileNotUsed,
        WARNING,
        "The agent file has changed and is not used: it is faulty, or refused.",
        "Read the log lines that name `place` or `setting`; see `A new agent` in docs/operating.md.",
    ),
    state(
        "redis-away",
        Figure::RedisAway,
        WARNING,
        "Redis does not answer; this process counts requests by itself.",
        "Read the log line `Redis is away`; see `Redis` in docs/operating.md.",
    ),
    state(
        "certificate-not-used",
        Figure::CertificateNotUsed,
        WARNING,
        "The certificate's files have changed, and the new pair is faulty.",
        "Read the log line that names `setting`.",
    ),
    state(
        "certificate-ends-soon",
        Figure::CertificateEndsSoon,
        WARNING,
        "The certificate has ended, or ends within a week.",
        "Renew it; the files are read again by themselves.",
    ),
];

/// The place of a rule in the table.
pub fn position(name: &str) -> Option<usize> {
    RULES.iter().position(|rule| rule.name == name)
}
