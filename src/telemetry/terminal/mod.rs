//! The view a newcomer sees: each finished request as a tree on the terminal, or as JSON lines for a machine.
//!
//! It is built as every backend is: a [`layer`](TerminalLayer) that enlists a view, a document drawn from the
//! record by a pure function, an exporter that puts documents on the wire, which here is standard output.

mod document;
mod exporter;
mod layer;

pub use self::exporter::Terminal;
pub use self::layer::{TerminalLayer, TerminalLog, Trees};

/// How requests and log events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Trees in colour.
    Pretty,
    /// Trees without colour.
    Plain,
    /// A JSON object a line: log events as they happen, and an access line for every request.
    Json,
}
