//! AlertActor: judges what the process knows of itself, and tells the person on duty.
//!
//! Started by [`Alerts::start`] under a Supervisor on the arbiter of the caller; ends with [`Alerts::stop`]
//! or its handle. Nothing is sent to this actor: its mailbox stays empty. It reads a sample every
//! [`interval`](AlertSettings::interval), has it judged by the [rules](call_control::alerts), and notes each
//! change on the [board], in the log and in the database.
//!
//! It depends on nothing that it reports on. Telling comes first and has [queues](channel) of its own, 32
//! notices each, of which the oldest that is not critical gives way. A number gets one text message a minute,
//! which sums up what waited. The database is asked whether another instance has told the same, for 3 s at
//! most; without its answer the notice is sent. What cannot be stored waits on the board.
//!
//! [Urgent callers](urgent) go the same ways beside the queues, at once.
//!
//! A panic restarts the actor after a second, however often. The board is its checkpoint: what is open stays
//! open. A new process takes up the open alerts of an earlier one of its name from the database.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use call_control::Millis;
use call_control::alerts::urgent::Waiting;
use call_control::alerts::{
    COOL_DOWN, Change, Readings, Sample, Severity, State, Turn, digest, position, text,
};
use call_control::policy::thresholds::Levels;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::db::{AlertLog, AlertRow, DbError};
use crate::health;
use crate::metrics::{ActorMetrics, MetricSet as _, Registrar};
use crate::secret::Secret;
use crate::supervise::{self, Work, Worker};

mod board;
mod channel;
mod metrics;
pub mod reading;
mod urgent;
mod way;

pub use board::Board;
pub use call_control::alerts::{BadLevels, KEPT, Rule, Watch, is_local, levels_of};
pub use call_control::alerts::{RULES as ALL_RULES, text as texts};
pub use metrics::Metrics;
pub use urgent::{UrgentCalls, UrgentLedger};
pub use way::{Format, Kind, Notice, SendError, Way, is_pagerduty};

use channel::{Channel, Claims};
use metrics::Outcome;

/// How often the rules are judged. Windows and pauses are counted in this: with a shorter interval all of
/// them are shorter.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// So many intervals after an acknowledgement by another process it is known here.
const ACKNOWLEDGED_EVERY: u32 = 3;
/// So many intervals pass between two looks for alerts of instances that are gone.
const GONE_EVERY: u32 = 720;
/// What another instance has told is not told again for this part of the cool-down.
const CLAIMED_FOR: f64 = 14.0 / 15.0;
/// What this instance has told itself is not told again for this part: then the notice reached nobody.
const OWN_CLAIMED_FOR: f64 = 1.0 / 15.0;
/// An ending process stores what it can within this.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// What is judged, and who is told.
#[derive(Clone)]
pub struct AlertSettings {
    /// `ALERT_INTERVAL_MS`.
    pub interval: Duration,
    /// Levels that replace those of a rule, by the position of the rule (`ALERT_THRESHOLDS`).
    pub levels: Vec<(usize, Levels)>,
    /// Who gets a text message (`URGENT_NOTIFICATION_NUMBER`); E.164.
    pub number: Option<String>,
    /// `ALERT_WEBHOOK_URL`.
    pub webhook: Option<Secret>,
    /// `ALERT_PAGERDUTY_KEY`.
    pub pagerduty_key: Option<Secret>,
    /// Where a person sees the inbox: the page below `PUBLIC_URL`.
    pub page: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            interval: INTERVAL,
            levels: Vec::new(),
            number: None,
            webhook: None,
            pagerduty_key: None,
            page: None,
        }
    }
}

/// Says whether there is a number, and not which.
impl fmt::Debug for AlertSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertSettings")
            .field("interval", &self.interval)
            .field("levels", &self.levels)
            .field("has_number", &self.number.is_some())
            .field("webhook", &self.webhook)
            .field("pagerduty_key", &self.pagerduty_key)
            .field("page", &self.page)
            .finish()
    }
}

/// Reads what the process knows now. None: it is not known.
pub type Source = Box<dyn Fn() -> LocalBoxFuture<'static, Option<Sample>>>;

/// The handle: the actor lives as long as it.
pub struct Alerts(Worker);

impl Alerts {
    /// Starts the actor on the current arbiter. Its open alerts are on `board`.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the process, and named by its type")]
    pub fn start(
        settings: &AlertSettings,
        ways: Vec<Way>,
        source: Source,
        log: AlertLog,
        instance: &str,
        board: Board,
        urgent: UrgentCalls,
        metrics: Metrics,
        counts: ActorMetrics,
    ) -> Self {
        let per_tick = settings.interval.as_secs_f64() / INTERVAL.as_secs_f64();
        let cool_down = Duration::from_millis(COOL_DOWN).mul_f64(per_tick);
        let (window, own_window) = (cool_down.mul_f64(CLAIMED_FOR), cool_down.mul_f64(OWN_CLAIMED_FOR));
        let pause = Duration::from_millis(digest::PAUSE).mul_f64(per_tick);
        let desk = Rc::new(Desk {
            claims: Claims { log, window, own_window },
            channels: ways.into_iter().map(|way| Channel::new(way, pause)).collect(),
            readings: RefCell::default(),
            is_slow: Cell::new(false),
            state: RefCell::new(State::new(&settings.levels)),
            settings: settings.clone(),
            instance: instance.to_owned(),
            began: Instant::now(),
            source,
            board,
            urgent,
            waiting: RefCell::default(),
            metrics,
        });
        let work: Work = Box::new(move |stopped| {
            let desk = Rc::clone(&desk);
            async move { desk.work(stopped).await }.boxed_local()
        });
        Self(Worker::start("alerts", work, counts))
    }

    /// Ends the actor. Returns when what it has noted is stored, within 2 s.
    pub async fn stop(self) {
        self.0.stop(STOP_DEADLINE).await;
    }
}

/// Makes the metrics of the alerts.
///
/// # Errors
/// `registry` has them already.
pub fn register(registry: &dyn Registrar) -> prometheus::Result<Metrics> {
    let metrics = Metrics::register(registry)?;
    metrics.show_all();
    Ok(metrics)
}

/// Where alerts are judged, told and stored.
struct Desk {
    settings: AlertSettings,
    instance: String,
    source: Source,
    state: RefCell<State>,
    readings: RefCell<Readings>,
    /// The last reading took longer than its time.
    is_slow: Cell<bool>,
    board: Board,
    /// The urgent callers of this process, until they are taken over.
    urgent: UrgentCalls,
    /// The urgent callers that nobody has marked as done. They outlive a panic.
    waiting: RefCell<Waiting>,
    channels: Vec<Channel>,
    claims: Claims,
    metrics: Metrics,
    began: Instant,
}

impl Desk {
    /// Until it is told to stop.
    async fn work(&self, mut stopped: watch::Receiver<()>) {
        self.begin();
        let (claims, board, metrics) = (&self.claims, &self.board, &self.metrics);
        let became = |notice: &Notice, outcome| self.became(notice, outcome);
        let channels = self.channels.iter().map(|way| way.work(claims, board, metrics, became));
        let channels = join_all(channels);
        tokio::select! {
            () = self.watch() => {}
            () = self.keep() => {}
            () = self.tell_urgent() => {}
            () = self.look_for_urgent() => {}
            _ = async { channels.await; std::future::pending::<()>().await } => {}
            _ = stopped.changed() => drop(self.store().await),
        }
    }

    /// What is open on the board is open for the rules: after a panic they begin anew.
    fn begin(&self) {
        let mut state = State::new(&self.settings.levels);
        self.board.open().iter().for_each(|row| self.restore(&mut state, row));
        *self.state.borrow_mut() = state;
    }

    fn restore(&self, state: &mut State, row: &AlertRow) {
        let Some(position) = position(&row.rule) else { return };
        let severity = Severity::of_word(&row.severity).unwrap_or(Severity::Warning);
        let ago = |at: DateTime<Utc>| self.scaled((Utc::now() - at).to_std().unwrap_or_default());
        let is_acknowledged = row.acknowledged_at.is_some();
        state.restore(position, severity, is_acknowledged, row.notified_at.map(ago), self.now());
    }

    /// The time of the rules: so many milliseconds for each interval, whatever its length.
    fn now(&self) -> Millis {
        self.scaled(self.began.elapsed())
    }

    fn scaled(&self, time: Duration) -> Millis {
        let intervals = time.as_secs_f64() / self.settings.interval.as_secs_f64().max(0.001);
        (intervals * INTERVAL.as_secs_f64() * 1_000.0) as Millis
    }

    /// The time that so many milliseconds of the rules take.
    fn unscaled(&self, time: Millis) -> Duration {
        self.settings.interval.mul_f64(time as f64 / 1_000.0 / INTERVAL.as_secs_f64())
    }

    async fn watch(&self) {
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            supervise::fault_point!("alerts");
            let sample = self.sample().await;
            self.note(sample.as_ref());
            match sample {
                Some(sample) => self.judge(&sample),
                None => self.pass_acknowledgements(),
            }
        }
    }

    /// One that takes longer than its time is waited for all the same: two at once would take longer still.
    async fn sample(&self) -> Option<Sample> {
        let mut sample = (self.source)();
        match timeout(INTERVAL, &mut sample).await {
            Ok(sample) => {
                self.is_slow.set(false);
                sample
            }
            Err(_) => {
                if !self.is_slow.replace(true) {
                    tracing::warn!("what the alerts are judged by is not read in time");
                }
                sample.await
            }
        }
    }

    /// Counts what cannot be judged, and logs when that begins and ends.
    fn note(&self, sample: Option<&Sample>) {
        let lacks = self.readings.borrow_mut().note(sample);
        lacks.missing.iter().for_each(|rule| self.metrics.missing(rule));
        if !lacks.lost.is_empty() {
            let rules = lacks.lost.join(", ");
            tracing::warn!(rules, "what these alerts are judged by cannot be read: they are not judged");
        }
        if !lacks.back.is_empty() {
            let rules = lacks.back.join(", ");
            tracing::info!(rules, "what these alerts are judged by can be read again");
        }
    }

    fn judge(&self, sample: &Sample) {
        self.pass_acknowledgements();
        let changes = self.state.borrow_mut().evaluate(sample, self.now());
        changes.iter().for_each(|change| self.changed(change));
        self.metrics.unstored.set(self.board.unstored().len() as i64);
    }

    fn pass_acknowledgements(&self) {
        for row in self.board.pass_acknowledgements() {
            if let Some(position) = position(&row.rule) {
                self.state.borrow_mut().acknowledge(position);
            }
            let by = row.acknowledged_by.as_deref().unwrap_or_default();
            tracing::info!(rule = row.rule, by, "an alert is acknowledged");
            self.tell(Kind::Acknowledged, false, true, &row, String::new());
        }
    }

    fn changed(&self, change: &Change) {
        let Some(told) = self.board.apply(change, &self.instance, Utc::now()) else { return };
        self.metrics.changed(change.turn);
        let open = (change.turn != Turn::Cleared).then_some(change.severity);
        self.metrics.open(change.rule.name, open);
        log_of(change);
        // Whether a person knows of an alert that is over is seen when its end is to be told.
        if change.is_told || change.turn == Turn::Cleared {
            let Change { rule, turn, severity, value, .. } = change;
            let text = text::notice(rule, *turn, *severity, *value, &self.instance);
            let text = text::with_id(&text, &told.row.id);
            let is_repeat = *turn == Turn::Repeat;
            self.tell(Kind::of(*turn, *severity), is_repeat, told.was_urgent, &told.row, text);
        }
    }

    fn tell(&self, kind: Kind, is_repeat: bool, was_urgent: bool, row: &AlertRow, text: String) {
        for channel in self.channels.iter().filter(|channel| channel.way.takes(kind, was_urgent)) {
            let notice = Notice {
                id: row.id.clone(),
                rule: row.rule.clone(),
                kind,
                is_repeat,
                text: text.clone(),
                value: row.value,
                instance: self.instance.clone(),
                at: Utc::now(),
            };
            if let Some(dropped) = channel.push(notice, &self.metrics) {
                self.became(&dropped, Outcome::Dropped);
            }
        }
    }

    /// What became of a notice by one way. If it reached nobody by any, it is told again: after a minute, or
    /// after five where it may have. An end that nobody was told is none for the next alert.
    fn became(&self, notice: &Notice, outcome: Outcome) {
        if outcome == Outcome::Sent {
            self.board.was_told(&notice.id, Utc::now());
        }
        let Some(position) = position(&notice.rule) else { return };
        let has_reached = self.board.notified_at(&notice.id).is_some_and(|at| at >= notice.at);
        let (mut state, now) = (self.state.borrow_mut(), self.now());
        match (notice.kind, outcome) {
            (Kind::Cleared, Outcome::Sent) => state.end_told(position),
            (Kind::Cleared, Outcome::Unknown) => {}
            (Kind::Bad(severity), Outcome::Sent) => state.told(position, severity, now),
            (Kind::Cleared, _) => state.end_untold(position),
            (Kind::Bad(_), _) if has_reached => {}
            (Kind::Bad(_), Outcome::Unknown) => state.perhaps_told(position, now),
            (Kind::Bad(_), _) => state.untold(position, now),
            (Kind::Acknowledged | Kind::Test, _) => {}
        }
    }

    /// Brings what is on the board into the database, and what others say of it back. Best effort: what
    /// cannot be done now is done after the next interval.
    async fn keep(&self) {
        let (mut is_restored, mut round) = (false, 0_u32);
        loop {
            if let Err(error @ DbError::Refused(_)) = self.keep_once(&mut is_restored, round).await
                && round.is_multiple_of(GONE_EVERY)
            {
                tracing::error!(%error, "alerts cannot be stored");
            }
            round = round.wrapping_add(1);
            sleep(self.settings.interval).await;
        }
    }

    async fn keep_once(&self, is_restored: &mut bool, round: u32) -> Result<(), DbError> {
        if !*is_restored {
            let rows = self.claims.log.open_of(&self.instance).await?;
            for row in rows.into_iter().filter(|row| !self.board.open().iter().any(|open| open.id == row.id))
            {
                if self.board.adopt(row.clone(), Utc::now()) {
                    self.restore(&mut self.state.borrow_mut(), &row);
                    self.metrics.open(&row.rule, Severity::of_word(&row.severity));
                }
            }
            *is_restored = true;
        }
        self.store().await?;
        for (id, who) in self.board.unshared() {
            self.claims.log.acknowledge(&id, &who).await?;
            self.board.shared(&id);
        }
        if round.is_multiple_of(ACKNOWLEDGED_EVERY) {
            let open = self.board.open().into_iter().filter(|row| row.acknowledged_at.is_none());
            let ids: Vec<_> = open.map(|row| row.id).collect();
            if !ids.is_empty() {
                self.board.acknowledged(&self.claims.log.acknowledged(&ids).await?);
            }
        }
        if round.is_multiple_of(GONE_EVERY) {
            self.claims.log.clear_of_gone().await?;
        }
        Ok(())
    }

    async fn store(&self) -> Result<(), DbError> {
        for (row, version) in self.board.unstored() {
            self.claims.log.store(&row).await?;
            self.board.stored(&row.id, version);
        }
        Ok(())
    }
}

/// Says it once, with what helps. What is a cause or a warning of the health, the health says in the log.
fn log_of(change: &Change) {
    let Change { rule, turn, severity, value, .. } = change;
    if health::explain(rule.name).is_some() {
        return tracing::debug!(
            rule = rule.name,
            ?turn,
            severity = severity.as_str(),
            "an alert has changed"
        );
    }
    let (rule, text, remedy, severity) = (rule.name, rule.text, rule.remedy, severity.as_str());
    match (turn, change.severity) {
        (Turn::Raised | Turn::Worsened, Severity::Critical) => {
            tracing::error!(rule, severity, value, text, remedy, "an alert was raised");
        }
        (Turn::Raised | Turn::Worsened, Severity::Warning) => {
            tracing::warn!(rule, severity, value, text, remedy, "an alert was raised");
        }
        (Turn::Eased, _) => tracing::warn!(rule, severity, value, "an alert is less bad"),
        (Turn::Cleared, _) => tracing::info!(rule, severity, value, "an alert is over"),
        (Turn::Repeat, _) => {}
    }
}

#[cfg(test)]
mod tests;
