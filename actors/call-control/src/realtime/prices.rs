//! What the Realtime service asks for its work: `prices.json`, with the month it was read in and its source.

use std::sync::LazyLock;

use serde::Deserialize;

static PRICES: LazyLock<PriceList> =
    LazyLock::new(|| serde_json::from_str(include_str!("prices.json")).expect("a test reads the same file"));

/// A price list, as the file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceList {
    /// The month in which the prices were read: a cost is only as good as that.
    pub as_of: String,
    /// Where they were read.
    pub source: String,
    #[serde(rename = "unit")]
    _unit: String,
    models: Vec<Named<TokenPrices>>,
    transcription: Vec<Named<MinutePrice>>,
}

/// A price, and the models that have it, by their exact names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Named<P> {
    names: Vec<String>,
    #[serde(flatten)]
    price: P,
}

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenPrices {
    pub text_in: f64,
    pub text_cached: f64,
    pub text_out: f64,
    pub audio_in: f64,
    pub audio_cached: f64,
    pub audio_out: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct MinutePrice {
    minute: f64,
}

impl PriceList {
    /// The one that this program was built with.
    pub fn built_in() -> &'static Self {
        &PRICES
    }

    /// What tokens of this model cost; none if nobody has told. A dated edition costs what its name without
    /// the date costs.
    pub fn tokens(&self, model: &str) -> Option<TokenPrices> {
        find(&self.models, model)
    }

    /// US dollars for a minute of audio that this model transcribes.
    pub fn transcribed_minute(&self, model: &str) -> Option<f64> {
        find(&self.transcription, model).map(|price| price.minute)
    }
}

fn find<P: Copy>(list: &[Named<P>], model: &str) -> Option<P> {
    let name = undated(model);
    list.iter().find(|known| known.names.iter().any(|known| known == name)).map(|known| known.price)
}

/// The name without the date of an edition (`-2025-08-28`).
fn undated(model: &str) -> &str {
    let is_date = |date: &[u8]| {
        date.iter().enumerate().all(|(at, byte)| match at {
            0 | 5 | 8 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    match model.split_at_checked(model.len().saturating_sub(11)) {
        Some((name, date)) if date.len() == 11 && is_date(date.as_bytes()) => name,
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_has_two_prices_and_no_price_is_negative() {
        let list = PriceList::built_in();
        let mut names: Vec<_> = list.models.iter().flat_map(|known| &known.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for TokenPrices { text_in, text_cached, text_out, audio_in, audio_cached, audio_out } in
            list.models.iter().map(|known| known.price)
        {
            assert!(text_cached <= text_in && audio_cached <= audio_in, "cached tokens are a rebate");
            assert!([text_cached, text_out, audio_cached, audio_out].iter().all(|price| *price > 0.0));
        }
    }

    #[test]
    fn the_list_says_of_when_it_is_and_where_it_was_read() {
        let list = PriceList::built_in();
        let (year, month) = list.as_of.split_once('-').expect("a year and a month");
        assert!(year.parse::<u32>().is_ok_and(|year| year >= 2026));
        assert!(month.parse::<u32>().is_ok_and(|month| (1..=12).contains(&month)));
        assert!(list.source.starts_with("https://"));
    }
}
