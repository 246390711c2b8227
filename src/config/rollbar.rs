//! Rollbar: the token, and what its items say of this service.

use std::fs::File;
use std::io::Read as _;

use reqwest::Url;
use secrecy::SecretString;

use super::Service;
use super::parse::{self, Parsed};
use super::reader::{Reader, Source};
use super::shown::Shown;
use super::variable::variables;

variables! {
    ROLLBAR_ACCESS_TOKEN: SecretString = parse::secret, "-",
        "project access token with the scope post_server_item; without it Rollbar is off";
    ROLLBAR_ACCESS_TOKEN_FILE: TokenFile = token_file, "-", "a file that holds the token";
    ROLLBAR_ENDPOINT: Url = endpoint, "https://api.rollbar.com/api/1/", "base URL; items go to item/ below it";
    ROLLBAR_ENVIRONMENT: String = super::service::environment_name, "APP_ENV",
        "the environment that items belong to";
    ROLLBAR_ITEMS_PER_MINUTE: u16 = items_per_minute, "60",
        "how many items are sent at most; the rest is counted, and told with the next one";
    CODE_VERSION: String = code_version, "the git revision of the build",
        "which code runs, by a revision that the repository knows";
    ROLLBAR_LINK_HONEYCOMB: Template = template, "-",
        "URL of a trace at Honeycomb, with {trace_id}, {span_id}, {start} and {end} in it";
    ROLLBAR_LINK_XRAY: Template = template, "-", "URL of a trace at X-Ray, with {xray_trace_id} in it";
    ROLLBAR_LINK_LOGS: Template = template, "-",
        "URL of a query in Logs Insights, with {trace_id}, {start} and {end} in it";
}

/// A longer one is refused: [create-item](https://docs.rollbar.com/reference/create-item).
const LONGEST_VERSION: usize = 40;
/// What is larger is no token.
const LARGEST: u64 = 4096;

/// Rollbar.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rollbar {
    /// What items are posted with; `None` leaves Rollbar off.
    pub token: Option<SecretString>,
    /// Ends with a slash; items go to `item/` below it.
    pub endpoint: Url,
    /// 1 to 255 of `A-Z a-z 0-9 _ . -`.
    pub environment: String,
    /// The most items a minute, in the long run.
    pub items_per_minute: u16,
    /// At most 40 bytes.
    pub code_version: String,
    /// Where else a failure can be looked at.
    pub links: Links,
}

/// Where else a failure can be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Links {
    /// Its trace at Honeycomb.
    pub honeycomb: Option<Template>,
    /// Its trace at X-Ray.
    pub xray: Option<Template>,
    /// Its lines in CloudWatch Logs.
    pub logs: Option<Template>,
}

/// A URL with places for ids: of [`Template::PLACES`], and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// The token, and where it was found.
#[derive(Clone)]
struct TokenFile {
    path: String,
    token: SecretString,
}

impl Rollbar {
    pub(super) fn read(reader: &mut Reader<'_>, service: &Service) -> Self {
        let given = reader.find(&ROLLBAR_ACCESS_TOKEN);
        let file = reader.find(&ROLLBAR_ACCESS_TOKEN_FILE);
        if given.is_some() && file.is_some() {
            let winner = ROLLBAR_ACCESS_TOKEN.variable.name;
            let message = format_args!("has no effect, because {winner} is set too and wins");
            reader.warn(ROLLBAR_ACCESS_TOKEN_FILE.variable.name, message);
        }
        let environment = (service.environment.clone(), Source::Variable("APP_ENV"));
        let (environment, from) =
            if reader.is_set("APP_ENV") { environment } else { (environment.0, Source::Default) };
        Self {
            token: given.or(file.map(|file| file.token)),
            endpoint: reader.get(&ROLLBAR_ENDPOINT),
            environment: reader.get_or(&ROLLBAR_ENVIRONMENT, environment, from),
            items_per_minute: reader.get(&ROLLBAR_ITEMS_PER_MINUTE),
            code_version: reader.get_or(&CODE_VERSION, revision(), Source::Default),
            links: Links {
                honeycomb: reader.find(&ROLLBAR_LINK_HONEYCOMB),
                xray: reader.find(&ROLLBAR_LINK_XRAY),
                logs: reader.find(&ROLLBAR_LINK_LOGS),
            },
        }
    }
}

/// The revision that was built, or the version where that is not known.
pub(super) fn revision() -> String {
    option_env!("CRUDDUR_REVISION")
        .unwrap_or(env!("CARGO_PKG_VERSION"))
        .chars()
        .take(LONGEST_VERSION)
        .collect()
}

impl Template {
    /// What may stand between braces: the ids in their usual forms, and the seconds since 1970 of the request's
    /// beginning and end.
    pub const PLACES: [&str; 5] = ["trace_id", "span_id", "xray_trace_id", "start", "end"];

    /// The URL, with each of [`Template::PLACES`] taken by what `value` says of it.
    pub fn fill(&self, value: impl Fn(&str) -> String) -> String {
        Self::PLACES
            .iter()
            .fold(self.0.clone(), |url, place| url.replace(&format!("{{{place}}}"), &value(place)))
    }
}

impl Shown for Template {
    fn shown(&self) -> String {
        self.0.shown()
    }
}

impl Shown for TokenFile {
    fn shown(&self) -> String {
        self.path.shown()
    }
}

fn token_file(path: &str) -> Parsed<TokenFile> {
    let mut text = String::new();
    if let Err(fault) = File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
        return Err(format!("a readable file: {fault}").into());
    }
    match parse::secret(text.trim()) {
        Ok(token) if !text.trim().is_empty() => Ok(TokenFile { path: path.to_owned(), token }),
        _ => Err("a file with nothing but a token of visible ASCII characters".into()),
    }
}

fn endpoint(text: &str) -> Parsed<Url> {
    const EXPECTED: &str = "a URL such as https://api.rollbar.com/api/1/, without user, password or query";
    let mut url = Url::parse(text).map_err(|_| EXPECTED)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !plain || !is_http || url.fragment().is_some() || text.contains(char::is_control) {
        return Err(EXPECTED.into());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path().to_owned()));
    }
    Ok(url)
}

fn items_per_minute(text: &str) -> Parsed<u16> {
    let number = text.parse().ok().filter(|number| (1..=6000).contains(number));
    number.ok_or("a number from 1 to 6000".into())
}

fn code_version(text: &str) -> Parsed<String> {
    if text.len() <= LONGEST_VERSION && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a revision or version of at most 40 visible ASCII characters".into())
    }
}

fn template(text: &str) -> Parsed<Template> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    let places = text.split('{').skip(1).map(|rest| rest.split_once('}').map(|(place, _)| place));
    let known = |place: Option<&str>| place.is_some_and(|place| Template::PLACES.contains(&place));
    if is_url && text.bytes().all(|byte| byte.is_ascii_graphic()) && places.into_iter().all(known) {
        Ok(Template(text.to_owned()))
    } else {
        Err(format!("a URL in which {{{}}} are what stands in braces", Template::PLACES.join("}, {")).into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::tests::{config, read, warnings};
    use super::*;

    #[test]
    fn a_token_switches_it_on_and_everything_else_has_a_default() {
        assert!(config([]).rollbar.token.is_none());
        let rollbar = config([("ROLLBAR_ACCESS_TOKEN", "hush"), ("APP_ENV", "staging")]).rollbar;
        assert_eq!(rollbar.token.unwrap().expose_secret(), "hush");
        assert_eq!(rollbar.endpoint.as_str(), "https://api.rollbar.com/api/1/");
        assert_eq!(rollbar.environment, "staging");
        assert_eq!(rollbar.code_version, revision());
        let other = config([("APP_ENV", "staging"), ("ROLLBAR_ENVIRONMENT", "production")]);
        assert_eq!(other.rollbar.environment, "production");
    }

    #[test]
    fn the_token_may_be_in_a_file() {
        let folder = std::env::temp_dir().join(format!("cruddur-token-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let good = write("good", "hush\n");
        let rollbar = config([("ROLLBAR_ACCESS_TOKEN_FILE", &good)]).rollbar;
        assert_eq!(rollbar.token.unwrap().expose_secret(), "hush");
        let both = [("ROLLBAR_ACCESS_TOKEN", "louder"), ("ROLLBAR_ACCESS_TOKEN_FILE", &good)];
        assert_eq!(config(both).rollbar.token.unwrap().expose_secret(), "louder");
        let said =
            "ROLLBAR_ACCESS_TOKEN_FILE: has no effect, because ROLLBAR_ACCESS_TOKEN is set too and wins";
        assert_eq!(warnings(both), [said]);
        for (name, text) in [("empty", " \n"), ("two", "hush hush")] {
            let error = read("ROLLBAR_ACCESS_TOKEN_FILE", &write(name, text)).unwrap_err();
            assert!(error.contains("nothing but a token") && !error.contains("hush"), "{error}");
        }
        let error = read("ROLLBAR_ACCESS_TOKEN_FILE", "/nowhere/at/all").unwrap_err();
        assert!(error.contains("a readable file"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (name, good, shown) in [
            ("ROLLBAR_ENDPOINT", "http://localhost:8080/api/1", "http://localhost:8080/api/1/"),
            ("ROLLBAR_ITEMS_PER_MINUTE", "6000", "6000"),
            ("CODE_VERSION", "2024.1", "2024.1"),
            ("ROLLBAR_LINK_XRAY", "https://x/#t/{xray_trace_id}", "https://x/#t/{xray_trace_id}"),
            ("ROLLBAR_LINK_LOGS", "https://x/?a={start}&b={end}", "https://x/?a={start}&b={end}"),
        ] {
            assert_eq!(read(name, good).as_deref(), Ok(shown));
        }
        for (name, bad) in [
            ("ROLLBAR_ENDPOINT", "api.rollbar.com"),
            ("ROLLBAR_ENDPOINT", "ftp://api.rollbar.com/"),
            ("ROLLBAR_ENDPOINT", "https://me:hush@api.rollbar.com/"),
            ("ROLLBAR_ENDPOINT", "https://api.rollbar.com/?access_token=hush"),
            ("ROLLBAR_ENVIRONMENT", "a b"),
            ("ROLLBAR_ITEMS_PER_MINUTE", "0"),
            ("ROLLBAR_ITEMS_PER_MINUTE", "6001"),
            ("CODE_VERSION", "0123456789012345678901234567890123456789x"),
            ("ROLLBAR_LINK_HONEYCOMB", "honeycomb"),
            ("ROLLBAR_LINK_HONEYCOMB", "https://x/{trace}"),
            ("ROLLBAR_LINK_HONEYCOMB", "https://x/{trace_id"),
        ] {
            let error = read(name, bad).unwrap_err();
            assert!(error.starts_with(name) && !error.contains("hush@"), "{error}");
        }
    }

    #[test]
    fn a_template_is_filled_wherever_a_place_is() {
        let template = template("https://x/{trace_id}?{start}-{end}&{trace_id}").unwrap();
        assert_eq!(
            template.fill(|place| format!("<{place}>")),
            "https://x/<trace_id>?<start>-<end>&<trace_id>"
        );
    }
}
