//! Who a request is: one trace id and one span id, for every backend.
//!
//! Ids come in by `traceparent` and by `X-Amzn-Trace-Id`, whichever [`Propagator`] stands first; each header
//! keeps its own sampling decision, since `traceparent`'s flag speaks for OTLP and `Sampled=` for X-Ray.

mod amzn;
mod ids;
mod w3c;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::IdGenerator;

pub use self::amzn::{AmznTraceHeader, Sampled};
pub use self::ids::EpochIds;

/// `traceparent`, of W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`, of W3C Trace Context.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `traceresponse`, of W3C Trace Context level 2's draft: `traceparent`'s form, in an answer.
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// `X-Amzn-Trace-Id`, of AWS's load balancers and X-Ray.
pub const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// `baggage`, of W3C Baggage.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// A format in which ids and baggage cross process boundaries (`OTEL_PROPAGATORS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `baggage`.
    Baggage,
    /// `X-Amzn-Trace-Id`.
    Amzn,
}

impl Propagator {
    /// Every format, by the default precedence.
    pub const ALL: [Self; 3] = [Self::TraceContext, Self::Baggage, Self::Amzn];

    /// OpenTelemetry's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::Baggage => "baggage",
            Self::Amzn => "xray",
        }
    }

    /// The format of that name, in whatever case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|propagator| propagator.name().eq_ignore_ascii_case(name))
    }
}

/// A request's ids, as they came in or were drawn.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Shared by all four backends; X-Ray-shaped (seconds since 1970, then 96 random bits) unless it came in.
    pub trace_id: TraceId,
    /// The server span's and the segment's.
    pub span_id: SpanId,
    /// The caller's span, where the headers named one.
    pub parent: Option<SpanId>,
    /// `traceparent`'s sampled flag, where there was a `traceparent`.
    pub parent_sampled: Option<bool>,
    /// Whether the OTLP sampler kept this trace; it goes out in `traceparent` and `traceresponse`.
    pub sampled: bool,
    /// `tracestate`, handed on as it came in.
    pub trace_state: TraceState,
    /// `X-Amzn-Trace-Id` as it came in, with the pairs that must be handed on.
    pub amzn: Option<AmznTraceHeader>,
}

impl Identity {
    /// Takes the ids out of `headers`, the first of `propagators` that has a trace id winning, and draws what
    /// is missing; a trace of its own begins when the request has `started`. What is malformed is treated as absent.
    /// `sampled` is false until a sampler has decided.
    #[must_use]
    pub fn extract(
        headers: &HeaderMap,
        propagators: &[Propagator],
        ids: &EpochIds,
        started: SystemTime,
    ) -> Self {
        let mut identity = Self {
            trace_id: TraceId::INVALID,
            span_id: ids.new_span_id(),
            parent: None,
            parent_sampled: None,
            sampled: false,
            trace_state: TraceState::NONE,
            amzn: None,
        };
        for propagator in propagators {
            match propagator {
                Propagator::TraceContext => identity.take_trace_context(headers),
                Propagator::Amzn => identity.take_amzn(headers),
                Propagator::Baggage => {}
            }
        }
        if identity.trace_id == TraceId::INVALID {
            identity.trace_id = ids.new_trace_id_at(started);
        }
        identity
    }

    fn take_trace_context(&mut self, headers: &HeaderMap) {
        let Some(parent) = w3c::parent(headers) else { return };
        self.parent_sampled = Some(parent.sampled);
        if self.trace_id == TraceId::INVALID {
            self.trace_id = parent.trace_id;
            self.parent = Some(parent.span_id);
        }
        if self.trace_id == parent.trace_id {
            self.trace_state = w3c::state(headers);
        }
    }

    fn take_amzn(&mut self, headers: &HeaderMap) {
        let Some(header) = headers.get(X_AMZN_TRACE_ID).and_then(|value| value.to_str().ok()) else { return };
        let header = AmznTraceHeader::parse(header);
        if let (TraceId::INVALID, Some(root)) = (self.trace_id, header.root) {
            self.trace_id = root;
            self.parent = header.parent;
        }
        self.amzn = Some(header);
    }

    /// The server span's context, as its children and the sampler of this process see it.
    #[must_use]
    pub fn span_context(&self) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(self.sampled);
        SpanContext::new(self.trace_id, self.span_id, flags, false, self.trace_state.clone())
    }

    /// The caller's span context, where a `traceparent` brought the decision that a parent-based sampler asks
    /// for. The decision of `X-Amzn-Trace-Id` is not OTLP's.
    #[must_use]
    pub fn remote_parent(&self) -> Option<SpanContext> {
        let flags = TraceFlags::default().with_sampled(self.parent_sampled?);
        let span_id = self.parent.unwrap_or(self.span_id);
        Some(SpanContext::new(self.trace_id, span_id, flags, true, self.trace_state.clone()))
    }

    /// `00-<trace>-<span>-<flags>`: the value of `traceresponse`, and of `traceparent` for a call made by this
    /// very span.
    #[must_use]
    pub fn trace_parent(&self) -> HeaderValue {
        trace_parent(self.trace_id, self.span_id, self.sampled)
    }
}

/// `00-<trace>-<span>-<flags>`.
#[must_use]
pub fn trace_parent(trace_id: TraceId, span_id: SpanId, sampled: bool) -> HeaderValue {
    let flags: &[u8; 2] = if sampled { b"01" } else { b"00" };
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[3..35].copy_from_slice(hex_pairs(trace_id.to_bytes()).as_flattened());
    text[36..52].copy_from_slice(hex_pairs(span_id.to_bytes()).as_flattened());
    text[53..].copy_from_slice(flags);
    ascii_value(&text)
}

/// A trace id in X-Ray's form: `1-<8 hex>-<24 hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmznTraceId(pub TraceId);

impl AmznTraceId {
    /// Its digits and its dashes.
    #[must_use]
    pub fn digits(self) -> [u8; 35] {
        let mut text = *b"1-00000000-000000000000000000000000";
        let pairs = hex_pairs(self.0.to_bytes());
        let (epoch, rest) = pairs.as_flattened().split_at(8);
        text[2..10].copy_from_slice(epoch);
        text[11..].copy_from_slice(rest);
        text
    }
}

impl fmt::Display for AmznTraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl FromStr for AmznTraceId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let mut parts = text.splitn(3, '-');
        let (Some("1"), Some(epoch), Some(random)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAnId);
        };
        let (8, 24) = (epoch.len(), random.len()) else { return Err(NotAnId) };
        let id = (unhex(epoch)? << 96) | unhex(random)?;
        if id == 0 { Err(NotAnId) } else { Ok(Self(TraceId::from(id))) }
    }
}

/// The text is not an id of the form that its header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct NotAnId;

/// Reads hexadecimal digits of either case; unlike `from_str_radix` it takes no sign.
fn unhex(digits: &str) -> Result<u128, NotAnId> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(NotAnId);
    }
    u128::from_str_radix(digits, 16).map_err(|_| NotAnId)
}

/// Lowercase hexadecimal digits, two for each byte.
#[must_use]
#[inline]
pub fn hex_pairs<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    let mut pairs = [[0; 2]; N];
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = HEX[usize::from(byte)];
    }
    pairs
}

/// Each byte's two digits.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// An id as its hexadecimal digits: what its `to_string` says, for a tenth of the work.
#[must_use]
pub fn id_text<const BYTES: usize>(id: [u8; BYTES]) -> String {
    String::from_utf8(hex_pairs(id).as_flattened().to_vec()).unwrap_or_default()
}

fn ascii_value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

/// `Root=1-<8 hex>-<24 hex>`: how every answer names its trace to AWS's tools.
#[must_use]
pub fn amzn_root(trace_id: TraceId) -> HeaderValue {
    let mut text = *b"Root=1-00000000-000000000000000000000000";
    text[5..].copy_from_slice(&AmznTraceId(trace_id).digits());
    ascii_value(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W3C: &str = "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01";
    const AMZN: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=2440c77113924d23;Sampled=0";
    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn extract(pairs: &[(&'static str, &str)], propagators: &[Propagator]) -> Identity {
        Identity::extract(&headers(pairs), propagators, &EpochIds::default(), SystemTime::now())
    }

    #[test]
    fn the_first_propagator_with_a_trace_id_wins_and_each_header_keeps_its_decision() {
        let both = [("traceparent", W3C), ("x-amzn-trace-id", AMZN)];

        let identity = extract(&both, &Propagator::ALL);
        assert_eq!(identity.trace_id.to_string(), "4efaaf4d1e8720b39541901950019ee5");
        assert_eq!(identity.parent.unwrap().to_string(), "53995c3f42cd8ad8");
        assert_eq!(identity.parent_sampled, Some(true));
        assert_eq!(identity.amzn.unwrap().sampled, Some(Sampled::No));

        let identity = extract(&both, &[Propagator::Amzn, Propagator::TraceContext]);
        assert_eq!(identity.trace_id.to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(identity.parent.unwrap().to_string(), "2440c77113924d23");
        assert_eq!(identity.parent_sampled, Some(true));

        let identity = extract(&both, &[]);
        assert_eq!((identity.parent, identity.parent_sampled), (None, None));
        assert!(identity.amzn.is_none());
    }

    #[test]
    fn a_decision_without_a_root_gets_a_new_id() {
        let identity = extract(&[("x-amzn-trace-id", "Sampled=1")], &Propagator::ALL);
        assert_ne!(identity.trace_id, TraceId::INVALID);
        assert_eq!(identity.parent, None);
        assert_eq!(identity.amzn.unwrap().sampled, Some(Sampled::Yes));
    }

    #[test]
    fn a_malformed_root_brings_no_parent() {
        let identity =
            extract(&[("x-amzn-trace-id", "Root=1-xyz;Parent=53995c3f42cd8ad8")], &Propagator::ALL);
        assert_eq!(identity.parent, None);
    }

    #[test]
    fn trace_state_is_kept_only_with_the_trace_it_came_with() {
        let pairs = [("traceparent", W3C), ("tracestate", "congo=t61rcWkgMzE"), ("x-amzn-trace-id", AMZN)];
        assert_eq!(extract(&pairs, &Propagator::ALL).trace_state.get("congo"), Some("t61rcWkgMzE"));
        let amzn_first = [Propagator::Amzn, Propagator::TraceContext];
        assert_eq!(extract(&pairs, &amzn_first).trace_state, TraceState::NONE);
    }

    #[test]
    fn ids_are_written_in_both_forms() {
        let mut identity = extract(&[("traceparent", W3C)], &Propagator::ALL);
        identity.span_id = SpanId::from(0xab);
        identity.sampled = true;
        assert_eq!(identity.trace_parent(), "00-4efaaf4d1e8720b39541901950019ee5-00000000000000ab-01");
        assert_eq!(amzn_root(identity.trace_id), "Root=1-4efaaf4d-1e8720b39541901950019ee5");
        let text = AmznTraceId(identity.trace_id).to_string();
        assert_eq!(text, "1-4efaaf4d-1e8720b39541901950019ee5");
        assert_eq!(text.parse(), Ok(AmznTraceId(identity.trace_id)));
        assert_eq!(id_text(identity.trace_id.to_bytes()), identity.trace_id.to_string());
        assert_eq!(id_text(identity.span_id.to_bytes()), identity.span_id.to_string());
    }
}
