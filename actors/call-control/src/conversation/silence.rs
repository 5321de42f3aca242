//! When a silence is bridged by a filler phrase: the caller hears nothing, does not speak, and the agent owes
//! them something.
//! Pure.

use crate::Millis;

/// How long a silence lasts before it is bridged, the first time and again after each filler. The last one is
/// repeated until the service is back or a person takes over.
const PAUSES_MS: [Millis; 4] = [2_000, 2_500, 4_000, 8_000];

/// The silence the caller hears, if it is the agent's fault.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Silence {
    since: Option<Millis>,
    /// Fillers since the caller or the agent last spoke.
    in_a_row: usize,
    /// Fillers of the whole call.
    fillers: usize,
}

impl Silence {
    /// Whether the caller is kept waiting in silence now.
    pub fn observe(&mut self, waiting: bool, now: Millis) {
        self.since = waiting.then(|| self.since.unwrap_or(now));
    }

    /// The caller or the agent speaks.
    pub fn ends(&mut self) {
        self.since = None;
        self.in_a_row = 0;
    }

    /// Since the caller or the agent last spoke, a filler was said.
    pub fn is_bridged(&self) -> bool {
        self.in_a_row > 0
    }

    /// When it has lasted long enough.
    pub fn deadline(&self) -> Option<Millis> {
        Some(self.since? + PAUSES_MS[self.in_a_row.min(PAUSES_MS.len() - 1)])
    }

    /// The number of the next filler in the call, from 0.
    pub fn next_filler(&self) -> usize {
        self.fillers
    }

    /// A filler is said now.
    pub fn bridged(&mut self) {
        self.since = None;
        self.in_a_row += 1;
        self.fillers += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_bridged_at_growing_intervals_until_it_ends() {
        let mut silence = Silence::default();
        let mut now = 1_000;
        let mut bridged = vec![];
        for _ in 0..6 {
            silence.observe(true, now);
            silence.observe(true, now + 1);
            let due = silence.deadline().unwrap();
            bridged.push(due - now);
            now = due;
            silence.bridged();
        }
        assert_eq!(bridged, [2_000, 2_500, 4_000, 8_000, 8_000, 8_000]);
    }

    #[test]
    fn a_silence_begins_anew_when_somebody_has_spoken() {
        let mut silence = Silence::default();
        silence.observe(true, 0);
        silence.bridged();
        silence.observe(true, 3_000);
        silence.observe(false, 4_000);
        assert_eq!(silence.deadline(), None);
        silence.observe(true, 5_000);
        assert_eq!(silence.deadline(), Some(7_500), "the second of a row");
        silence.ends();
        silence.observe(true, 9_000);
        assert_eq!((silence.deadline(), silence.next_filler()), (Some(11_000), 1));
    }
}
