//! `traceparent` and `tracestate`, by W3C Trace Context.

use std::str::FromStr;

use http::HeaderMap;
use opentelemetry::trace::{SpanId, TraceId, TraceState};

use super::{TRACEPARENT, TRACESTATE, unhex};

/// The most members that a `tracestate` may have; W3C Trace Context section 3.3.1.1.
const MAX_MEMBERS: usize = 32;

/// What a well-formed `traceparent` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) sampled: bool,
}

/// The caller's span; `None` where the header is absent, repeated or malformed.
pub(super) fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    parse(value.to_str().ok()?.trim())
}

fn parse(text: &str) -> Option<TraceParent> {
    let mut fields = text.split('-');
    let (version, trace_id, span_id, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let version = lower_hex(version, 2)?;
    // A later version may append fields, version 0 may not, version ff is not allowed at all.
    if version == 0xff || (version == 0 && fields.next().is_some()) {
        return None;
    }
    let trace_id = TraceId::from(lower_hex(trace_id, 32)?);
    let span_id = SpanId::from(u64::try_from(lower_hex(span_id, 16)?).ok()?);
    let sampled = lower_hex(flags, 2)? & 1 == 1;
    let valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    valid.then_some(TraceParent { trace_id, span_id, sampled })
}

fn lower_hex(digits: &str, len: usize) -> Option<u128> {
    let lower = digits.len() == len && !digits.bytes().any(|digit| digit.is_ascii_uppercase());
    if lower { unhex(digits).ok() } else { None }
}

/// The vendors' state beside the ids; empty where it is absent, malformed or too long.
pub(super) fn state(headers: &HeaderMap) -> TraceState {
    let mut values = headers.get_all(TRACESTATE).iter();
    let Some(first) = values.next() else { return TraceState::NONE };
    let Ok(mut joined) = first.to_str().map(str::to_owned) else { return TraceState::NONE };
    for value in values {
        let Ok(value) = value.to_str() else { return TraceState::NONE };
        joined.push(',');
        joined.push_str(value);
    }
    let members: Vec<&str> = joined.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    if members.len() > MAX_MEMBERS {
        return TraceState::NONE;
    }
    TraceState::from_str(&members.join(",")).unwrap_or(TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const GOOD: &str = "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01";

    #[test]
    fn well_formed_parents_are_read() {
        let parent = parse(GOOD).unwrap();
        assert_eq!(parent.trace_id.to_string(), "4efaaf4d1e8720b39541901950019ee5");
        assert_eq!(parent.span_id.to_string(), "53995c3f42cd8ad8");
        assert!(parent.sampled);
        assert!(!parse("00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-02").unwrap().sampled);
        assert!(parse("cc-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01-what-comes").is_some());
    }

    #[test]
    fn malformed_parents_are_absent() {
        for bad in [
            "",
            "00",
            "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8",
            "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01-more",
            "ff-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01",
            "00-4EFAAF4D1E8720B39541901950019EE5-53995c3f42cd8ad8-01",
            "00-00000000000000000000000000000000-53995c3f42cd8ad8-01",
            "00-4efaaf4d1e8720b39541901950019ee5-0000000000000000-01",
            "00-+efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01",
            "00-4efaaf4d1e8720b39541901950019ee-53995c3f42cd8ad8-01",
            "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-1",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_repeated_parent_is_malformed() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(parent(&headers), None);
    }

    #[test]
    fn repeated_states_are_joined_and_bad_ones_dropped() {
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_static("a=1, b=2"));
        headers.append(TRACESTATE, HeaderValue::from_static("c=3"));
        assert_eq!(state(&headers).header(), "a=1,b=2,c=3");
        headers.append(TRACESTATE, HeaderValue::from_static("no equals sign"));
        assert_eq!(state(&headers), TraceState::NONE);
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_str(&many).unwrap());
        assert_eq!(state(&headers), TraceState::NONE);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(TRACEPARENT, value.clone());
                headers.append(TRACESTATE, value);
            }
            let _ = (parent(&headers), state(&headers));
        }
    }
}
