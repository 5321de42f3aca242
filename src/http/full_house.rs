//! What the log says of a full house: one line when no slot is free, one when the first caller is turned
//! away, and one when there is room again. What a caller hears is in `call_flow::documents`.

use std::time::{Duration, Instant};

use actors::health;

/// There is room again when so long nobody was turned away and a slot was free: one that is taken at once is
/// none.
const ROOM_FOR: Duration = Duration::from_secs(10);

/// Watches the ceiling.
#[derive(Debug, Default)]
pub struct FullHouse {
    /// Callers turned away since the start, as of the last look.
    refused: u64,
    told: Option<Told>,
}

/// That the house is full was told.
#[derive(Debug)]
struct Told {
    since: Instant,
    /// When it was full last.
    last: Instant,
    turned_away: u64,
}

/// What is to be logged.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Full,
    TurnedAway,
    Room { turned_away: u64, seconds: u64 },
}

impl FullHouse {
    /// Looks again; `refused` counts callers who were turned away since the start.
    pub fn look(&mut self, is_full: bool, refused: u64, now: Instant) {
        match self.news(is_full, refused, now) {
            Some(News::Full) => {
                tracing::info!("full house: no slot is free, and the next caller is turned away")
            }
            Some(News::TurnedAway) => {
                let remedy = health::explain("full-house").map(|explained| explained.remedy);
                tracing::warn!(remedy, "full house: callers are turned away");
            }
            Some(News::Room { turned_away: 0, seconds }) => {
                tracing::info!(seconds, "there is room again after a full house; nobody was turned away");
            }
            Some(News::Room { turned_away, seconds }) => {
                tracing::warn!(turned_away, seconds, "there is room again after a full house");
            }
            None => {}
        }
    }

    fn news(&mut self, is_full: bool, refused: u64, now: Instant) -> Option<News> {
        let turned_away = refused.saturating_sub(self.refused);
        self.refused = refused;
        let is_full = is_full || turned_away > 0;
        match &mut self.told {
            None => is_full.then(|| {
                self.told = Some(Told { since: now, last: now, turned_away });
                if turned_away > 0 { News::TurnedAway } else { News::Full }
            }),
            Some(told) if is_full => {
                let is_first = told.turned_away == 0 && turned_away > 0;
                told.last = now;
                told.turned_away += turned_away;
                is_first.then_some(News::TurnedAway)
            }
            Some(told) if now.duration_since(told.last) < ROOM_FOR => None,
            Some(told) => {
                let seconds = told.last.duration_since(told.since).as_secs();
                let news = News::Room { turned_away: told.turned_away, seconds };
                self.told = None;
                Some(news)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_is_told_once_and_so_is_its_end_with_the_number_of_those_turned_away() {
        let (mut house, start) = (FullHouse::default(), Instant::now());
        let mut look =
            |seconds, is_full, refused| house.news(is_full, refused, start + Duration::from_secs(seconds));
        assert_eq!(look(0, false, 0), None);
        assert_eq!(look(1, true, 0), Some(News::Full));
        assert_eq!(look(2, true, 3), Some(News::TurnedAway), "the first ones");
        assert_eq!(look(3, false, 3), None, "a slot that is taken at once");
        assert_eq!(look(4, true, 4), None);
        assert_eq!(look(13, false, 4), None);
        assert_eq!(look(14, false, 4), Some(News::Room { turned_away: 4, seconds: 3 }));
        assert_eq!(look(60, false, 4), None);
        assert_eq!(look(61, false, 5), Some(News::TurnedAway), "one was turned away between two looks");
        assert_eq!(look(71, false, 5), Some(News::Room { turned_away: 1, seconds: 0 }));
        assert_eq!(look(80, true, 5), Some(News::Full), "nobody was turned away yet");
        assert_eq!(look(90, false, 5), Some(News::Room { turned_away: 0, seconds: 0 }));
    }
}
