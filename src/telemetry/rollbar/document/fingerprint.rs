//! Which failures are the same: by what failed and where, and by nothing that changes from build to build or from
//! request to request.

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

use super::super::failure::Failure;
use super::finding::{Cause, Finding, Thrown};
use crate::telemetry::observe::frames::Frame;

/// Goes up when the rules below change: all items are grouped anew then.
const VERSION: &str = "1";

/// The fingerprint: 40 hexadecimal digits, which is the most that Rollbar takes.
pub(in super::super) fn fingerprint(finding: &Finding, failure: &Failure) -> String {
    let digest = Sha1::digest(description(finding, failure));
    digest.iter().fold(String::with_capacity(40), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

/// What is hashed, a fact a line: the classes, the place in our own code, method and route.
fn description(finding: &Finding, failure: &Failure) -> String {
    let mut lines = vec![VERSION.to_owned()];
    match &finding.cause {
        Cause::Chain(chain) => {
            lines.extend(chain.iter().map(|thrown| thrown.class.clone().into_owned()));
            lines.extend(chain.iter().find_map(place));
        }
        Cause::Event(event) => {
            lines.extend([event.target.to_owned(), event.level.to_string(), without_data(&event.message)]);
        }
        Cause::Message(text) => lines.push(without_data(text)),
    }
    lines.extend(failure.record.as_ref().map(|record| {
        let request = record.request();
        format!("{} {}", request.method_label(), request.route.as_deref().unwrap_or_default())
    }));
    lines.join("\n")
}

/// The innermost call of our own; where the binary has no symbols, the file that a panic names.
fn place(thrown: &Thrown) -> Option<String> {
    let own = thrown.frames.iter().find(|frame| frame.in_app);
    let of_frame =
        |frame: &Frame| format!("{} {}", frame.file.as_deref().unwrap_or_default(), method(&frame.function));
    let of_location = || thrown.location.as_deref()?.split(':').next().map(str::to_owned);
    own.map(of_frame).or_else(of_location)
}

/// A function's path without closures and generic arguments, which come and go with a refactoring or an optimisation.
fn method(function: &str) -> String {
    let path = without_arguments(function);
    path.split("::").filter(|part| !is_closure(part)).collect::<Vec<_>>().join("::")
}

/// `a::<b::<c>>::d` as `a::d`.
fn without_arguments(path: &str) -> String {
    let Some((before, rest)) = path.split_once("::<") else { return path.to_owned() };
    let (mut depth, mut previous) = (1_usize, ' ');
    let end = rest.find(|c| {
        match c {
            '<' => depth += 1,
            // The arrow of a function's type closes nothing.
            '>' if previous != '-' => depth -= 1,
            _ => {}
        }
        previous = c;
        depth == 0
    });
    let after = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
    before.to_owned() + &without_arguments(after)
}

/// `{{closure}}`, `{closure#0}`, `{async_fn_env#0}`.
fn is_closure(part: &str) -> bool {
    part.starts_with('{') && part.ends_with('}')
}

/// A message without what makes two of a kind differ: numbers, ids, and what stands in quotes.
fn without_data(message: &str) -> String {
    let mut quote = None;
    let unquoted: String = message
        .chars()
        .filter(|c| match quote {
            Some(open) if *c == open => {
                quote = None;
                false
            }
            Some(_) => false,
            None if matches!(c, '"' | '`') => {
                quote = Some(*c);
                false
            }
            None => true,
        })
        .collect();
    let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let words = unquoted.split_whitespace().map(|word| if has_digit(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use uuid::Uuid;

    use super::super::super::failure::Kind;
    use super::*;

    fn frame(file: &str, line: u32, function: &str, in_app: bool) -> Frame {
        Frame { file: Some(file.to_owned()), line: Some(line), function: function.to_owned(), in_app }
    }

    fn print(frames: Vec<Frame>) -> String {
        let thrown = Thrown {
            class: "cruddur::X".into(),
            message: "no matter".to_owned(),
            location: None,
            frames: frames.into(),
        };
        let failure = Failure {
            id: Uuid::nil(),
            at: SystemTime::UNIX_EPOCH,
            record: None,
            kind: Kind::Notice(String::new()),
        };
        fingerprint(&Finding { level: "error", cause: Cause::Chain(vec![thrown]) }, &failure)
    }

    #[test]
    fn two_builds_with_shifted_lines_agree() {
        let one = print(vec![
            frame("/rustc/1/library/core/src/result.rs", 1, "core::result::unwrap", false),
            frame("src/api/feed.rs", 10, "cruddur::api::feed::load::{{closure}}", true),
            frame("src/api/mod.rs", 5, "cruddur::api::get", true),
        ]);
        let other = print(vec![
            frame("/rustc/2/library/core/src/result.rs", 7, "core::result::Result<T,E>::unwrap", false),
            frame("src/api/feed.rs", 99, "cruddur::api::feed::load::{closure#3}", true),
            frame("src/api/mod.rs", 6, "cruddur::api::post", true),
        ]);
        assert_eq!(one, other);
        assert_eq!(one.len(), 40);
        let elsewhere = print(vec![frame("src/api/feed.rs", 10, "cruddur::api::feed::store", true)]);
        assert_ne!(one, elsewhere);
    }

    #[test]
    fn closures_and_generic_arguments_are_left_out() {
        for (function, path) in [
            ("a::b", "a::b"),
            ("a::b::{{closure}}", "a::b"),
            ("a::b::{{closure}}::{{closure}}", "a::b"),
            ("a::b::{closure#0}", "a::b"),
            ("a::b::<c::D<e::F>>::g::{async_fn#0}", "a::b::g"),
            ("a::b::<fn(u8) -> c::D>::g", "a::b::g"),
            ("<a::B as c::D>::e", "<a::B as c::D>::e"),
            ("ü::<ö>::ä", "ü::ä"),
        ] {
            assert_eq!(method(function), path, "{function}");
        }
    }

    #[test]
    fn a_message_is_the_same_whatever_it_is_about() {
        let one = without_data("user 17 (68f126b0-1ceb-4a33-88be-d90fa7109eee) has no \"feed a\"");
        let other = without_data("user 4711 (00000000-1ceb-4a33-88be-d90fa7109eee) has no \"b\"");
        assert_eq!(one, other);
        assert_eq!(one, "user # # has no");
        assert_ne!(one, without_data("user 17 has no page"));
    }

    #[test]
    fn a_panic_without_symbols_is_told_by_its_file() {
        let of = |location: &str| {
            let thrown = Thrown {
                class: "panic".into(),
                message: String::new(),
                location: Some(location.to_owned()),
                frames: Arc::default(),
            };
            place(&thrown)
        };
        assert_eq!(of("src/a.rs:1:2"), of("src/a.rs:7:8"));
        assert_eq!(of("src/a.rs:1:2").as_deref(), Some("src/a.rs"));
    }
}
