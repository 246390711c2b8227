//! The wire: an item at a time, and a breaker for when Rollbar wants none.

mod answer;
mod wire;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use uuid::Uuid;

use self::answer::{Answer, answer, unsaid};
pub(super) use self::wire::{Http, Wire};
use super::desk::Desk;
use super::document;
use crate::telemetry::delivery::{Ledger, Measure, SendError, Sent, Sink, chain, random};

/// How often to look whether a person has mended what only a person can.
const PROBE: Duration = Duration::from_secs(600);
/// How much longer than asked for we wait at most: others wait for the same moment.
const JITTER: f64 = 0.1;

/// A finished item: what is posted, again and again where need be, under the same uuid, of which Rollbar takes one.
#[derive(Debug)]
pub(super) struct Item {
    id: Uuid,
    /// JSON, without the token.
    document: String,
    /// How often it has been called too large.
    too_large: AtomicU8,
}

impl Item {
    pub(super) fn new(id: Uuid, document: String) -> Self {
        Self { id, document, too_large: AtomicU8::new(0) }
    }

    /// What is to be posted; `None` when not even its bones were taken.
    fn form(&self) -> Option<Cow<'_, str>> {
        let read = || serde_json::from_str(&self.document).unwrap_or_default();
        match self.too_large.load(Ordering::Relaxed) {
            0 => Some(Cow::Borrowed(&self.document)),
            1 if self.document.len() > document::LESS => Some(document::fit(read(), document::LESS).into()),
            1 => {
                self.too_large.store(2, Ordering::Relaxed);
                Some(document::skeleton(&read()).into())
            }
            2 => Some(document::skeleton(&read()).into()),
            _ => None,
        }
    }
}

/// Posts items.
pub(super) struct Api<W> {
    wire: W,
    token: SecretString,
    desk: Desk,
    ledger: Arc<Ledger>,
    breaker: Mutex<Option<Breaker>>,
}

/// Rollbar wants no items.
#[derive(Debug)]
struct Breaker {
    since: Instant,
    cause: String,
    /// How many answers in a row spoke of a limit without saying how long it holds.
    unsaid: u32,
    /// What the ledger said when it opened.
    suppressed: u64,
    lost: u64,
}

impl<W: Wire> Api<W> {
    pub(super) fn new(wire: W, token: SecretString, desk: Desk, ledger: Arc<Ledger>) -> Self {
        Self { wire, token, desk, ledger, breaker: Mutex::default() }
    }

    /// Posts it, in smaller forms where it is too large: three posts at most.
    async fn post(&self, item: &Item) -> Result<Sent, SendError> {
        let mut cause = "it was too large before".to_owned();
        while let Some(form) = item.form() {
            let reply = self.wire.post(form.into_owned()).await;
            let reply = reply
                .map_err(|error| SendError::Retry { after: None, cause: chain(error.as_ref()).into() })?;
            // It may repeat what it was sent.
            let body = reply.body.replace(self.token.expose_secret(), "****");
            match answer(reply.status, &reply.headers, &body) {
                Answer::TooLarge(said) => {
                    item.too_large.fetch_add(1, Ordering::Relaxed);
                    cause = said;
                }
                other => return self.settle(other, item.id),
            }
        }
        Err(refused("http_413", item.id, &cause))
    }

    fn settle(&self, answer: Answer, id: Uuid) -> Result<Sent, SendError> {
        match answer {
            Answer::Taken => {
                self.close();
                Ok(Sent::default())
            }
            Answer::Limited { after, cause } => {
                let unsaid_before = self.open(&cause, after.is_none());
                let wait = after.unwrap_or_else(|| unsaid(unsaid_before));
                Err(SendError::Retry {
                    after: Some(wait.mul_f64(1.0 + JITTER * random())),
                    cause: cause.into(),
                })
            }
            Answer::Unwelcome(cause) => {
                self.open(&cause, false);
                Err(SendError::Hold { probe: PROBE, cause: cause.into() })
            }
            Answer::Failed(cause) => Err(SendError::Retry { after: None, cause: cause.into() }),
            Answer::TooLarge(cause) => Err(refused("http_413", id, &cause)),
            Answer::Refused { reason, cause } => Err(refused(reason, id, &cause)),
        }
    }

    /// Opens the breaker, unless it is open. Returns how many answers in a row have not said how long.
    fn open(&self, cause: &str, unsaid: bool) -> u32 {
        let tally = self.ledger.tally();
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breaker.get_or_insert_with(|| Breaker {
            since: Instant::now(),
            cause: cause.to_owned(),
            unsaid: 0,
            suppressed: tally.suppressed,
            lost: tally.lost(),
        });
        let before = breaker.unsaid;
        breaker.unsaid = if unsaid { before + 1 } else { 0 };
        before
    }

    /// Closes the breaker. Whoever looks at Rollbar is told that it was open, and what is missing.
    fn close(&self) {
        let open = self.breaker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Breaker { since, cause, suppressed, lost, .. }) = open else { return };
        let tally = self.ledger.tally();
        self.desk.notice(format!(
            "Rollbar took no items for {} s ({cause}): {} were suppressed and {} lost meanwhile, the others are late",
            since.elapsed().as_secs(),
            tally.suppressed.saturating_sub(suppressed),
            tally.lost().saturating_sub(lost),
        ));
    }
}

fn refused(reason: &'static str, id: Uuid, cause: &str) -> SendError {
    SendError::Reject { reason, cause: format!("item {id}: {cause}").into() }
}

impl<W: Wire> Sink for Api<W> {
    type Item = Item;

    fn measure(item: &Item) -> Measure {
        Measure { weight: size_of::<Item>() + item.document.len(), items: 1 }
    }

    fn encode(&self, item: &Item, into: &mut Vec<u8>) {
        into.extend_from_slice(item.id.as_bytes());
        into.extend_from_slice(item.document.as_bytes());
    }

    fn decode(&self, bytes: &[u8]) -> Option<Item> {
        let (id, document) = bytes.split_first_chunk()?;
        let document = std::str::from_utf8(document).ok().filter(|document| !document.is_empty())?;
        Some(Item::new(Uuid::from_bytes(*id), document.to_owned()))
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        // A batch is one item: that is all that a post takes.
        match batch {
            [item] => self.post(item).await,
            _ => Err(SendError::Split { reason: "not_one", cause: "a post takes one item".into() }),
        }
    }
}

#[cfg(test)]
mod tests;
