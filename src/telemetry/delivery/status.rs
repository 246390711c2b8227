//! How a delivery is doing, in a sentence, and who is told when that changes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;

/// How often the same trouble is told.
const QUIET: Duration = Duration::from_secs(60);

/// Tells people what a delivery has to say. Workers run where no event is observed, lest a backend eat its own
/// tail, so what they say takes this way.
pub type Notice = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// One delivery's state. Cloning shares it.
#[derive(Clone)]
pub struct Status(Arc<Inner>);

struct Inner {
    destination: String,
    notice: Notice,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    told: Option<Instant>,
    delivered: bool,
    loss: Option<Loss>,
    /// Why, and since when, nothing can be spooled.
    unspooled: Option<(String, Instant)>,
}

/// The last time that something was lost.
#[derive(Debug)]
struct Loss {
    reason: String,
    cause: String,
    at: Instant,
}

#[derive(Debug)]
struct Trouble {
    cause: String,
    since: Instant,
    until: Option<Instant>,
    failures: u32,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("destination", &self.0.destination).finish_non_exhaustive()
    }
}

impl Status {
    /// The state of a delivery to `destination`, which must not contain secrets.
    #[must_use]
    pub fn new(destination: impl Into<String>, notice: Notice) -> Self {
        Self(Arc::new(Inner { destination: destination.into(), notice, state: Mutex::default() }))
    }

    /// How it is doing.
    #[must_use]
    pub fn sentence(&self) -> String {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let destination = &self.0.destination;
        let now = match &state.trouble {
            None if state.delivered => format!("delivering to {destination}"),
            None => format!("nothing delivered to {destination} yet"),
            Some(Trouble { cause, since, until, failures }) => {
                let (lasting, now) = (since.elapsed().as_secs(), Instant::now());
                let next = until.map_or(0, |until| until.saturating_duration_since(now).as_secs());
                format!(
                    "not delivering to {destination} for {lasting} s ({failures} failures, next try in {next} s): \
                     {cause}"
                )
            }
        };
        let unspooled = state.unspooled.as_ref().map_or_else(String::new, |(cause, since)| {
            format!("; nothing can be spooled for {} s: {cause}", since.elapsed().as_secs())
        });
        match &state.loss {
            None => now + &unspooled,
            Some(Loss { reason, cause, at }) => {
                let ago = at.elapsed().as_secs();
                format!("{now}; items were lost {ago} s ago ({reason}): {cause}{unspooled}")
            }
        }
    }

    /// A former process left items on disk.
    pub(super) fn adopted(&self, items: u64) {
        if items > 0 {
            let text = format!("{}: {items} items of an earlier run are in the spool", self.0.destination);
            self.tell(Level::INFO, &text);
        }
    }

    /// The disk does not take what should be on it.
    pub(super) fn spool_failed(&self, cause: &str) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = state.unspooled.is_none();
        let since = state.unspooled.take().map_or_else(Instant::now, |(_, since)| since);
        state.unspooled = Some((cause.to_owned(), since));
        drop(state);
        if is_new {
            let text =
                format!("{}: nothing can be spooled, so that memory is all: {cause}", self.0.destination);
            self.tell(Level::ERROR, &text);
        }
    }

    /// The disk takes it again.
    pub(super) fn spool_works(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, since)) = state.unspooled.take() else { return };
        drop(state);
        let lasted = since.elapsed().as_secs();
        self.tell(Level::INFO, &format!("{}: spooling again after {lasted} s", self.0.destination));
    }

    /// Something else that people should know.
    pub(super) fn warn(&self, text: &str) {
        self.tell(Level::WARN, &format!("{}: {text}", self.0.destination));
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.delivered = true;
        let Some(trouble) = state.trouble.take() else { return };
        state.told = None;
        drop(state);
        let lasted = trouble.since.elapsed().as_secs();
        self.tell(Level::INFO, &format!("delivering to {} again after {lasted} s", self.0.destination));
    }

    /// Items stay, and will be tried again at `until`.
    pub(super) fn failed(&self, cause: &str, failures: u32, until: Option<Instant>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.trouble.take().map_or_else(Instant::now, |trouble| trouble.since);
        state.trouble = Some(Trouble { cause: cause.to_owned(), since, until, failures });
        self.tell_seldom(state, Level::WARN, &format!("{}: {cause}", self.0.destination));
    }

    /// Items are lost.
    pub(super) fn lost(&self, items: u64, reason: &str, cause: &str) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.loss = Some(Loss { reason: reason.to_owned(), cause: cause.to_owned(), at: Instant::now() });
        let text = format!("{}: {items} items are lost ({reason}): {cause}", self.0.destination);
        self.tell_seldom(state, Level::ERROR, &text);
    }

    fn tell_seldom(&self, mut state: std::sync::MutexGuard<'_, State>, level: Level, text: &str) {
        let now = Instant::now();
        if state.told.is_some_and(|told| now.duration_since(told) < QUIET) {
            return;
        }
        state.told = Some(now);
        drop(state);
        self.tell(level, text);
    }

    fn tell(&self, level: Level, text: &str) {
        (self.0.notice)(level, text);
    }
}
