//! What a receiver's answer means, by the OTLP specification: pure functions.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::telemetry::delivery::{SendError, excerpt};

/// How often to look whether a person has mended what only a person can.
const PROBE: Duration = Duration::from_secs(60);
/// How much of an answer is shown.
const EXCERPT: usize = 200;

/// What an HTTP status other than 2xx means.
pub(super) fn http(
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    honeycomb: bool,
    now: SystemTime,
) -> SendError {
    let said = excerpt(body, EXCERPT);
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let after =
                headers.get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
            SendError::Retry { after, cause: format!("{status}{said}").into() }
        }
        401 | 403 => {
            let cause = format!("{status}: {}{said}", credentials_hint(honeycomb));
            SendError::Hold { probe: PROBE, cause: cause.into() }
        }
        404 | 405 => {
            let hint = "nothing takes this signal at this URL; check the path of the endpoint, or switch the signal \
                        off (OTEL_TRACES_EXPORTER or OTEL_METRICS_EXPORTER=none)";
            SendError::Hold { probe: PROBE, cause: format!("{status}: {hint}{said}").into() }
        }
        300..=399 => {
            let hint = "the receiver is somewhere else, and redirects are not followed; correct the endpoint";
            SendError::Hold { probe: PROBE, cause: format!("{status}: {hint}{said}").into() }
        }
        415 => {
            let hint = "the receiver does not take this encoding; try another OTEL_EXPORTER_OTLP_PROTOCOL \
                        (http/protobuf, http/json, grpc) or no compression";
            SendError::Hold { probe: PROBE, cause: format!("{status}: {hint}{said}").into() }
        }
        413 => SendError::Split { reason: "http_413", cause: format!("{status}{said}").into() },
        code => SendError::Reject { reason: reason(code), cause: format!("{status}{said}").into() },
    }
}

/// What a gRPC status other than OK means. `after` is the server's `RetryInfo`, where there was one.
pub(super) fn grpc(code: tonic::Code, message: &str, after: Option<Duration>, honeycomb: bool) -> SendError {
    use tonic::Code;
    let said = excerpt(message, EXCERPT);
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            let cause = format!("{code:?}: {}{said}", credentials_hint(honeycomb));
            SendError::Hold { probe: PROBE, cause: cause.into() }
        }
        Code::Unimplemented => {
            let hint = "the receiver has no OTLP service for this signal; check the endpoint and its port";
            SendError::Hold { probe: PROBE, cause: format!("{code:?}: {hint}{said}").into() }
        }
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => SendError::Retry { after, cause: format!("{code:?}{said}").into() },
        Code::ResourceExhausted if after.is_some() => {
            SendError::Retry { after, cause: format!("{code:?}{said}").into() }
        }
        Code::ResourceExhausted => {
            SendError::Split { reason: "grpc_refused", cause: format!("{code:?}{said}").into() }
        }
        _ => SendError::Reject { reason: "grpc_refused", cause: format!("{code:?}{said}").into() },
    }
}

fn credentials_hint(honeycomb: bool) -> &'static str {
    if honeycomb {
        "Honeycomb does not take this key; check HONEYCOMB_API_KEY (an ingest key of the right environment and \
         region), and if the key is Classic, set HONEYCOMB_DATASET"
    } else {
        "the receiver wants other credentials; check OTEL_EXPORTER_OTLP_HEADERS"
    }
}

/// The name a refusal is counted under: few, whatever servers make up.
fn reason(code: u16) -> &'static str {
    match code {
        400 => "http_400",
        500 => "http_500",
        501..=599 => "http_5xx",
        _ => "http_4xx",
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn kind(error: &SendError) -> &'static str {
        match error {
            SendError::Retry { .. } => "retry",
            SendError::Split { .. } => "split",
            SendError::Hold { .. } => "hold",
            SendError::Reject { .. } => "reject",
        }
    }

    #[test]
    fn every_status_has_its_consequence() {
        for (code, expected) in [
            (301, "hold"),
            (400, "reject"),
            (401, "hold"),
            (403, "hold"),
            (404, "hold"),
            (413, "split"),
            (415, "hold"),
            (418, "reject"),
            (429, "retry"),
            (500, "reject"),
            (501, "reject"),
            (502, "retry"),
            (503, "retry"),
            (504, "retry"),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let error = http(status, &HeaderMap::new(), "", false, SystemTime::now());
            assert_eq!(kind(&error), expected, "{code}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 00:00:00 GMT").unwrap();
        for (text, expected) in [
            ("0", Some(0)),
            (" 7200 ", Some(7200)),
            ("Sat, 21 Nov 2026 01:00:00 GMT", Some(3600)),
            ("Fri, 20 Nov 2026 01:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
            let headers = [(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap())].into_iter().collect();
            let SendError::Retry { after, .. } =
                http(StatusCode::SERVICE_UNAVAILABLE, &headers, "", false, now)
            else {
                panic!("503 is retried");
            };
            assert_eq!(after, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn errors_are_explained_for_people() {
        let said = |code: u16, body: &str, honeycomb| {
            let status = StatusCode::from_u16(code).unwrap();
            http(status, &HeaderMap::new(), body, honeycomb, SystemTime::now()).to_string()
        };
        let text = said(401, "missing 'x-honeycomb-dataset'\nheader", true);
        assert!(
            text.contains("HONEYCOMB_DATASET") && text.contains("missing 'x-honeycomb-dataset' header"),
            "{text}"
        );
        assert!(said(403, "", false).contains("OTEL_EXPORTER_OTLP_HEADERS"));
        assert!(said(415, "", false).contains("OTEL_EXPORTER_OTLP_PROTOCOL"));
        assert!(said(404, "", false).contains("path of the endpoint"));
        assert!(said(400, &"x".repeat(10_000), false).len() < 300);
    }

    #[test]
    fn grpc_codes_follow_the_specification() {
        use tonic::Code;
        let after = Some(Duration::from_secs(5));
        for (code, after, expected) in [
            (Code::Cancelled, None, "retry"),
            (Code::DeadlineExceeded, None, "retry"),
            (Code::Aborted, None, "retry"),
            (Code::OutOfRange, None, "retry"),
            (Code::Unavailable, None, "retry"),
            (Code::DataLoss, None, "retry"),
            (Code::ResourceExhausted, after, "retry"),
            (Code::ResourceExhausted, None, "split"),
            (Code::InvalidArgument, None, "reject"),
            (Code::Unauthenticated, None, "hold"),
            (Code::PermissionDenied, None, "hold"),
            (Code::Unimplemented, None, "hold"),
            (Code::Internal, None, "reject"),
            (Code::Unknown, None, "reject"),
        ] {
            assert_eq!(kind(&grpc(code, "", after, false)), expected, "{code:?}");
        }
    }
}
