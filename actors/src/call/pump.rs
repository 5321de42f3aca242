//! The pump of a media stream: it reads the caller's socket on the worker that took it, passes audio straight
//! to the Realtime socket, and gives everything else to the call's actor. It outlives a restart of the actor,
//! and ends when the socket does or the call's slot is released.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::Span;

use super::loudness::Loudness;
use super::slot::{Claimed, NotClaimed, SlotKeeper};
use super::{CallActor, CallerNews, FromCaller, OpenStream};
use crate::ask::ask;
use crate::metrics::{ActorMetrics, Counted, Metrics};
use crate::supervise::fault_point;
use crate::wire::realtime::holes::PAUSE_MS;
use crate::wire::twilio::frames::{Inbound, Mark, Start};
use crate::wire::twilio::sid::CallSid;
use crate::wire::twilio::stream::{StreamFault, StreamIn, StreamOut};
use crate::wire::twilio::token::{TOKEN_PARAMETER, TokenKey};

/// From the upgrade to the `start` message.
const START_WITHIN: Duration = Duration::from_secs(5);
/// A pause is looked after when it is so long, and then every third of it.
const QUIET_AFTER: Duration = Duration::from_millis(PAUSE_MS);
/// After this pause the caller cannot be heard, which is noted. Nothing else is done about it: it may be that
/// only one direction fails, and the call goes on when frames come again.
const INAUDIBLE_AFTER: Duration = Duration::from_secs(3);
/// A peer that sends nothing is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A peer that says nothing at all for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// The registry has some seconds for each.
const TELL_TRIES: u32 = 3;
/// For the call's actor to take a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// The actor is waited for after so many messages in a row: half of its mailbox.
const WAITED_FOR: u32 = 32;

/// What the pump of every stream needs.
#[derive(Clone)]
pub struct Pump {
    pub keeper: Arc<dyn SlotKeeper>,
    pub tokens: TokenKey,
    pub metrics: Metrics,
}

/// A stream that has got its call.
struct Line {
    call_sid: CallSid,
    epoch: u32,
    claimed: Claimed,
    start: Start,
    /// Of the call's actor.
    counts: ActorMetrics,
    /// The stream's, which is never entered: the audio path goes without.
    span: Span,
}

/// When the caller's side of a stream was heard.
struct Ear {
    /// Anything, a mark for example.
    heard_at: Instant,
    audio_at: Instant,
    inaudible: bool,
    loudness: Loudness,
    /// Messages that the call's actor was given in a row without waiting for it.
    handed_over: u32,
}

/// What a message of the stream was.
enum Passed {
    /// `loud`: it makes a loud second.
    Audio {
        loud: bool,
    },
    Other,
    /// The last one.
    End(CallerNews),
}

impl Pump {
    /// Serves one media stream from its upgrade to its end.
    pub async fn run(self, mut stream: StreamIn, out: StreamOut) {
        let _lives = Counted::one_of(&self.metrics.actors_live.with_label_values(&["pump"]));
        match timeout(START_WITHIN, self.open(&mut stream)).await {
            Ok(Ok(Some(line))) => self.serve(&mut stream, &line, &out).await,
            Ok(Ok(None)) => tracing::info!("a media stream ended before it started"),
            Ok(Err(fault)) => self.refuse(fault, None, &out),
            Err(_) => self.refuse(StreamFault::NoStart, None, &out),
        }
        out.close();
        stream.drain().await;
    }

    /// Serves a stream that has got its call. However it ends, a panic included, the call and the registry
    /// are told.
    async fn serve(&self, stream: &mut StreamIn, line: &Line, out: &StreamOut) {
        let opened = OpenStream { epoch: line.epoch, stream_sid: line.start.stream_sid, out: out.clone() };
        let served = async {
            if !send(line, opened).await {
                return Ok(CallerNews::Lost);
            }
            tracing::info!(
                parent: &line.span, call.sid = %line.call_sid, epoch = i64::from(line.epoch), "the media stream is open"
            );
            match self.pass(stream, line, out).await {
                Ok(CallerNews::Lost) if out.is_overflown() => Err(StreamFault::Overflow),
                passed => passed,
            }
        };
        let news = match AssertUnwindSafe(served).catch_unwind().await {
            Ok(Ok(news)) => news,
            Ok(Err(fault)) => {
                self.refuse(fault, Some(line), out);
                CallerNews::Lost
            }
            Err(_) => {
                tracing::error!(
                    parent: &line.span, call.sid = %line.call_sid, "the pump of a media stream panicked"
                );
                self.metrics.panics.with_label_values(&["pump"]).inc();
                CallerNews::Lost
            }
        };
        out.close();
        self.finish(line, news).await;
    }

    /// Waits for `start` and claims the call's slot with its token.
    async fn open(&self, stream: &mut StreamIn) -> Result<Option<Line>, StreamFault> {
        loop {
            let Some(text) = stream.next().await.transpose()? else { return Ok(None) };
            match Inbound::parse(text).map_err(|_| StreamFault::Malformed)? {
                Inbound::Start(start) => return self.claim(*start).await.map(Some),
                Inbound::Connected | Inbound::Unknown => {}
                _ => return Err(StreamFault::OutOfPlace),
            }
        }
    }

    async fn claim(&self, start: Start) -> Result<Line, StreamFault> {
        let token = start.custom_parameters.get(TOKEN_PARAMETER).ok_or(StreamFault::BadToken)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let call_sid = start.call_sid;
        let epoch = self.tokens.check(token, call_sid, now).map_err(|_| StreamFault::BadToken)?;
        match self.keeper.claim(call_sid, epoch).await {
            Ok(Ok(claimed)) => {
                let span =
                    tracing::info_span!(parent: &claimed.span, "media stream", epoch = i64::from(epoch));
                let counts = self.metrics.of_actor("call");
                Ok(Line { call_sid, epoch, claimed, start, counts, span })
            }
            Ok(Err(NotClaimed::WrongEpoch)) => Err(StreamFault::BadToken),
            Ok(Err(NotClaimed::NoSlot)) | Err(_) => Err(StreamFault::NoSlot),
        }
    }

    /// Passes what the caller sends until the stream ends; answers how it did.
    async fn pass(
        &self,
        stream: &mut StreamIn,
        line: &Line,
        out: &StreamOut,
    ) -> Result<CallerNews, StreamFault> {
        let now = Instant::now();
        let mut ear = Ear {
            heard_at: now,
            audio_at: now,
            inaudible: false,
            loudness: Loudness::default(),
            handed_over: 0,
        };
        let mut pinged_at = now;
        let watch = tokio::time::sleep(QUIET_AFTER);
        tokio::pin!(watch);
        loop {
            let text = tokio::select! {
                biased;
                text = stream.next() => text,
                () = &mut watch => {
                    let gone = ear.heard_at.elapsed() >= GONE_AFTER;
                    if gone || out.is_closed() || line.claimed.call.upgrade().is_none() {
                        return Ok(CallerNews::Lost);
                    }
                    let quiet = self.listen(&mut ear, line).await;
                    if pinged_at.elapsed() >= PING_EVERY {
                        out.ping();
                        pinged_at = Instant::now();
                    }
                    watch.as_mut().reset(Instant::now() + QUIET_AFTER.saturating_sub(quiet).max(QUIET_AFTER / 3));
                    continue;
                }
            };
            let Some(text) = text.transpose()? else { return Ok(CallerNews::Lost) };
            ear.heard_at = Instant::now();
            match self.message(text, line, &mut ear).await? {
                Passed::Audio { loud } => self.heard(&mut ear, loud, line).await,
                Passed::Other => {}
                Passed::End(news) => return Ok(news),
            }
        }
    }

    /// Does what a pause in the caller's audio asks for; answers how long it is.
    async fn listen(&self, ear: &mut Ear, line: &Line) -> Duration {
        let quiet = ear.audio_at.elapsed();
        line.claimed.uplink.quiet(quiet);
        if quiet >= INAUDIBLE_AFTER && !ear.inaudible {
            ear.inaudible = true;
            self.metrics.one_way_audio.inc();
            tell(line, CallerNews::Inaudible).await;
        }
        quiet
    }

    /// A frame has come; `loud`: it makes a loud second.
    async fn heard(&self, ear: &mut Ear, loud: bool, line: &Line) {
        if loud {
            tell(line, CallerNews::Loud).await;
        }
        if std::mem::take(&mut ear.inaudible) {
            let quiet_ms = (ear.heard_at - ear.audio_at).as_millis() as u64;
            tell(line, CallerNews::Audible { quiet_ms }).await;
        }
        ear.audio_at = ear.heard_at;
    }

    /// Passes on one message of an open stream.
    async fn message(&self, text: &[u8], line: &Line, ear: &mut Ear) -> Result<Passed, StreamFault> {
        let news = match Inbound::parse(text).map_err(|_| StreamFault::Malformed)? {
            Inbound::Media(media) if *media.stream_sid == *line.start.stream_sid.as_str().as_bytes() => {
                line.claimed.uplink.audio(media.timestamp_ms, &media.payload);
                return Ok(Passed::Audio { loud: ear.loudness.hear(&media.payload) });
            }
            Inbound::Stop => return Ok(Passed::End(CallerNews::Stopped)),
            Inbound::Mark { name } => match Mark::parse(&name) {
                Some(mark) => CallerNews::MarkPlayed(mark),
                None => return Ok(Passed::Other),
            },
            Inbound::Dtmf { digit } => CallerNews::Digit(digit),
            Inbound::Unknown => return Ok(Passed::Other),
            Inbound::Media(_) | Inbound::Connected | Inbound::Start(_) => {
                return Err(StreamFault::OutOfPlace);
            }
        };
        fault_point!("pump");
        // A sender that is made for each message is never refused: the mailbox does not bound them.
        ear.handed_over = (ear.handed_over + 1) % WAITED_FOR;
        if ear.handed_over == 0 {
            tell(line, news).await;
        } else {
            hand_over(line, news);
        }
        Ok(Passed::Other)
    }

    async fn finish(&self, line: &Line, news: CallerNews) {
        tracing::info!(
            parent: &line.span, call.sid = %line.call_sid, epoch = i64::from(line.epoch), ?news,
            "the media stream has ended"
        );
        tell(line, news).await;
        // Also after a `stop`: should the actor not have taken it, the slot is free in a while all the same.
        for _ in 0..TELL_TRIES {
            if self.keeper.stream_lost(line.call_sid, line.epoch).await.is_ok() {
                line.claimed.claim.is_told();
                return;
            }
        }
        tracing::error!(
            parent: &line.span, call.sid = %line.call_sid, "the registry was not told of a stream's end"
        );
    }

    fn refuse(&self, fault: StreamFault, line: Option<&Line>, out: &StreamOut) {
        let code = u16::from(fault.close_code());
        let span = line.map_or_else(Span::none, |line| line.span.clone());
        let call_sid = line.map(|line| tracing::field::display(line.call_sid));
        tracing::warn!(parent: &span, call.sid = call_sid, code, cause = %fault, "a media stream was closed");
        self.metrics.stream_faults.with_label_values(&[fault.label()]).inc();
        out.refuse(fault);
    }
}

/// Gives the call's actor what came of the caller, without waiting for it to be dealt with: marks come as
/// often as audio.
fn hand_over(line: &Line, news: CallerNews) {
    if let Some(call) = line.claimed.call.upgrade() {
        call.do_send(FromCaller { epoch: line.epoch, news });
    }
}

/// Tells the call's actor what came of the caller, and waits until it is dealt with.
async fn tell(line: &Line, news: CallerNews) {
    send(line, FromCaller { epoch: line.epoch, news }).await;
}

/// Gives the call's actor a message, waiting while its mailbox is full; false if the call is over.
async fn send<M>(line: &Line, message: M) -> bool
where
    M: actix::Message<Result = ()> + Send + 'static,
    CallActor: actix::Handler<M>,
{
    let Some(call) = line.claimed.call.upgrade() else { return false };
    let _waits = line.counts.waits();
    ask(&call, message, TAKEN_WITHIN).await.is_some()
}
