//! From where on a figure is bad: the one place for alerts and load tests.

/// A figure above `warning` wants a look; above `critical` somebody has to act now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    pub warning: f64,
    pub critical: f64,
}

impl Levels {
    /// A warning above the first, critical above the second.
    pub const fn of(warning: f64, critical: f64) -> Self {
        Self { warning, critical }
    }

    /// Above it is a warning, and never more.
    pub const fn warning(above: f64) -> Self {
        Self::of(above, f64::INFINITY)
    }

    /// Above it is critical at once.
    pub const fn critical(above: f64) -> Self {
        Self::of(above, above)
    }
}

/// Response time P95, in milliseconds.
pub const RESPONSE_MS: Levels = Levels::of(2_000.0, 5_000.0);
/// Requests that were answered with an error of ours, in percent.
pub const ERROR_PERCENT: Levels = Levels::of(1.0, 5.0);
/// The database's pool: connections in use and queries that wait for one, in percent of those allowed. What
/// is not above the second is at least one connection short of all.
pub const POOL_PERCENT: Levels = Levels::of(80.0, 99.9);
/// Resident memory, in percent of what the process may use.
pub const MEMORY_PERCENT: Levels = Levels::of(70.0, 85.0);
/// From a status callback's arrival until it is processed, P95, in milliseconds.
pub const WEBHOOK_DELAY_MS: Levels = Levels::of(5_000.0, 15_000.0);
/// Responses and connects of the Realtime service that fail, in percent.
pub const REALTIME_FAILURE_PERCENT: Levels = Levels::of(1.0, 5.0);
