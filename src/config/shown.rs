//! How a setting looks when it is printed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// A value that `--check` can print.
pub(super) trait Shown {
    /// Whether the value must never be shown, not even when it is faulty.
    const SECRET: bool = false;

    /// The value on one line, spelt so that it could be set again.
    fn shown(&self) -> String;
}

/// Says only that there is one.
impl Shown for SecretString {
    const SECRET: bool = true;

    fn shown(&self) -> String {
        "****".to_owned()
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        one_line(self)
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        one_line(&self.display().to_string())
    }
}

impl Shown for u16 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for IpAddr {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for bool {
    fn shown(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        match self.as_millis() {
            millis if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
            millis => format!("{millis}ms"),
        }
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.iter().map(Shown::shown).collect::<Vec<_>>().join(",")
    }
}

/// Keeps what somebody else wrote from breaking the line, or the terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A faulty value as an error shows it: in backticks, without a password or a key, and not longer than a glance.
pub(super) fn quoted(value: &str) -> String {
    const GLANCE: usize = 120;
    const PEM: &str = "-----BEGIN";
    if value.contains(PEM) {
        return format!("`{PEM}…`");
    }
    let safe = match (value.find("://"), value.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => {
            [value.get(..scheme + 3), Some("****"), value.get(at..)].into_iter().flatten().collect()
        }
        _ => value.to_owned(),
    };
    let short: String = safe.chars().take(GLANCE).collect();
    let rest = if short.len() < safe.len() { "…" } else { "" };
    format!("`{}{rest}`", one_line(&short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_like_what_could_be_set() {
        assert_eq!(Duration::from_secs(120).shown(), "120s");
        assert_eq!(Duration::from_millis(1500).shown(), "1500ms");
        assert_eq!(vec![true, false].shown(), "on,off");
        assert_eq!(Vec::<String>::new().shown(), "none");
        assert_eq!(SecretString::from("hush").shown(), "****");
    }

    #[test]
    fn a_faulty_value_stays_on_its_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m é"), "`a\\nb\\u{1b}[31m é`");
        assert_eq!(quoted(&"x".repeat(121)), format!("`{}…`", "x".repeat(120)));
        assert_eq!(quoted("https://me:hush@host"), "`https://****@host`");
        assert_eq!(quoted("me@host"), "`me@host`");
        assert_eq!(quoted("-----BEGIN PRIVATE KEY-----\nhush"), "`-----BEGIN…`");
    }
}
