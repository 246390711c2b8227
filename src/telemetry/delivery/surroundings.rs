//! What every backend is given to start its deliveries with.

use std::sync::Arc;

use super::Delivery;
use super::ledger::{Books, Ledger};
use super::runtime::Runtime;
use super::sink::Sink;
use super::spool::{Spool, SpoolError};
use super::status::{Notice, Status};
use super::worker::Policy;

/// Where deliveries run, who keeps their accounts and their leftovers, and who is told.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a notice is a function")]
pub struct Surroundings<'a> {
    /// Where workers run.
    pub runtime: &'a Runtime,
    /// All ledgers.
    pub books: &'a Books,
    /// Who is told of troubles.
    pub notice: &'a Notice,
    /// What outlives the process, where anything does.
    pub spool: Option<&'a Spool>,
}

impl Surroundings<'_> {
    /// Starts to deliver through `sink` to `destination`, which must not contain secrets, by the books of `ledger`,
    /// which is open under `name`. Where there is a spool, it keeps what cannot be delivered for a while.
    ///
    /// # Errors
    /// The spool cannot be used.
    pub fn deliver<S: Sink>(
        &self,
        name: &'static str,
        destination: impl Into<String>,
        ledger: Arc<Ledger>,
        policy: Policy,
        sink: S,
    ) -> Result<Delivery<S::Item>, SpoolError> {
        let status = Status::new(destination, self.notice.clone());
        let log = self.spool.map(|spool| spool.log(name, policy.keep, Arc::clone(&ledger), status.clone()));
        Ok(Delivery::start_spooled(sink, policy, status, ledger, log.transpose()?, self.runtime))
    }
}
