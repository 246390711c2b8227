//! Where workers run: apart from requests, and unobserved.

use std::fmt;
use std::io;

use tokio::runtime;
use tracing::Dispatch;
use tracing::dispatcher::set_default;

/// A runtime with one thread, on which `tracing` leads nowhere: the clients that carry telemetry emit events and
/// spans of their own, and a backend that got those would eat its own tail.
pub struct Runtime(Option<runtime::Runtime>);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system did not give a thread or a poller.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(8)
            .thread_name("telemetry")
            // Kept for as long as the thread lives.
            .on_thread_start(|| std::mem::forget(set_default(&Dispatch::none())))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `task` until it ends or the runtime does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }

    /// Makes this the runtime that clients find when they are made.
    #[must_use]
    pub fn enter(&self) -> Option<runtime::EnterGuard<'_>> {
        self.0.as_ref().map(runtime::Runtime::enter)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting for it is not allowed where another runtime may be running, and not needed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
