//! The log: `tracing`, as text or JSON lines, on standard error. Spans are for the [traces](crate::traces): a
//! line names its call by itself.
//!
//! Nobody who logs, panics or ends waits for the reader of standard error: lines go through a [buffer], and
//! lines that repeat are [limited](repeats).

mod buffer;
pub(crate) mod level;
mod repeats;
#[cfg(test)]
mod tests;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Display, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, Once};
use std::thread;
use std::time::{Duration, Instant};

use actors::metrics::{MetricSet as _, Registrar};
use actors::supervise;
use prometheus::{IntCounter, IntCounterVec};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, reload};

use self::buffer::Buffer;
use self::repeats::{LeftOut, Repeats, Verdict};
use crate::traces::Traces;

/// Lines that wait for standard error take up to this many bytes.
const BUFFERED: usize = 1 << 20;
/// How often it is looked whether lines were left out.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the end of the process waits for its last lines.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(2);
/// A warning or an error at one place in the code, within [`repeats::WINDOW`].
const WARNINGS: u32 = 100;
/// The same of what is no trouble, such as a line for each call.
const NOTES: u32 = 1_000;

#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Directives as `tracing` reads them (`RUST_LOG`).
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

static BUFFER: Buffer = Buffer::new(BUFFERED);
static LINES: LazyLock<Repeats<Identifier>> = LazyLock::new(Repeats::new);
static PANICS: LazyLock<Repeats<String>> = LazyLock::new(Repeats::new);
static MISSING: LazyLock<Missing> = LazyLock::new(Missing::new);

actors::metrics! {
    struct LogMetrics {
        /// Lines missing in the log: `full` buffer, `refused` by standard error, or `repeated` too often.
        missing: IntCounterVec = "switchboard_log_lines_dropped_total"
            ["reason" = &["full", "refused", "repeated"]];
    }
}

/// Lines that are not in the log, by reason.
struct Missing {
    metrics: LogMetrics,
    full: IntCounter,
    refused: IntCounter,
    repeated: IntCounter,
}

impl Missing {
    fn new() -> Self {
        let metrics = LogMetrics::build().expect("the name and the label are valid");
        let of = |reason| metrics.missing.with_label_values(&[reason]);
        Self { full: of("full"), refused: of("refused"), repeated: of("repeated"), metrics }
    }
}

/// Tells as a metric how many lines are missing in the log.
///
/// # Errors
/// The registry has it already.
pub fn register(metrics: &dyn Registrar) -> prometheus::Result<()> {
    metrics.register(Box::new(MISSING.metrics.clone()))
}

/// Starts logging for the whole process. Later calls change nothing.
pub fn start(settings: &LogSettings) {
    start_with(settings, None);
}

/// The same, with traces.
pub fn start_with(settings: &LogSettings, traces: Option<&Traces>) {
    // Without a hint everything that any crate says would be looked at, each time.
    let is_event = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let log =
        tracing_subscriber::fmt::layer().with_writer(|| &BUFFER).with_ansi(std::io::stderr().is_terminal());
    let log = match settings.format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&settings.filter));
    let log = FirstOfEachPlace(log).with_filter(filter.and(is_event));
    let subscriber = tracing_subscriber::registry().with(log);
    let started = match traces {
        Some(traces) => subscriber.with(traces.layer()).try_init(),
        None => subscriber.try_init(),
    };
    if started.is_ok() {
        level::begin(handle, &settings.filter);
    }
    start_writer();
    std::panic::set_hook(Box::new(panicked));
}

/// Says what is no line of the log, such as why the process ends, after the lines that are there already.
pub fn say(words: impl Display) {
    start_writer();
    let _ = (&BUFFER).write_all(format!("{words}\n").as_bytes());
}

/// Whoever has it waits at its drop for the last lines, but not for long.
#[must_use]
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        tell_left_out(Instant::now(), true);
        BUFFER.flush(LAST_LINES_WITHIN);
    }
}

fn start_writer() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let writer = thread::Builder::new().name("log".into()).spawn(write_for_ever);
        // A process that cannot have one thread at its start does not come up anyhow.
        writer.expect("the log has a thread");
    });
}

fn write_for_ever() {
    let mut output = std::io::stderr();
    loop {
        let batch = BUFFER.next(TELL_EVERY);
        if batch.dropped > 0 {
            tracing::warn!(lines = batch.dropped, "lines are missing in the log: nobody took them in time");
        }
        tell_left_out(Instant::now(), false);
        let refused = buffer::write(&mut output, &batch.lines);
        MISSING.refused.inc_by(refused);
        BUFFER.written(refused);
    }
}

/// Tells of lines that were left out because they repeat.
fn tell_left_out(now: Instant, at_the_end: bool) {
    for LeftOut { lines, example, .. } in LINES.overdue(now, at_the_end) {
        tracing::warn!(lines, like = example, "{lines} more like this were left out of the log");
    }
    for LeftOut { lines, example, .. } in PANICS.overdue(now, at_the_end) {
        tracing::error!(
            panics = lines,
            like = example,
            "{lines} more panics like this were left out of the log"
        );
    }
}

/// In place of the hook that writes to standard error directly.
fn panicked(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else { return };
    let message = supervise::message(info.payload());
    let place = location.to_string();
    let verdict = PANICS.count(place.clone(), WARNINGS, Instant::now());
    if verdict == Verdict::FirstLeftOut {
        PANICS.illustrate(&place, message.clone());
    }
    if verdict != Verdict::Written {
        return MISSING.repeated.inc();
    }
    let thread = thread::current();
    let mut words =
        format!("thread '{}' panicked at {place}:\n{message}", thread.name().unwrap_or("<unnamed>"));
    let backtrace = Backtrace::capture(); // empty unless `RUST_BACKTRACE` asks for it
    if backtrace.status() == BacktraceStatus::Captured {
        let _ = write!(words, "\nstack backtrace:\n{backtrace}");
    }
    say(words);
}

/// Gives a layer only the first events of each place in the code, and counts the rest. The layer heeds events
/// alone. (A filter of events would be shorter, but its refusals stick to their thread.)
struct FirstOfEachPlace<L>(L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for FirstOfEachPlace<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_written(event) {
            self.0.on_event(event, context);
        }
    }
}

fn is_written(event: &Event<'_>) -> bool {
    let metadata = event.metadata();
    let allowed = if *metadata.level() <= Level::WARN { WARNINGS } else { NOTES };
    let place = metadata.callsite();
    let verdict = LINES.count(place.clone(), allowed, Instant::now());
    if verdict == Verdict::FirstLeftOut {
        LINES.illustrate(&place, Message::of(event).0);
    }
    if verdict != Verdict::Written {
        MISSING.repeated.inc();
    }
    verdict == Verdict::Written
}

/// What an event says, without its fields.
struct Message(String);

impl Message {
    fn of(event: &Event<'_>) -> Self {
        let mut message = Self(String::new());
        event.record(&mut message);
        message
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
