//! The observing core.

mod exchange;
mod fault;

pub use self::exchange::Exchange;
pub use self::fault::{Cause, Fault};
