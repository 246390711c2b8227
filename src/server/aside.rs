//! A future that waits beside a busy one.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future only when that one has asked for it: a task that is woken for each request would otherwise ask each
/// time whether it is to end, under a lock that all connections share.
pub(super) struct Aside<F> {
    inner: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// What the inner future wakes: the bell.
    waker: Waker,
    /// Whom the bell wakes.
    task: Option<Waker>,
}

struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future> Aside<F> {
    pub(super) fn new(inner: F) -> Self {
        // Rung, so that it is polled once.
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::default() });
        Self { inner: Box::pin(inner), waker: Waker::from(Arc::clone(&bell)), bell, task: None }
    }
}

#[cfg(test)]
impl<F> Aside<F> {
    pub(super) fn inner(&self) -> &F {
        &self.inner
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            this.task = Some(cx.waker().clone());
            this.bell.wake_from_now_on(cx.waker());
        }
        // Read after the task is known: who rings later wakes it.
        if !this.bell.rung.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        this.bell.rung.store(false, Ordering::SeqCst);
        this.inner.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

impl Bell {
    fn wake_from_now_on(&self, task: &Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.iter().for_each(Waker::wake_by_ref);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Counted>, Waker) {
        let counted = Arc::new(Counted(AtomicUsize::new(0)));
        (Arc::clone(&counted), Waker::from(counted))
    }

    #[test]
    fn it_is_polled_when_it_has_asked_for_it_and_not_before() {
        let (ring, mut rung) = oneshot::channel::<()>();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let mut aside = pin!(Aside::new(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            Pin::new(&mut rung).poll(cx)
        })));
        let (woken, waker) = task();
        for _ in 0..3 {
            assert!(aside.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!((polls.load(Ordering::SeqCst), woken.0.load(Ordering::SeqCst)), (1, 0));
        ring.send(()).unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(aside.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn it_wakes_the_task_that_polled_it_last() {
        let (ring, rung) = oneshot::channel::<()>();
        let mut aside = pin!(Aside::new(rung));
        let ((first, one), (second, other)) = (task(), task());
        for waker in [&one, &other] {
            assert!(aside.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        drop(ring);
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
        assert!(aside.as_mut().poll(&mut Context::from_waker(&other)).is_ready(), "the ringer is gone");
    }
}
