//! The account at Honeycomb.

use http::{HeaderName, HeaderValue};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::parse;
use super::reader::Reader;
use super::variable::variables;

variables! {
    HONEYCOMB_API_KEY: SecretString = parse::secret, "-", "ingest key of the environment at Honeycomb; alone it means OTLP to there";
    HONEYCOMB_DATASET: String = parse::text, "-", "dataset; required by Classic keys";
}

/// The variable that alone means Honeycomb.
pub(super) const KEY: &str = HONEYCOMB_API_KEY.variable.name;

/// The header that carries the key.
pub(super) const TEAM: HeaderName = HeaderName::from_static("x-honeycomb-team");

/// The header that carries the dataset.
pub(super) const DATASET: HeaderName = HeaderName::from_static("x-honeycomb-dataset");

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
        Self { api_key: reader.find(&HONEYCOMB_API_KEY), dataset: reader.find(&HONEYCOMB_DATASET) }
    }

    /// What the account adds to an export.
    pub(super) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let key = self.api_key.as_ref().map(|key| (TEAM, key.expose_secret().as_bytes()));
        let dataset = self.dataset.as_ref().map(|dataset| (DATASET, dataset.as_bytes()));
        key.into_iter().chain(dataset).map(|(name, value)| {
            let mut value = HeaderValue::from_bytes(value).expect("neither holds a control character");
            value.set_sensitive(true);
            (name, value)
        })
    }

    /// The variable that there is an account by.
    pub(super) fn source(&self) -> Option<&'static str> {
        let dataset = self.dataset.as_ref().map(|_| HONEYCOMB_DATASET.variable.name);
        self.api_key.as_ref().map(|_| KEY).or(dataset)
    }
}

/// Whether the URL is one of Honeycomb's own, in the United States or in Europe.
pub(super) fn is_host(url: &Url) -> bool {
    matches!(url.host_str(), Some("api.honeycomb.io" | "api.eu1.honeycomb.io"))
}

/// Two shapes, after husky (`IsClassicApiKey`), Honeycomb's own ingest library: 32 hexadecimal digits, or `hc?ic_`
/// and 58 lower-case letters and digits.
pub(super) fn is_classic(key: &[u8]) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match key {
        [b'h', b'c', b'a'..=b'z', b'i', b'c', b'_', rest @ ..] => rest.len() == 58,
        key => key.len() == 32 && key.iter().copied().all(hex),
    }
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
            assert_eq!(is_classic(key.as_bytes()), classic, "{key}");
        }
    }
}
