//! `sim phone`: the simulated telephone network and its callers, as a program and as a library for tests.
//!
//! A [`Network`] rings the number of a bridge as Twilio does: it asks the voice webhook ([`delivery`] is the
//! plan of such a request, `webhook` its wire), follows the [`twiml`] that comes back (`leg`), opens the
//! media stream (`stream`, [`playback`]) and reports status. A [`Caller`] is the person at the other end of
//! the [`mod@line`]: it speaks, listens ([`ear`]), interrupts, presses keys and hangs up. [`script`] has what
//! each of many callers does, [`report`] what came of it. The [`api`] is Twilio's REST API for these calls,
//! which the [`ledger`] knows.
//!
//! It is strict: what the real network would complain of is a violation, by Twilio's error code where there
//! is one. Every frame a caller says carries a tag, and every frame of a simulated agent is checked by its
//! tag, so loss, reordering, corruption, cross-talk and latency are measured on the audio itself.
//!
//! The latency that a bridge *adds* to a frame is its arrival less its sending, for frames that were not
//! waiting for anything: towards the agent without those of a call's first second, which may wait for the
//! session to be ready; towards the caller without those sent before the stream began, which wait for the
//! caller.
//!
//! Where Twilio's documentation is silent the simulator takes the harder case: a connection that breaks in
//! the middle of an answer is retried under `rp=all` only, and what a lost media socket leads to is an option
//! ([`AfterDrop`]).
//!
//! All calls of a network run on one thread, which must be an actix system. [`reach`] says whom it rings.

use std::future::pending;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use actors::secret::Secret;
use anyhow::Context;
use futures_util::future::{try_join, try_join_all};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::speech::{self, Clip};
use crate::exit_status::{FAILED, FINE, INTERNAL, USAGE};
use crate::sim::arguments::{Origin, loopback_address, seconds, secret};
use progress::Progress;
use span::Span;

pub mod api;
pub mod caller;
pub mod delivery;
pub mod ear;
pub mod ledger;
pub mod line;
pub mod network;
pub mod number;
pub mod playback;
pub mod reach;
pub mod report;
pub mod script;
pub mod signature;
pub mod twiml;

mod bridge;
mod leg;
mod progress;
mod service;
mod span;
mod stream;
mod table;
mod webhook;

#[cfg(test)]
mod tests;

pub use caller::{Caller, Trouble};
pub use ear::Heard;
pub use line::{End, Event};
pub use network::Network;
pub use progress::Glance;
pub use reach::Reach;
pub use report::Outcome;
pub use script::{CallDetail, Verdict};

/// Between two callers who hang up after having been on the line together: faster than they rang, and no
/// storm.
const HANG_UP_EVERY: Duration = Duration::from_millis(5);

/// What to simulate.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The bridge that answers the calls, on this machine or, over https, on a host of your own
    /// (--allow-host)
    #[arg(long, value_name = "ORIGIN", default_value = "http://127.0.0.1:8080", value_parser = Origin::Any)]
    pub url: Url,
    #[command(flatten)]
    pub reach: Reach,
    /// The simulated Realtime service, whose report is read at the end
    #[arg(long, value_name = "ORIGIN", value_parser = Origin::Loopback)]
    pub realtime: Option<Url>,
    /// How many calls; with 0, nobody calls, and --api-listen is served until the program is ended
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub calls: u16,
    /// How long each call lasts
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    pub seconds: Duration,
    /// The time within which the calls start, evenly spread
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub ramp: Duration,
    /// All stay until the last has been on the line for that long, and only this time is measured
    #[arg(skip)]
    pub together: bool,
    /// What webhooks and streams are signed with; without it they are not signed
    #[arg(long, value_name = "TOKEN", env = "TWILIO_AUTH_TOKEN", hide_env_values = true, value_parser = secret)]
    pub auth_token: Option<Secret>,
    /// The time between attempts to deliver a webhook
    #[arg(long = "retry-gap-ms", value_name = "N", default_value = "0", value_parser = millis)]
    pub retry_gap: Duration,
    /// What happens when a media socket dies without the bridge's close
    #[arg(long, value_enum, default_value_t)]
    pub after_drop: AfterDrop,
    /// What the person does whose number is dialled, or who is called by the REST API
    #[arg(long, value_enum, default_value_t)]
    pub person: Person,
    /// What the person at this number does instead, such as `+14155550123=busy`; may be repeated
    #[arg(long, value_name = "NUMBER=WHAT", value_parser = person_at)]
    pub person_at: Vec<(String, Person)>,
    /// Where to be Twilio's REST API for these calls: a loopback address; port 0 is any free one
    #[arg(long, value_name = "ADDR", value_parser = loopback_address)]
    pub api_listen: Option<SocketAddr>,
    /// How many requests to the REST API are refused first, as too many (error 20429)
    #[arg(long = "api-429", value_name = "N", default_value_t = 0)]
    pub api_throttled: u32,
    /// How many POST requests to the REST API are carried out first, but never answered
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub api_unanswered: u32,
    /// How long after a call's end the REST API knows its price
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    pub price_after: Duration,
    /// How long a silence the callers bear who wait for a greeting or an answer
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub patience: Duration,
    /// A call that a person takes, or that leaves a message, was answered
    #[arg(long)]
    pub person_counts: bool,
    /// What the callers say instead of the built-in clips: raw μ-law, 8 kHz
    #[arg(long, value_name = "FILE")]
    pub voice: Option<PathBuf>,
    /// Where to write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

/// What happens to a call whose media socket died without the bridge's close; Twilio does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AfterDrop {
    /// The `action` of the `<Connect>` is requested, or the next verb runs
    #[default]
    Action,
    /// Nothing, until somebody acts
    Nothing,
}

/// What a person does whose telephone rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Person {
    /// Takes the call with the key 1 if there is a whisper, talks for a second, and hangs up
    #[default]
    Answers,
    /// Answers, and presses another key
    Declines,
    /// Answers, and presses no key
    NoKey,
    /// A machine answers: it talks, and presses no key
    Machine,
    /// Lets it ring, for as long as the network does
    NoAnswer,
    /// Speaks to somebody else
    Busy,
}

impl Person {
    /// Whether somebody, or something, answers.
    fn answers(self) -> bool {
        !matches!(self, Self::NoAnswer | Self::Busy)
    }

    /// The key that they press when they are asked for one.
    fn key(self) -> Option<char> {
        match self {
            Self::Answers => Some('1'),
            Self::Declines => Some('2'),
            Self::NoKey | Self::Machine | Self::NoAnswer | Self::Busy => None,
        }
    }
}

impl Options {
    /// What the person at this number does.
    fn person_of(&self, number: &str) -> Person {
        let at_number = self.person_at.iter().rev().find(|(known, _)| known == number);
        at_number.map_or(self.person, |(_, person)| *person)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: Url::parse("http://127.0.0.1:8080").expect("a valid URL"),
            reach: Reach::default(),
            realtime: None,
            calls: 20,
            seconds: Duration::from_secs(60),
            ramp: Duration::from_secs(2),
            together: false,
            auth_token: None,
            retry_gap: Duration::ZERO,
            after_drop: AfterDrop::default(),
            person: Person::default(),
            person_at: Vec::new(),
            api_listen: None,
            api_throttled: 0,
            api_unanswered: 0,
            price_after: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            person_counts: false,
            voice: None,
            json: None,
            quiet: false,
        }
    }
}

/// The command: simulates, prints the table and writes the JSON. The exit status is 0 only if
/// [`Outcome::is_fine`].
pub fn run(options: Options) -> u8 {
    if let Some(path) = &options.voice
        && let Err(error) = speech::from_file(path)
    {
        eprintln!("{}: {error}", path.display());
        return USAGE;
    }
    let json = options.json.clone();
    let system = actix_rt::System::new();
    if options.calls == 0 {
        return system.block_on(serves_api(options));
    }
    let permitted = options.reach.permits(&options.url).map_err(|refusal| refusal.to_string());
    if let Err(why) = permitted.and_then(|()| system.block_on(options.reach.tries_tls(&options.url))) {
        eprintln!("{why}");
        return USAGE;
    }
    let outcome = match system.block_on(simulate(options)) {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("{error:#}");
            return INTERNAL;
        }
    };
    let printed = write!(std::io::stdout().lock(), "{}", table::Table(&outcome)).context("stdout");
    let written = printed.and_then(|()| match &json {
        Some(path) => {
            std::fs::write(path, serde_json::to_vec(&outcome.report)?).context(path.display().to_string())
        }
        None => Ok(()),
    });
    if let Err(error) = written {
        eprintln!("{error:#}");
        return FAILED;
    }
    if outcome.is_fine() { FINE } else { FAILED }
}

/// Nobody calls: the REST API alone, until Ctrl-C.
async fn serves_api(options: Options) -> u8 {
    if options.api_listen.is_none() {
        eprintln!("--calls 0 does nothing without --api-listen");
        return USAGE;
    }
    let net = match Network::start(options) {
        Ok(net) => net,
        Err(error) => {
            eprintln!("{error:#}");
            return USAGE;
        }
    };
    tells_where(&net);
    match tokio::signal::ctrl_c().await {
        Ok(()) => FINE,
        Err(error) => {
            eprintln!("no signals: {error}");
            INTERNAL
        }
    }
}

fn tells_where(net: &Network) {
    if let Some(address) = net.api_addr() {
        eprintln!("the REST API of account {} listens on http://{address}", network::ACCOUNT_SID);
    }
}

/// Makes all the calls and sums up. To be called within an actix system.
///
/// # Errors
/// The bridge may not be rung, a port or a file is not to be had, or the Realtime service gives no report.
/// What goes wrong with calls is no error, it is the outcome.
pub async fn simulate(options: Options) -> anyhow::Result<Outcome> {
    simulate_observed(options, |_| ControlFlow::Continue(())).await
}

/// The same, with an observer who has a [`Glance`] at it every second. When it has seen enough all hang up,
/// nobody rings any more, and the outcome is of what there was until then.
///
/// # Errors
/// As [`simulate`].
pub async fn simulate_observed(
    options: Options,
    observer: impl Fn(Glance) -> ControlFlow<()>,
) -> anyhow::Result<Outcome> {
    let clips = match &options.voice {
        Some(path) => vec![speech::from_file(path).with_context(|| path.display().to_string())?],
        None => speech::CALLER.to_vec(),
    };
    let known = match &options.realtime {
        Some(origin) => Some((origin.clone(), service::state(origin).await?)),
        None => None,
    };
    let net = Network::start(options)?;
    tells_where(&net);
    let (shared, progress) = (net.shared().clone(), Progress::default());
    let Options { calls, seconds, ramp, together, quiet, .. } = shared.options;
    let bridge = bridge::Watch::start(&shared.options).await?;
    let span = Span::start(&shared, &bridge).await;
    let (hang_up, all_hang_up) = watch::channel(false);
    let started = Instant::now();
    let (all_rung, all_until) = (started + ramp, started + ramp + seconds);
    let callers = Callers { net: &net, clips: &clips, progress: &progress, started };
    let all = try_join_all((0..calls).map(|index| callers.call(index, all_hang_up.clone())));
    let measuring = async {
        if together {
            span.narrows(&shared, &bridge, (all_rung, all_until), all_hang_up.clone()).await;
        }
        Ok(())
    };
    let watching = bridge.run(&shared, usize::from(calls));
    let showing = async { if quiet { pending().await } else { progress.show(&shared).await } };
    let observing = async {
        progress.observe(&shared, observer).await;
        hang_up.send_replace(true);
        pending().await
    };
    let (calls, ()) = tokio::select! {
        done = try_join(all, measuring) => done?,
        () = watching => unreachable!("the watch goes on until it is dropped"),
        () = showing => unreachable!("the progress is shown until it is dropped"),
        () = observing => unreachable!("it is pending in the end"),
    };
    let calls: Vec<CallDetail> = calls.into_iter().flatten().collect();
    let spanned = span.finish(&shared, &bridge).await;
    let (cpu_seconds, memory_kib_per_call) = bridge.finish(calls.len()).await;
    let heard_of = match &known {
        Some((origin, known)) => Some(service::report_since(origin, known).await?),
        None => None,
    };
    let measured = report::Measured {
        fallback: shared.fallbacks.get(),
        spanned: &spanned,
        violations: net.violations(),
        cpu_seconds,
        memory_kib_per_call,
        person_counts: shared.options.person_counts,
    };
    Ok(Outcome::of(calls, measured, heard_of))
}

/// The callers of a run.
struct Callers<'a> {
    net: &'a Network,
    clips: &'a [Clip],
    progress: &'a Progress,
    started: Instant,
}

impl Callers<'_> {
    /// The call of one of them, who rings when it is time. None if all hang up before anything is known of
    /// it.
    async fn call(
        &self,
        index: u16,
        mut all_hang_up: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<CallDetail>> {
        let Options { calls, seconds, ramp, together, .. } = self.net.shared().options;
        let (index, calls) = (u32::from(index), u32::from(calls));
        tokio::select! {
            () = sleep_until(self.started + ramp * index / calls) => {}
            _ = all_hang_up.wait_for(|hang_up| *hang_up) => return Ok(None),
        }
        let all_until = self.started + ramp + seconds;
        let until = if together { all_until + HANG_UP_EVERY * index } else { Instant::now() + seconds };
        let call = script::call(self.net, self.clips, until, all_hang_up.clone()).await?;
        if *all_hang_up.borrow() && call.first_audio.is_none() {
            return Ok(None); // nobody knows what would have become of it
        }
        self.progress.counts(&call.verdict);
        Ok(Some(call))
    }
}

/// A fresh identifier: `prefix` and 32 hexadecimal digits.
pub(crate) fn sid(prefix: &str) -> String {
    format!("{prefix}{:032x}", rand::random::<u128>())
}

fn person_at(text: &str) -> Result<(String, Person), String> {
    let (number, what) = text.split_once('=').ok_or("a number, `=`, and what the person there does")?;
    Ok((number.to_owned(), <Person as clap::ValueEnum>::from_str(what, false)?))
}

fn millis(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|error: std::num::ParseIntError| error.to_string())
}
