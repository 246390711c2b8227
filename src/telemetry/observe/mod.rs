//! The observing core, which knows no vendor: every request is observed once.
//!
//! [`ObserveLayer`] opens an [`Exchange`] for each request. While it is in flight, what becomes known is noted in
//! it: the spans and log events that the application emits ([`Spans`], [`EventLayer`]), the error or the
//! panic that it fails with ([`Fault`], [`CatchPanicLayer`]). When the response's body has ended, or the client
//! has left, the exchange becomes one immutable [`RequestRecord`], and each [`View`] that a backend's layer has
//! enlisted is told.
//!
//! ```text
//! layer -> future -> body               a request's way
//! exchange (facts) -> record -> later   what is noted of it, and when its views are told
//! address, heads, identity, forwarded, redact   what may be known of its head
//! clock                                 when it was
//! spans, events, collect                what happens inside: by `tracing`, and by OpenTelemetry's API
//! log, panic, fault                     what is said of it
//! conventions, line                     what a record is called in OpenTelemetry's words, and as a JSON line
//! ```

mod address;
mod body;
mod clock;
mod collect;
pub mod conventions;
mod enlist;
mod events;
mod exchange;
mod facts;
mod fault;
mod fields;
mod forwarded;
pub mod frames;
mod future;
mod heads;
mod heard;
mod identity;
mod later;
mod layer;
pub mod line;
mod log;
mod panic;
mod record;
pub mod redact;
mod shards;
mod span;
mod spans;
mod task;
mod view;

pub use self::address::{Address, Peer};
pub use self::body::ObserveBody;
pub use self::clock::nanos;
pub use self::collect::{Outside, RecordAll, SpanCollector};
pub use self::enlist::{Enlist, EnlistLayer, Enlisting, Views};
pub use self::events::EventLayer;
pub use self::exchange::{Exchange, new_error_id};
pub use self::fault::{Cause, Fault};
pub use self::future::ObserveFuture;
pub use self::heads::KeptHeaders;
pub use self::heard::Heard;
pub use self::identity::{
    AmznTraceHeader, AmznTraceId, BAGGAGE, EpochIds, Identity, NotAnId, Propagator, Sampled, TRACEPARENT,
    TRACERESPONSE, TRACESTATE, X_AMZN_TRACE_ID, amzn_root, hex_pairs, id_text, trace_parent,
};
pub use self::later::{attend, on_thread_park, tell_all};
pub use self::layer::{Observe, ObserveLayer, Settings};
pub use self::log::{EventId, LogEvent, LogView};
pub use self::panic::{CatchPanic, CatchPanicFuture, CatchPanicLayer, PanicReport, install_hook};
pub use self::record::{
    Opening, Outcome, RequestFacts, RequestRecord, Scheme, Stage, Verdict, attributes_weight, span_weight,
};
pub use self::spans::Spans;
pub use self::task::InCurrentExchange;
pub use self::view::View;
