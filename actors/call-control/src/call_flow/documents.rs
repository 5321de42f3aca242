//! The TwiML that tells Twilio what was decided, with the sentences that a caller hears without the agent:
//! all lines are busy, a person is rung, please leave a message.

use url::Url;

use super::person::Meets;
use crate::twilio::token::TOKEN_PARAMETER;
use crate::twilio::twiml::{ConnectStream, DELIVERY_FRAGMENT, Dial, Record, Twiml};

const FULL_HOUSE: &str = "Thank you for calling. All our lines are busy at the moment. Please call again in a few minutes. Goodbye.";
const CONNECTING_YOU: &str = "One moment please."; // the agent has said why, if it could
const NOBODY: &str =
    "We are sorry, we cannot take your call right now. Please leave a message after the tone.";
const NO_MESSAGE: &str = "We did not receive a message. Please call again in a few minutes. Goodbye.";
const THANK_YOU: &str = "Thank you for your message. Goodbye.";
const GOODBYE: &str = "Thank you for calling. Goodbye.";
/// The pause before a caller asks again who is to meet another instance.
const ASK_AGAIN_SECONDS: u32 = 1;
/// How long the person who takes over is rung.
const RING_SECONDS: u32 = 30;
const LONGEST_MESSAGE_SECONDS: u32 = 120;
/// A silence of this length ends a message.
const END_OF_MESSAGE_SECONDS: u32 = 5;

/// The query parameter by which the URL of `after-stream` names its stream.
pub const EPOCH: &str = "epoch";
/// The query parameter by which the URL of `transfer-done` says that our own number was the caller ID.
pub const CALLER_ID: &str = "caller-id";
pub const OURS: &str = "ours";

/// The URLs that we hand out, without fragment, and the documents that name them.
#[derive(Debug)]
pub struct Documents {
    incoming: String,
    after_stream: Url,
    stream: String,
    stream_status: String,
    transfer_done: String,
    /// The same, where the person was rung from our own number.
    transfer_from_us_done: String,
    voicemail: String,
    recording_status: String,
}

impl Documents {
    /// `public_url` is the origin that Twilio sees; its scheme decides the stream's.
    pub fn at(public_url: &Url) -> Self {
        let origin = public_url.origin().ascii_serialization();
        let websocket = origin.replacen("http", "ws", 1);
        let door = |name| format!("{origin}/api/voice/{name}");
        let mut after_stream = public_url.clone();
        after_stream.set_path("/api/voice/after-stream");
        Self {
            incoming: door("incoming"),
            after_stream,
            stream: format!("{websocket}/api/voice/stream"),
            stream_status: door("stream-status"),
            transfer_done: door("transfer-done"),
            transfer_from_us_done: format!("{}?{CALLER_ID}={OURS}", door("transfer-done")),
            voicemail: door("voicemail"),
            recording_status: door("recording-status"),
        }
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

    /// What the caller meets without the agent.
    pub fn meets(&self, meets: Meets<'_>) -> Twiml {
        match meets {
            Meets::Person { number, caller_id, is_again } => {
                let before = if is_again { Twiml::new() } else { Twiml::new().say(CONNECTING_YOU) };
                // The action learns whether the person was rung from our own number.
                let from_us = caller_id.is_some();
                let action = if from_us { &self.transfer_from_us_done } else { &self.transfer_done };
                before.dial(Dial { number, action: Some(action), timeout_seconds: RING_SECONDS, caller_id })
            }
            Meets::VoicemailBox => self.voicemail_box(),
            Meets::Farewell => Twiml::new().say(GOODBYE).hangup(),
            Meets::Thanks => Twiml::new().say(THANK_YOU).hangup(),
            Meets::NoMessage => Twiml::new().say(NO_MESSAGE).hangup(),
            Meets::Nothing => Twiml::new(),
        }
    }

    fn voicemail_box(&self) -> Twiml {
        let record = Record {
            action: &self.voicemail,
            recording_status_callback: &self.recording_status,
            max_length_seconds: LONGEST_MESSAGE_SECONDS,
            timeout_seconds: END_OF_MESSAGE_SECONDS,
            finish_on_key: "#",
        };
        Twiml::new().say(NOBODY).record(record).say(NO_MESSAGE).hangup()
    }
}

/// Every line is busy, and the call ends.
pub fn full_house() -> Twiml {
    Twiml::new().say(FULL_HOUSE).hangup()
}

/// The caller waits a moment and comes back to `door`, behind which another instance may be then.
pub fn ask_again(door: &str) -> Twiml {
    Twiml::new().pause(ASK_AGAIN_SECONDS).redirect(door)
}
