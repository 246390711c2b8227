//! A request's headers, gone through once: it has a handful of them, and to look at each costs a tenth of asking for
//! each of the dozen names that matter.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::identity::{TRACEPARENT, X_AMZN_TRACE_ID};
use super::redact;

/// The headers a record keeps. All others, `authorization` and `cookie` among them, never enter it.
static KEPT: [HeaderName; 9] = [
    header::HOST,
    header::USER_AGENT,
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::REFERER,
    HeaderName::from_static("x-request-id"),
    TRACEPARENT,
    X_AMZN_TRACE_ID,
];

/// How much of a header's value is kept, in bytes: no user agent in the wild is longer.
const LONGEST_HEADER: usize = 2048;

/// What the observer learns from a request's headers.
#[derive(Debug, Default)]
pub(super) struct Heads<'a> {
    /// Those that a record keeps, in the allow-list's order; of a repeated one the first.
    pub(super) kept: Vec<(HeaderName, HeaderValue)>,
    /// `host`, as it came.
    pub(super) host: Option<&'a str>,
    /// `content-length`, where it is a number.
    pub(super) content_length: Option<u64>,
    /// Whether a proxy, or who pretends to be one, tells of others.
    pub(super) forwarding: bool,
    /// Whether a caller tells its ids.
    pub(super) ids: bool,
    /// Whether there is `baggage`.
    pub(super) baggage: bool,
}

impl<'a> Heads<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut heads = Self { kept: Vec::with_capacity(headers.len().min(KEPT.len())), ..Self::default() };
        let (mut last, mut in_order) = (0, true);
        for (name, value) in headers {
            let Some(place) = KEPT.iter().position(|kept| kept == name) else {
                heads.pass(name);
                continue;
            };
            if !heads.kept.iter().any(|(known, _)| known == name) {
                in_order &= last <= place;
                last = place;
                heads.keep(name, value);
            }
        }
        if !in_order {
            heads.kept.sort_by_key(|(name, _)| KEPT.iter().position(|kept| kept == name));
        }
        heads
    }

    /// Notes that a header is there which is for others to read.
    fn pass(&mut self, name: &HeaderName) {
        match name.as_str() {
            "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" => {
                self.forwarding = true
            }
            "baggage" => self.baggage = true,
            _ => {}
        }
    }

    fn keep(&mut self, name: &HeaderName, value: &'a HeaderValue) {
        let text = || value.to_str().ok();
        // These two may carry secrets in parts that nobody needs.
        let kept = if *name == header::HOST {
            self.host = text();
            self.host.and_then(|host| copy(without_userinfo(host).as_bytes()))
        } else if *name == header::REFERER {
            text().and_then(|url| redact::url_without_query(url).try_into().ok())
        } else {
            copy(value.as_bytes().get(..LONGEST_HEADER).unwrap_or(value.as_bytes()))
        };
        if *name == header::CONTENT_LENGTH {
            self.content_length = text().and_then(|text| text.parse().ok());
        }
        self.ids |= *name == TRACEPARENT || *name == X_AMZN_TRACE_ID;
        self.kept.extend(kept.map(|value| (name.clone(), value)));
    }
}

/// A copy, and not a clone, which would keep the whole buffer that the request was read into.
fn copy(value: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value).ok()
}

/// A host as it should have been sent: a URI may carry a password before it, which is nobody's business.
pub(super) fn without_userinfo(host: &str) -> &str {
    if host.as_bytes().contains(&b'@') { host.rsplit('@').next().unwrap_or(host) } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_kept_is_in_the_lists_order_and_the_first_of_its_name() {
        let headers = map(&[
            ("traceparent", "00"),
            ("accept", "a"),
            ("cookie", "c=1"),
            ("accept", "b"),
            ("host", "u:p@here:1"),
            ("referer", "https://u:p@there/x?y=z"),
            ("authorization", "secret"),
        ]);
        let heads = Heads::of(&headers);
        let kept: Vec<_> =
            heads.kept.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected =
            [("host", "here:1"), ("accept", "a"), ("referer", "https://there/x"), ("traceparent", "00")];
        assert_eq!(kept, expected);
        assert_eq!(
            (heads.host, heads.ids, heads.forwarding, heads.baggage),
            (Some("u:p@here:1"), true, false, false)
        );
    }

    #[test]
    fn what_others_read_is_noted() {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            assert!(Heads::of(&map(&[(name, "x")])).forwarding, "{name}");
        }
        let headers = map(&[("baggage", "a=b"), ("x-amzn-trace-id", "Sampled=1"), ("content-length", "12")]);
        let heads = Heads::of(&headers);
        assert_eq!((heads.baggage, heads.ids, heads.content_length), (true, true, Some(12)));
        assert_eq!(Heads::of(&map(&[("content-length", "x")])).content_length, None);
    }
}
