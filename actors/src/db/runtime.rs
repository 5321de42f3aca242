//! The threads of the database.

use tokio::runtime::Runtime;

/// The runtime the connections live on: a busy or ended arbiter does not hold them up.
pub(super) struct DbRuntime(Option<Runtime>);

impl DbRuntime {
    pub(super) fn start() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("db")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().expect("only dropping takes the runtime").handle().clone()
    }
}

impl Drop for DbRuntime {
    /// Dropping a runtime waits, which an async caller may not; this does not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
