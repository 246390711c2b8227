//! X-Ray: where the daemon is, what segments are called, and which requests are kept while it gives no rules.
//!
//! The variables are those of X-Ray's SDKs and mean the same, except for `AWS_XRAY_URL`, which is this service's.

use std::fs::File;
use std::io::Read as _;
use std::net::Ipv6Addr;

use reqwest::Url;

use super::Service;
use super::parse::{self, Parsed};
use super::reader::{Reader, Source};
use super::shown::{Shown, one_line, quoted};
use super::variable::variables;
use crate::telemetry::xray::is_name_character;
use crate::telemetry::xray::sampling::{LocalRules, Pattern};

variables! {
    AWS_XRAY_DAEMON_ADDRESS: DaemonAddress = address, "-",
        "the X-Ray daemon: host:port, or tcp:host:port udp:host:port; without it X-Ray is off";
    AWS_XRAY_SDK_ENABLED: Enabled = enabled, "true", "false switches X-Ray off wherever the daemon is";
    AWS_XRAY_TRACING_NAME: String = name, "the service's name",
        "what segments are called, unless AWS_XRAY_URL matches the Host header";
    AWS_XRAY_URL: Hosts = hosts, "-",
        "a pattern such as 4567-*.gitpod.io: a Host header that it matches is the segment's name";
    AWS_XRAY_SAMPLING_RULES: RulesFile = rules_file, "1 request a second, and 5 % of the rest",
        "a file of local sampling rules, for when the daemon gives none";
    AWS_XRAY_CONTEXT_MISSING: ContextMissing = context_missing, "LOG_ERROR",
        "accepted, and without effect: a request always has a context";
    ECS_CONTAINER_METADATA_URI_V4: Url = url, "-", "set by ECS: where a container learns which one it is";
    AWS_EC2_METADATA_SERVICE_ENDPOINT: Url = url, "http://169.254.169.254/",
        "where an instance of EC2 learns which one it is; asked only on such an instance";
    AWS_EC2_METADATA_DISABLED: bool = parse::switch, "false", "true asks no instance metadata";
}

/// The most characters of a segment's name.
const LONGEST_NAME: usize = 200;
/// What is larger is no file of sampling rules.
const LARGEST: u64 = 1024 * 1024;

/// X-Ray.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Xray {
    /// Where the daemon is; `None` leaves X-Ray off.
    pub daemon: Option<DaemonAddress>,
    /// What segments are called, unless `pattern` matches: 1 to 200 characters that X-Ray allows in a name.
    pub name: String,
    /// Host headers that this matches are segments' names themselves.
    pub pattern: Option<Pattern>,
    /// What is kept while the daemon gives no rules.
    pub local_rules: LocalRules,
    /// Where a container of ECS asks which one it is.
    pub ecs_metadata: Option<Url>,
    /// Where an instance of EC2 asks which one it is; `None` elsewhere.
    pub ec2_metadata: Option<Url>,
}

/// Where the daemon takes documents, and where it answers about sampling: `host:port` each, and the host is a name,
/// an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonAddress {
    /// For documents.
    pub udp: String,
    /// For sampling.
    pub tcp: String,
}

/// A switch of which the SDKs say that what they do not know means on.
#[derive(Clone)]
enum Enabled {
    Known(bool),
    Unknown(String),
}

/// A pattern for Host headers, and what stood around it that no Host header has.
#[derive(Clone)]
struct Hosts {
    pattern: Pattern,
    cut: bool,
}

#[derive(Clone)]
struct RulesFile {
    path: String,
    rules: LocalRules,
}

/// What an SDK does where it has no segment.
#[derive(Clone)]
struct ContextMissing(&'static str);

impl Xray {
    pub(super) fn read(reader: &mut Reader<'_>, service: &Service) -> Self {
        let daemon = reader.find(&AWS_XRAY_DAEMON_ADDRESS);
        let enabled = match reader.get(&AWS_XRAY_SDK_ENABLED) {
            Enabled::Known(enabled) => enabled,
            Enabled::Unknown(text) => {
                let message = format_args!("{} is ignored; known are true and false", quoted(&text));
                reader.warn(AWS_XRAY_SDK_ENABLED.variable.name, message);
                true
            }
        };
        if daemon.is_some() && !enabled {
            let message =
                format_args!("has no effect, because {} is off", AWS_XRAY_SDK_ENABLED.variable.name);
            reader.warn(AWS_XRAY_DAEMON_ADDRESS.variable.name, message);
        }
        let daemon = daemon.filter(|_| enabled);

        let fallback = legal(&service.name);
        let given = reader.is_set(AWS_XRAY_TRACING_NAME.variable.name);
        if daemon.is_some() && !given && fallback != service.name {
            let message = format_args!("X-Ray does not allow such a name, so segments are called {fallback}");
            reader.warn("OTEL_SERVICE_NAME", message);
        }
        let name = reader.get_or(&AWS_XRAY_TRACING_NAME, fallback, Source::Default);

        let pattern = reader.find(&AWS_XRAY_URL).map(|Hosts { pattern, cut }| {
            if cut {
                let message = format_args!(
                    "it is compared with the Host header, which has neither scheme nor path, so only {pattern} is \
                     used"
                );
                reader.warn(AWS_XRAY_URL.variable.name, message);
            }
            pattern
        });
        let local_rules = reader.find(&AWS_XRAY_SAMPLING_RULES).map(|file| file.rules).unwrap_or_default();
        // Of the daemon's rules the poller says it, once it has them. A pattern makes names that are not known here.
        if daemon.is_some() && pattern.is_none() && local_rules.pass_over(&name) {
            let message = format_args!("no rule in it is for a service named {name}; see --explain-sampling");
            reader.warn(AWS_XRAY_SAMPLING_RULES.variable.name, message);
        }
        reader.get(&AWS_XRAY_CONTEXT_MISSING);
        let ecs_metadata = reader.find(&ECS_CONTAINER_METADATA_URI_V4);
        let ec2 = reader.get(&AWS_EC2_METADATA_SERVICE_ENDPOINT);
        let disabled = reader.get(&AWS_EC2_METADATA_DISABLED);
        let given = reader.is_set(AWS_EC2_METADATA_SERVICE_ENDPOINT.variable.name);
        let ec2_metadata = (!disabled && (given || is_on_ec2())).then_some(ec2);
        Self { daemon, name, pattern, local_rules, ecs_metadata, ec2_metadata }
    }
}

/// Whether the firmware says that this is Amazon's: elsewhere the address of the metadata is anybody's.
fn is_on_ec2() -> bool {
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor");
    vendor.is_ok_and(|vendor| vendor.trim() == "Amazon EC2")
}

impl Shown for Url {
    fn shown(&self) -> String {
        self.to_string()
    }
}

fn url(text: &str) -> Parsed<Url> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.host().is_some());
    url.ok_or("a URL such as http://169.254.169.254/".into())
}

impl Shown for DaemonAddress {
    fn shown(&self) -> String {
        let Self { udp, tcp } = self;
        if udp == tcp { udp.clone() } else { format!("tcp:{tcp} udp:{udp}") }
    }
}

impl Shown for Enabled {
    fn shown(&self) -> String {
        match self {
            Self::Known(enabled) => enabled.to_string(),
            Self::Unknown(text) => one_line(text),
        }
    }
}

impl Shown for Hosts {
    fn shown(&self) -> String {
        self.pattern.to_string()
    }
}

impl Shown for RulesFile {
    fn shown(&self) -> String {
        self.path.shown()
    }
}

impl Shown for ContextMissing {
    fn shown(&self) -> String {
        self.0.to_owned()
    }
}

fn address(text: &str) -> Parsed<DaemonAddress> {
    let parts: Vec<_> = text.split_ascii_whitespace().collect();
    let read = match parts[..] {
        [both] if is_address(both) => Some((both, both)),
        [first, second] => tcp_and_udp(first, second).or_else(|| tcp_and_udp(second, first)),
        _ => None,
    };
    let (tcp, udp) = read.ok_or(
        "an address such as xray-daemon:2000, 127.0.0.1:2000 or [::1]:2000, or one for each as in \
         tcp:127.0.0.1:2000 udp:127.0.0.1:2000",
    )?;
    Ok(DaemonAddress { udp: udp.to_owned(), tcp: tcp.to_owned() })
}

fn tcp_and_udp<'a>(tcp: &'a str, udp: &'a str) -> Option<(&'a str, &'a str)> {
    let (tcp, udp) = (tcp.strip_prefix("tcp:")?, udp.strip_prefix("udp:")?);
    (is_address(tcp) && is_address(udp)).then_some((tcp, udp))
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        // `tcp:2000` is an address that lacks its host, rather than a host of that name.
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !matches!(host, "" | "tcp" | "udp") && host.bytes().all(plain)
        }
    };
    host && port
}

/// The spellings that the SDK for Python knows.
fn enabled(text: &str) -> Parsed<Enabled> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Enabled::Known(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Enabled::Known(false),
        _ => Enabled::Unknown(text.to_owned()),
    })
}

fn context_missing(text: &str) -> Parsed<ContextMissing> {
    let known = ["LOG_ERROR", "RUNTIME_ERROR", "IGNORE_ERROR"];
    let found = known.into_iter().find(|known| text.eq_ignore_ascii_case(known));
    found.map(ContextMissing).ok_or("one of LOG_ERROR, RUNTIME_ERROR, IGNORE_ERROR".into())
}

fn name(text: &str) -> Parsed<String> {
    if legal(text) == text {
        Ok(text.to_owned())
    } else {
        Err("a name of 1 to 200 letters, digits, blanks and _ . : / % & # = + - @".into())
    }
}

/// The nearest name that X-Ray allows.
fn legal(name: &str) -> String {
    name.chars().take(LONGEST_NAME).map(|c| if is_name_character(c) { c } else { '_' }).collect()
}

/// Whoever copies a URL takes its scheme along, and perhaps a slash, neither of which a Host header has.
fn hosts(text: &str) -> Parsed<Hosts> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.len() > 255 || !host.chars().all(|c| c.is_ascii_graphic()) {
        return Err("a pattern for Host headers such as *4567-*.gitpod.io* or localhost:4567".into());
    }
    Ok(Hosts { pattern: Pattern::new(host), cut: host != text })
}

fn rules_file(path: &str) -> Parsed<RulesFile> {
    let mut text = String::new();
    if let Err(fault) = File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
        return Err(format!("a readable file: {fault}").into());
    }
    match LocalRules::parse(&text, path) {
        Ok(rules) => Ok(RulesFile { path: path.to_owned(), rules }),
        Err(fault) => Err(format!("a file of sampling rules: {fault}").into()),
    }
}

#[cfg(test)]
mod tests;
