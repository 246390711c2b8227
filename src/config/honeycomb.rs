//! The account at Honeycomb.

use secrecy::{ExposeSecret, SecretString};

use super::parse;
use super::reader::Reader;
use super::variable::variables;

variables! {
    HONEYCOMB_API_KEY: SecretString = parse::secret, "-", "ingest key of the environment at Honeycomb";
    HONEYCOMB_DATASET: String = parse::text, "-", "dataset; required by Classic keys, ignored by others";
}

/// The account at Honeycomb.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Honeycomb {
    /// `x-honeycomb-team`.
    pub api_key: Option<SecretString>,
    /// `x-honeycomb-dataset`.
    pub dataset: Option<String>,
}

impl Honeycomb {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let read =
            Self { api_key: reader.find(&HONEYCOMB_API_KEY), dataset: reader.find(&HONEYCOMB_DATASET) };
        let classic = read.api_key.as_ref().is_some_and(|key| is_classic(key.expose_secret()));
        let headers = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
        let environment = reader.environment();
        let has_dataset = read.dataset.is_some()
            || headers
                .into_iter()
                .any(|name| environment.get(name).is_ok_and(|text| text.is_some_and(names_dataset)));
        if classic && !has_dataset {
            reader.warn(
                HONEYCOMB_API_KEY.variable.name,
                "this is a Classic key, which Honeycomb answers with 401 unless HONEYCOMB_DATASET is set too",
            );
        }
        read
    }
}

/// Two shapes, after husky (`IsClassicApiKey`), Honeycomb's own ingest library: 32 hexadecimal digits, or `hc?ic_`
/// and 58 lower-case letters and digits.
fn is_classic(key: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match key.as_bytes() {
        [b'h', b'c', b'a'..=b'z', b'i', b'c', b'_', rest @ ..] => rest.len() == 58,
        key => key.len() == 32 && key.iter().copied().all(hex),
    }
}

/// Whether a list of headers (`name=value,…`) has `x-honeycomb-dataset`.
fn names_dataset(headers: &str) -> bool {
    headers.split(',').filter_map(|header| header.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("x-honeycomb-dataset") && !value.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic_keys_are_told_by_their_shape() {
        let ingest = format!("hcaic_{}", "7".repeat(58));
        let modern = format!("hcaik_{}", "7".repeat(58));
        for (key, classic) in [
            ("0123456789abcdef0123456789abcdef", true),
            ("0123456789abcdef0123456789abcdeg", false),
            ("0123456789ABCDEF0123456789ABCDEF", false),
            ("0123456789abcdef0123456789abcde", false),
            (&ingest, true),
            (&modern, false),
            ("hcaic_7", false),
            ("aBcDeFgHiJkLmNoPqRsTuV", false),
        ] {
            assert_eq!(is_classic(key), classic, "{key}");
        }
    }

    #[test]
    fn a_dataset_may_stand_in_the_headers() {
        assert!(names_dataset("x-honeycomb-team=k, X-Honeycomb-Dataset=cruddur"));
        assert!(!names_dataset("x-honeycomb-team=k,x-honeycomb-dataset="));
        assert!(!names_dataset("x-honeycomb-dataset"));
    }
}
