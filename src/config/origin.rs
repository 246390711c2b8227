//! Origins, as browsers spell them.

use http::{HeaderValue, Uri};

use super::parse::Parsed;
use super::shown::Shown;

/// What a browser puts into `Origin`: scheme, host, and the port unless it is the scheme's own. Or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// ASCII.
    pub(super) text: String,
    /// Whether a path was cut off.
    pub(super) cut: bool,
}

impl Origin {
    /// The origin as a header's value.
    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.text).expect("an origin is visible ASCII")
    }
}

impl Shown for Origin {
    fn shown(&self) -> String {
        self.text.clone()
    }
}

pub(super) fn parse(text: &str) -> Parsed<Origin> {
    if text == "*" {
        return Ok(Origin { text: "*".to_owned(), cut: false });
    }
    read(text).ok_or("an origin such as https://cruddur.com or http://localhost:3000, or *".into())
}

fn read(text: &str) -> Option<Origin> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let own_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)? {
        "" => own_port,
        port => port.strip_prefix(':')?.parse::<u16>().ok()?,
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || !(host.starts_with('[') || host.bytes().all(named)) {
        return None;
    }
    let mut origin = format!("{scheme}://{}", host.to_ascii_lowercase());
    if port != own_port {
        origin.push_str(&format!(":{port}"));
    }
    // A lone trailing slash parses as the path that is there anyway, but the browser sends none.
    let cut = !text.ends_with(authority.as_str());
    Some(Origin { text: origin, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_reduced_to_what_a_browser_sends() {
        for (text, origin, cut) in [
            ("*", "*", false),
            ("http://localhost:3000", "http://localhost:3000", false),
            ("http://localhost:3000/", "http://localhost:3000", true),
            ("https://Cruddur.COM/app?x=1", "https://cruddur.com", true),
            ("HTTPS://cruddur.com:443", "https://cruddur.com", false),
            ("http://cruddur.com:80", "http://cruddur.com", false),
            ("http://cruddur.com:443", "http://cruddur.com:443", false),
            (
                "https://3000-cruddur-x1y2.ws-eu77.gitpod.io",
                "https://3000-cruddur-x1y2.ws-eu77.gitpod.io",
                false,
            ),
            ("http://[::1]:3000", "http://[::1]:3000", false),
            ("http://my_host", "http://my_host", false),
        ] {
            let parsed = parse(text).unwrap_or_else(|expected| panic!("{text} is not {expected}"));
            assert_eq!((parsed.text.as_str(), parsed.cut), (origin, cut), "{text}");
            assert_eq!(parsed.value(), origin);
        }
    }

    #[test]
    fn junk_is_refused() {
        for text in [
            "localhost:3000",
            "localhost",
            "/",
            "ftp://localhost",
            "http://",
            "http://:3000",
            "http://localhost:99999",
            "http://localhost:",
            "http://me:hush@localhost",
            "http://a.com,http://b.com",
            "http://a,b",
            "http://a b",
            "https://*.cruddur.com",
            "null",
            "**",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
    }
}
