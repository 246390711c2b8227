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
            .on_thread_start(|| {
                // Kept for as long as the thread lives.
                std::mem::forget(set_default(&Dispatch::none()));
                yield_to_requests();
            })
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

/// Has this thread never interrupt another when it wakes, be it in the middle of a request: it gets as much of a core as
/// it would otherwise, a few milliseconds later (`SCHED_BATCH`, by `sched(7)`). Where that is not allowed, all goes on.
#[cfg(target_os = "linux")]
fn yield_to_requests() {
    let parameters = libc::sched_param { sched_priority: 0 };
    #[expect(unsafe_code, reason = "the crate that has this call, thread-priority, sets the niceness too")]
    // SAFETY: 0 is the thread that calls, and the parameters, which are read only, outlive the call.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters)
    };
}

#[cfg(not(target_os = "linux"))]
fn yield_to_requests() {}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting for it is not allowed where another runtime may be running, and not needed.
        if let Some(runtime) = self.own.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_wait_until_a_request_lets_them() {
        let runtime = Runtime::start().unwrap();
        let (policy, told) = tokio::sync::oneshot::channel();
        // Field 41 of `proc_pid_stat(5)`; the second may have blanks, and ends with the last bracket.
        let own = || std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let policy_of = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(38)?.parse().ok();
        runtime.spawn(async move { policy.send(own()).unwrap() });
        assert_eq!(policy_of(&told.await.unwrap()), Some(libc::SCHED_BATCH));
        assert_eq!(policy_of(&own()), Some(libc::SCHED_OTHER), "nobody else's");
    }
}
