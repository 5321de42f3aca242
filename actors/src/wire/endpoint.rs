//! An HTTP endpoint of whoever runs the agent: it is sent a tool's arguments and answers with JSON.
//!
//! What it answers is not trusted: it has a deadline and a size, a redirect is not followed, and the value
//! must fit the schema that its owner gave. A request is sent once: nobody knows what a second one would do.

use awc::Client;
use awc::error::PayloadError;
use awc::http::StatusCode;
use awc::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use call_control::conversation::tool_result::ToolFault;
use call_control::policy::tools::Endpoint;
use serde_json::Value;
use tokio::time::timeout;

use super::https;
use super::twilio::sid::CallSid;

/// A longer answer is not read to its end. The model has to read all of it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The header that names the call.
const CALL_SID: &str = "Switchboard-Call-Sid";

thread_local! {
    static CLIENT: Client = https::client();
}

/// Sends the arguments. Answers JSON for the model.
pub(crate) async fn ask(
    endpoint: &Endpoint,
    call_sid: CallSid,
    arguments: &Value,
) -> Result<String, ToolFault> {
    let within = std::time::Duration::from_millis(endpoint.within);
    timeout(within, send(endpoint, call_sid, arguments)).await.unwrap_or(Err(ToolFault::TimedOut))
}

async fn send(endpoint: &Endpoint, call_sid: CallSid, arguments: &Value) -> Result<String, ToolFault> {
    let client = CLIENT.with(Clone::clone);
    let mut request = client
        .post(endpoint.url.as_str())
        .insert_header((ACCEPT, "application/json"))
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CALL_SID, call_sid.as_str()));
    if let Some(secret) = &endpoint.secret {
        request = request.bearer_auth(secret.expose());
    }
    let mut response = request.send_body(arguments.to_string()).await.map_err(|_| ToolFault::Unreachable)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(ToolFault::Redirected);
    }
    if !status.is_success() {
        return Err(ToolFault::Status { status: status.as_u16() });
    }
    let body = response.body().limit(MAX_ANSWER_BYTES).await.map_err(|error| match error {
        PayloadError::Overflow => ToolFault::TooLong,
        _ => ToolFault::Unreachable,
    })?;
    // The library reads no body whose length is not told. That is not the same as none.
    let says_nothing = response.headers().get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    if status == StatusCode::NO_CONTENT || says_nothing {
        return fitting(endpoint, &Value::Null);
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|_| ToolFault::NotJson)?;
    fitting(endpoint, &answer)
}

fn fitting(endpoint: &Endpoint, answer: &Value) -> Result<String, ToolFault> {
    let fits = endpoint.answer.as_ref().map_or(Ok(()), |schema| schema.check(answer));
    fits.map(|()| answer.to_string()).map_err(|wrong| ToolFault::Unfit { wrong })
}

#[cfg(test)]
mod tests;
