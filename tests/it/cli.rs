//! The binary's arguments, output and exit codes.

use std::process::{Command, Output};

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
    for flag in ["--check", "--healthcheck", "--help", "--version"] {
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
