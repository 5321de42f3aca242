//! Whether the caller speaks: what the service says of it, held against how loud their side is.

use serde_json::json;

use super::link::Verdict;
use super::{Conversation, Effect, Stream};
use crate::Millis;
use crate::conversation::end::Reason;
use crate::conversation::unnoticed::{Over, Remedy};

/// The service may never say that an utterance ended. It counts as ended after this long without a sign of
/// the voice.
const SPEECH_WITHIN_MS: Millis = 30_000;
/// The same where their voice was loud enough to be noticed, so that its absence says more.
const LOUD_SPEECH_WITHIN_MS: Millis = 10_000;
/// The service says that the caller speaks. After this long without a sign of their voice, they may be
/// waiting instead.
const QUIET_SPEECH_MS: Millis = 5_000;

impl Conversation {
    /// The caller's side was as loud as speech.
    pub(super) fn caller_loud(&mut self, now: Millis) {
        let over = match (self.speaking_since, self.stream) {
            (Some(_), _) => Over::Caller,
            (None, Stream::Open) if self.playback.is_playing() => Over::Agent,
            (None, Stream::Open) => Over::Silence,
            (None, Stream::Awaited | Stream::Lost) => return,
        };
        self.unnoticed.loud(over, now);
        if over == Over::Silence && !self.link.is_ready() {
            self.patience.owe(); // no session hears them, and none may come
        }
    }

    /// The last sign of the voice of a caller who is said to speak.
    fn voice_at(&self) -> Option<Millis> {
        self.speaking_since.map(|since| since.max(self.unnoticed.voice_at().unwrap_or(since)))
    }

    /// How long a caller who is said to speak may have waited instead.
    pub(super) fn quiet_ms(&self, now: Millis) -> Millis {
        self.voice_at().map_or(0, |at| now.saturating_sub(at + QUIET_SPEECH_MS))
    }

    /// Whether the caller is on the line and listens.
    pub(super) fn caller_listens(&self, now: Millis) -> bool {
        let is_quiet = self.voice_at().is_none_or(|at| at + QUIET_SPEECH_MS <= now);
        is_quiet && self.stream == Stream::Open && !self.is_leaving()
    }

    /// When [`caller_listens`](Self::caller_listens) or what the tick makes of the caller's voice changes.
    pub(super) fn voice_deadlines(&self) -> impl Iterator<Item = Millis> {
        let may_wait = self.patience.is_paused() && self.stream == Stream::Open;
        let quiet = self.voice_at().filter(|_| may_wait).map(|at| at + QUIET_SPEECH_MS);
        let speech = self.voice_at().map(|at| at + self.speech_within());
        quiet.into_iter().chain(speech).chain(self.unnoticed.deadline())
    }

    fn speech_within(&self) -> Millis {
        let was_loud = self.unnoticed.loud_at() > self.speaking_since;
        if was_loud { LOUD_SPEECH_WITHIN_MS } else { SPEECH_WITHIN_MS }
    }

    /// Ends an utterance whose end was never told.
    pub(super) fn end_speech(&mut self, now: Millis) {
        let within = self.speech_within();
        if self.voice_at().is_some_and(|at| at + within <= now) {
            self.patience.owe_since(self.quiet_ms(now));
            self.speaking_since = None;
            self.interrupt_at = None;
            self.responses.want();
        }
    }

    /// What is made of speech that the service has not noticed.
    pub(super) fn deaf_verdict(&mut self, now: Millis, effects: &mut Vec<Effect>) -> Option<Verdict> {
        let remedy = self.unnoticed.remedy(now)?;
        let voice_at = self.unnoticed.voice_at().unwrap_or(now);
        self.patience.owe_since(now.saturating_sub(voice_at + QUIET_SPEECH_MS));
        match remedy {
            _ if !self.link.is_ready() => self.responses.want(), // no session to blame
            Remedy::Speak => self.responses.want(),
            Remedy::Replace => return Some(Verdict::Deaf),
            Remedy::GiveUp => {
                effects.push(Effect::WriteEvent { kind: "caller-unheard", data: json!({}) });
                self.hand_over(Reason::RealtimeUnavailable, now, effects);
            }
        }
        None
    }
}
