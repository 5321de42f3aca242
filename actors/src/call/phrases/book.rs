//! The phrases that this process has at hand, and how it comes by them: from the disk, or else from the
//! service.
//!
//! Nobody waits for them: a call that begins before they are there does without.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use actix_rt::time::sleep;
use call_control::backoff::Backoff;

use super::store::{LENGTH_BYTES, PhraseStore};
use super::{Phrase, PhraseTexts, Phrases, Recording};
use crate::metrics::Metrics;
use crate::wire::realtime::rendering::{RenderError, Rendering};
use crate::wire::realtime::socket::Endpoint;

/// Sessions that are tried for what is not on disk; after the last one, the next start or SIGHUP tries again.
const TRIES: u32 = 8;
/// The first pause between them, doubled at each try.
pub(in crate::call) const BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));

/// What is at hand by now, for all calls of a process.
#[derive(Default)]
pub struct PhraseBook(RwLock<Arc<Phrases>>);

/// Where phrases come from.
pub struct Source {
    pub texts: PhraseTexts,
    pub voice: String,
    pub store: PhraseStore,
    pub endpoint: Endpoint,
    pub metrics: Metrics,
}

impl PhraseBook {
    pub fn at_hand(&self) -> Arc<Phrases> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what is on disk.
    pub async fn load(&self, source: &Source) {
        for phrase in self.missing(source) {
            if let Some(mulaw) = source.load(phrase).await {
                self.add(phrase, &mulaw, &source.metrics);
            }
        }
    }

    /// Has the service speak the rest. Ends when all is there or cannot be had.
    pub async fn render_missing(&self, source: &Source) {
        for attempt in 0..TRIES {
            let missing = self.missing(source);
            if missing.is_empty() {
                return;
            }
            if let Err(error) = self.render(&missing, source).await {
                source.metrics.note_unspoken(&error);
                let fatal = error.is_fatal();
                tracing::warn!(%error, fatal, missing = missing.len(), "phrases could not be rendered");
                if fatal {
                    return;
                }
            }
            sleep(BACKOFF.pause_after(attempt, rand::random())).await;
        }
        tracing::warn!("the agent goes without some phrases until the next start or SIGHUP");
    }

    /// Takes out what new calls are not to say any more.
    pub fn keep(&self, is_kept: impl Fn(Phrase) -> bool, metrics: &Metrics) {
        let mut phrases = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for phrase in Phrase::ALL.into_iter().filter(|phrase| !is_kept(*phrase)) {
            Arc::make_mut(&mut phrases).remove(phrase);
        }
        metrics.phrases_at_hand.set(phrases.count() as i64);
    }

    /// One session for all that is missing. A text that is not spoken as it should be is left for the next
    /// one.
    async fn render(&self, missing: &[Phrase], source: &Source) -> Result<(), RenderError> {
        let mut rendering = Rendering::open(&source.endpoint, &source.voice).await?;
        let mut failure = Ok(());
        for &phrase in missing {
            let text = source.texts.get(phrase).unwrap_or_default();
            let spoken = match rendering.speak(text, *LENGTH_BYTES.end()).await {
                Ok(spoken) if spoken.mulaw.len() < *LENGTH_BYTES.start() => Err(RenderError::Length),
                other => other,
            };
            match spoken {
                Ok(spoken) => {
                    source.metrics.count_tokens(&spoken.usage);
                    self.add(phrase, &spoken.mulaw, &source.metrics);
                    source.save(phrase, spoken.mulaw).await;
                }
                Err(error @ (RenderError::OtherWords | RenderError::Length)) => failure = Err(error),
                Err(error) => return Err(error),
            }
        }
        failure
    }

    fn missing(&self, source: &Source) -> Vec<Phrase> {
        let at_hand = self.at_hand();
        let is_missing =
            |phrase: &Phrase| source.texts.get(*phrase).is_some() && at_hand.get(*phrase).is_none();
        Phrase::ALL.into_iter().filter(is_missing).collect()
    }

    fn add(&self, phrase: Phrase, mulaw: &[u8], metrics: &Metrics) {
        let mut phrases = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut phrases).add(phrase, Recording::new(mulaw));
        metrics.phrases_at_hand.set(phrases.count() as i64);
    }
}

impl Source {
    async fn load(&self, phrase: Phrase) -> Option<Vec<u8>> {
        let (store, text) = (self.store.clone(), self.texts.get(phrase)?.to_owned());
        spawn_blocking(move || store.load(&text)).await.ok().flatten()
    }

    /// What cannot be kept is rendered again at the next start.
    async fn save(&self, phrase: Phrase, mulaw: Vec<u8>) {
        let (store, text) = (self.store.clone(), self.texts.get(phrase).unwrap_or_default().to_owned());
        match spawn_blocking(move || store.save(&text, &mulaw)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, phrase = phrase.as_str(), "a phrase is not kept on disk")
            }
            Err(error) => tracing::error!(%error, "a phrase is not kept on disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricSet as _;

    #[test]
    fn a_phrase_that_is_not_kept_is_not_at_hand_for_new_calls_and_stays_with_those_that_have_it() {
        let (book, metrics) = (PhraseBook::default(), Metrics::build().unwrap());
        book.add(Phrase::Moment, &[0xFF; 4_000], &metrics);
        book.add(Phrase::Transfer, &[0xFF; 4_000], &metrics);
        let of_a_call = book.at_hand();
        book.keep(|phrase| phrase == Phrase::Transfer, &metrics);
        let now = book.at_hand();
        assert!(now.get(Phrase::Moment).is_none() && now.get(Phrase::Transfer).is_some());
        assert_eq!((of_a_call.count(), metrics.phrases_at_hand.get()), (2, 1));
    }
}
