//! The binary's arguments, output and exit codes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

/// Runs the binary with these variables and no others.
fn cruddur<const N: usize>(arguments: &[&str], variables: [(&str, &str); N]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_cruddur"))
        .args(arguments)
        .env_clear()
        .envs(variables)
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("the binary prints UTF-8");
    (status.code().expect("no signal ended it"), text(stdout), text(stderr))
}

#[test]
fn version_is_one_line() {
    let expected = format!("cruddur {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(cruddur(&["--version"], []), (0, expected, String::new()));
}

#[test]
fn help_names_flags_and_every_variable() {
    let (code, out, err) = cruddur(&["--help"], []);
    assert_eq!((code, err.as_str()), (0, ""));
    for flag in ["--check", "--healthcheck", "--explain-sampling METHOD HOST PATH", "--help", "--version"] {
        assert!(out.contains(flag), "{flag}: {out}");
    }
    for variable in cruddur::config::TOPICS.iter().flat_map(|topic| topic.variables) {
        assert!(out.contains(&format!("\n  {} ", variable.name)), "{}: {out}", variable.name);
        assert!(out.contains(variable.meaning), "{}: {out}", variable.name);
    }
    assert!(out.lines().all(|line| line.len() <= 140), "{out}");
}

#[test]
fn check_prints_settings_in_columns() {
    let (code, out, err) = cruddur(
        &["--check"],
        [
            ("PORT", "0"),
            ("HONEYCOMB_SERVICE_NAME", "axum"),
            ("HONEYCOMB_API_KEY", "hush"),
            ("APP_ENV", "production"),
        ],
    );
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let row = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(1).collect::<Vec<_>>()
    };
    assert_eq!(row("PORT"), ["0", "environment"]);
    assert_eq!(row("OTEL_SERVICE_NAME"), ["axum", "HONEYCOMB_SERVICE_NAME"]);
    assert_eq!(row("TEST_ROUTES"), ["off", "APP_ENV"]);
    assert_eq!(row("HONEYCOMB_API_KEY"), ["****", "environment"]);
    let endpoint = row("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    assert_eq!(endpoint, ["https://api.honeycomb.io/v1/traces", "HONEYCOMB_API_KEY"]);
    assert_eq!(row("OTEL_EXPORTER_OTLP_METRICS_HEADERS"), ["x-honeycomb-team", "HONEYCOMB_API_KEY"]);
    assert_eq!(row("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), ["http/protobuf", "default"]);
    assert_eq!(row("OTEL_TRACES_SAMPLER"), ["parentbased_always_on", "default"]);
    assert_eq!(row("REQUEST_TIMEOUT"), ["30s", "default"]);
    let last_column = |line: &str| line.rfind("  ");
    assert!(out.lines().all(|line| last_column(line) == out.lines().next().and_then(last_column)), "{out}");
}

#[test]
fn check_ends_with_warnings_and_then_faults() {
    let (code, out, _) = cruddur(&["--check"], [("PORT", "http"), ("LOGLEVEL", "debug")]);
    assert_eq!(code, 2);
    let last: Vec<_> = out.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [
            "error: PORT: `http` is not a port from 0 to 65535",
            "warning: LOGLEVEL: unknown; did you mean LOG_LEVEL?",
        ]
    );
}

#[test]
fn bad_values_keep_it_from_starting() {
    let expected = "error: PORT: `http` is not a port from 0 to 65535\n\
                    error: LOG_FORMAT: `xml` is not one of pretty, plain, json\n";
    let ended = cruddur(&[], [("PORT", "http"), ("LOG_FORMAT", "xml")]);
    assert_eq!(ended, (2, String::new(), expected.to_owned()));
}

#[test]
fn an_unknown_argument_is_refused() {
    let expected = "error: unknown argument \"--chekc\"; see cruddur --help\n";
    assert_eq!(cruddur(&["--chekc"], []), (2, String::new(), expected.to_owned()));
}

#[test]
fn healthcheck_says_why_on_one_line() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, err) = cruddur(&["--healthcheck"], [("PORT", &unused.port().to_string())]);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "{err}");
    assert!(err.starts_with(&format!("error: {unused}: ")), "{err}");
}

const EXPLAIN: [&str; 4] = ["--explain-sampling", "GET", "localhost:4567", "/api/activities/home?x=1"];

#[test]
fn sampling_is_explained_by_the_rules_that_the_daemon_gives() {
    let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    let rule = include_str!("../../aws/json/xray.json");
    let answering = thread::spawn(move || {
        let (mut stream, _) = daemon.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n{}") {
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let body = format!(r#"{{"SamplingRuleRecords": [{rule}]}}"#);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let (code, out, err) = cruddur(&EXPLAIN, [("AWS_XRAY_DAEMON_ADDRESS", &address)]);
    answering.join().unwrap();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let expected = "\
GET /api/activities/home
  host          localhost:4567
  service name  cruddur-backend
  service type  not known (matches any)

Central rules, fetched 0 s ago, in the order in which they are asked:
  1. Cruddur (priority 9000): matches, and decides

Cruddur decides: it keeps 5 requests a second in all processes together, and 10 % of the rest.
The share of this process is not known, so it borrows one request a second.
Not reported yet: 0 requests, 0 kept by quota or chance, 0 borrowed.
";
    assert_eq!(out.replace("fetched 1 s ago", "fetched 0 s ago"), expected);
}

#[test]
fn sampling_is_explained_by_the_local_rules_when_the_daemon_does_not_answer() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/json/xray.json");
    let variables = [
        ("AWS_XRAY_DAEMON_ADDRESS", unused.as_str()),
        ("AWS_XRAY_SAMPLING_RULES", rules),
        ("AWS_XRAY_URL", "localhost:*"),
    ];
    let (code, out, err) = cruddur(&EXPLAIN, variables);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(&format!("The daemon at {unused} does not answer: ")), "{out}");
    let listed = format!(
        "These are the local rules from {rules}, in the order in which they are asked:
  1. Cruddur: no, its service name is cruddur-backend, not localhost:4567
  2. default: matches, and decides
"
    );
    assert!(out.contains("AWS_XRAY_URL matches the host") && out.contains(&listed), "{out}");
}

#[test]
fn sampling_is_explained_without_a_daemon() {
    let (code, out, err) = cruddur(&EXPLAIN, []);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("AWS_XRAY_DAEMON_ADDRESS is not set"), "{out}");
    assert!(out.contains("These are the built-in local rules"), "{out}");
}

#[test]
fn explaining_needs_a_whole_request() {
    let expected = "error: PATH is missing after --explain-sampling; see cruddur --help\n";
    assert_eq!(cruddur(&EXPLAIN[..3], []), (2, String::new(), expected.to_owned()));
}
