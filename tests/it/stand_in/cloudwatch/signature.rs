//! Signature Version 4, computed again from the request and the secret by AWS's published algorithm.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, request};

use super::answer::Refusal;
use crate::stand_in::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// In the credential's scope.
const SERVICE: &str = "logs";
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
const BODY_HASH: &str = "x-amz-content-sha256";
/// How far the client's clock may be off.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// What the client signs with.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) region: &'static str,
    pub(super) key_id: &'static str,
    pub(super) secret: &'static str,
    /// Temporary credentials have one.
    pub(super) session_token: Option<&'static str>,
}

/// What the header says.
struct Authorization<'a> {
    key_id: &'a str,
    /// `<date>/<region>/<service>/aws4_request`.
    scope: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix(ALGORITHM)?.split(',').map(str::trim);
        let (key_id, scope) = parts.next()?.strip_prefix("Credential=")?.split_once('/')?;
        let signed = parts.next()?.strip_prefix("SignedHeaders=")?.split(';').collect();
        let signature = parts.next()?.strip_prefix("Signature=")?;
        parts.next().is_none().then_some(Self { key_id, scope, signed, signature })
    }
}

impl Credentials {
    /// Refuses what was not signed with these credentials, for this service, in full and just now.
    pub(super) fn verify(
        &self,
        head: &request::Parts,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let headers = &head.headers;
        let Some(authorization) = one(headers, AUTHORIZATION.as_str()) else {
            return refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
        };
        let Some(authorization) = Authorization::parse(&authorization) else {
            return refuse("IncompleteSignatureException", format!("Authorization is {authorization}"));
        };
        if authorization.key_id != self.key_id || one(headers, TOKEN).as_deref() != self.session_token {
            let message = "The security token included in the request is invalid.";
            return refuse("UnrecognizedClientException", message);
        }
        let date = one(headers, DATE).unwrap_or_default();
        self.check_scope(authorization.scope, &date, now)?;
        check_signed(headers, &authorization.signed)?;
        let body_hash = hash(body);
        if one(headers, BODY_HASH).is_some_and(|claimed| claimed != body_hash) {
            return refuse("InvalidSignatureException", "The body is not the one that was hashed.");
        }
        let canonical = canonical(head, &authorization.signed, &body_hash);
        let to_sign = format!("{ALGORITHM}\n{date}\n{}\n{}", authorization.scope, hash(canonical.as_bytes()));
        if self.sign(authorization.scope, &to_sign) != authorization.signature {
            let message = "The request signature we calculated does not match the signature you provided.";
            return refuse("InvalidSignatureException", message);
        }
        Ok(())
    }

    fn check_scope(&self, scope: &str, date: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let Ok(signed_at) = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ") else {
            return refuse("IncompleteSignatureException", format!("{DATE} is {date:?}"));
        };
        if (now - signed_at.and_utc()).abs() > SKEW {
            return refuse("InvalidSignatureException", format!("Signature expired: {date} is now {now}"));
        }
        let expected = format!("{}/{}/{SERVICE}/{TERMINATOR}", signed_at.format("%Y%m%d"), self.region);
        if scope != expected {
            let message = format!("Credential should be scoped to {expected}, not {scope}");
            return refuse("InvalidSignatureException", message);
        }
        Ok(())
    }

    /// The key is bound to the scope part by part.
    fn sign(&self, scope: &str, to_sign: &str) -> String {
        let key = format!("AWS4{}", self.secret).into_bytes();
        let key = scope.split('/').fold(key, |key, part| mac(&key, part));
        hex(&mac(&key, to_sign))
    }
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::violation(code, message))
}

/// What a proxy could change unnoticed must have been signed.
fn check_signed(headers: &HeaderMap, signed: &[&str]) -> Result<(), Refusal> {
    let needed =
        |name: &&str| [HOST.as_str(), CONTENT_TYPE.as_str()].contains(name) || name.starts_with("x-amz-");
    let unsigned: Vec<_> = headers
        .keys()
        .map(|name| name.as_str())
        .filter(needed)
        .filter(|name| !signed.contains(name))
        .collect();
    if !unsigned.is_empty() {
        return refuse("InvalidSignatureException", format!("{unsigned:?} must be among the signed headers"));
    }
    let in_order = signed.windows(2).all(|pair| pair[0] < pair[1]);
    if !in_order || signed.iter().any(|name| one(headers, name).is_none()) {
        return refuse("InvalidSignatureException", format!("the signed headers are {signed:?}"));
    }
    Ok(())
}

/// The request as both sides write it down.
fn canonical(head: &request::Parts, signed: &[&str], body_hash: &str) -> String {
    // As they came: they are `/` and nothing, or the request is refused for it later on.
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let mut text = format!("{}\n{path}\n{query}\n", head.method);
    for name in signed {
        let value = one(&head.headers, name).unwrap_or_default();
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(text, "{name}:{value}").unwrap();
    }
    write!(text, "\n{}\n{body_hash}", signed.join(";")).unwrap();
    text
}

/// The header's value, where it is there once.
fn one(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.to_owned())
}

fn hash(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}
