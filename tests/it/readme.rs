//! What the README says is so.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use chrono::{DateTime, NaiveTime};
use cruddur::config::TOPICS;
use uuid::Uuid;

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");

/// What stands in the README for anything at all.
const ANYTHING: char = '…';

#[test]
fn the_table_has_every_variable() {
    let mut expected = "| Variable | Default | Meaning |\n|---|---|---|\n".to_owned();
    for topic in TOPICS {
        writeln!(expected, "| **{}** | | |", topic.title).unwrap();
        for variable in topic.variables {
            let default = match variable.default {
                words if words == "-" || words.contains(' ') => words.to_owned(),
                value => format!("`{value}`"),
            };
            writeln!(expected, "| `{}` | {default} | {} |", variable.name, variable.meaning).unwrap();
        }
    }
    let table = README.lines().skip_while(|line| !line.starts_with("| Variable |"));
    let table: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    for (row, expected_row) in table.iter().zip(expected.lines()) {
        assert_eq!(*row, expected_row, "the README's table should be:\n{expected}");
    }
    assert_eq!(table.len(), expected.lines().count(), "the README's table should be:\n{expected}");
}

#[test]
fn ci_runs_the_test_command() {
    let [block] = blocks("sh")[..] else { panic!("one block of commands") };
    let [_, test] = block.lines().collect::<Vec<_>>()[..] else { panic!("two commands: {block}") };
    assert!(CI.lines().any(|line| line == format!("step tests {test}")), "{test}");
}

/// The session's commands are run in order against the binary; what comes back, and what the terminal shows
/// meanwhile, must be what the README shows.
#[test]
fn the_session_goes_as_shown() {
    let found = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "curl is missing: the README's session needs it");
    let [session] = blocks("console")[..] else { panic!("one session") };
    let [terminal, ..] = blocks("text")[..] else { panic!("what the terminal shows") };

    let mut service = Service::start();
    let at_port = |text: &str| text.replace(":4567", &format!(":{}", service.port));
    for exchange in at_port(session).split("$ ").skip(1) {
        let (command, shown) = exchange.split_once('\n').unwrap();
        assert!(command.starts_with("curl "), "{command}");
        let output = Command::new("sh").args(["-c", command]).env("NO_PROXY", "*").output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert_shown(command, shown, &String::from_utf8(output.stdout).unwrap());
    }
    let shown = at_port(terminal);
    assert_shown("the terminal", &shown, &service.stop());
}

/// The contents of the README's code blocks in `language`.
pub(super) fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    README.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// That `actual` is what the README shows, but for what differs from run to run.
#[track_caller]
pub(super) fn assert_shown(what: &str, shown: &str, actual: &str) {
    let (shown, actual) = (mask(shown.trim_end()), mask(actual.trim_end()));
    assert!(matches(&shown, &actual), "{what}\n\nshown:\n{shown}\n\nactually:\n{actual}\n");
}

/// Whether `text` is `pattern`, in which [`ANYTHING`] stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(ANYTHING) else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<_> = rest.split(ANYTHING).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(end)
}

/// `text` without what differs from run to run: times, durations, identities.
fn mask(text: &str) -> String {
    let mut masked = String::new();
    for line in text.lines() {
        if line.starts_with("date: ") {
            masked.push_str("date: <time>\n");
            continue;
        }
        let mut words = line.split(' ').peekable();
        while let Some(word) = words.next() {
            let unit = words.next_if(|unit| ["µs", "ms", "s"].contains(unit) && word.parse::<f64>().is_ok());
            masked.push_str(&unit.map_or_else(|| mask_word(word), |_| "<duration>".to_owned()));
            masked.push(if words.peek().is_some() { ' ' } else { '\n' });
        }
    }
    masked
}

fn mask_word(word: &str) -> String {
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || ":.+-".contains(c));
    word.split_inclusive(is_outside)
        .map(|part| {
            let token = part.trim_end_matches(is_outside);
            let rest = part.strip_prefix(token).unwrap_or_default();
            let masked = if DateTime::parse_from_rfc3339(token).is_ok() {
                "<time>".to_owned()
            } else if NaiveTime::parse_from_str(token, "%H:%M:%S%.f").is_ok() {
                "<clock>".to_owned()
            } else if Uuid::try_parse(token).is_ok_and(|_| token.contains('-')) {
                "<uuid>".to_owned()
            } else {
                token.split('-').map(mask_id).collect::<Vec<_>>().join("-")
            };
            masked + rest
        })
        .collect()
}

fn mask_id(text: &str) -> &str {
    let is_id = text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { "<id>" } else { text }
}

#[test]
fn masks_hide_what_differs_and_no_more() {
    let line =
        r#"{"at":"2026-11-21T02:43:52.104571+00:00","id":"68f126b0-1ceb-4a33-88be-d90fa7109eee","n":42}"#;
    assert_eq!(mask(line), "{\"at\":\"<time>\",\"id\":\"<uuid>\",\"n\":42}\n");
    let line = "02:43:52.080 GET / 200 completed 35.4 ms 1.1 kB trace 6b01056825ab6d3bd0f7e200276b9c4e";
    assert_eq!(mask(line), "<clock> GET / 200 completed <duration> 1.1 kB trace <id>\n");
    let line = "traceresponse: 00-6b0105682d03c2e3d4bb61e1c3f4f00d-38b057923c8764db-01";
    assert_eq!(mask(line), "traceresponse: 00-<id>-<id>-01\n");
    assert!(matches("a…c…e", "abcde") && matches("a…", "a") && matches("abc", "abc"));
    assert!(!matches("a…c…e", "abcd") && !matches("a…", "b") && !matches("ab", "abc"));
}

/// The binary, serving; it is killed when it is dropped before it was stopped.
struct Service {
    process: Child,
    stdout: BufReader<ChildStdout>,
    port: String,
    seen: String,
}

impl Service {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_cruddur"))
            .env_clear()
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut service = Self { process, stdout, port: String::new(), seen: String::new() };
        service.stdout.read_line(&mut service.seen).unwrap();
        let line = &service.seen;
        let (_, address) =
            line.split_once(" listens on http://").unwrap_or_else(|| panic!("not a start: {line:?}"));
        let address = address.split(' ').next().unwrap_or_default();
        service.port = address.rsplit(':').next().unwrap_or_default().to_owned();
        service
    }

    /// Ends it as an orchestrator would; returns all that it has printed.
    fn stop(&mut self) -> String {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.stdout.read_to_string(&mut self.seen).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut self.seen).unwrap();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.seen);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already ended, if all went well.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
