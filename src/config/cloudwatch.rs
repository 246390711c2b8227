//! CloudWatch Logs: where lines go, what they look like, and by whose leave.
//!
//! The variables that begin with `AWS_` are those of Amazon's SDKs and mean the same; what is not read here, such as
//! profiles and roles, the SDK finds for itself.

use reqwest::Url;
use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

use super::parse::{self, Parsed};
use super::reader::{Reader, Source};
use super::shown::{Shown, one_line};
use super::variable::variables;

variables! {
    CLOUDWATCH_LOG_GROUP: Group = group, "cruddur with a region and credentials, else off",
        "the log group, which switches CloudWatch Logs on; off";
    CLOUDWATCH_LOG_STREAM: StreamName = stream, "{service}/{host}/{port}",
        "the log stream; filled in are {service}, {environment}, {host}, {port}, {instance}";
    CLOUDWATCH_CREATE_GROUP: bool = parse::switch, "on", "off leaves it to others to create the group; streams are created";
    CLOUDWATCH_RETENTION_DAYS: Retention = retention, "-", "how long the group keeps lines; - leaves it as it is";
    CLOUDWATCH_LOG_CLASS: LogClass = class, "STANDARD", "class of a group that is created: STANDARD or INFREQUENT_ACCESS";
    CLOUDWATCH_LOG_FORMAT: LineFormat = format, "json", "json, or classic for [2026-Nov-20 23:55] 127.0.0.1 GET http /path 200 OK";
    CLOUDWATCH_LOG_LEVEL: LevelFilter = level, "info", "which log events are sent beside access lines: off, error, warn, info, debug or trace";
    CLOUDWATCH_METRICS_NAMESPACE: String = namespace, "-",
        "makes access lines metrics too: Latency, Count and Faults by route";
    AWS_REGION: String = region, "AWS_DEFAULT_REGION", "the region; without either, the profile's or the machine's";
    AWS_DEFAULT_REGION: String = region, "-", "the same; AWS_REGION wins";
    AWS_ENDPOINT_URL_CLOUDWATCH_LOGS: Url = endpoint, "AWS_ENDPOINT_URL", "where CloudWatch Logs is, instead of in the region";
    AWS_ENDPOINT_URL: Url = endpoint, "-", "where all of AWS is";
    AWS_ACCESS_KEY_ID: String = key_id, "-", "an access key; without one, the SDK's chain: web identity, profile, container, machine";
    AWS_SECRET_ACCESS_KEY: SecretString = parse::secret, "-", "its secret";
    AWS_SESSION_TOKEN: SecretString = parse::secret, "-", "its token, where it is a temporary one";
    AWS_PROFILE: String = parse::text, "-", "a profile in the files of the AWS CLI; read by the SDK";
    AWS_WEB_IDENTITY_TOKEN_FILE: String = parse::text, "-", "set by EKS; read by the SDK";
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: String = parse::text, "-", "set by ECS; read by the SDK";
    AWS_CONTAINER_CREDENTIALS_FULL_URI: String = parse::text, "-", "set by EKS; read by the SDK";
}

/// The group where nobody names one.
const GROUP: &str = "cruddur";
/// The most characters of a group's name and of a stream's, by the API's model (2014-03-28).
pub(crate) const LONGEST_NAME: usize = 512;
/// How long a group can be told to keep lines, in days, by the API's model (2014-03-28).
const RETENTIONS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// CloudWatch Logs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CloudWatch {
    /// The log group: 1 to 512 of `A-Z a-z 0-9 . - _ / #`. `None` leaves CloudWatch off.
    pub group: Option<String>,
    /// The log stream, with names in braces to be filled in.
    pub stream: StreamName,
    /// What `{port}` is.
    pub port: u16,
    /// Whether a missing group is created.
    pub create_group: bool,
    /// How many days the group keeps lines; `None` leaves it as it is.
    pub retention_days: Option<i32>,
    /// What a created group costs and can do.
    pub class: LogClass,
    /// What a line looks like.
    pub format: LineFormat,
    /// Which log events are sent.
    pub level: LevelFilter,
    /// The metrics' namespace, where access lines are metrics.
    pub metrics_namespace: Option<String>,
    /// The region; `None` leaves it to the SDK to find out.
    pub region: Option<String>,
    /// Where the service is, where it is not the region's.
    pub endpoint: Option<Url>,
    /// The access key of the environment; `None` leaves it to the SDK to find credentials.
    pub key: Option<AccessKey>,
}

/// An access key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccessKey {
    /// Its name, which is no secret.
    pub id: String,
    /// What requests are signed with.
    pub secret: SecretString,
    /// What a temporary key is shown with.
    pub token: Option<SecretString>,
}

/// A stream's name, as it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamName(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(&'static str),
}

/// What can be filled in.
const PLACES: [&str; 5] = ["service", "environment", "host", "port", "instance"];

/// What a log group costs and can do; it cannot be changed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogClass {
    /// Everything.
    Standard,
    /// At half the price: no live tail, no metrics from lines, queries only.
    InfrequentAccess,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// A flat JSON object.
    Json,
    /// The line of the service's first edition.
    Classic,
}

/// `off`, or a group.
#[derive(Clone)]
enum Group {
    Off,
    Named(String),
}

#[derive(Clone, Copy)]
struct Retention(i32);

impl CloudWatch {
    pub(super) fn read(reader: &mut Reader<'_>, port: u16) -> Self {
        let region = preferred(reader, &AWS_REGION, &AWS_DEFAULT_REGION);
        let endpoint = preferred(reader, &AWS_ENDPOINT_URL_CLOUDWATCH_LOGS, &AWS_ENDPOINT_URL);
        let key = key(reader);
        let elsewhere = elsewhere(reader);
        // Nothing is probed: an address that nobody answers at would cost each start a second or two.
        let credentials = key.as_ref().map(|_| AWS_ACCESS_KEY_ID.variable.name).or(elsewhere);
        let implied = credentials.filter(|_| region.is_some());
        let group = group_or(reader, implied);
        let stream = reader.get(&CLOUDWATCH_LOG_STREAM);
        let create_group = reader.get(&CLOUDWATCH_CREATE_GROUP);
        let retention_days = reader.find(&CLOUDWATCH_RETENTION_DAYS).map(|Retention(days)| days);
        let class = reader.get(&CLOUDWATCH_LOG_CLASS);
        let format = reader.get(&CLOUDWATCH_LOG_FORMAT);
        let level = reader.get(&CLOUDWATCH_LOG_LEVEL);
        let metrics_namespace = reader.find(&CLOUDWATCH_METRICS_NAMESPACE);
        if let (Some(_), Some(why)) = (&metrics_namespace, without_metrics(format, class)) {
            let name = CLOUDWATCH_METRICS_NAMESPACE.variable.name;
            reader.refuse(name, "the setting".to_owned(), why);
        }
        Self {
            group,
            stream,
            port,
            create_group,
            retention_days,
            class,
            format,
            level,
            metrics_namespace,
            region,
            endpoint,
            key,
        }
    }
}

/// The group that is named, or the default one where a variable implies it.
fn group_or(reader: &mut Reader<'_>, implied: Option<&'static str>) -> Option<String> {
    let given = reader.given(&CLOUDWATCH_LOG_GROUP);
    let fallback = implied.map_or(Group::Off, |_| Group::Named(GROUP.to_owned()));
    let source = implied.map_or(Source::Default, Source::Variable);
    match reader.settle(CLOUDWATCH_LOG_GROUP.variable.name, given, fallback, source, Group::shown) {
        Group::Off => None,
        Group::Named(group) => Some(group),
    }
}

/// The variable by which the SDK finds credentials that are not in the environment itself.
fn elsewhere(reader: &mut Reader<'_>) -> Option<&'static str> {
    let rows = [
        AWS_PROFILE,
        AWS_WEB_IDENTITY_TOKEN_FILE,
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
        AWS_CONTAINER_CREDENTIALS_FULL_URI,
    ];
    rows.map(|row| reader.find(&row).map(|_| row.variable.name)).into_iter().flatten().next()
}

/// One setting that two variables can give, if any does.
fn preferred<T: Shown>(
    reader: &mut Reader<'_>,
    first: &super::variable::Typed<T>,
    second: &super::variable::Typed<T>,
) -> Option<T> {
    let (preferred, other) = (reader.given(first), reader.given(second));
    reader.settle_optional(first.variable.name, preferred.or(other), second.variable.default)
}

/// The environment's own key. A half of one is none, as the SDKs have it.
fn key(reader: &mut Reader<'_>) -> Option<AccessKey> {
    let id = reader.find(&AWS_ACCESS_KEY_ID);
    let secret = reader.find(&AWS_SECRET_ACCESS_KEY);
    let token = reader.find(&AWS_SESSION_TOKEN);
    let halves =
        [(id.is_some(), &AWS_ACCESS_KEY_ID.variable), (secret.is_some(), &AWS_SECRET_ACCESS_KEY.variable)];
    if let [(true, given), (false, missing)] | [(false, missing), (true, given)] = halves {
        reader.warn(given.name, format_args!("has no effect without {}", missing.name));
    }
    Some(AccessKey { id: id?, secret: secret?, token })
}

/// What stands in the way of metrics: the embedded metric format is JSON, and only STANDARD groups read it.
fn without_metrics(format: LineFormat, class: LogClass) -> Option<&'static str> {
    match (format, class) {
        (LineFormat::Classic, _) => Some("possible with CLOUDWATCH_LOG_FORMAT=classic; metrics need json"),
        (_, LogClass::InfrequentAccess) => {
            Some("possible with CLOUDWATCH_LOG_CLASS=INFREQUENT_ACCESS; metrics need STANDARD")
        }
        (LineFormat::Json, LogClass::Standard) => None,
    }
}

impl StreamName {
    /// The name with its places filled in. What a stream's name may not hold becomes `_`.
    #[must_use]
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Place(place) => value(place).unwrap_or("unknown"),
        });
        let name: String = parts.collect();
        name.chars().map(|c| if is_stream_character(c) { c } else { '_' }).take(LONGEST_NAME).collect()
    }
}

fn is_stream_character(c: char) -> bool {
    !c.is_control() && c != ':' && c != '*'
}

fn stream(text: &str) -> Parsed<StreamName> {
    const EXPECTED: &str = "a name of at most 512 characters without : and *, in which {service}, {environment}, \
                            {host}, {port} and {instance} are filled in";
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').ok_or(EXPECTED)?;
        let place = PLACES.into_iter().find(|known| *known == place);
        let place = place.ok_or(EXPECTED)?;
        parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
        parts.push(Part::Place(place));
        rest = after;
    }
    parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
    let legal = text.chars().count() <= LONGEST_NAME && text.chars().all(is_stream_character);
    if legal && !rest.contains('}') { Ok(StreamName(parts)) } else { Err(EXPECTED.into()) }
}

fn group(text: &str) -> Parsed<Group> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(Group::Off);
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    if text.len() <= LONGEST_NAME && text.bytes().all(legal) && !text.starts_with("aws/") {
        Ok(Group::Named(text.to_owned()))
    } else {
        Err("off, or a name of 1 to 512 letters, digits and . - _ / # that does not begin with aws/".into())
    }
}

fn retention(text: &str) -> Parsed<Retention> {
    let days = text.parse().ok().filter(|days| RETENTIONS.contains(days));
    days.map(Retention).ok_or_else(|| {
        let known = RETENTIONS.map(|days| days.to_string()).join(", ");
        format!("a number of days that CloudWatch knows: {known}").into()
    })
}

fn class(text: &str) -> Parsed<LogClass> {
    match text.to_ascii_uppercase().as_str() {
        "STANDARD" => Ok(LogClass::Standard),
        "INFREQUENT_ACCESS" => Ok(LogClass::InfrequentAccess),
        _ => Err("one of STANDARD, INFREQUENT_ACCESS".into()),
    }
}

fn format(text: &str) -> Parsed<LineFormat> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Ok(LineFormat::Json),
        "classic" => Ok(LineFormat::Classic),
        _ => Err("one of json, classic".into()),
    }
}

fn level(text: &str) -> Parsed<LevelFilter> {
    let known = text.bytes().all(|byte| byte.is_ascii_alphabetic()).then(|| text.parse().ok()).flatten();
    known.ok_or("one of off, error, warn, info, debug, trace".into())
}

/// By CloudWatch's API for metrics: names that begin with AWS/ are its own.
fn namespace(text: &str) -> Parsed<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    if text.len() <= 255 && text.bytes().all(legal) && !text.starts_with("AWS/") && !text.starts_with(':') {
        Ok(text.to_owned())
    } else {
        Err("a name of at most 255 letters, digits and . - _ / # : that does not begin with AWS/".into())
    }
}

/// It becomes part of a host's name.
fn region(text: &str) -> Parsed<String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() <= 63 && text.bytes().all(legal) {
        Ok(text.to_owned())
    } else {
        Err("a region such as us-east-1".into())
    }
}

fn endpoint(text: &str) -> Parsed<Url> {
    let plain = |url: &Url| {
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_http && url.username().is_empty() && url.password().is_none() && url.query().is_none()
    };
    let url = Url::parse(text).ok().filter(plain);
    url.ok_or("a URL such as http://localhost:5000".into())
}

fn key_id(text: &str) -> Parsed<String> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Ok(text.to_owned())
    } else {
        Err("the id of an access key, of letters and digits".into())
    }
}

impl Shown for Group {
    fn shown(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Named(name) => name.clone(),
        }
    }
}

impl Shown for StreamName {
    fn shown(&self) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => one_line(text),
            Part::Place(place) => format!("{{{place}}}"),
        });
        parts.collect()
    }
}

impl Shown for Retention {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl Shown for LogClass {
    fn shown(&self) -> String {
        match self {
            Self::Standard => "STANDARD",
            Self::InfrequentAccess => "INFREQUENT_ACCESS",
        }
        .to_owned()
    }
}

impl Shown for LineFormat {
    fn shown(&self) -> String {
        match self {
            Self::Json => "json",
            Self::Classic => "classic",
        }
        .to_owned()
    }
}

impl Shown for LevelFilter {
    fn shown(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests;
