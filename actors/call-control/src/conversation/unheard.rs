//! Which items the service is to forget, as the caller heard nothing of them: pure bookkeeping for one
//! session.

use std::collections::VecDeque;

/// So many responses and items are remembered; what is told of older ones is too late to matter.
const REMEMBERED: usize = 32;

/// The responses that are final, and the items whose audio came too late to be played.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unheard {
    done: VecDeque<String>,
    /// Response and item.
    late: VecDeque<(String, String)>,
}

impl Unheard {
    /// Audio of an item of which nothing is played. Answers whether the item is to be deleted now: its
    /// response is final, and this is the first that is heard of the item. Otherwise [`finish`](Self::finish)
    /// names it.
    pub fn late(&mut self, response_id: &str, item_id: &str) -> bool {
        if self.late.iter().any(|(_, known)| known == item_id) {
            return false;
        }
        remember(&mut self.late, (response_id.to_owned(), item_id.to_owned()));
        self.done.iter().any(|done| done == response_id)
    }

    /// A response is final. Answers its items of which audio came too late; nothing if it was final before.
    pub fn finish(&mut self, response_id: &str) -> Option<Vec<String>> {
        if self.done.iter().any(|done| done == response_id) {
            return None;
        }
        remember(&mut self.done, response_id.to_owned());
        let items = self.late.iter().filter(|(of, _)| of == response_id);
        Some(items.map(|(_, item_id)| item_id.clone()).collect())
    }

    /// An item is deleted: more audio of it is no news.
    pub fn deleted(&mut self, response_id: &str, item_id: &str) {
        self.late(response_id, item_id);
    }
}

fn remember<T>(known: &mut VecDeque<T>, new: T) {
    if known.len() == REMEMBERED {
        known.pop_front();
    }
    known.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_named_once_when_its_response_is_final_or_when_it_comes_after_that() {
        let mut unheard = Unheard::default();
        assert!(!unheard.late("r1", "a1") && !unheard.late("r1", "a1"));
        assert_eq!(unheard.finish("r1"), Some(vec!["a1".to_owned()]));
        assert_eq!(unheard.finish("r1"), None, "told twice");
        assert!(!unheard.late("r1", "a1"), "deleted");
        assert!(unheard.late("r1", "a2") && !unheard.late("r1", "a2"));
    }
}
