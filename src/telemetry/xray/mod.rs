//! AWS X-Ray: which requests are kept.

pub mod sampling;
