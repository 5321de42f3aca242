//! The log: `tracing`, as text or JSON lines, on standard error. Spans are for the [traces](crate::traces): a line names
//! its call by itself.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::settings::{LogFormat, LogSettings};
use crate::traces::Traces;

/// Starts logging for the whole process. Later calls change nothing.
pub fn start(settings: &LogSettings) {
    start_with(settings, None);
}

/// The same, with traces.
pub fn start_with(settings: &LogSettings, traces: Option<&Traces>) {
    // Without a hint everything that any crate says would be looked at, each time.
    let is_event = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = match settings.format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let log = log.with_filter(EnvFilter::new(&settings.filter).and(is_event));
    let subscriber = tracing_subscriber::registry().with(log);
    let _ = match traces {
        Some(traces) => subscriber.with(traces.layer()).try_init(),
        None => subscriber.try_init(),
    };
}
