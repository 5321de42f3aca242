//! What is kept of a session for `GET /report`, also after its end.

use serde_json::Value;

use crate::sim::report::{ResponseReport, SessionReport, Violation};
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag, TagError};

/// Arrivals kept of a session: an hour of frames, the longest it can last. Later ones are only counted among
/// callers.
const MAX_ARRIVALS: usize = 60 * 60 * 50;
/// Texts kept of a session; later ones are dropped.
const MAX_TOLD: usize = 1_000;
/// Violations kept of a session; later ones are dropped.
const MAX_VIOLATIONS: usize = 1_000;

/// One session's record.
#[derive(Debug, Default)]
pub struct Record {
    pub report: SessionReport,
    pub violations: Vec<Violation>,
    /// Phrases were rendered in it, or the service was tried.
    pub renders: bool,
}

impl Record {
    pub fn new(session: u16) -> Self {
        Self {
            report: SessionReport { session, open: true, ..SessionReport::default() },
            violations: Vec::new(),
            renders: false,
        }
    }

    pub fn violation(&mut self, kind: &str, detail: impl Into<String>) {
        if self.violations.len() < MAX_VIOLATIONS {
            let source = self.report.session;
            self.violations.push(Violation { source, kind: kind.to_owned(), detail: detail.into() });
        }
    }

    /// Notes a frame that arrived at `now_us`; tells which clip is said in it.
    pub fn arrival(&mut self, frame: &[u8; FRAME_BYTES], now_us: u64) -> Option<u16> {
        let report = &mut self.report;
        let tag = match Tag::read(frame) {
            Ok(tag) => tag,
            Err(TagError::Untagged) => {
                report.untagged += 1;
                return None;
            }
            Err(TagError::Corrupted) => {
                report.corrupted += 1;
                return None;
            }
        };
        if !report.callers.contains(&tag.source) {
            report.callers.push(tag.source);
        }
        if report.arrivals.len() < MAX_ARRIVALS {
            let latency_us = now_us.wrapping_sub(tag.sent_us) & ((1 << 48) - 1);
            report.arrivals.push((tag.sequence, u32::try_from(latency_us).unwrap_or(u32::MAX)));
        }
        (tag.clip != NO_CLIP).then_some(tag.clip)
    }

    /// Notes what a response cost.
    pub fn bills(&mut self, usage: &Value) {
        self.report.billed_tokens += usage["total_tokens"].as_u64().unwrap_or_default();
    }

    /// Notes the texts of a message that the client puts into the conversation.
    pub fn told(&mut self, item: &Value) {
        let parts = item["content"].as_array().into_iter().flatten();
        let room = MAX_TOLD.saturating_sub(self.report.told.len());
        self.report.told.extend(parts.filter_map(|part| part["text"].as_str()).take(room).map(str::to_owned));
    }

    /// Opens the report of the next response with audio; its number.
    pub fn response(&mut self) -> u16 {
        let response = self.report.responses.len() as u16;
        let status = "in_progress".to_owned();
        self.report.responses.push(ResponseReport { response, status, ..ResponseReport::default() });
        response
    }

    pub fn response_mut(&mut self, response: u16) -> Option<&mut ResponseReport> {
        self.report.responses.get_mut(usize::from(response))
    }
}
