//! The timer of a connection's heads.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt;
use tokio::time::{Sleep, sleep_until};

use super::aside::Aside;

/// Bounds how long each of a connection's heads takes, with one timer for all of them. hyper wants a new one for each,
/// and to start and to stop it takes the lock of all timers both times. This one runs on, and is set again where it
/// rings before its time.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Aside<Sleep>>>>);

/// The wait for one head.
struct HeadSleep {
    deadline: Instant,
    /// The connection's, started when a head is first waited for.
    timer: HeadTimer,
}

impl rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(HeadSleep { deadline, timer: self.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl rt::Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let running = timer.get_or_insert_with(|| Aside::new(sleep_until(self.deadline.into())));
            ready!(Pin::new(running).poll(cx));
            *timer = None;
            if rt::Timer::now(&self.timer) >= self.deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer as _;
    use tokio::time::{advance, timeout};

    use super::*;

    const HALF: Duration = Duration::from_secs(5);
    const WHOLE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_whole_time_though_one_timer_runs_for_all() {
        let timer = HeadTimer::default();
        for _ in 0..5 {
            let mut head = timer.sleep(WHOLE);
            assert!(timeout(HALF, &mut head).await.is_err());
        }
        let begun = timer.now();
        timer.sleep(WHOLE).await;
        assert_eq!(timer.now() - begun, WHOLE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_when_it_is_asked_for_is_over() {
        let timer = HeadTimer::default();
        let late = timer.sleep(HALF);
        advance(WHOLE).await;
        let begun = timer.now();
        late.await;
        // Timers count milliseconds.
        assert!(timer.now() - begun <= Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_nobody_waits_for_any_more_leaves_its_timer_to_the_next() {
        let timer = HeadTimer::default();
        let deadline = || timer.0.lock().unwrap().as_ref().map(|running| running.inner().deadline());
        let mut head = timer.sleep(WHOLE);
        assert!(timeout(HALF, &mut head).await.is_err());
        drop(head);
        let begun = deadline();
        assert!(begun.is_some());
        assert!(timeout(HALF / 2, timer.sleep(WHOLE)).await.is_err());
        assert_eq!(deadline(), begun, "it runs on");
    }
}
