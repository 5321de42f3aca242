//! What a call's actor is told, and what it makes of it.

use actix::{Handler, Message};

use super::conversation::Input;
use super::{CallActor, Millis};
use crate::wire::twilio::frames::Mark;
use crate::wire::twilio::sid::StreamSid;
use crate::wire::twilio::stream::StreamOut;

/// The caller's media stream was accepted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OpenStream {
    pub epoch: u32,
    pub stream_sid: StreamSid,
    pub out: StreamOut,
}

/// Something other than audio came from the caller's stream.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FromCaller {
    pub epoch: u32,
    pub news: CallerNews,
}

/// See [`FromCaller`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerNews {
    MarkPlayed(Mark),
    Digit(char),
    /// No audio comes any more, though the stream is open.
    Inaudible,
    /// It comes again, after so long.
    Audible {
        quiet_ms: Millis,
    },
    /// As loud as speech for a good part of the last second.
    Loud,
    Stopped,
    Lost,
}

/// Nobody opened the promised stream in time.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unclaimed;

/// Twilio says that the call has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OverAtTwilio;

/// The process is going down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ShutDown;

/// An operator gives the caller to a person.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GiveToPerson;

impl Handler<OpenStream> for CallActor {
    type Result = ();

    fn handle(&mut self, opened: OpenStream, ctx: &mut Self::Context) {
        if self.ended.is_some() || self.stream.as_ref().is_some_and(|stream| stream.epoch >= opened.epoch) {
            return opened.out.close();
        }
        self.uplink.stream_opened();
        if let Some(old) = self.stream.replace(opened) {
            self.setup.metrics.stream_reconnects.inc();
            old.out.close();
            self.take(&Input::StreamLost, ctx);
        }
        self.take(&Input::StreamOpened, ctx);
    }
}

impl Handler<FromCaller> for CallActor {
    type Result = ();

    fn handle(&mut self, message: FromCaller, ctx: &mut Self::Context) {
        if self.epoch() != message.epoch {
            return; // an old stream's end, arriving late
        }
        self.take(
            &match message.news {
                CallerNews::MarkPlayed(mark) => Input::Mark(mark),
                CallerNews::Digit(digit) => Input::Digit(digit),
                CallerNews::Inaudible => Input::CallerInaudible,
                CallerNews::Audible { quiet_ms } => Input::CallerAudible { quiet_ms },
                CallerNews::Loud => Input::CallerLoud,
                CallerNews::Stopped => Input::StreamStopped,
                CallerNews::Lost => Input::StreamLost,
            },
            ctx,
        );
    }
}

impl Handler<Unclaimed> for CallActor {
    type Result = ();

    fn handle(&mut self, _: Unclaimed, ctx: &mut Self::Context) {
        self.take(&Input::Unclaimed, ctx);
    }
}

impl Handler<OverAtTwilio> for CallActor {
    type Result = ();

    fn handle(&mut self, _: OverAtTwilio, ctx: &mut Self::Context) {
        self.take(&Input::CallOver, ctx);
    }
}

impl Handler<ShutDown> for CallActor {
    type Result = ();

    fn handle(&mut self, _: ShutDown, ctx: &mut Self::Context) {
        self.take(&Input::Shutdown, ctx);
    }
}

impl Handler<GiveToPerson> for CallActor {
    type Result = ();

    fn handle(&mut self, _: GiveToPerson, ctx: &mut Self::Context) {
        self.take(&Input::ToPerson, ctx);
    }
}
