//! Where an exporter sends to.

use reqwest::Url;

use crate::config::parse::Parsed;
use crate::config::shown::Shown;

/// An endpoint as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Scheme, host, port and path; `cut` where there was more, which the specification lets us ignore.
    Url { url: Url, cut: bool },
    /// Host and perhaps port, which only gRPC takes.
    Bare(String),
}

impl Endpoint {
    /// Honeycomb's, in the United States.
    pub(super) fn honeycomb() -> Self {
        let url = Url::parse("https://api.honeycomb.io").expect("it is a URL");
        Self::Url { url, cut: false }
    }

    /// The URL for gRPC, whose calls have paths of their own; a scheme given counts more than `insecure`.
    pub(super) fn for_grpc(&self, insecure: bool) -> Option<Url> {
        match self {
            Self::Url { url, .. } => {
                let mut url = url.clone();
                url.set_path("");
                Some(url)
            }
            Self::Bare(authority) => {
                let scheme = if insecure { "http" } else { "https" };
                Url::parse(&format!("{scheme}://{authority}")).ok()
            }
        }
    }

    /// The URL for HTTP, used as it is, or with the signal's path below that of the base.
    pub(super) fn for_http(&self, below: Option<&str>) -> Option<Url> {
        let Self::Url { url, .. } = self else { return None };
        let mut url = url.clone();
        if let Some(path) = below {
            url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/').to_owned()));
        }
        Some(url)
    }
}

impl Shown for Endpoint {
    fn shown(&self) -> String {
        match self {
            Self::Url { url, .. } => url.to_string(),
            Self::Bare(authority) => authority.shown(),
        }
    }
}

pub(super) fn parse(text: &str) -> Parsed<Endpoint> {
    read(text).ok_or("a URL such as http://localhost:4318, without user or password".into())
}

fn read(text: &str) -> Option<Endpoint> {
    let bare = !text.contains("://");
    let mut url = if bare { Url::parse(&format!("http://{text}")) } else { Url::parse(text) }.ok()?;
    let ours = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !ours || !url.username().is_empty() || url.password().is_some() || text.contains(char::is_control) {
        return None;
    }
    if bare {
        let host_and_port = !text.contains(['/', '?', '#', '\\']);
        return host_and_port.then(|| Endpoint::Bare(text.to_owned()));
    }
    let cut = url.query().is_some() || url.fragment().is_some();
    url.set_query(None);
    url.set_fragment(None);
    Some(Endpoint::Url { url, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: Option<Url>) -> Option<String> {
        url.map(String::from)
    }

    #[test]
    fn a_base_gets_the_path_of_the_signal() {
        for (base, url) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://collector:4318//", "http://collector:4318/v1/traces"),
            ("http://collector:4318/mycollector", "http://collector:4318/mycollector/v1/traces"),
            ("http://collector:4318/mycollector/", "http://collector:4318/mycollector/v1/traces"),
            ("HTTPS://Collector.Example.com", "https://collector.example.com/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
            ("http://collector/a%20b?token=hush#x", "http://collector/a%20b/v1/traces"),
        ] {
            let endpoint = parse(base).unwrap();
            assert_eq!(shown(endpoint.for_http(Some("v1/traces"))).as_deref(), Some(url), "{base}");
            assert_eq!(matches!(endpoint, Endpoint::Url { cut: true, .. }), base.contains('?'));
        }
    }

    #[test]
    fn the_endpoint_of_a_signal_is_used_as_it_is() {
        for (text, url) in [
            ("http://collector:4318", "http://collector:4318/"),
            ("https://collector.example.com/v1/metrics/", "https://collector.example.com/v1/metrics/"),
            ("http://collector//x", "http://collector//x"),
        ] {
            assert_eq!(shown(parse(text).unwrap().for_http(None)).as_deref(), Some(url), "{text}");
        }
    }

    #[test]
    fn only_grpc_does_without_a_scheme() {
        for (text, insecure, url) in [
            ("collector:4317", false, "https://collector:4317/"),
            ("collector:4317", true, "http://collector:4317/"),
            ("collector:443", true, "http://collector:443/"),
            ("[::1]:4317", true, "http://[::1]:4317/"),
            ("http://collector:4317", false, "http://collector:4317/"),
            ("https://collector:4317/x", true, "https://collector:4317/"),
        ] {
            assert_eq!(shown(parse(text).unwrap().for_grpc(insecure)).as_deref(), Some(url), "{text}");
        }
        assert_eq!(parse("collector:4318").unwrap().for_http(Some("v1/traces")), None);
    }

    #[test]
    fn junk_is_refused() {
        for text in [
            "ftp://collector",
            "unix:///run/otlp.sock",
            "http://",
            "http://:4318",
            "http://collector:99999",
            "http://me:hush@collector",
            "http://me@collector",
            "me:hush@collector:4317",
            "http://a b",
            "http://a\nb",
            "collector:4318/v1/traces",
            "://",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
