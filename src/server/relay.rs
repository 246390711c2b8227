//! `/v1/traces`: takes OTLP from browsers, which can neither reach a collector nor keep a key.

use std::io::Read as _;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};

use crate::api::{Error, Result, read_body};
use crate::telemetry::otlp::{Encoding, Relay, RelayError};

/// The longest body, in bytes, before and after decompression. A browser's batch of 512 spans has half of it.
const MAX_BODY: usize = 1024 * 1024;

/// Takes a request to forward it. The answer says that it has been taken; whether it arrives is in the ledger.
pub(super) async fn take(State(relay): State<Relay>, request: Request) -> Result<Response> {
    let encoding = encoding(request.headers())?;
    let gzipped = is_gzipped(request.headers())?;
    let mut body = read_body(request, MAX_BODY).await?;
    if gzipped {
        body = gunzip(&body)?;
    }
    if let Err(error) = relay.push(encoding, &body) {
        return match error {
            RelayError::Malformed(_) => Err(Error::bad_request(sentence(&error))),
            RelayError::TooMany(_) => Err(Error::payload_too_large(sentence(&error))),
            // Browsers keep their spans when they are asked to come again.
            RelayError::Full => {
                Ok(([(RETRY_AFTER, "5")], Error::unavailable(sentence(&error))).into_response())
            }
        };
    }
    let (content_type, empty) = match encoding {
        Encoding::Protobuf => ("application/x-protobuf", ""),
        Encoding::Json => ("application/json", "{}"),
    };
    Ok(([(CONTENT_TYPE, content_type)], empty).into_response())
}

/// What the error says, as a sentence.
fn sentence(error: &RelayError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn encoding(headers: &HeaderMap) -> Result<Encoding> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        _ => Err(Error::unsupported_media_type(
            "OTLP is application/x-protobuf or application/json; the content-type says otherwise.",
        )),
    }
}

fn is_gzipped(headers: &HeaderMap) -> Result<bool> {
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(false),
        Some(encoding) if encoding == b"identity" => Ok(false),
        Some(encoding) if encoding == b"gzip" => Ok(true),
        Some(_) => Err(Error::unsupported_media_type("The only content-encoding taken is gzip.")),
    }
}

fn gunzip(body: &[u8]) -> Result<Bytes> {
    let mut plain = Vec::new();
    // One byte more than allowed tells a body that is too long from one that just fits.
    let read = GzDecoder::new(body).take(MAX_BODY as u64 + 1).read_to_end(&mut plain);
    match read {
        Ok(length) if length > MAX_BODY => {
            Err(Error::payload_too_large(format!("The decompressed body is longer than {MAX_BODY} bytes.")))
        }
        Ok(_) => Ok(plain.into()),
        Err(_) => Err(Error::bad_request("The body is not gzip, although content-encoding says so.")),
    }
}
