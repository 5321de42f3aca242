//! The TwiML that tells Twilio what was decided, with the sentences that a caller hears without the agent:
//! all lines are busy, a person is rung, please leave a message.

use url::Url;

use super::person::Meets;
use super::person::attempt::{Attempt, Way};
use super::person::seal::Seal;
use crate::policy::sentences::Sentences;
use crate::twilio::token::TOKEN_PARAMETER;
use crate::twilio::twiml::{Conference, ConnectStream, DELIVERY_FRAGMENT, Dial, Gather, Record, Twiml};

const FULL_HOUSE: &str = "Thank you for calling. All our lines are busy at the moment. Please call again in a few minutes. Goodbye.";
/// The pause before a caller asks again who is to meet another instance.
const ASK_AGAIN_SECONDS: u32 = 1;
const LONGEST_MESSAGE_SECONDS: u32 = 120;
/// A silence of this length ends a message.
const END_OF_MESSAGE_SECONDS: u32 = 5;
/// How long a person may think before they press a key.
const KEY_SECONDS: u32 = 10;
/// How long a caller's key is waited for behind a piece of music.
const KEY_AFTER_MUSIC_SECONDS: u32 = 1;
/// Each so many pieces of music, a caller hears news.
const NEWS_EVERY: u32 = 4;
/// The pause before a person who has pressed the key is connected once more.
const PUT_OFF_SECONDS: u32 = 1;
/// How long the person waits in the conference before they are told that the caller is gone.
const CALLER_COMES_SECONDS: u32 = 5;

/// The query parameter by which the URL of `after-stream` names its stream.
pub const EPOCH: &str = "epoch";
/// The path of the music that callers hear who wait.
pub const HOLD_MUSIC: &str = "/hold-music.wav";
/// The query parameter that holds a sealed [`Attempt`].
pub const TRANSFER: &str = "transfer";

/// The URLs that we hand out, without fragment, and the documents that name them.
#[derive(Debug)]
pub struct Documents {
    incoming: String,
    after_stream: Url,
    stream: String,
    stream_status: String,
    transfer_done: Url,
    queue_wait: Url,
    whisper: Url,
    hold_music: String,
    conference_events: String,
    voicemail: String,
    recording_status: String,
    seal: Seal,
}

/// What a caller who begins to wait is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The first person is called.
    Called,
    /// Another one is called.
    NextCalled,
    /// Nothing has changed.
    Still,
}

impl Documents {
    /// `public_url` is the origin that Twilio sees; its scheme decides the stream's.
    pub fn at(public_url: &Url, seal: Seal) -> Self {
        let origin = public_url.origin().ascii_serialization();
        let websocket = origin.replacen("http", "ws", 1);
        let door = |name| format!("{origin}/api/voice/{name}");
        let asked = |name| {
            let mut url = public_url.clone();
            url.set_path(&format!("/api/voice/{name}"));
            url
        };
        Self {
            incoming: door("incoming"),
            after_stream: asked("after-stream"),
            stream: format!("{websocket}/api/voice/stream"),
            stream_status: door("stream-status"),
            transfer_done: asked("transfer-done"),
            queue_wait: asked("queue-wait"),
            whisper: asked("whisper"),
            hold_music: format!("{origin}{HOLD_MUSIC}"),
            conference_events: door("conference-events"),
            voicemail: door("voicemail"),
            recording_status: door("recording-status"),
            seal,
        }
    }

    /// Reads the attempt of a request; none if the text is none that we have made.
    pub fn attempt(&self, sealed: &str) -> Option<Attempt> {
        self.seal.open(sealed)
    }

    pub fn incoming(&self) -> &str {
        &self.incoming
    }

    /// The action URL of the stream of this epoch. The URL names the epoch. So a process without its database
    /// knows the last stream of the call.
    pub fn after_stream(&self, epoch: Option<u32>) -> Url {
        let mut url = self.after_stream.clone();
        if let Some(epoch) = epoch {
            url.query_pairs_mut().append_pair(EPOCH, &epoch.to_string());
        }
        url
    }

    /// The same for a request that goes to Twilio by REST: Twilio retries the URL as it does our webhooks.
    pub fn after_stream_by_rest(&self, epoch: u32) -> Url {
        let mut url = self.after_stream(Some(epoch));
        url.set_fragment(Some(&DELIVERY_FRAGMENT[1..]));
        url
    }

    /// The media stream of `epoch`, which shows `token`.
    pub fn connect(&self, epoch: u32, token: &str) -> Twiml {
        Twiml::new().connect_stream(ConnectStream {
            action: self.after_stream(Some(epoch)).as_str(),
            stream_url: &self.stream,
            status_callback: &self.stream_status,
            parameters: &[(TOKEN_PARAMETER, token)],
        })
    }

    /// What the caller meets besides a person.
    pub fn meets(&self, meets: Meets, sentences: &Sentences) -> Twiml {
        let farewell = |text| Twiml::new().say_in(sentences.voice, text).hangup();
        match meets {
            Meets::VoicemailBox => self.voicemail_box(sentences),
            Meets::Farewell => farewell(sentences.thank_you_for_calling),
            Meets::Thanks => farewell(sentences.thank_you_for_the_message),
            Meets::NoMessage => farewell(sentences.no_message),
            Meets::Nothing => Twiml::new(),
        }
    }

    /// The caller hears how the person is rung.
    pub fn dials(&self, attempt: &Attempt, dialled: Dialled<'_>, sentences: &Sentences) -> Twiml {
        let Dialled { number, caller_id, ring_seconds, is_again } = dialled;
        let said =
            if is_again { Twiml::new() } else { Twiml::new().say_in(sentences.voice, sentences.one_moment) };
        let (action, whisper) = (self.of(&self.transfer_done, attempt), self.of(&self.whisper, attempt));
        said.dial(Dial {
            number,
            action: Some(&action),
            timeout_seconds: ring_seconds,
            caller_id,
            whisper: (attempt.way == Way::Dial).then_some(&whisper),
        })
    }

    /// The caller hears news and music, and asks again behind it. The key leads to the voicemail box.
    pub fn waits(&self, attempt: &Attempt, news: News, sentences: &Sentences) -> Twiml {
        let next = self.of(&self.queue_wait, &attempt.later());
        let sentence = match news {
            News::Called => Some(sentences.we_call),
            News::NextCalled => Some(sentences.now_we_call),
            News::Still if attempt.piece.is_multiple_of(NEWS_EVERY) => Some(sentences.still_calling),
            News::Still => None,
        };
        let heard = match sentence {
            Some(text) => Twiml::new().say_in(sentences.voice, &sentences.with_name(text, &attempt.name)),
            None => Twiml::new(),
        };
        let gather =
            Gather { action: &next, timeout_seconds: KEY_AFTER_MUSIC_SECONDS, asks_without_key: true };
        Twiml::new().gather(gather, &heard.play(&self.hold_music)).redirect(&next)
    }

    /// The document that the person follows who is called.
    pub fn whisper_url(&self, attempt: &Attempt) -> Url {
        let mut url = self.with(&self.whisper, attempt);
        url.set_fragment(Some(&DELIVERY_FRAGMENT[1..]));
        url
    }

    /// The person hears who is calling and why, and is asked for a key.
    pub fn whispers(&self, attempt: &Attempt, sentences: &Sentences) -> Twiml {
        let Attempt { name, from, reason, .. } = attempt;
        let who = sentences.announces(name, from.as_deref(), reason.as_deref());
        let voice = sentences.voice;
        let heard = Twiml::new().pause(1).say_in(voice, &who).say_in(voice, sentences.press_1);
        let key = self.of(&self.whisper, attempt);
        let gather = Gather { action: &key, timeout_seconds: KEY_SECONDS, asks_without_key: false };
        tells(Twiml::new().gather(gather, &heard), sentences, sentences.not_taken)
    }

    /// The person goes into the conference.
    pub fn joins(&self, attempt: &Attempt, sentences: &Sentences) -> Twiml {
        self.room(Twiml::new().say_in(sentences.voice, sentences.connecting), attempt, "person", None)
    }

    /// The person cannot be connected yet, and asks again.
    pub fn puts_off(&self, attempt: &Attempt) -> Twiml {
        Twiml::new().pause(PUT_OFF_SECONDS).redirect(&self.of(&self.whisper, &attempt.later()))
    }

    /// The caller goes into the conference.
    pub fn meets_person(&self, attempt: &Attempt) -> Twiml {
        let action = self.of(&self.transfer_done, attempt);
        self.room(Twiml::new(), attempt, "caller", Some(&action))
    }

    /// What the caller hears who is alone in the conference; nothing but speech and sound may stand there
    /// (Twilio's error 13238).
    pub fn alone_as_caller(&self, attempt: &Attempt) -> Twiml {
        Twiml::new().play(&self.hold_music).redirect(&self.of(&self.queue_wait, &attempt.later()))
    }

    /// What the person hears who is alone in the conference.
    pub fn alone_as_person(&self, attempt: &Attempt, sentences: &Sentences) -> Twiml {
        let first = if attempt.piece == 0 {
            Twiml::new()
        } else {
            Twiml::new().say_in(sentences.voice, sentences.has_hung_up)
        };
        first.pause(CALLER_COMES_SECONDS).redirect(&self.of(&self.queue_wait, &attempt.later()))
    }

    /// Where a caller goes on who was alone in the conference.
    pub fn queue_wait_url(&self, attempt: &Attempt) -> Url {
        let mut url = self.with(&self.queue_wait, attempt);
        url.set_fragment(Some(&DELIVERY_FRAGMENT[1..]));
        url
    }

    fn room(&self, before: Twiml, attempt: &Attempt, label: &str, action: Option<&str>) -> Twiml {
        before.conference(Conference {
            name: &self.seal.room(attempt),
            label,
            action,
            wait: &self.of(&self.queue_wait, attempt),
            status_callback: &self.conference_events,
        })
    }

    fn of(&self, url: &Url, attempt: &Attempt) -> String {
        self.with(url, attempt).into()
    }

    fn with(&self, url: &Url, attempt: &Attempt) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair(TRANSFER, &self.seal.close(attempt));
        url
    }

    fn voicemail_box(&self, sentences: &Sentences) -> Twiml {
        let record = Record {
            action: &self.voicemail,
            recording_status_callback: &self.recording_status,
            max_length_seconds: LONGEST_MESSAGE_SECONDS,
            timeout_seconds: END_OF_MESSAGE_SECONDS,
            finish_on_key: "#",
        };
        let voice = sentences.voice;
        let asked = Twiml::new().say_in(voice, sentences.leave_a_message).record(record);
        tells(asked, sentences, sentences.no_message)
    }
}

/// Whom a `<Dial>` rings.
#[derive(Debug, Clone, Copy)]
pub struct Dialled<'a> {
    /// E.164.
    pub number: &'a str,
    /// Our number, where the caller's own cannot be shown.
    pub caller_id: Option<&'a str>,
    pub ring_seconds: u32,
    /// The same person is rung once more: nothing is said.
    pub is_again: bool,
}

/// One sentence, and the end.
pub fn tells(before: Twiml, sentences: &Sentences, sentence: &str) -> Twiml {
    before.say_in(sentences.voice, sentence).hangup()
}

/// Every line is busy, and the call ends.
pub fn full_house() -> Twiml {
    Twiml::new().say(FULL_HOUSE).hangup()
}

/// The caller waits a moment and comes back to `door`, behind which another instance may be then.
pub fn ask_again(door: &str) -> Twiml {
    Twiml::new().pause(ASK_AGAIN_SECONDS).redirect(door)
}
