//! JSON in and out.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::{Error, Problem, Result};
use super::limits;
use crate::activities;

pub(super) const APPLICATION_JSON: &str = "application/json";

/// Where most answers fit without growing: the home feed is about 1.3 KB.
const USUAL_LEN: usize = 2048;

/// An answer in JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(USUAL_LEN);
        if let Err(error) = serde_json::to_writer(&mut body, &self.0) {
            return Error::from(error).into_response();
        }
        json_response(body)
    }
}

/// Cruds, in JSON as [`Json`] would write them.
#[derive(Debug)]
pub(super) struct Feed(pub(super) activities::Feed);

impl IntoResponse for Feed {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(USUAL_LEN);
        self.0.write(&mut body);
        json_response(body)
    }
}

fn json_response(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(APPLICATION_JSON));
    response
}

/// A JSON object that was posted.
///
/// Fields are taken one by one rather than by a derived `Deserialize`, because a missing field, a null one and a
/// blank one are the same to the contract, and because a field of the wrong type should be named in the answer.
#[derive(Debug)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// The text in `field`, or `None` where it is missing or null.
    pub(super) fn take_text(&mut self, field: &'static str) -> Result<Option<String>> {
        match self.0.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(Error::bad_request(format!("The field {field} must be a string.")))
            }
        }
    }

    fn parse(body: &[u8]) -> Result<Self> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Error::bad_request("The body must be a JSON object.")),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(Error::bad_request(format!(
                    "The body is not valid JSON at line {line}, column {column}."
                )))
            }
        }
    }
}

impl<S: Sync> FromRequest<S> for Object {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        if !is_json(request.headers()) {
            return Err(Error::refused(
                Problem::UnsupportedMediaType,
                "The content type must be application/json.",
            ));
        }
        Self::parse(&limits::read_body(request, limits::MAX_BODY).await?)
    }
}

/// Whether the content type is `application/json` or `application/<anything>+json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence).trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application") && (subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_content_type() {
        let is_json = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        for yes in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/ld+json",
            "application/json ;a=b",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in
            ["", "json", "text/json", "application/jsonp", "text/plain", "application/x-www-form-urlencoded"]
        {
            assert!(!is_json(no), "{no}");
        }
    }
}
