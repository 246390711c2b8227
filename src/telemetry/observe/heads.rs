//! A request's headers, gone through once: it has a handful of them, and to look at each costs a tenth of asking for
//! each of the dozen names that matter.

use std::fmt;

use http::{HeaderMap, HeaderName, header};

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

/// The headers of a request that its record keeps, by an allow-list, where they are readable text; of a repeated one the
/// first. Their values are in one piece of memory.
#[derive(Clone, Default)]
pub struct KeptHeaders {
    text: String,
    /// Where the value of each of the list ends, which begins where the one before has ended.
    ends: [Option<u16>; KEPT.len()],
}

impl KeptHeaders {
    fn of(values: [Option<&str>; KEPT.len()]) -> Self {
        let room = values.iter().flatten().map(|value| value.len().min(LONGEST_HEADER)).sum();
        let mut kept = Self { text: String::with_capacity(room), ends: [None; KEPT.len()] };
        // A loop, for `map` would be as many copies of what is done as there are headers.
        for (value, end) in values.into_iter().zip(&mut kept.ends) {
            let Some(value) = value else { continue };
            let cut = value.floor_char_boundary(LONGEST_HEADER);
            kept.text.push_str(value.get(..cut).unwrap_or_default());
            *end = u16::try_from(kept.text.len()).ok();
        }
        kept
    }

    /// Each with its value, in the list's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static HeaderName, &str)> {
        let mut begin = 0;
        KEPT.iter().zip(self.ends).filter_map(move |(name, end)| {
            let end = usize::from(end?);
            let value = self.text.get(begin..end)?;
            begin = end;
            Some((name, value))
        })
    }

    /// How long all values are together, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.text.len()
    }

    /// A value by its header's name.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for KeptHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(HeaderName, &'a str)> for KeptHeaders {
    fn from_iter<I: IntoIterator<Item = (HeaderName, &'a str)>>(all: I) -> Self {
        let mut values = [None; KEPT.len()];
        for (name, value) in all {
            if let Some(place) = place(&name, &mut values) {
                place.get_or_insert(value);
            }
        }
        Self::of(values)
    }
}

/// The place of a header among those of the list, if it is one.
fn place<'a, T>(name: &HeaderName, all: &'a mut [T; KEPT.len()]) -> Option<&'a mut T> {
    all.get_mut(KEPT.iter().position(|kept| kept == name)?)
}

/// What the observer learns from a request's headers.
#[derive(Debug, Default)]
pub(super) struct Heads<'a> {
    pub(super) kept: KeptHeaders,
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
        let (mut heads, mut found) = (Self::default(), [None; KEPT.len()]);
        for (name, value) in headers {
            match place(name, &mut found) {
                Some(place) => {
                    place.get_or_insert_with(|| value.to_str().ok());
                }
                None => heads.pass(name),
            }
        }
        let [host, agent, accept, kind, length, referer, id, traceparent, amzn] = found.map(Option::flatten);
        heads.host = host;
        heads.content_length = length.and_then(|length| length.parse().ok());
        heads.ids = traceparent.is_some() || amzn.is_some();
        // These two may carry secrets in parts that nobody needs.
        let (host, referer) = (host.map(without_userinfo), referer.map(redact::url_without_query));
        let referer = referer.as_deref();
        heads.kept = KeptHeaders::of([host, agent, accept, kind, length, referer, id, traceparent, amzn]);
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
}

/// A host as it should have been sent: a URI may carry a password before it, which is nobody's business.
pub(super) fn without_userinfo(host: &str) -> &str {
    if host.as_bytes().contains(&b'@') { host.rsplit('@').next().unwrap_or(host) } else { host }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
        let kept: Vec<_> = heads.kept.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let expected =
            [("host", "here:1"), ("accept", "a"), ("referer", "https://there/x"), ("traceparent", "00")];
        assert_eq!(kept, expected);
        assert_eq!(
            (heads.host, heads.ids, heads.forwarding, heads.baggage),
            (Some("u:p@here:1"), true, false, false)
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_kept_and_what_is_long_is_cut() {
        let mut headers = map(&[("accept", "a")]);
        headers.insert(header::USER_AGENT, HeaderValue::from_bytes(b"caf\xe9").unwrap());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(""));
        let long = "x".repeat(LONGEST_HEADER + 1).parse().unwrap();
        headers.insert(header::REFERER, long);
        let kept = Heads::of(&headers).kept;
        let lengths: Vec<_> = kept.iter().map(|(name, value)| (name.as_str(), value.len())).collect();
        assert_eq!(lengths, [("accept", 1), ("content-type", 0), ("referer", LONGEST_HEADER)]);
        assert_eq!((kept.get(&header::ACCEPT), kept.get(&header::USER_AGENT)), (Some("a"), None));
        let wide: KeptHeaders =
            [(header::HOST, "é".repeat(40_000).as_str()), (header::ACCEPT, "b")].into_iter().collect();
        assert_eq!((wide.length(), wide.get(&header::ACCEPT)), (LONGEST_HEADER + 1, Some("b")));
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
