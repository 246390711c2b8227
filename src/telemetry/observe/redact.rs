//! Secrets in a query: their values are replaced before anything else sees them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands in a secret's place.
pub const REDACTED: &str = "REDACTED";

/// A key with one of these in it, in whatever case, has a secret for a value.
const SUSPECT: [&str; 17] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "session",
    "csrf",
    "cookie",
    "signature",
    "credential",
    "card",
    "cvv",
    "ssn",
    "otp",
];
/// Like [`SUSPECT`], for an authorization code.
const CODE: &str = "code";
/// Exact keys of signed URLs that [`SUSPECT`] does not cover; OpenTelemetry's list for `url.query`.
const EXACT: [&str; 2] = ["sig", "AWSAccessKeyId"];

/// The query with the values of suspect keys replaced by `REDACTED`; keys are judged percent-decoded.
#[must_use]
pub fn query(query: &str) -> Cow<'_, str> {
    if !pairs(query).any(|pair| secret(pair).is_some()) {
        return Cow::Borrowed(query);
    }
    let mut clean = String::with_capacity(query.len());
    let mut after_secret = false;
    for pair in pairs(query) {
        // Where only `&` separates, the part behind a secret's `;` is the secret's.
        let rest_of_secret = after_secret && !pair.contains('=');
        after_secret = (secret(pair).is_some() || rest_of_secret) && pair.ends_with(';');
        if rest_of_secret {
            clean.push_str(REDACTED);
            clean.extend(pair.chars().next_back().filter(|last| is_separator(*last)));
            continue;
        }
        match secret(pair) {
            Some(key) => {
                clean.push_str(key);
                clean.push('=');
                clean.push_str(REDACTED);
                clean.extend(pair.chars().next_back().filter(|last| is_separator(*last)));
            }
            None => clean.push_str(pair),
        }
    }
    Cow::Owned(clean)
}

/// The pairs of a query, each with the separator that ends it. Some servers split at `;` too, so a secret may
/// stand behind either.
fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split_inclusive(is_separator)
}

fn is_separator(c: char) -> bool {
    matches!(c, '&' | ';')
}

/// The key of a pair whose value is a secret.
fn secret(pair: &str) -> Option<&str> {
    let (key, value) = pair.split_once('=')?;
    let empty = value.trim_end_matches(is_separator).is_empty();
    (!empty && is_suspect(key)).then_some(key)
}

/// Whether values under `key` are secrets.
#[must_use]
pub fn is_suspect(key: &str) -> bool {
    let decoded = percent_decode_str(key).decode_utf8_lossy();
    if EXACT.contains(&decoded.as_ref()) {
        return true;
    }
    let lower = decoded.to_ascii_lowercase();
    lower.contains(CODE) || SUSPECT.iter().any(|word| lower.contains(word))
}

/// A URL without its userinfo, query and fragment, as far as they can be told apart.
#[must_use]
pub fn url_without_query(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_suspect_keys_are_replaced() {
        for (raw, clean) in [
            ("", ""),
            ("term=cloud&page=2", "term=cloud&page=2"),
            ("token=s3cret", "token=REDACTED"),
            ("a=1&Access_Token=s3cret&b=2", "a=1&Access_Token=REDACTED&b=2"),
            ("pass%77ord=s3cret", "pass%77ord=REDACTED"),
            ("user[password]=s3cret", "user[password]=REDACTED"),
            ("a=1;api-key=s3cret;b=2", "a=1;api-key=REDACTED;b=2"),
            ("token=a=b=c", "token=REDACTED"),
            ("token=abc;def;ghi&x;y", "token=REDACTED;REDACTED;REDACTED&x;y"),
            ("token=&x=1", "token=&x=1"),
            (
                "X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3",
                "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED",
            ),
            (
                "AWSAccessKeyId=1&Signature=2&sig=3&X-Goog-Signature=4",
                "AWSAccessKeyId=REDACTED&Signature=REDACTED&sig=REDACTED&X-Goog-Signature=REDACTED",
            ),
            ("Sig=3", "Sig=3"),
            ("code=abc&card=4111", "code=REDACTED&card=REDACTED"),
        ] {
            assert_eq!(query(raw), clean, "{raw}");
        }
    }

    #[test]
    fn urls_lose_userinfo_query_and_fragment() {
        for (raw, clean) in [
            ("https://u:p@example.com/a?b=c#d", "https://example.com/a"),
            ("https://example.com?x", "https://example.com"),
            ("https://u:p@x@example.com", "https://example.com"),
            ("/relative?x=1", "/relative"),
        ] {
            assert_eq!(url_without_query(raw), clean);
        }
    }

    proptest! {
        #[test]
        fn a_planted_secret_never_survives(before in "[a-z0-9=&;%]{0,40}", after in "[a-z0-9=&;%]{0,40}") {
            let raw = format!("{before}&token=PLANTED&{after}");
            prop_assert!(!query(&raw).contains("PLANTED"));
        }
    }
}
