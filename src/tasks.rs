//! How many of tokio's tasks are alive, over the runtimes of this process.
//!
//! An actix system runs what is bound to its thread, as actors, streams and requests are, in a set of its
//! own, which tokio does not count: these are in `switchboard_actors_live` and the metrics of the doors. What
//! is counted is the rest: the drivers of the database's connections, what writes records and processes
//! webhooks, and what libraries start.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use actors::metrics::{MetricSet as _, Registrar};
use prometheus::IntGauge;
use tokio::runtime::Handle;

actors::metrics! {
    struct TaskMetrics {
        /// Tokio tasks that are alive and not bound to a thread, such as the drivers of database connections;
        /// actors, streams and requests are bound to one.
        live: IntGauge = "switchboard_tasks_live";
    }
}

/// The runtimes that are asked. A cheap clone.
#[derive(Clone, Default)]
pub struct Tasks {
    runtimes: Arc<Mutex<Vec<Handle>>>,
}

impl Tasks {
    /// Registers the metric.
    ///
    /// # Errors
    /// The registry has it already.
    pub fn register(registry: &dyn Registrar) -> prometheus::Result<Self> {
        let tasks = Self::default();
        let counted = tasks.clone();
        TaskMetrics::build()?.register_read(registry, move |metrics| metrics.live.set(counted.live()))?;
        Ok(tasks)
    }

    /// Counts the tasks of this thread's runtime, which has it to itself, once: it may serve several sockets.
    pub fn count_worker(&self) {
        thread_local!(static COUNTED: Cell<bool> = const { Cell::new(false) });
        if !COUNTED.replace(true) {
            self.count(Handle::current());
        }
    }

    /// Counts the tasks of this runtime, too.
    pub fn count(&self, runtime: Handle) {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).push(runtime);
    }

    fn live(&self) -> i64 {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let live: usize = runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum();
        i64::try_from(live).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn tasks_are_counted_unless_they_are_bound_to_the_thread() {
        let registry = prometheus::Registry::new();
        let tasks = Tasks::register(&registry).unwrap();
        tasks.count(Handle::current());
        let live = || registry.gather()[0].get_metric()[0].get_gauge().get_value();
        let before = live();
        let free = [0, 1].map(|_| tokio::spawn(std::future::pending::<()>()));
        let bound = actix_rt::spawn(std::future::pending::<()>());
        assert_eq!(live() - before, 2.0);
        for task in free {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        assert_eq!(live(), before);
        bound.abort();
    }
}
