//! Tokens and what they cost (reference: OpenAI Realtime, "Usage accounting and prices").

use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

use super::lenient::{from_objects, or_default};
use super::prices::PriceList;
use super::transcription::{self, Transcription};

/// What one response, or many, used; of a call, also what transcribing the caller did. Cached tokens are part
/// of the input tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    #[serde(deserialize_with = "or_default")]
    pub input_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub output_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub input_token_details: InputTokens,
    #[serde(deserialize_with = "or_default")]
    pub output_token_details: OutputTokens,
    /// Billed apart; it is no part of a response.
    #[serde(skip)]
    pub transcription: Transcription,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputTokens {
    #[serde(deserialize_with = "or_default")]
    pub text_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub audio_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub cached_tokens_details: CachedTokens,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CachedTokens {
    #[serde(deserialize_with = "or_default")]
    pub text_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub audio_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputTokens {
    #[serde(deserialize_with = "or_default")]
    pub text_tokens: u64,
    #[serde(deserialize_with = "or_default")]
    pub audio_tokens: u64,
}

from_objects!(Usage, InputTokens, CachedTokens, OutputTokens);

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.input_token_details.text_tokens =
            self.input_token_details.text_tokens.saturating_add(other.input_token_details.text_tokens);
        self.input_token_details.audio_tokens =
            self.input_token_details.audio_tokens.saturating_add(other.input_token_details.audio_tokens);
        let (cached, more) = (
            &mut self.input_token_details.cached_tokens_details,
            other.input_token_details.cached_tokens_details,
        );
        cached.text_tokens = cached.text_tokens.saturating_add(more.text_tokens);
        cached.audio_tokens = cached.audio_tokens.saturating_add(more.audio_tokens);
        self.output_token_details.text_tokens =
            self.output_token_details.text_tokens.saturating_add(other.output_token_details.text_tokens);
        self.output_token_details.audio_tokens =
            self.output_token_details.audio_tokens.saturating_add(other.output_token_details.audio_tokens);
        self.transcription += other.transcription;
    }
}

/// What was used since the subtrahend, which is an earlier sum of the same responses.
impl Sub for Usage {
    type Output = Self;

    fn sub(mut self, earlier: Self) -> Self {
        self.input_tokens = self.input_tokens.saturating_sub(earlier.input_tokens);
        self.output_tokens = self.output_tokens.saturating_sub(earlier.output_tokens);
        let (input, before) = (&mut self.input_token_details, earlier.input_token_details);
        input.text_tokens = input.text_tokens.saturating_sub(before.text_tokens);
        input.audio_tokens = input.audio_tokens.saturating_sub(before.audio_tokens);
        input.cached_tokens_details.text_tokens =
            input.cached_tokens_details.text_tokens.saturating_sub(before.cached_tokens_details.text_tokens);
        input.cached_tokens_details.audio_tokens = input
            .cached_tokens_details
            .audio_tokens
            .saturating_sub(before.cached_tokens_details.audio_tokens);
        self.output_token_details.text_tokens =
            self.output_token_details.text_tokens.saturating_sub(earlier.output_token_details.text_tokens);
        self.output_token_details.audio_tokens =
            self.output_token_details.audio_tokens.saturating_sub(earlier.output_token_details.audio_tokens);
        self.transcription = self.transcription - earlier.transcription;
        self
    }
}

impl Usage {
    /// US dollars, by the [built-in list](PriceList::built_in); none for a model whose price is not known.
    pub fn cost_usd(&self, model: &str) -> Option<f64> {
        let prices = PriceList::built_in().tokens(model)?;
        let (input, output) = (&self.input_token_details, &self.output_token_details);
        let cached = &input.cached_tokens_details;
        let millionths = input.text_tokens.saturating_sub(cached.text_tokens) as f64 * prices.text_in
            + cached.text_tokens as f64 * prices.text_cached
            + input.audio_tokens.saturating_sub(cached.audio_tokens) as f64 * prices.audio_in
            + cached.audio_tokens as f64 * prices.audio_cached
            + output.text_tokens as f64 * prices.text_out
            + output.audio_tokens as f64 * prices.audio_out;
        Some(millionths / 1e6 + self.transcription.cost_usd(transcription::MODEL)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Usage {
        serde_json::from_str(
            r#"{"total_tokens":253,"input_tokens":132,"output_tokens":121,
                "input_token_details":{"text_tokens":119,"audio_tokens":13,"cached_tokens":64,
                  "cached_tokens_details":{"text_tokens":64,"audio_tokens":0}},
                "output_token_details":{"text_tokens":30,"audio_tokens":91}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_was_used_since_an_earlier_sum_is_the_rest() {
        let mut sum = example();
        sum += example();
        assert_eq!(sum - example(), example());
        assert_eq!(sum - sum, Usage::default());
    }

    #[test]
    fn the_reference_example_costs_what_the_reference_says() {
        let cost = example().cost_usd("gpt-realtime-1.5").unwrap();
        assert!((cost - 0.006_965_6).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_dated_edition_costs_what_its_model_costs_and_a_longer_name_is_another_model() {
        let used =
            serde_json::from_str::<Usage>(r#"{"output_token_details":{"text_tokens":1000000}}"#).unwrap();
        for (model, cost) in [
            ("gpt-realtime", Some(16.0)),
            ("gpt-realtime-2025-08-28", Some(16.0)),
            ("gpt-realtime-1.5-2026-02-23", Some(16.0)),
            ("gpt-realtime-2", Some(24.0)),
            ("gpt-realtime-2.1-2026-05-01", Some(24.0)),
            ("gpt-realtime-2.1-mini-2026-05-01", Some(2.4)),
            ("gpt-realtime-2-mini", None),
            ("gpt-realtime-2.5", None),
            ("gpt-realtime-mini", None),
            ("-2025-08-28", None),
            ("é-2025-08-2", None),
        ] {
            assert_eq!(used.cost_usd(model), cost, "{model}");
        }
    }

    #[test]
    fn a_model_without_a_known_price_has_no_cost() {
        assert_eq!(example().cost_usd("gpt-someday"), None);
        assert!(example().cost_usd("gpt-realtime-2.1-mini") < example().cost_usd("gpt-realtime-2.1"));
    }

    #[test]
    fn usage_is_summed_and_missing_details_count_nothing() {
        let mut sum = example();
        sum += example();
        sum += serde_json::from_str(r#"{"input_tokens":1,"input_token_details":null}"#).unwrap();
        assert_eq!((sum.input_tokens, sum.output_token_details.audio_tokens), (265, 182));
    }
}
