//! What transcribing the caller used, and what it costs: it is billed apart from the responses, at the price
//! of the model that transcribes (reference: OpenAI Realtime, "Usage accounting and prices").

use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prices::PriceList;

/// The model that transcribes the caller in all our sessions.
pub const MODEL: &str = "gpt-transcribe";

/// Audio of the caller that one token stands for.
const TOKEN_MS: u64 = 100;

/// The sum over many transcripts. The service counts each in tokens or in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcription {
    /// Tokens of what went in; without details, all are audio's.
    pub text_tokens: u64,
    pub audio_tokens: u64,
    pub output_tokens: u64,
    /// Audio that was counted in seconds.
    pub milliseconds: u64,
    /// Transcripts whose usage is neither.
    pub unknown: u64,
}

impl Transcription {
    /// Reads the `usage` of a transcript. A part that is not what it should be counts nothing.
    pub(super) fn read(usage: &Value) -> Self {
        let nothing = Self::default();
        match usage["type"].as_str() {
            Some("tokens") => {
                let count = |name| usage.get(name).map_or(0, count);
                let output_tokens = count("output_tokens");
                let input = match count("input_tokens") {
                    0 => count("total_tokens").saturating_sub(output_tokens),
                    input => input,
                };
                let text_tokens =
                    usage["input_token_details"].get("text_tokens").map_or(0, self::count).min(input);
                Self { text_tokens, audio_tokens: input - text_tokens, output_tokens, ..nothing }
            }
            Some("duration") => {
                let seconds = usage["seconds"].as_f64().filter(|seconds| *seconds >= 0.0).unwrap_or_default();
                Self { milliseconds: (seconds * 1e3).round() as u64, ..nothing }
            }
            None if usage.is_null() => nothing,
            _ => Self { unknown: 1, ..nothing },
        }
    }

    /// US dollars; none where something was used whose price is not known. Models that are priced by the
    /// minute may count in tokens all the same: an audio token is a piece of time.
    pub fn cost_usd(&self, model: &str) -> Option<f64> {
        if *self == Self::default() {
            return Some(0.0);
        }
        let per_minute = PriceList::built_in().transcribed_minute(model)?;
        let milliseconds = self.audio_tokens as f64 * TOKEN_MS as f64 + self.milliseconds as f64;
        (self.unknown == 0).then_some(milliseconds / 60_000.0 * per_minute)
    }

    fn with(self, other: Self, of_two: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            text_tokens: of_two(self.text_tokens, other.text_tokens),
            audio_tokens: of_two(self.audio_tokens, other.audio_tokens),
            output_tokens: of_two(self.output_tokens, other.output_tokens),
            milliseconds: of_two(self.milliseconds, other.milliseconds),
            unknown: of_two(self.unknown, other.unknown),
        }
    }
}

impl AddAssign for Transcription {
    fn add_assign(&mut self, other: Self) {
        *self = self.with(other, u64::saturating_add);
    }
}

/// What was used since the subtrahend, which is an earlier sum of the same transcripts.
impl Sub for Transcription {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

/// A count, also one written as `10.0`.
fn count(value: &Value) -> u64 {
    let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    value.as_u64().or(number.map(|number| number as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cents(usage: Value) -> Option<f64> {
        Some((Transcription::read(&usage).cost_usd(MODEL)? * 1e6).round() / 1e4)
    }

    #[test]
    fn tokens_and_seconds_have_a_price() {
        let tokens = json!({"type": "tokens", "total_tokens": 1_100_000, "input_tokens": 1_000_000,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 1_000_000}, "output_tokens": 100_000});
        assert_eq!(cents(tokens), Some(750.0));
        assert_eq!(cents(json!({"type": "tokens", "total_tokens": 600})), Some(0.45));
        assert_eq!(cents(json!({"type": "tokens", "input_tokens": 600, "output_tokens": 5})), Some(0.45));
        assert_eq!(cents(json!({"type": "duration", "seconds": 600})), Some(4.5));
        assert_eq!(cents(json!({"type": "duration", "seconds": 0.5})), Some(0.0038));
    }

    #[test]
    fn what_has_no_known_price_is_unknown_and_what_used_nothing_costs_nothing() {
        let used = Transcription::read(&json!({"type": "duration", "seconds": 600}));
        assert_eq!(used.cost_usd("somebody-elses-model"), None);
        assert_eq!(used.cost_usd("gpt-transcribe-2026-05-01"), used.cost_usd("gpt-transcribe"));
        assert_eq!(cents(json!({"type": "credits", "credits": 3})), None);
        assert_eq!(cents(json!("free")), None);
        assert_eq!(cents(Value::Null), Some(0.0));
        assert_eq!(Transcription::default().cost_usd("somebody-elses-model"), Some(0.0));
    }

    #[test]
    fn odd_parts_count_nothing() {
        let odd =
            json!({"type": "tokens", "input_tokens": -5, "output_tokens": "7", "input_token_details": null});
        assert_eq!(Transcription::read(&odd), Transcription::default());
        let detailed =
            json!({"type": "tokens", "input_tokens": 10.0, "input_token_details": {"text_tokens": 4}});
        let read = Transcription::read(&detailed);
        assert_eq!((read.text_tokens, read.audio_tokens), (4, 6));
        for seconds in [json!(-1), json!(null), json!("600")] {
            let usage = json!({"type": "duration", "seconds": seconds});
            assert_eq!(Transcription::read(&usage).milliseconds, 0, "{usage}");
        }
        assert_eq!(
            Transcription::read(&json!({"type": "duration", "seconds": 1e300})).milliseconds,
            u64::MAX
        );
    }
}
