//! Where workers run: apart from requests, and unobserved.

use std::fmt;
use std::io;

use tokio::runtime::{self, Handle};
use tracing::Dispatch;
use tracing::dispatcher::set_default;

/// A runtime with one thread, on which `tracing` leads nowhere: the clients that carry telemetry emit events and
/// spans of their own, and a backend that got those would eat its own tail.
pub struct Runtime {
    /// `None` where it is somebody else's.
    own: Option<runtime::Runtime>,
    handle: Handle,
}

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
        Ok(Self { handle: runtime.handle().clone(), own: Some(runtime) })
    }

    /// The runtime that the caller is in, whose clock a test can stop.
    #[cfg(test)]
    #[must_use]
    pub fn here() -> Self {
        Self { own: None, handle: Handle::current() }
    }

    /// Runs `task` until it ends or the runtime does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Makes this the runtime that clients find when they are made.
    pub fn enter(&self) -> runtime::EnterGuard<'_> {
        self.handle.enter()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting for it is not allowed where another runtime may be running, and not needed.
        if let Some(runtime) = self.own.take() {
            runtime.shutdown_background();
        }
    }
}
