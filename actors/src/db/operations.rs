//! What an operator may order.

use super::handles::Operations;
use super::write::refused;

impl Operations {
    /// Allows so many connections from now on, 1 to 1,000; what is outside is brought inside. A larger pool
    /// serves those who wait at once; a smaller one closes connections as soon as nobody uses them.
    pub fn resize_pool(&self, size: u32) {
        self.0.shared.pool.resize(size);
    }

    /// Asks the database now to take the records that it refused, as is done every few minutes. Returns how
    /// many of the first 1,000 it took.
    pub async fn retry_refused(&self) -> usize {
        refused::round(&self.0.shared, &mut 0).await.map_or(0, |round| round.written)
    }
}
