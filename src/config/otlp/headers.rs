//! Headers of an export, which carry keys.

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::pairs::{pairs, put};
use crate::config::parse::Parsed;
use crate::config::shown::Shown;

/// Names and values, each marked as sensitive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

/// What the exporter sets itself.
const OWN: [HeaderName; 7] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING];

impl Headers {
    pub(super) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The names only.
impl Shown for Headers {
    const SECRET: bool = true;

    fn shown(&self) -> String {
        match self.0.as_slice() {
            [] => "-".to_owned(),
            all => all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(","),
        }
    }
}

/// The refusal names an entry by its place where what should be the key may be a part of the value before it.
pub(super) fn parse(text: &str) -> Parsed<Headers> {
    const EXPECTED: &str = "a list such as key1=value1,key2=value2, percent-encoded where need be";
    let mut headers = Headers::default();
    for (place, pair) in pairs(text) {
        let unreadable = || format!("{EXPECTED}: see entry {place}");
        let (key, value) = pair.ok_or_else(unreadable)?;
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| unreadable())?;
        if OWN.contains(&name) {
            return Err(format!("a list of headers for the exporter to add: it sets {name} itself").into());
        }
        let bytes: Vec<u8> = percent_decode_str(value).collect();
        let mut value =
            HeaderValue::from_bytes(&bytes).map_err(|_| format!("{EXPECTED}: see the value of {name}"))?;
        value.set_sensitive(true);
        put(&mut headers.0, name, value);
    }
    if headers.0.is_empty() { Err(EXPECTED.into()) } else { Ok(headers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let Headers(headers) = parse(text).map_err(String::from)?;
        let text = |value: HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        Ok(headers.into_iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn values_are_trimmed_and_decoded() {
        for (text, expected) in [
            ("a=b", vec![("a", "b")]),
            (" a = b , C=d ,", vec![("a", "b"), ("c", "d")]),
            ("a=abc%20d%2Ce", vec![("a", "abc d,e")]),
            ("a=b=c==", vec![("a", "b=c==")]),
            ("a=", vec![("a", "")]),
            ("a=100%", vec![("a", "100%")]),
            ("a=b;c=d", vec![("a", "b;c=d")]),
            ("a=%C3%A9", vec![("a", "é")]),
            ("a=1,b=2,A=3", vec![("a", "3"), ("b", "2")]),
        ] {
            let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(read(text), Ok(expected.collect()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        const EXPECTED: &str = "a list such as key1=value1,key2=value2, percent-encoded where need be";
        for (text, end) in [
            ("hush", ": see entry 1"),
            ("a=b,hush", ": see entry 2"),
            ("a=b,,=hush", ": see entry 3"),
            ("hu sh=b", ": see entry 1"),
            ("a=hu%0Ash", ": see the value of a"),
            (",", ""),
        ] {
            assert_eq!(read(text), Err(format!("{EXPECTED}{end}")), "{text}");
        }
        let own = "a list of headers for the exporter to add: it sets content-type itself";
        assert_eq!(read("Content-Type=text/plain"), Err(own.to_owned()));
    }

    #[test]
    fn only_names_are_shown() {
        let headers = parse("x-honeycomb-team=hush,b=hush").unwrap();
        assert_eq!(headers.shown(), "x-honeycomb-team,b");
        assert!(!format!("{headers:?}").contains("hush"), "{headers:?}");
    }
}
