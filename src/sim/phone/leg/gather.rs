//! `<Gather>`: a key is asked for.

use std::future::pending;
use std::time::Duration;

use tokio::time::sleep;
use url::Url;

use super::{Leg, Next};
use crate::sim::phone::line::End;
use crate::sim::phone::twiml::Gather;

/// How long a person thinks before they press a key.
const THINKS: Duration = Duration::from_millis(300);

impl Leg {
    /// Keys that were pressed before do not count. With a key the action is asked; without one, only where
    /// that is wanted, and the next verb runs otherwise.
    pub(super) async fn gathers(&mut self, gather: &Gather, base: &Url) -> Next {
        let line = self.line.clone();
        line.with(|state| state.keys.clear());
        let unanswered = async {
            for verb in &gather.heard {
                self.hears(verb).await;
            }
            sleep(gather.timeout).await;
        };
        let keys = async {
            let mut keys = String::new();
            while keys.chars().count() < gather.digits {
                keys.push(line.until(|state| state.keys.pop_front()).await);
            }
            keys
        };
        let asked = async {
            tokio::select! {
                keys = keys => keys,
                () = unanswered => String::new(),
                never = self.presses_key(gather) => never,
            }
        };
        let Some(digits) = line.clone().unless_interrupted(asked).await else {
            return Next::End(End::ByCaller);
        };
        if digits.is_empty() && !gather.asks_without_key {
            return Next::Verb;
        }
        match &gather.action {
            Some(action) => self.document(action, base, vec![("Digits", digits)]),
            None => Next::Verb,
        }
    }

    /// The person hears what is said, thinks, and presses their key, if they press one.
    async fn presses_key<T>(&self, gather: &Gather) -> T {
        if let Some(key) = self.person.and_then(|(person, _)| person.key()) {
            let said: Duration = gather.heard.iter().map(super::length).sum();
            sleep(said + THINKS).await;
            self.line.change(|state| state.keys.push_back(key));
        }
        pending().await
    }
}
