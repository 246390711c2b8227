//! What stands in for the backends' destinations: on real sockets, and stricter than the real ones.

pub(crate) mod segment;
pub(crate) mod xray;
