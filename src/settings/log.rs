//! The log: what is written, and as what.

use tracing_subscriber::EnvFilter;

use super::reader::Reader;
use crate::logging::{LogFormat, LogSettings};

pub(super) fn read(reader: &mut Reader<'_>) -> LogSettings {
    LogSettings {
        filter: reader.parsed("RUST_LOG", "info".into(), "a log filter such as `info,actors=debug`", |v| {
            EnvFilter::try_new(v).is_ok().then(|| v.to_owned())
        }),
        format: reader.parsed("LOG_FORMAT", LogFormat::Text, "`text` or `json`", |v| match v {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }),
    }
}
