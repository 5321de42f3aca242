//! Queues of waiting calls (reference: twilio.md sections 2.5 and 7).

use serde::Deserialize;
use url::Url;

use super::transport::Params;
use super::{RestError, TwilioApi};
use crate::wire::twilio::sid::{CallSid, QueueSid};

#[derive(Deserialize)]
struct Member {
    call_sid: CallSid,
}

impl TwilioApi {
    /// Takes a call out of a queue: it goes on with the document at `url`, fetched by POST. None if it does
    /// not wait there any more; else the call. Not repeated when it may have arrived, because the caller
    /// would hear it begin again.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn dequeue(
        &self,
        queue: QueueSid,
        call: CallSid,
        url: &Url,
    ) -> Result<Option<CallSid>, RestError> {
        let params = Params::default().with("Url", url).with("Method", "POST");
        let path = ["Queues", queue.as_str(), "Members", call.as_str()];
        let member: Option<Member> = self.ask_if_there(&self.post(&path, params)).await?;
        Ok(member.map(|member| member.call_sid))
    }
}
