//! What of a run is measured: all of it, or only the time in which all callers are on the line together.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::bridge::Watch;
use super::line::State;
use super::network::{Inner, histogram};
use super::report::percentiles;
use super::service;
use crate::process_metrics::cpu_seconds;
use crate::sim::report::{Percentiles, RealtimeState};

/// How long after its time to ring the last caller may take to be connected.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// From one moment of a run to another, without the calls' own figures.
#[derive(Debug)]
pub struct Span {
    from: RefCell<Moment>,
    /// None: the end of the run.
    to: RefCell<Option<Moment>>,
}

/// What had come together by then.
#[derive(Debug)]
struct Moment {
    down: Histogram<u64>,
    lag: Histogram<u64>,
    /// Seconds of CPU that this process had used, and when.
    own_cpu: (f64, Instant),
    /// The same of the bridge, if it tells.
    bridge_cpu: Option<(f64, Instant)>,
    realtime: Option<RealtimeState>,
}

/// What came together in a span.
#[derive(Debug)]
pub struct Spanned {
    /// Microseconds; see [`Inner`].
    pub down: Histogram<u64>,
    pub lag: Histogram<u64>,
    /// How late the simulated Realtime service was.
    pub realtime_lag_ms: Percentiles,
    /// Processors that were busy with it, on average: with this process, and with the bridge's.
    pub own_cores: Option<f64>,
    pub bridge_cores: Option<f64>,
}

impl Span {
    /// From now on.
    pub async fn start(net: &Inner, bridge: &Watch) -> Self {
        Self { from: RefCell::new(Moment::now(net, bridge).await), to: RefCell::new(None) }
    }

    /// Makes it the time in which all are on the line together: from when everybody who has rung by `rung` is
    /// connected, to `end`. If all have to hang up before, it ends there.
    pub async fn narrows(
        &self,
        net: &Inner,
        bridge: &Watch,
        (rung, end): (Instant, Instant),
        mut all_hang_up: watch::Receiver<bool>,
    ) {
        tokio::select! {
            () = all_connected(net, rung) => {
                net.ledger.lines().iter().for_each(|line| line.with(|state| state.counts_anew(Instant::now())));
                let now = Moment::now(net, bridge).await;
                self.from.replace(now);
            }
            _ = all_hang_up.wait_for(|hang_up| *hang_up) => {}
        }
        tokio::select! {
            () = sleep_until(end) => {}
            _ = all_hang_up.wait_for(|hang_up| *hang_up) => {}
        }
        net.ledger.lines().iter().for_each(|line| line.with(State::counts_no_more));
        let now = Moment::now(net, bridge).await;
        self.to.replace(Some(now));
    }

    /// What came together in it; if it is open, up to now.
    pub async fn finish(self, net: &Inner, bridge: &Watch) -> Spanned {
        let from = self.from.into_inner();
        let to = match self.to.into_inner() {
            Some(to) => to,
            None => Moment::now(net, bridge).await,
        };
        let late = from.realtime.zip(to.realtime).map(|(from, to)| more(&late(&from), &late(&to)));
        let cores = |(cpu, since): (f64, Instant), (after, at): (f64, Instant)| {
            let seconds = (at - since).as_secs_f64();
            (seconds > 0.0 && after >= cpu).then(|| (after - cpu) / seconds)
        };
        Spanned {
            down: more(&from.down, &to.down),
            lag: more(&from.lag, &to.lag),
            realtime_lag_ms: late.as_ref().map_or_else(Percentiles::default, percentiles),
            own_cores: cores(from.own_cpu, to.own_cpu),
            bridge_cores: from.bridge_cpu.zip(to.bridge_cpu).and_then(|(from, to)| cores(from, to)),
        }
    }
}

impl Moment {
    /// What is known here is of the very moment; the others are asked then.
    async fn now(net: &Inner, bridge: &Watch) -> Self {
        let (down, lag) = (net.latencies.borrow().clone(), net.lag.borrow().clone());
        let own_cpu = (cpu_seconds(), Instant::now());
        let realtime = async { service::state(net.options.realtime.as_ref()?).await.ok() };
        let bridge = async { Some((bridge.cpu_seconds().await?, Instant::now())) };
        let (realtime, bridge_cpu) = join(realtime, bridge).await;
        Self { down, lag, own_cpu, bridge_cpu, realtime }
    }
}

async fn all_connected(net: &Inner, rung: Instant) {
    sleep_until(rung).await;
    let deadline = rung + CONNECTED_WITHIN;
    let is_settled = |state: &mut State| state.connected_at.is_some() || state.end.is_some();
    while Instant::now() < deadline && !net.ledger.lines().iter().all(|line| line.with(is_settled)) {
        sleep(LOOKS_EVERY).await;
    }
}

/// What a histogram has more than it had; all of it if its service was started anew.
fn more(before: &Histogram<u64>, after: &Histogram<u64>) -> Histogram<u64> {
    let mut more = after.clone();
    if more.subtract(before).is_err() {
        return after.clone();
    }
    more
}

fn late(state: &RealtimeState) -> Histogram<u64> {
    let mut late = histogram();
    state.late.iter().for_each(|(micros, count)| late.saturating_record_n(*micros, *count));
    late
}
