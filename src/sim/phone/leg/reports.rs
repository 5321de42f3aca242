//! What a leg tells of itself: the parameters of its webhooks, and its callbacks.

use chrono::{SecondsFormat, Utc};
use url::Url;

use super::Leg;
use crate::sim::phone::ledger::{CallRecord, Direction, Status};
use crate::sim::phone::network::ACCOUNT_SID;
use crate::sim::phone::twiml::{self, Method};

impl Leg {
    pub(super) fn stream_status(
        &mut self,
        stream: &twiml::Stream,
        base: &Url,
        stream_sid: &str,
        event: &str,
        error: Option<&str>,
    ) {
        let Some(target) = &stream.status_callback else { return };
        let Ok(url) = base.join(&target.url) else {
            return self.violation("11100", format!("{:?} is not a URL", target.url));
        };
        let mut params = owned([
            ("AccountSid", ACCOUNT_SID),
            ("CallSid", &self.record.sid),
            ("StreamSid", stream_sid),
            ("StreamName", stream.name.as_deref().unwrap_or(stream_sid)),
            ("StreamEvent", event),
            ("Timestamp", &Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)),
        ]);
        params.extend(error.map(|text| ("StreamError".to_owned(), text.to_owned())));
        self.callback(url, target.method, params);
    }

    /// An outgoing call was dialled, and rings.
    pub(super) fn rings_elsewhere(&mut self) {
        for (event, status) in [("initiated", Status::Queued), ("ringing", Status::Ringing)] {
            self.record.status.set(status);
            self.reports(event, Vec::new());
        }
    }

    /// It is answered.
    pub(super) fn is_answered_elsewhere(&mut self) {
        self.record.status.set(Status::InProgress);
        self.reports("answered", Vec::new());
    }

    /// Tells whoever wants to know of `event`.
    fn reports(&mut self, event: &str, more: Vec<(String, String)>) {
        let Some(callback) = &self.status_callback else { return };
        if !callback.events.iter().any(|wanted| wanted == event) {
            return;
        }
        let sequence =
            ["initiated", "ringing", "answered", "completed"].iter().position(|name| *name == event);
        let sequence = if self.record.direction == Direction::Inbound { Some(0) } else { sequence };
        let mut params = self.params(self.record.status.get().as_str());
        params.extend(more);
        params.extend(owned([
            ("Timestamp", &Utc::now().to_rfc2822()),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", &sequence.unwrap_or_default().to_string()),
        ]));
        let (url, method) = (callback.url.clone(), callback.method);
        self.callback(url, method, params);
    }

    pub(super) fn reports_end(&mut self) {
        let sip = match self.record.status.get() {
            Status::Busy => "486",
            Status::NoAnswer => "603",
            Status::Canceled => "487",
            Status::Failed => "500",
            _ => "200",
        };
        let seconds = self.line.with(|state| state.rang_at.elapsed()).as_secs();
        let more = owned([
            ("CallDuration", seconds.to_string().as_str()),
            ("Duration", seconds.div_ceil(60).to_string().as_str()),
            ("SipResponseCode", sip),
        ]);
        self.reports("completed", more);
    }

    /// Sends a callback beside the call.
    pub(super) fn callback(&mut self, url: Url, method: Method, params: Vec<(String, String)>) {
        self.callbacks.push(self.net.callback(self.record.number, url, method, params));
    }

    /// The parameters of every webhook of this call.
    pub(super) fn params(&self, call_status: &str) -> Vec<(String, String)> {
        let CallRecord { sid, from, to, direction, parent, .. } = &*self.record;
        let parent = parent.as_ref().map(|parent| ("ParentCallSid".to_owned(), parent.clone()));
        let params = owned([
            ("AccountSid", ACCOUNT_SID),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", sid),
            ("CallStatus", call_status),
            ("Called", to),
            ("CalledCity", ""),
            ("CalledCountry", "US"),
            ("Caller", from),
            ("CallerCity", "SAN FRANCISCO"),
            ("CallerCountry", "US"),
            ("Direction", direction.as_str()),
            ("From", from),
            ("FromCity", "SAN FRANCISCO"),
            ("FromCountry", "US"),
            ("FromState", "CA"),
            ("FromZip", ""),
            ("StirVerstat", "TN-Validation-Passed-A"),
            ("To", to),
            ("ToCity", ""),
            ("ToCountry", "US"),
            ("ToState", ""),
            ("ToZip", ""),
        ]);
        params.into_iter().chain(parent).collect()
    }
}

fn owned<const N: usize>(params: [(&str, &str); N]) -> Vec<(String, String)> {
    params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
