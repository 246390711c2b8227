use opentelemetry_sdk::trace::Sampler;
use proptest::prelude::*;

use super::*;
use crate::config::tests::{config, read, warnings};
use crate::config::{Checked, Config, Environment};

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
const KEY: (&str, &str) = ("HONEYCOMB_API_KEY", "hush");

fn otlp<const N: usize>(variables: [(&str, &str); N]) -> Otlp {
    config(variables).otlp
}

fn traces<const N: usize>(variables: [(&str, &str); N]) -> Destination {
    otlp(variables).traces.expect("traces go somewhere")
}

fn urls<const N: usize>(variables: [(&str, &str); N]) -> [Option<String>; 2] {
    let Otlp { traces, metrics, .. } = otlp(variables);
    [traces, metrics].map(|destination| destination.map(|to| to.url.to_string()))
}

/// The setting `name`, and the variable it came from.
fn setting<const N: usize>(name: &str, variables: [(&str, &str); N]) -> Option<(String, String)> {
    let Checked { settings, .. } = Config::check(&Environment::from_iter(variables));
    let found = settings.into_iter().find(|setting| setting.name == name)?;
    Some((found.value, found.source.to_string()))
}

fn errors<const N: usize>(variables: [(&str, &str); N]) -> Vec<String> {
    let Checked { errors, .. } = Config::check(&Environment::from_iter(variables));
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn good_values_take_effect() {
    for (name, value, shown) in [
        ("OTEL_SDK_DISABLED", "True", "true"),
        ("OTEL_TRACES_EXPORTER", "Console", "console"),
        ("OTEL_TRACES_EXPORTER", "console,otlp,console", "console,otlp"),
        ("OTEL_TRACES_EXPORTER", "NONE", "none"),
        ("OTEL_METRICS_EXPORTER", "none", "none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=crud%20ers", "team=crud%20ers"),
        ("OTLP_RELAY", "on", "on"),
        ("OTEL_TRACES_SAMPLER", "Always_Off", "always_off"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "0", "0"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "7", "7"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1024", "1024"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7", "7"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "7", "7"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "0", "0"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "7", "7"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "7", "7"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1", "1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1", "1"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0", "2147483647"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500", "500"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory", "lowmemory"),
    ] {
        assert_eq!(read(name, value), Ok(shown.to_owned()), "{name}={value}");
    }
}

/// Generic and of each signal: what the destination is told, and that the generic one is the weaker.
#[test]
fn the_variable_of_a_signal_wins_over_the_generic_one() {
    for (suffix, generic, own, generic_shown, own_shown) in [
        ("PROTOCOL", "HTTP/JSON", "http/protobuf", "http/json", "http/protobuf"),
        ("HEADERS", "a=hush,b=hush", "c=hush", "a,b", "c"),
        ("COMPRESSION", "GZIP", "none", "gzip", "none"),
        ("TIMEOUT", "250", "0", "250", "2147483647"),
    ] {
        let all = format!("OTEL_EXPORTER_OTLP_{suffix}");
        for signal in ["TRACES", "METRICS"] {
            let name = format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}");
            let expected = |shown: &str, from: &str| Some((shown.to_owned(), from.to_owned()));
            let found = setting(&name, [ENDPOINT, (all.as_str(), generic)]);
            assert_eq!(found, expected(generic_shown, &all));
            let found = setting(&name, [ENDPOINT, (all.as_str(), generic), (name.as_str(), own)]);
            assert_eq!(found, expected(own_shown, &name));
        }
    }
}

#[test]
fn bad_values_are_named_and_put_right() {
    const URL: &str = "a URL such as http://localhost:4318, without user or password";
    const TIMEOUT: &str = "a number of milliseconds from 0 (no limit) to 2147483647";
    const INTERVAL: &str = "a number of milliseconds from 1 to 2147483647";
    const LIMIT: &str = "a number from 0 to 2147483647";
    const SIZE: &str = "a number from 1 to 2147483647";
    const FILE: &str = "a readable file: No such file or directory (os error 2)";
    let pairs = "a list such as key1=value1,key2=value2, percent-encoded where need be: see entry 1";
    for (name, value, expected) in [
        ("OTEL_TRACES_EXPORTER", "none,otlp", "a list of otlp and console, or none alone: see `none`"),
        ("OTEL_METRICS_EXPORTER", ",", "a list of otlp, or none alone"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", pairs),
        ("OTLP_RELAY", "maybe", "on or off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector", URL),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", URL),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "/v1/metrics", URL),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", TIMEOUT),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1", TIMEOUT),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1.5", TIMEOUT),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", FILE),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/nowhere/c.pem", FILE),
        ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/nowhere/k.pem", FILE),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", INTERVAL),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", SIZE),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", SIZE),
        ("OTEL_BSP_EXPORT_TIMEOUT", "soon", TIMEOUT),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1", LIMIT),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "many", LIMIT),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2147483648", LIMIT),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", LIMIT),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1", LIMIT),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", LIMIT),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "-1", LIMIT),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "-1", LIMIT),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", INTERVAL),
    ] {
        assert_eq!(read(name, value), Err(format!("{name}: `{value}` is not {expected}")));
    }
    for name in ["", "TRACES_", "METRICS_"].map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}HEADERS")) {
        let refused = errors([(name.as_str(), "hush")]);
        assert_eq!(refused, [format!("{name}: the value (not shown) is not {pairs}")]);
    }
}

#[test]
fn faults_of_combination_are_named_once() {
    assert_eq!(
        errors([("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]),
        ["OTEL_EXPORTER_OTLP_ENDPOINT: `collector:4318` is not a URL that begins with http:// or https://, \
          which only gRPC does without"]
    );
    assert_eq!(
        errors([("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")]),
        ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE: `11` is not at most OTEL_BSP_MAX_QUEUE_SIZE, which is 10"]
    );
}

#[test]
fn unknown_choices_are_ignored_with_a_warning() {
    for (name, value, known) in [
        ("OTEL_SDK_DISABLED", "1", "true, false"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp, console, none"),
        ("OTEL_METRICS_EXPORTER", "console", "otlp, none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http", "http/protobuf, http/json, grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "gzip, none"),
        ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "yes", "true, false"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "cumulative, delta, lowmemory"),
    ] {
        let said = format!("{name}: `{value}` is ignored; known are {known}");
        assert_eq!(warnings([ENDPOINT, (name, value)]), [said]);
        let shown = |checked: Checked| checked.settings;
        let plain = shown(Config::check(&Environment::from_iter([ENDPOINT])));
        assert_eq!(shown(Config::check(&Environment::from_iter([ENDPOINT, (name, value)]))), plain, "{name}");
    }
    let compression = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd"),
    ];
    assert!(traces(compression).gzip);
}

#[test]
fn the_sampler_is_chosen_by_name_and_share() {
    let ratio = "OTEL_TRACES_SAMPLER_ARG";
    for (name, argument, sampler) in [
        ("always_on", "", "AlwaysOn"),
        ("ALWAYS_OFF", "", "AlwaysOff"),
        ("traceidratio", "0.25", "TraceIdRatioBased(0.25)"),
        ("traceidratio", "", "TraceIdRatioBased(1.0)"),
        ("parentbased_always_on", "", "ParentBased(AlwaysOn)"),
        ("parentbased_always_off", "", "ParentBased(AlwaysOff)"),
        ("ParentBased_TraceIdRatio", "0", "ParentBased(TraceIdRatioBased(0.0))"),
        ("", "", "ParentBased(AlwaysOn)"),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", name), (ratio, argument)];
        let chosen: Sampler = otlp(variables).sampler;
        assert_eq!(format!("{chosen:?}"), sampler, "{name}");
        assert!(warnings(variables).is_empty());
    }
    for bad in ["1.1", "-0.1", "NaN", "inf", "25%"] {
        let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), (ratio, bad)];
        assert_eq!(format!("{:?}", otlp(variables).sampler), "TraceIdRatioBased(1.0)");
        assert_eq!(
            warnings(variables),
            [format!("{ratio}: `{bad}` is ignored; it takes a number from 0 to 1")]
        );
    }
    let said = "OTEL_TRACES_SAMPLER_ARG: has no effect, because OTEL_TRACES_SAMPLER is parentbased_always_on";
    assert_eq!(warnings([(ratio, "0.5")]), [said]);
}

#[test]
fn samplers_that_need_somebody_else_are_ignored() {
    for name in ["jaeger_remote", "parentbased_jaeger_remote", "xray"] {
        let variables =
            [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://jaeger")];
        assert_eq!(format!("{:?}", otlp(variables).sampler), "ParentBased(AlwaysOn)");
        let known = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, \
                     parentbased_traceidratio";
        assert_eq!(
            warnings(variables),
            [format!("OTEL_TRACES_SAMPLER: `{name}` is ignored; known are {known}")]
        );
    }
}

#[test]
fn limits_of_a_span_fall_back_to_those_of_any_attribute() {
    let SpanLimits { attribute_value_length, attributes, events, links, event_attributes, link_attributes } =
        otlp([
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "3"),
        ])
        .limits;
    assert_eq!(attribute_value_length, Some(100));
    assert_eq!((attributes, events, links), (10, 128, 128));
    assert_eq!((event_attributes, link_attributes), (10, 3));
    let found = setting("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", [("OTEL_ATTRIBUTE_COUNT_LIMIT", "10")]);
    assert_eq!(found, Some(("10".to_owned(), "OTEL_ATTRIBUTE_COUNT_LIMIT".to_owned())));
}

#[test]
fn without_an_endpoint_there_is_only_the_terminal() {
    let Otlp { traces, metrics, console, .. } = otlp([]);
    assert!(traces.is_none() && metrics.is_none() && console);
}

/// Whether traces go out by OTLP, metrics do, and trees go to the terminal.
#[test]
fn the_exporters_say_what_goes_where() {
    for (variable, without, with) in [
        (("", ""), [false, false, true], [true, true, false]),
        (("OTEL_TRACES_EXPORTER", "otlp"), [false, false, true], [true, true, false]),
        (("OTEL_TRACES_EXPORTER", "otlp,console"), [false, false, true], [true, true, true]),
        (("OTEL_TRACES_EXPORTER", "console"), [false, false, true], [false, true, true]),
        (("OTEL_TRACES_EXPORTER", "none"), [false, false, false], [false, true, false]),
        (("OTEL_METRICS_EXPORTER", "none"), [false, false, true], [true, false, false]),
        (("OTEL_SDK_DISABLED", "TRUE"), [false, false, true], [false, false, true]),
        (("OTEL_SDK_DISABLED", "false"), [false, false, true], [true, true, false]),
    ] {
        let found = |otlp: Otlp| [otlp.traces.is_some(), otlp.metrics.is_some(), otlp.console];
        assert_eq!(found(otlp([variable])), without, "{variable:?}");
        assert_eq!(found(otlp([variable, ENDPOINT])), with, "{variable:?} and an endpoint");
    }
    let off = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ENDPOINT];
    assert!(!otlp(off).console && warnings(off).is_empty());
}

#[test]
fn endpoints_are_generic_or_of_a_signal() {
    let some = |url: &str| Some(url.to_owned());
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/x");
    let both = [some("http://collector:4318/v1/traces"), some("http://collector:4318/v1/metrics")];
    assert_eq!(urls([ENDPOINT]), both);
    assert_eq!(urls([traces]), [some("http://t:4318/x"), None]);
    assert_eq!(urls([ENDPOINT, traces]), [some("http://t:4318/x"), some("http://collector:4318/v1/metrics")]);
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    assert_eq!(urls([grpc, bare])[0], some("https://collector:4317/"));
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(urls([grpc, bare, insecure])[0], some("http://collector:4317/"));
    let secure = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    assert_eq!(urls([grpc, bare, insecure, secure])[0], some("https://collector:4317/"));
    assert!(warnings([grpc, bare, insecure]).is_empty());
}

#[test]
fn a_destination_is_plain_unless_told_otherwise() {
    let Destination { protocol, headers, gzip, timeout, tls, honeycomb, .. } = traces([ENDPOINT]);
    assert_eq!((protocol, gzip, honeycomb), (Protocol::HttpProtobuf, false, false));
    assert_eq!((headers.len(), timeout.as_secs()), (0, 10));
    assert!(tls.ca.is_none() && tls.identity.is_none());
}

/// Header names and values, as they are sent.
fn sent(destination: &Destination) -> Vec<(&str, &str)> {
    let headers = destination.headers.iter();
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[test]
fn a_key_alone_means_honeycomb() {
    let Otlp { traces: Some(to), metrics: Some(metrics), console: false, .. } =
        otlp([KEY, ("HONEYCOMB_DATASET", "d")])
    else {
        panic!("both go to Honeycomb")
    };
    assert_eq!(to.url.as_str(), "https://api.honeycomb.io/v1/traces");
    assert_eq!(metrics.url.as_str(), "https://api.honeycomb.io/v1/metrics");
    assert_eq!((to.protocol, to.honeycomb), (Protocol::HttpProtobuf, true));
    assert_eq!(sent(&to), [("x-honeycomb-team", "hush"), ("x-honeycomb-dataset", "d")]);
    assert!(to.headers.iter().all(|(_, value)| value.is_sensitive()));
    let from_key = |value: &str| Some((value.to_owned(), "HONEYCOMB_API_KEY".to_owned()));
    let found = setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", [KEY]);
    assert_eq!(found, from_key("https://api.honeycomb.io/v1/traces"));
    assert_eq!(setting("OTEL_EXPORTER_OTLP_TRACES_HEADERS", [KEY]), from_key("x-honeycomb-team"));
}

#[test]
fn what_otlp_says_wins_over_the_part_of_the_key() {
    let europe = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://api.eu1.honeycomb.io");
    let to = traces([KEY, europe]);
    assert_eq!(sent(&to), [("x-honeycomb-team", "hush")]);
    assert!(to.honeycomb);
    let other = traces([KEY, ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]);
    assert_eq!(sent(&other), [("a", "b"), ("x-honeycomb-team", "hush")]);
    let team = [KEY, ("OTEL_EXPORTER_OTLP_HEADERS", "X-Honeycomb-Team=other")];
    assert_eq!(sent(&traces(team)), [("x-honeycomb-team", "other")]);
    let said = "HONEYCOMB_API_KEY: has no effect, because OTEL_EXPORTER_OTLP_HEADERS has x-honeycomb-team too \
                and wins";
    assert_eq!(warnings(team), [said]);
    let grpc = traces([KEY, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!((grpc.url.as_str(), grpc.protocol), ("https://api.honeycomb.io/", Protocol::Grpc));
}

#[test]
fn the_key_goes_to_honeycomb_only() {
    assert!(sent(&traces([KEY, ENDPOINT])).is_empty());
    let said = "HONEYCOMB_API_KEY: has no effect: the OTLP endpoint is not one of Honeycomb's";
    assert_eq!(warnings([KEY, ENDPOINT]), [said]);
    for host in ["https://api.honeycomb.io.evil.example", "https://evil.example/api.honeycomb.io"] {
        let to = traces([KEY, ("OTEL_EXPORTER_OTLP_ENDPOINT", host)]);
        assert!(!to.honeycomb && sent(&to).is_empty(), "{host}");
    }
}

#[test]
fn traps_are_pointed_out() {
    const WITHOUT: &str = "has no effect without OTEL_EXPORTER_OTLP_ENDPOINT or HONEYCOMB_API_KEY";
    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const CLASSIC: &str = "x-honeycomb-team=0123456789abcdef0123456789abcdef";
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let none = ("", "");
    for (variables, said) in [
        ([("OTEL_EXPORTER_OTLP_HEADERS", "a=b"), none], format!("OTEL_EXPORTER_OTLP_HEADERS: {WITHOUT}")),
        (
            [("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")],
            format!("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: {WITHOUT}"),
        ),
        (
            [("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"), none],
            format!("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: {WITHOUT}"),
        ),
        ([("OTEL_TRACES_EXPORTER", "console,otlp"), none], format!("OTEL_TRACES_EXPORTER: otlp {WITHOUT}")),
        (
            [("OTLP_RELAY", "on"), none],
            "OTLP_RELAY: on has no effect: traces are not exported by OTLP".to_owned(),
        ),
        (
            [(BASE, "http://collector:4317"), none],
            format!("{BASE}: port 4317 is gRPC's by custom, and OTLP over HTTP has 4318"),
        ),
        ([ENDPOINT, grpc], format!("{BASE}: port 4318 is by custom for OTLP over HTTP, and gRPC has 4317")),
        (
            [(BASE, "http://c/x?token=hush"), none],
            format!("{BASE}: an endpoint has no query, so only http://c/x is used"),
        ),
        (
            [(BASE, "http://c:4317/v1/traces"), grpc],
            format!("{BASE}: gRPC has paths of its own, so only http://c:4317/ is used"),
        ),
        (
            [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318"), none],
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: has no path, so http://c:4318/ itself is posted to; its path \
             is used as it is"
                .to_owned(),
        ),
        (
            [ENDPOINT, ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            "OTEL_EXPORTER_OTLP_INSECURE: has no effect: only a gRPC endpoint without a scheme asks for it"
                .to_owned(),
        ),
        (
            [KEY, (BASE, "http://api.honeycomb.io")],
            "HONEYCOMB_API_KEY: travels in the open to http://api.honeycomb.io/v1/traces; Honeycomb takes https"
                .to_owned(),
        ),
        (
            [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://api.honeycomb.io/v1/traces"), none],
            "HONEYCOMB_API_KEY: is unset, and https://api.honeycomb.io/v1/traces answers 401 without a key"
                .to_owned(),
        ),
        (
            [(BASE, "https://api.honeycomb.io"), ("OTEL_EXPORTER_OTLP_HEADERS", CLASSIC)],
            "OTEL_EXPORTER_OTLP_HEADERS: this is a Classic key, which Honeycomb answers with 401 unless \
             HONEYCOMB_DATASET is set too"
                .to_owned(),
        ),
    ] {
        assert_eq!(warnings(variables).first(), Some(&said), "{variables:?}");
    }
    let doubled = warnings([(BASE, "http://c/v1/traces")]);
    assert_eq!(
        doubled[0],
        format!("{BASE}: is a base to which a path is added, so http://c/v1/traces/v1/traces is posted to")
    );
}

#[test]
fn the_name_of_the_service_has_three_places() {
    let attribute = ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=attribute");
    let honeycomb = ("HONEYCOMB_SERVICE_NAME", "honeycomb");
    let own = ("OTEL_SERVICE_NAME", "own");
    for (variables, name, from) in [
        ([attribute, honeycomb, own], "own", "OTEL_SERVICE_NAME"),
        ([attribute, honeycomb, ("", "")], "attribute", "OTEL_RESOURCE_ATTRIBUTES"),
        ([honeycomb, ("", ""), ("", "")], "honeycomb", "HONEYCOMB_SERVICE_NAME"),
        ([("", ""), ("", ""), ("", "")], "cruddur-backend", "default"),
    ] {
        assert_eq!(config(variables).service.name, name);
        let found = setting("OTEL_SERVICE_NAME", variables);
        assert_eq!(found, Some((name.to_owned(), from.to_owned())));
    }
    assert_eq!(otlp([attribute]).resource, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(
        warnings([attribute, own]),
        [
            "OTEL_RESOURCE_ATTRIBUTES: its service.name has no effect, because OTEL_SERVICE_NAME is set too and wins"
        ]
    );
    assert_eq!(
        warnings([attribute, honeycomb]),
        ["HONEYCOMB_SERVICE_NAME: has no effect, because OTEL_RESOURCE_ATTRIBUTES is set too and wins"]
    );
}

proptest! {
    #[test]
    fn debug_shows_no_header(secret in "S3CR3T[a-zA-Z0-9]{0,20}") {
        let headers = format!("authorization=Bearer%20{secret}");
        let config = config([ENDPOINT, KEY, ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str())]);
        let shown = format!("{config:?}");
        prop_assert!(shown.contains("authorization") && !shown.contains("S3CR3T"), "{shown}");
    }
}
