//! Attributes of the resource.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::pairs::{pairs, put};
use crate::config::parse::{self, Parsed};
use crate::config::shown::{Shown, quoted};

/// The key that has a variable of its own.
const SERVICE_NAME: &str = "service.name";

/// What a list cannot hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',').add(b';').add(b'=').add(b'\\');

/// Attributes in their order; each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::config) struct Attributes(pub(super) Vec<(String, String)>);

impl Attributes {
    /// The service's name, if there is one.
    pub(in crate::config) fn service_name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == SERVICE_NAME && !value.is_empty())
            .map(|(_, name)| name.as_str())
    }

    /// The attributes but for the service's name, which is known from elsewhere by then.
    pub(super) fn without_service_name(self) -> Vec<(String, String)> {
        self.0.into_iter().filter(|(key, _)| key != SERVICE_NAME).collect()
    }
}

impl Shown for Attributes {
    fn shown(&self) -> String {
        let encoded = |text| utf8_percent_encode(text, ENCODED);
        let pairs = self.0.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
        let shown = pairs.collect::<Vec<_>>().join(",");
        if shown.is_empty() { "-".to_owned() } else { shown }
    }
}

/// One bad entry spoils the list: the specification has it discarded as a whole, and that reported.
pub(super) fn parse(text: &str) -> Parsed<Attributes> {
    const EXPECTED: &str = "a list such as key1=value1,key2=value2, percent-encoded where need be";
    let decoded = |text| percent_decode_str(text).decode_utf8().ok();
    let mut attributes = Attributes::default();
    for (place, pair) in pairs(text) {
        let pair = pair.and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
        let (key, value) = pair.ok_or_else(|| format!("{EXPECTED}: see entry {place}"))?;
        if key == SERVICE_NAME {
            parse::text(&value)
                .map_err(|expected| format!("{EXPECTED}: {} is not {expected}", quoted(&value)))?;
        }
        put(&mut attributes.0, key.into_owned(), value.into_owned());
    }
    if attributes.0.is_empty() { Err(EXPECTED.into()) } else { Ok(attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_decoded_and_can_be_set_again() {
        for (text, expected, shown) in [
            ("a=b", vec![("a", "b")], "a=b"),
            (" a = b , c = d ,", vec![("a", "b"), ("c", "d")], "a=b,c=d"),
            ("a=a%20b%2Cc", vec![("a", "a b,c")], "a=a%20b%2Cc"),
            ("a%3Db=c", vec![("a=b", "c")], "a%3Db=c"),
            ("a=b=c", vec![("a", "b=c")], "a=b%3Dc"),
            ("a=,b=%", vec![("a", ""), ("b", "%")], "a=,b=%25"),
            ("a=é", vec![("a", "é")], "a=%C3%A9"),
            ("a=1,b=2,a=3", vec![("a", "3"), ("b", "2")], "a=3,b=2"),
        ] {
            let attributes = parse(text).unwrap();
            let pairs: Vec<_> =
                attributes.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(pairs, expected, "{text}");
            assert_eq!(attributes.shown(), shown);
            assert_eq!(parse(shown), Ok(attributes));
        }
    }

    #[test]
    fn one_bad_entry_spoils_the_list() {
        for (text, end) in [
            ("a", ": see entry 1"),
            ("a=b,=c", ": see entry 2"),
            ("a=b,c=%ff", ": see entry 2"),
            (",", ""),
            ("service.name=a%0Ab", ": `a\\nb` is not a name of at most 255 bytes without control characters"),
        ] {
            let refusal = parse(text).unwrap_err();
            let expected = "a list such as key1=value1,key2=value2, percent-encoded where need be";
            assert_eq!(refusal, format!("{expected}{end}"), "{text}");
        }
    }

    #[test]
    fn the_name_of_the_service_is_told_from_the_rest() {
        let attributes = parse("a=b,service.name=crud,c=d").unwrap();
        assert_eq!(attributes.service_name(), Some("crud"));
        let rest = [("a", "b"), ("c", "d")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(attributes.without_service_name(), rest);
        assert_eq!(parse("service.name=").unwrap().service_name(), None);
    }
}
