//! What the address says, or a 400 in our form.

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::error::{Error, Result};

/// The route's one parameter, decoded.
#[derive(Debug)]
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if !is_well_escaped(parts.uri.path()) {
            return Err(Error::bad_request(
                "The path has a % that is not followed by two hexadecimal digits.",
            ));
        }
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(_) => Err(Error::bad_request("The path is not UTF-8 once decoded.")),
        }
    }
}

/// The query's parameters.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(_) => Err(Error::bad_request("The query cannot be read; is a parameter given twice?")),
        }
    }
}

/// Reads an id in its one usual form, with hyphens; the library would read four.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (text.len() == HYPHENATED).then(|| Uuid::try_parse(text).ok())?
}

/// Whether every `%` starts an escape. The router lets others through as they are.
fn is_well_escaped(path: &str) -> bool {
    let mut after = path.as_bytes().split(|&byte| byte == b'%').skip(1);
    after.all(|escape| matches!(escape, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_starts_an_escape() {
        for well in ["/", "/%40x", "/a%2Fb%c3%A4"] {
            assert!(is_well_escaped(well), "{well}");
        }
        for badly in ["/%", "/%4", "/%4/0", "/%zz", "/%%40", "/%40%"] {
            assert!(!is_well_escaped(badly), "{badly}");
        }
    }

    #[test]
    fn an_id_has_hyphens() {
        assert!(uuid("68f126b0-1ceb-4a33-88be-d90fa7109eee").is_some());
        assert!(uuid("68F126B0-1CEB-4A33-88BE-D90FA7109EEE").is_some());
        for not in ["", "home", "68f126b01ceb4a3388bed90fa7109eee", "{68f126b0-1ceb-4a33-88be-d90fa7109eee}"]
        {
            assert!(uuid(not).is_none(), "{not}");
        }
    }
}
