//! What the end of an exchange leaves for later: to tell its views.
//!
//! To tell them takes as long as all else that is done to observe a request, because they draw their documents. Done where
//! the exchange ends, it would keep the last of the response from being written. So a thread that has times of leisure tells
//! them then, of all the exchanges that have ended well on it since the last one. Failures are told at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::exchange::{Ended, tell_ended};

/// Of how many exchanges a thread has not told the views yet, at most.
const MOST: usize = 16;
/// How long the views of an exchange wait that ended on a thread which has been at something else ever since. With what
/// items may wait in memory it is less than the 200 ms after which they are on disk.
const PATIENCE: Duration = Duration::from_millis(40);
/// So many desks that threads rarely meet at one.
const COUNT: usize = 16;

/// One for each thread, or for a few.
static DESKS: [Desk; COUNT] =
    [const { Desk { ended: Mutex::new(Vec::new()), telling: Mutex::new(()) } }; COUNT];
/// Something has come to a desk.
static CAME: Notify = Notify::const_new();

thread_local! {
    /// Which desk is this thread's, once it is known to have times of leisure.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// To be called by threads that serve requests, whenever they have nothing else to do: tells the views of the exchanges that
/// have ended on this thread. From the first call on, it is left for the next.
///
/// It is what tokio's `on_thread_park` wants. A thread that never calls it tells views as soon as an exchange ends.
pub fn on_thread_park() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let own = OWN.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        OWN.set(Some(own));
        own
    });
    DESKS[own].tell();
}

/// Leaves it to this thread's next time of leisure to tell the views; gives them back where it is not known to have any.
pub(super) fn put_off(ended: Ended) -> Option<Ended> {
    // Where the thread is about to end, it has no such time.
    let Ok(Some(own)) = OWN.try_with(Cell::get) else { return Some(ended) };
    match DESKS[own].put(ended) {
        1 => CAME.notify_one(),
        MOST.. => DESKS[own].tell_unless_told(),
        _ => {}
    }
    None
}

/// Tells the views of all exchanges that have ended, on whatever thread: when it returns, all have been told.
pub fn tell_all() {
    DESKS.iter().for_each(Desk::tell);
}

/// Tells the views of exchanges whose thread has no time for it. Never ends.
pub async fn attend() {
    loop {
        CAME.notified().await;
        sleep(PATIENCE).await;
        tell_all();
    }
}

/// Exchanges that have ended, oldest first.
struct Desk {
    /// Those whose views have not been told.
    ended: Mutex<Vec<Ended>>,
    /// Held by whoever tells the views of those who were here.
    telling: Mutex<()>,
}

impl Desk {
    /// Says how many there are now.
    fn put(&self, one: Ended) -> usize {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push(one);
        ended.len()
    }

    fn tell(&self) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_taken();
    }

    /// Somebody may be at it: another thread, or this one further up, where a view has ended an exchange.
    fn tell_unless_told(&self) {
        match self.telling.try_lock() {
            Ok(_telling) => self.tell_taken(),
            Err(TryLockError::Poisoned(_telling)) => self.tell_taken(),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    fn tell_taken(&self) {
        let ended = {
            let mut here = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if here.is_empty() {
                return;
            }
            // Room for as many at once, for what grows is copied again and again.
            let room = Vec::with_capacity(here.len());
            std::mem::replace(&mut *here, room)
        };
        tell_ended(ended);
    }
}
