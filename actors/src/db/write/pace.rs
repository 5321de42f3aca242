//! How many records go in one transaction: half as many after one that took too long, then a few more after
//! each that did not.

/// It takes this many good transactions to grow from nothing to the most.
const STEPS: usize = 16;

pub(super) struct Pace {
    most: usize,
    now: usize,
}

impl Pace {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: most }
    }

    /// From 1 to the most.
    pub(super) fn size(&self) -> usize {
        self.now
    }

    /// A transaction of this size took too long.
    pub(super) fn was_too_slow(&mut self) {
        self.now = (self.now / 2).max(1);
    }

    /// A transaction arrived in time.
    pub(super) fn arrived(&mut self) {
        self.now = (self.now + self.most / STEPS + 1).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_takes_too_long_is_halved_down_to_one_and_grows_again() {
        let mut pace = Pace::new(500);
        let mut sizes = vec![];
        while pace.size() > 1 {
            sizes.push(pace.size());
            pace.was_too_slow();
        }
        assert_eq!(sizes, [500, 250, 125, 62, 31, 15, 7, 3]);
        pace.was_too_slow();
        assert_eq!(pace.size(), 1);
        (0..STEPS).for_each(|_| pace.arrived());
        assert_eq!(pace.size(), 500);
        pace.arrived();
        assert_eq!(pace.size(), 500);
    }
}
