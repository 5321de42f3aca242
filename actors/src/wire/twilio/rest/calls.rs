//! Calls: fetch, list, make, redirect, end (reference: twilio.md section 7; `CallStatus`: section 1).

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use url::Url;

use super::transport::{Params, Request, page};
use super::{RestError, TwilioApi, fields, inline};
use crate::wire::twilio::sid::CallSid;
use crate::wire::twilio::twiml::Twiml;

/// A call as Twilio has it; what a fetch says may be some moments old.
#[derive(Clone, PartialEq, Deserialize)]
pub struct Call {
    pub sid: CallSid,
    pub parent_call_sid: Option<CallSid>,
    pub status: CallStatus,
    pub from: String,
    pub to: String,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    pub direction: String,
    #[serde(default, rename = "date_created", deserialize_with = "fields::time")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(default, rename = "start_time", deserialize_with = "fields::time")]
    pub started_at: Option<DateTime<Utc>>,
    /// None while it goes on.
    #[serde(default, rename = "end_time", deserialize_with = "fields::time")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Whole seconds; none while it goes on.
    #[serde(default, deserialize_with = "fields::seconds")]
    pub duration: Option<Duration>,
    /// What it costs: a charge is negative. None until some minutes after its end.
    #[serde(default, deserialize_with = "fields::number")]
    pub price: Option<f64>,
    /// The currency of the price, ISO 4217.
    #[serde(default)]
    pub price_unit: Option<String>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    Queued,
    Initiated,
    Ringing,
    InProgress,
    Completed,
    Busy,
    Failed,
    NoAnswer,
    Canceled,
    /// One that did not exist when this was written.
    #[serde(other)]
    Unknown,
}

/// Which calls to list; without any, all of the account.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallFilter<'a> {
    pub to: Option<&'a str>,
    pub from: Option<&'a str>,
    pub status: Option<CallStatus>,
    pub parent: Option<CallSid>,
    /// Started on this day (UTC) or later.
    pub started_from: Option<NaiveDate>,
}

/// What a call is to do: a document inline, or where to fetch one.
#[derive(Debug, Clone, Copy)]
pub enum Instructions<'a> {
    /// At most 4,000 characters; every URL in it absolute.
    Twiml(&'a Twiml),
    /// Fetched by POST.
    Url(&'a Url),
}

/// A call to make.
#[derive(Debug, Clone, Copy)]
pub struct NewCall<'a> {
    /// E.164.
    pub to: &'a str,
    /// E.164; a number of ours.
    pub from: &'a str,
    pub instructions: Instructions<'a>,
    /// Told when the call is over.
    pub status_callback: Option<&'a Url>,
    /// How long it rings, in whole seconds up to 600; 60 s otherwise.
    pub timeout: Option<Duration>,
}

page!(Calls, calls: Call);

impl TwilioApi {
    /// Fetches a call; none if there is no such call.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn call(&self, call: CallSid) -> Result<Option<Call>, RestError> {
        self.ask_if_there(&self.get(&["Calls", call.as_str()])).await
    }

    /// Lists calls, the newest first. It may lack the newest: absence from it proves nothing.
    ///
    /// # Errors
    /// [`RestError::Unreadable`] for more than 2,000 calls: name a day.
    pub async fn calls(&self, filter: CallFilter<'_>) -> Result<Vec<Call>, RestError> {
        let params = Params::default()
            .maybe("To", filter.to)
            .maybe("From", filter.from)
            .maybe("Status", filter.status)
            .maybe("ParentCallSid", filter.parent)
            .maybe("StartTime>", filter.started_from);
        self.list::<Calls>(&["Calls"], params).await
    }

    /// Makes a call. After an unanswered request it is looked up by `to`, `from` and time before it is made
    /// again, so two calls of the same pair within seconds must not be asked for at once.
    ///
    /// # Errors
    /// [`RestError::leaves_open`]: it may have been made all the same.
    pub async fn make_call(&self, call: NewCall<'_>) -> Result<Call, RestError> {
        let look_up = async |not_before| {
            // Not by date: `StartTime` is empty while a call is queued.
            let params = Params::default().with("To", call.to).with("From", call.from);
            let found = self.newest::<Calls>(&["Calls"], params).await?;
            Ok(found.into_iter().find(|call| call.created_at >= Some(not_before)))
        };
        self.create(&self.new_call(call)?, look_up).await
    }

    /// Makes a call, and does not look it up after an unanswered request: for whoever has no time for that,
    /// and can do without the call.
    ///
    /// # Errors
    /// [`RestError::leaves_open`]: it may have been made all the same.
    pub async fn make_call_once(&self, call: NewCall<'_>) -> Result<Call, RestError> {
        self.ask(&self.new_call(call)?).await
    }

    fn new_call(&self, call: NewCall<'_>) -> Result<Request, RestError> {
        let params = Params::default().with("To", call.to).with("From", call.from);
        let params = instruct(params, call.instructions)?
            .maybe("StatusCallback", call.status_callback)
            .maybe("Timeout", call.timeout.map(|timeout| timeout.as_secs()));
        Ok(self.post(&["Calls"], params))
    }

    /// Makes a live call follow other instructions: the document it follows, media stream included, is
    /// abandoned. None if the call is over. Not repeated when it may have arrived, because the caller would
    /// hear it begin again.
    ///
    /// # Errors
    /// [`RestError::Twiml`] if inline TwiML has a relative URL or is too long.
    pub async fn redirect(
        &self,
        call: CallSid,
        instructions: Instructions<'_>,
    ) -> Result<Option<Call>, RestError> {
        let params = instruct(Params::default(), instructions)?;
        self.ask_if_there(&self.post(&["Calls", call.as_str()], params)).await
    }

    /// Ends a call, also one that still rings. None if it is over.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn hang_up(&self, call: CallSid) -> Result<Option<Call>, RestError> {
        let params = Params::default().with("Status", "completed");
        self.ask_if_there(&self.post(&["Calls", call.as_str()], params).repeatable()).await
    }
}

fn instruct<'a>(params: Params<'a>, instructions: Instructions<'_>) -> Result<Params<'a>, RestError> {
    Ok(match instructions {
        Instructions::Twiml(twiml) => params.with("Twiml", inline::render(twiml)?),
        Instructions::Url(url) => params.with("Url", url).with("Method", "POST"),
    })
}

impl CallStatus {
    /// Whether nothing more will come of the call.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Busy | Self::Failed | Self::NoAnswer | Self::Canceled)
    }
}

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::NoAnswer => "no-answer",
            Self::Canceled => "canceled",
            Self::Unknown => "unknown",
        })
    }
}

/// Without the numbers.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sid, status, direction, .. } = self;
        f.debug_struct("Call")
            .field("sid", sid)
            .field("status", status)
            .field("direction", direction)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_twilio_writes_it() {
        let call: Call = serde_json::from_str(
            r#"{"sid":"CA00000000000000000000000000000001","parent_call_sid":null,"status":"no-answer",
            "from":"+14155550100","to":"+15005550006","direction":"inbound","duration":"0",
            "date_created":"Tue, 31 Aug 2010 20:36:28 +0000","start_time":"Tue, 31 Aug 2010 20:36:29 +0000",
            "end_time":null,"price":"-0.00850","price_unit":"USD","new_field":1}"#,
        )
        .unwrap();
        assert_eq!((call.status, call.duration), (CallStatus::NoAnswer, Some(Duration::ZERO)));
        assert_eq!(call.started_at.unwrap().timestamp(), 1_283_286_989);
        assert!(call.ended_at.is_none() && call.status.is_over());
        assert_eq!((call.price, call.price_unit.as_deref()), (Some(-0.0085), Some("USD")));
        assert!(!format!("{call:?}").contains("555"));
    }

    #[test]
    fn a_status_is_written_as_it_is_read_and_a_new_one_is_no_error() {
        for status in ["queued", "initiated", "ringing", "in-progress", "no-answer", "canceled"] {
            let read: CallStatus = serde_json::from_value(status.into()).unwrap();
            assert_eq!(read.to_string(), status);
        }
        let read: CallStatus = serde_json::from_value("on-the-moon".into()).unwrap();
        assert_eq!(read, CallStatus::Unknown);
    }
}
