//! Parsers that several topics share.
//!
//! What a parser refuses it describes by what would be right, so that it reads after "`value` is not".

use std::borrow::Cow;
use std::time::Duration;

use secrecy::SecretString;

/// A value, or what would be one.
pub(super) type Parsed<T> = Result<T, Cow<'static, str>>;

/// Beyond this a limit is none, and adding it to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `30`, `30s`, `500ms`, `2m`.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    read_duration(text).ok_or("a duration such as 30s, 500ms or 2m, up to 24 hours".into())
}

/// The same, without zero: a limit of nothing refuses everything.
pub(super) fn limit(text: &str) -> Parsed<Duration> {
    read_duration(text)
        .filter(|limit| !limit.is_zero())
        .ok_or("a duration above zero such as 30s, 500ms or 2m, up to 24 hours".into())
}

fn read_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60 * 1000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?)).filter(|duration| *duration <= LONGEST)
}

/// `on` or `off`, and what people write instead.
pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" | "yes" => Ok(true),
        "off" | "false" | "0" | "no" => Ok(false),
        _ => Err("on or off".into()),
    }
}

/// A name that people read, and that ends up in headers and tags.
pub(super) fn text(text: &str) -> Parsed<String> {
    if text.len() <= 255 && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a name of at most 255 bytes without control characters".into())
    }
}

/// A key or token: it travels in a header, so it has to fit one.
pub(super) fn secret(text: &str) -> Parsed<SecretString> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(text))
    } else {
        Err("a key of visible ASCII characters".into())
    }
}

/// A comma-separated list without blanks, or `none`; `item` gets each entry, and the refusal names the first one
/// that it refuses.
pub(super) fn list<T>(
    text: &str,
    expected: &str,
    mut item: impl FnMut(&str) -> Option<Vec<T>>,
) -> Parsed<Vec<T>> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        all.extend(item(entry).ok_or_else(|| format!("{expected}: see {}", super::shown::quoted(entry)))?);
    }
    if all.is_empty() { Err(expected.to_owned().into()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_a_unit_or_are_seconds() {
        for (text, millis) in [
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("30 s", Some(30_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("0", Some(0)),
            ("1440m", Some(86_400_000)),
            ("1441m", None),
            ("18446744073709551615m", None),
            ("99999999999999999999", None),
            ("1.5s", None),
            ("-1", None),
            ("s", None),
            ("3h", None),
            ("٣", None),
        ] {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
        assert!(limit("0ms").is_err());
    }

    #[test]
    fn switches_take_what_people_write() {
        for (text, expected) in [("on", true), ("TRUE", true), ("1", true), ("off", false), ("No", false)] {
            assert_eq!(switch(text), Ok(expected), "{text}");
        }
        assert_eq!(switch("maybe"), Err("on or off".into()));
    }

    #[test]
    fn a_list_names_the_entry_it_refuses() {
        let numbers =
            |text: &str| list(text, "a list of numbers", |entry| Some(vec![entry.parse::<u8>().ok()?]));
        assert_eq!(numbers("1, 2,,3"), Ok(vec![1, 2, 3]));
        assert_eq!(numbers("None"), Ok(vec![]));
        assert_eq!(numbers("1,x"), Err("a list of numbers: see `x`".into()));
        assert_eq!(numbers(","), Err("a list of numbers".into()));
    }
}
