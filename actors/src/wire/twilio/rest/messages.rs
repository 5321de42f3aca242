//! Text messages (reference: twilio.md section 7, "Send SMS").

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;

use super::transport::{Params, page};
use super::{RestError, TwilioApi, fields};

/// A message as Twilio has it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// `SM` or `MM` and 32 hexadecimal digits.
    pub sid: String,
    /// `queued`, `accepted`, `sent`, `delivered`, `undelivered`, `failed`, …
    pub status: String,
    pub body: String,
    #[serde(default, rename = "date_created", deserialize_with = "fields::time")]
    pub created_at: Option<DateTime<Utc>>,
    /// Why it could not be delivered.
    pub error_code: Option<u32>,
}

/// Who sends a message.
#[derive(Debug, Clone, Copy)]
pub enum Sender<'a> {
    /// A number of ours, E.164.
    Number(&'a str),
    /// `MG` and 32 hexadecimal digits.
    MessagingService(&'a str),
}

/// A message to send.
#[derive(Clone, Copy)]
pub struct NewMessage<'a> {
    /// E.164.
    pub to: &'a str,
    pub from: Sender<'a>,
    /// At most 1,600 characters.
    pub body: &'a str,
    /// Told of its delivery.
    pub status_callback: Option<&'a Url>,
}

page!(Messages, messages: Message);

impl TwilioApi {
    /// Sends a message. After an unanswered request it is looked up by `to`, sender, text and time before it
    /// is sent again, so that nobody gets it twice.
    ///
    /// # Errors
    /// [`RestError::leaves_open`]: it may have been sent all the same.
    pub async fn send_message(&self, message: NewMessage<'_>) -> Result<Message, RestError> {
        let params = Params::default().with("To", message.to);
        let params = match message.from {
            Sender::Number(number) => params.with("From", number),
            Sender::MessagingService(sid) => params.with("MessagingServiceSid", sid),
        };
        let params = params.with("Body", message.body).maybe("StatusCallback", message.status_callback);
        let look_up = async |not_before| self.find_message(message, not_before).await;
        self.create(&self.post(&["Messages"], params), look_up).await
    }

    /// The newest message with this recipient, sender and text that is not older than `not_before`.
    ///
    /// # Errors
    /// The list was not read.
    pub async fn find_message(
        &self,
        message: NewMessage<'_>,
        not_before: DateTime<Utc>,
    ) -> Result<Option<Message>, RestError> {
        let from = match message.from {
            Sender::Number(number) => Some(number),
            Sender::MessagingService(_) => None,
        };
        // Not by date: `DateSent` is empty while a message is queued.
        let params = Params::default().with("To", message.to).maybe("From", from);
        let found = self.newest::<Messages>(&["Messages"], params).await?;
        let ours = |found: &Message| found.body == message.body && found.created_at >= Some(not_before);
        Ok(found.into_iter().find(ours))
    }
}

/// Without the text.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sid, status, error_code, .. } = self;
        f.debug_struct("Message")
            .field("sid", sid)
            .field("status", status)
            .field("error_code", error_code)
            .finish_non_exhaustive()
    }
}
