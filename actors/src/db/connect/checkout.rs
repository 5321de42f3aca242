//! A connection for the time of a question, and what becomes of it afterwards.

use std::ops::{Deref, DerefMut};

use bb8::PooledConnection;
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Connection;
use super::manager::Manager;
use super::pool::Pool;

/// Goes back to the pool when dropped. If whoever asked did not wait for the answer, that is waited for
/// first, and the connection closed if it takes too long: the next one to use it would wait in his place.
pub(in crate::db) struct Checkout {
    /// Taken by `drop` alone.
    lent: Option<(PooledConnection<'static, Manager>, OwnedSemaphorePermit)>,
    pool: Pool,
}

impl Checkout {
    pub(super) fn new(
        connection: PooledConnection<'static, Manager>,
        turn: OwnedSemaphorePermit,
        pool: Pool,
    ) -> Self {
        Self { lent: Some((connection, turn)), pool }
    }
}

impl Deref for Checkout {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.lent.as_ref().expect("only `drop` takes it").0
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.lent.as_mut().expect("only `drop` takes it").0
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some((mut connection, turn)) = self.lent.take() else { return };
        if connection.owes_an_answer() && !self.pool.seen().is_away() {
            self.pool.runtime().spawn(async move {
                connection.settle().await;
                give_back(connection, turn);
            });
            return;
        }
        if self.pool.has_too_many() {
            connection.retire();
        }
        give_back(connection, turn);
    }
}

/// The turn goes last: whoever gets it finds the connection.
fn give_back(connection: PooledConnection<'static, Manager>, turn: OwnedSemaphorePermit) {
    drop(connection);
    drop(turn);
}
