//! What is known of the process at one moment, in a fixed size.

/// A number that the process has: a level, or a count since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Figure {
    /// Requests to the API.
    ApiRequests,
    /// Those that were answered with 5xx.
    ApiErrors,
    /// Requests of Twilio, without those that were answered with 4xx: anybody can send such.
    WebhookRequests,
    /// Those that were answered with 5xx, or not at all.
    WebhookErrors,
    /// Connections in use and queries that wait for one.
    PoolDemand,
    PoolLimit,
    MemoryUsed,
    MemoryLimit,
    /// Slots that are held.
    CallsHeld,
    CallsLimit,
    /// Calls that found no free slot.
    CallersTurnedAway,
    CallersWithoutHeadroom,
    CallsEnded,
    CallsFailed,
    CallerFrames,
    CallerFramesDropped,
    /// Callers of whom nothing is heard.
    OneWayAudio,
    SpoolPending,
    SpoolOldestSeconds,
    SpoolAside,
    SpoolFailures,
    RecordsLost,
    WebhooksPending,
    WebhooksDead,
    /// Status callbacks that could not be stored.
    WebhooksNotStored,
    WebhooksForged,
    WebhooksLimited,
    RealtimeConnects,
    RealtimeConnectsFailed,
    RealtimeResponses,
    RealtimeResponsesFailed,
    RealtimeReconnects,
    ActorRestarts,
    JobFailures,
    /// What `/healthz` names: 1 or 0.
    DatabaseReadOnly,
    DatabaseUnavailable,
    RecordsWait,
    RealtimeRefused,
    RealtimeUnreachable,
    RealtimeResponsesFail,
    WebhooksRefused,
    AgentFileNotUsed,
    RedisAway,
    CertificateNotUsed,
    CertificateEndsSoon,
}

impl Figure {
    pub const COUNT: usize = Self::CertificateEndsSoon as usize + 1;
}

/// Durations that the process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Timing {
    ApiResponse,
    WebhookResponse,
    Turn,
    WebhookDelay,
}

impl Timing {
    pub const COUNT: usize = Self::WebhookDelay as usize + 1;
}

/// A histogram has no more bounds than this; of a longer one the last are missing.
pub const MOST_BOUNDS: usize = 16;

/// A histogram: how many were not above each bound, in seconds; and how many there are in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buckets {
    bounds: [f64; MOST_BOUNDS],
    counts: [f64; MOST_BOUNDS],
    len: usize,
    all: f64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { bounds: [0.0; MOST_BOUNDS], counts: [0.0; MOST_BOUNDS], len: 0, all: 0.0 }
    }
}

impl Buckets {
    /// Adds a histogram with the same bounds: each with how many were not above it.
    pub fn add(&mut self, buckets: impl IntoIterator<Item = (f64, u64)>, all: u64) {
        let finite = buckets.into_iter().filter(|(bound, _)| bound.is_finite());
        for (index, (bound, count)) in finite.take(MOST_BOUNDS).enumerate() {
            self.bounds[index] = bound;
            self.counts[index] += count as f64;
            self.len = self.len.max(index + 1);
        }
        self.all += all as f64;
    }

    /// How many there are.
    pub fn all(&self) -> f64 {
        self.all
    }

    /// What came since `before`.
    fn since(&self, before: &Self) -> Self {
        let mut grown = *self;
        for (count, before) in grown.counts.iter_mut().zip(&before.counts) {
            *count = (*count - before).max(0.0);
        }
        grown.all = (self.all - before.all).max(0.0);
        grown
    }

    /// What 95 of 100 were not above, as if the values were spread evenly between two bounds. Above the last
    /// bound nothing is known: then it is that bound. None: there were fewer than `least`.
    fn p95(&self, least: f64) -> Option<f64> {
        if self.all < least.max(1.0) {
            return None;
        }
        let rank = self.all * 0.95;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in self.bounds.iter().zip(&self.counts).take(self.len) {
            if *count >= rank {
                let part = if *count > below { (rank - below) / (count - below) } else { 1.0 };
                return Some(lower + (bound - lower) * part.clamp(0.0, 1.0));
            }
            (lower, below) = (*bound, *count);
        }
        (self.len > 0).then_some(lower)
    }

    /// The P95 in milliseconds of what came since `before`.
    pub(super) fn p95_ms_since(&self, before: &Self, least: f64) -> Option<f64> {
        Some(self.since(before).p95(least)? * 1_000.0)
    }
}

/// The process at one moment. What is not known is not a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    figures: [f64; Figure::COUNT],
    timings: [Buckets; Timing::COUNT],
}

impl Default for Sample {
    fn default() -> Self {
        Self { figures: [f64::NAN; Figure::COUNT], timings: [Buckets::default(); Timing::COUNT] }
    }
}

impl Sample {
    pub fn set(&mut self, figure: Figure, value: f64) {
        self.figures[figure as usize] = value;
    }

    /// Adds to what is known so far.
    pub fn add(&mut self, figure: Figure, value: f64) {
        let known = &mut self.figures[figure as usize];
        *known = if known.is_nan() { value } else { *known + value };
    }

    pub fn timing_mut(&mut self, timing: Timing) -> &mut Buckets {
        &mut self.timings[timing as usize]
    }

    pub fn timing(&self, timing: Timing) -> &Buckets {
        &self.timings[timing as usize]
    }

    /// All figures; what is not known is not a number.
    pub(super) fn figures(&self) -> [f64; Figure::COUNT] {
        self.figures
    }

    #[cfg(test)]
    pub(super) fn figures_mut(&mut self) -> &mut [f64; Figure::COUNT] {
        &mut self.figures
    }

    pub fn get(&self, figure: Figure) -> Option<f64> {
        Some(self.figures[figure as usize]).filter(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The P95 in milliseconds of 100 requests, by the bounds that requests are measured with.
    fn p95(within: [u64; 4]) -> f64 {
        let mut buckets = Buckets::default();
        buckets.add([1.0, 2.0, 5.0, 15.0].into_iter().zip(within), 100);
        buckets.p95_ms_since(&Buckets::default(), 20.0).unwrap()
    }

    #[test]
    fn a_p95_lies_between_the_bounds_of_its_bucket() {
        assert_eq!(p95([95, 100, 100, 100]), 1_000.0, "exact at a bound");
        assert_eq!(p95([90, 100, 100, 100]), 1_500.0);
        assert_eq!(p95([0, 95, 100, 100]), 2_000.0);
        assert_eq!(p95([0, 90, 100, 100]), 3_500.0);
        assert_eq!(p95([0, 0, 0, 90]), 15_000.0, "the last bound, of what is above all");
    }
}
