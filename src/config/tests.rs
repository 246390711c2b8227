use proptest::prelude::*;

use super::*;

/// How one variable is shown when it is set to `value`, or its error.
pub(super) fn read(name: &'static str, value: &str) -> Result<String, String> {
    let Checked { settings, errors, .. } = Config::check(&Environment::from_iter([(name, value)]));
    match errors.first() {
        Some(error) => {
            assert_eq!(errors.len(), 1, "{name}={value}");
            Err(error.to_string())
        }
        None => {
            let from_variable = |setting: &&Setting| setting.source == Source::Variable(name);
            Ok(settings.iter().find(from_variable).expect("it is in effect").value.clone())
        }
    }
}

pub(super) fn warnings<const N: usize>(variables: [(&str, &str); N]) -> Vec<String> {
    let loaded = Config::load(&Environment::from_iter(variables)).unwrap();
    loaded.warnings.iter().map(ToString::to_string).collect()
}

pub(super) fn config<const N: usize>(variables: [(&str, &str); N]) -> Config {
    Config::load(&Environment::from_iter(variables)).unwrap().config
}

#[test]
fn nothing_set_gives_the_defaults() {
    let loaded = Config::load(&Environment::default()).unwrap();
    let shown: Vec<_> = loaded
        .settings
        .iter()
        .map(|setting| {
            assert_eq!(setting.source, Source::Default, "{setting:?}");
            (setting.name, setting.value.as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("OTEL_SERVICE_NAME", "cruddur-backend"),
            ("APP_ENV", "development"),
            ("SHUTDOWN_GRACE", "10s"),
            ("PORT", "4567"),
            ("BIND_ADDR", "0.0.0.0"),
            ("FRONTEND_URL", "http://localhost:3000"),
            ("BACKEND_URL", "http://localhost:4567"),
            ("REQUEST_TIMEOUT", "30s"),
            ("TEST_ROUTES", "on"),
            ("LOG_LEVEL", "info"),
            ("LOG_FORMAT", "pretty on a terminal, else plain"),
            ("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1,fc00::/7"),
            ("TELEMETRY_EXCLUDE_PATHS", "/health,/api/health-check"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage,xray"),
            (
                "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
                "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"
            ),
            ("HONEYCOMB_API_KEY", "-"),
            ("HONEYCOMB_DATASET", "-"),
            ("OTEL_SDK_DISABLED", "false"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_RESOURCE_ATTRIBUTES", "-"),
            ("OTLP_RELAY", "off"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "-"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "-"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "128"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "128"),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "128"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "128"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "-"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "60000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
            ("AWS_XRAY_DAEMON_ADDRESS", "-"),
            ("AWS_XRAY_SDK_ENABLED", "true"),
            ("AWS_XRAY_TRACING_NAME", "cruddur-backend"),
            ("AWS_XRAY_URL", "-"),
            ("AWS_XRAY_SAMPLING_RULES", "1 request a second, and 5 % of the rest"),
            ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
            ("ECS_CONTAINER_METADATA_URI_V4", "-"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254/"),
            ("AWS_EC2_METADATA_DISABLED", "off"),
            ("AWS_REGION", "-"),
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "-"),
            ("AWS_ACCESS_KEY_ID", "-"),
            ("AWS_SECRET_ACCESS_KEY", "-"),
            ("AWS_SESSION_TOKEN", "-"),
            ("AWS_PROFILE", "-"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "-"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "-"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "-"),
            ("CLOUDWATCH_LOG_GROUP", "off"),
            ("CLOUDWATCH_LOG_STREAM", "{service}/{host}/{port}"),
            ("CLOUDWATCH_CREATE_GROUP", "on"),
            ("CLOUDWATCH_RETENTION_DAYS", "-"),
            ("CLOUDWATCH_LOG_CLASS", "STANDARD"),
            ("CLOUDWATCH_LOG_FORMAT", "json"),
            ("CLOUDWATCH_LOG_LEVEL", "info"),
            ("CLOUDWATCH_METRICS_NAMESPACE", "-"),
            ("ROLLBAR_ACCESS_TOKEN", "-"),
            ("ROLLBAR_ACCESS_TOKEN_FILE", "-"),
            ("ROLLBAR_ENDPOINT", "https://api.rollbar.com/api/1/"),
            ("ROLLBAR_ENVIRONMENT", "development"),
            ("ROLLBAR_ITEMS_PER_MINUTE", "60"),
            ("CODE_VERSION", &rollbar::revision()),
            ("ROLLBAR_LINK_HONEYCOMB", "-"),
            ("ROLLBAR_LINK_XRAY", "-"),
            ("ROLLBAR_LINK_LOGS", "-"),
            ("SPOOL", "on"),
            ("SPOOL_DIR", "/tmp/cruddur"),
            ("SPOOL_MAX_BYTES", "512MB"),
        ]
    );
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let Config { service, http, log, .. } = loaded.config;
    assert_eq!(service.version, "0.1.0");
    assert_eq!(http.bind.to_string(), "0.0.0.0:4567");
    assert_eq!(log.format, None);
}

#[test]
fn good_values_take_effect() {
    for (name, value, shown) in [
        ("PORT", "0", "0"),
        ("PORT", " 65535 ", "65535"),
        ("BIND_ADDR", "::", "::"),
        ("FRONTEND_URL", "https://Cruddur.com:443/home", "https://cruddur.com"),
        ("BACKEND_URL", "*", "*"),
        ("APP_ENV", "eu-1.Staging_2", "eu-1.Staging_2"),
        ("TEST_ROUTES", "0", "off"),
        ("REQUEST_TIMEOUT", "2m", "120s"),
        ("SHUTDOWN_GRACE", "0", "0s"),
        ("SHUTDOWN_GRACE", "1500ms", "1500ms"),
        ("TRUSTED_PROXIES", "none", "none"),
        ("TRUSTED_PROXIES", "10.1.2.3/8, 203.0.113.7,2001:db8::/32", "10.0.0.0/8,203.0.113.7,2001:db8::/32"),
        ("TELEMETRY_EXCLUDE_PATHS", "/,/ready", "/,/ready"),
        ("TELEMETRY_EXCLUDE_PATHS", "none", "none"),
        ("LOG_LEVEL", "WARN", "warn"),
        ("RUST_LOG", "info,cruddur=debug", "info,cruddur=debug"),
        ("LOG_FORMAT", "JSON", "json"),
        ("OTEL_SERVICE_NAME", "backend-axum", "backend-axum"),
        ("HONEYCOMB_SERVICE_NAME", "backend-axum", "backend-axum"),
        ("OTEL_PROPAGATORS", "xray,TraceContext,xray", "xray,tracecontext"),
        ("OTEL_PROPAGATORS", "none", "none"),
        ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PROPFIND", "GET,PROPFIND"),
        ("HONEYCOMB_API_KEY", "hush", "****"),
        ("HONEYCOMB_DATASET", "cruddur", "cruddur"),
    ] {
        assert_eq!(read(name, value), Ok(shown.to_owned()), "{name}={value}");
    }
}

#[test]
fn bad_values_are_named_and_put_right() {
    const LIMIT: &str = "a duration above zero such as 30s, 500ms or 2m, up to 24 hours";
    const ORIGIN: &str = "an origin such as https://cruddur.com or http://localhost:3000, or *";
    const NETWORKS: &str = "a list of addresses or networks such as private,203.0.113.0/24, or none";
    const PATHS: &str = "a list of paths such as /health,/api/health-check, or none";
    const PROPAGATORS: &str = "a list of tracecontext, baggage and xray, or none alone";
    const TEXT: &str = "a name of at most 255 bytes without control characters";
    for (name, value, expected) in [
        ("PORT", "65536", "a port from 0 to 65535"),
        ("PORT", "http", "a port from 0 to 65535"),
        ("BIND_ADDR", "localhost", "an IP address such as 0.0.0.0, 127.0.0.1 or ::"),
        ("FRONTEND_URL", "localhost:3000", ORIGIN),
        ("BACKEND_URL", "ftp://x", ORIGIN),
        ("APP_ENV", "pro duction", "a name of 1 to 255 letters, digits, _, . or -"),
        ("TEST_ROUTES", "maybe", "on or off"),
        ("REQUEST_TIMEOUT", "0", LIMIT),
        ("REQUEST_TIMEOUT", "soon", LIMIT),
        ("SHUTDOWN_GRACE", "-1", "a duration such as 30s, 500ms or 2m, up to 24 hours"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", &format!("{NETWORKS}: see `10.0.0.0/33`")),
        ("TRUSTED_PROXIES", "::1,proxy", &format!("{NETWORKS}: see `proxy`")),
        ("TELEMETRY_EXCLUDE_PATHS", "/a,health", &format!("{PATHS}: see `health`")),
        ("TELEMETRY_EXCLUDE_PATHS", "/a?b", &format!("{PATHS}: see `/a?b`")),
        ("LOG_LEVEL", "loud", "one of off, error, warn, info, debug, trace"),
        (
            "RUST_LOG",
            "cruddur=loud",
            "a list of directives such as info,cruddur=debug: error parsing level filter: expected one of \"off\", \
             \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
        ),
        ("LOG_FORMAT", "xml", "one of pretty, plain, json"),
        ("OTEL_SERVICE_NAME", "a\u{7}b", TEXT),
        ("HONEYCOMB_SERVICE_NAME", "a\u{7}b", TEXT),
        ("HONEYCOMB_DATASET", "a\u{7}b", TEXT),
        ("OTEL_PROPAGATORS", "none,xray", &format!("{PROPAGATORS}: see `none`")),
        ("OTEL_PROPAGATORS", ",", PROPAGATORS),
        (
            "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
            "GET,P UT",
            "a list of methods such as GET,HEAD,POST: see `P UT`",
        ),
    ] {
        let given = value.replace('\u{7}', "\\u{7}");
        assert_eq!(read(name, value), Err(format!("{name}: `{given}` is not {expected}")));
    }
}

#[test]
fn a_faulty_secret_is_not_shown() {
    let error = read("HONEYCOMB_API_KEY", "hush hush").unwrap_err();
    assert_eq!(error, "HONEYCOMB_API_KEY: the value (not shown) is not a key of visible ASCII characters");
}

#[cfg(unix)]
#[test]
fn what_is_not_utf8_is_a_fault_only_where_it_is_read() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let latin1 = OsString::from_vec(vec![0xe9]);
    let environment = Environment::from_iter([("APP_ENV", latin1.clone()), ("LS_COLORS", latin1)]);
    let errors = Config::load(&environment).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].to_string(), "APP_ENV: the value is not valid UTF-8");
}

#[test]
fn all_faults_are_reported_and_the_rest_is_still_shown() {
    let environment = Environment::from_iter([("PORT", "x"), ("LOG_FORMAT", "xml"), ("RUST_LOG", "a=b")]);
    let Checked { settings, errors, .. } = Config::check(&environment);
    let named: Vec<_> =
        errors.iter().map(|error| error.to_string().split(':').next().map(String::from)).collect();
    assert_eq!(named, ["PORT", "RUST_LOG", "LOG_FORMAT"].map(|name| Some(name.to_owned())));
    let shown: Vec<_> = settings.iter().map(|setting| setting.name).collect();
    assert!(
        shown.contains(&"APP_ENV") && !shown.contains(&"PORT") && !shown.contains(&"LOG_LEVEL"),
        "{shown:?}"
    );
}

#[test]
fn production_switches_the_test_routes_off_unless_told_otherwise() {
    assert!(config([("APP_ENV", "staging")]).http.test_routes);
    assert!(!config([("APP_ENV", "production")]).http.test_routes);
    assert!(config([("APP_ENV", "production"), ("TEST_ROUTES", "on")]).http.test_routes);
    let checked = Config::check(&Environment::from_iter([("APP_ENV", "production")]));
    let test_routes = checked.settings.iter().find(|setting| setting.name == "TEST_ROUTES");
    assert_eq!(test_routes.map(|setting| setting.source), Some(Source::Variable("APP_ENV")));
}

#[test]
fn the_stronger_of_two_variables_wins_and_says_so() {
    let both = [("OTEL_SERVICE_NAME", "a"), ("HONEYCOMB_SERVICE_NAME", "b")];
    assert_eq!(config(both).service.name, "a");
    let said = "HONEYCOMB_SERVICE_NAME: has no effect, because OTEL_SERVICE_NAME is set too and wins";
    assert_eq!(warnings(both), [said]);
    let both = [("RUST_LOG", "warn"), ("LOG_LEVEL", "debug")];
    assert_eq!(config(both).log.filter, "warn");
    assert_eq!(warnings(both), ["LOG_LEVEL: has no effect, because RUST_LOG is set too and wins"]);
}

#[test]
fn one_origin_twice_is_one() {
    let origins = config([("FRONTEND_URL", "*"), ("BACKEND_URL", "*")]).http.origins;
    assert_eq!(origins, ["*"]);
}

#[test]
fn unknown_propagators_are_ignored_with_a_warning() {
    let said = "OTEL_PROPAGATORS: `b3` is ignored; known are tracecontext, baggage, xray";
    let some = [("OTEL_PROPAGATORS", "b3,xray")];
    assert_eq!(warnings(some), [said]);
    assert_eq!(config(some).observe.propagators, [crate::telemetry::observe::Propagator::Amzn]);
    let none = [("OTEL_PROPAGATORS", "b3")];
    assert_eq!(warnings(none), [said]);
    assert_eq!(config(none).observe.propagators, config([]).observe.propagators);
}

#[test]
fn traps_are_pointed_out() {
    const CLASSIC: &str = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        warnings([("FRONTEND_URL", "https://cruddur.com/")]),
        ["FRONTEND_URL: an origin has no path, so only https://cruddur.com is used"]
    );
    assert_eq!(
        warnings([("HONEYCOMB_API_KEY", CLASSIC)]),
        ["HONEYCOMB_API_KEY: this is a Classic key, which Honeycomb answers with 401 unless \
          HONEYCOMB_DATASET is set too"]
    );
    assert!(warnings([("HONEYCOMB_API_KEY", CLASSIC), ("HONEYCOMB_DATASET", "cruddur")]).is_empty());
    assert_eq!(
        warnings([
            ("HONEYCOMB_API_KEY", CLASSIC),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-honeycomb-dataset=cruddur"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_SERVICE_NAMES", "a"),
            ("OTEL_WHATEVER", "a"),
            ("ROLLBAR_ACCCESS_TOKEN", "hush"),
            ("ROLLBAR_ACCESS_TOKEN", "hush"),
            ("SPOOL_DIR", ""),
            ("PATH", "/bin"),
        ]),
        [
            "OTEL_LOGS_EXPORTER: has no effect: log events are not exported by OTLP",
            "OTEL_SERVICE_NAMES: unknown; did you mean OTEL_SERVICE_NAME?",
            "OTEL_WHATEVER: has no effect: this service does not know it",
            "ROLLBAR_ACCCESS_TOKEN: unknown; did you mean ROLLBAR_ACCESS_TOKEN?",
        ]
    );
}

/// Names that mean something here, and any other; values that are nearly right, and any other.
fn environments() -> impl Strategy<Value = Vec<(String, String)>> {
    let names: Vec<_> = known::read().chain(known::RESERVED.iter().copied()).map(String::from).collect();
    let name = prop_oneof![4 => prop::sample::select(names), 1 => "[A-Z_]{0,12}", 1 => "\\PC{0,8}"];
    let value = prop_oneof![
        "\\PC{0,40}",
        "(?s).{0,20}",
        "[0-9]{0,25}(ms|s|m)?",
        "https?://[a-z@:/.0-9\\[\\]]{0,20}",
        "[a-z,=/:\\[\\]{}\\.0-9]{0,30}",
    ];
    prop::collection::vec((name, value), 0..12)
}

proptest! {
    #[test]
    fn loading_never_panics_and_every_line_is_one(variables in environments()) {
        let Checked { settings, warnings, errors } = Config::check(&variables.into_iter().collect());
        let lines = settings.into_iter().map(|setting| setting.value)
            .chain(warnings.iter().map(ToString::to_string))
            .chain(errors.iter().map(ToString::to_string));
        for line in lines {
            prop_assert!(!line.is_empty() && !line.contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn secrets_are_never_shown(secret in "S3CR3T[ -~]{0,40}\\PC?", variables in environments()) {
        let secrets = TOPICS.iter().flat_map(|topic| topic.variables).filter(|variable| variable.secret);
        // The names of headers are no secret.
        let held = secrets.map(|variable| match variable.name {
            name if name.ends_with("_HEADERS") => (name.to_owned(), format!("x-key={secret}")),
            name => (name.to_owned(), secret.clone()),
        });
        let environment: Environment = variables.into_iter().chain(held).collect();
        let checked = Config::check(&environment);
        let mut shown = Vec::new();
        crate::cli::check(&checked, &mut shown).unwrap();
        let shown = format!("{}{environment:?}{:?}", String::from_utf8(shown).unwrap(), Config::load(&environment));
        prop_assert!(!shown.contains("S3CR3T"), "{shown}");
    }
}
