//! What must hold in the collector's configuration: the collector's own `validate` needs its image, which `.ci/compose`
//! asks where it is there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Variables, documents, file, variables};

/// Names that the collector has given up, and what stands in their place.
const GONE: [(&str, &str); 5] = [
    ("exporters/logging", "debug, since 0.111"),
    ("exporters/otlp", "otlp_grpc, since 0.144"),
    ("exporters/otlphttp", "otlp_http, since 0.144"),
    ("extensions/memory_ballast", "GOMEMLIMIT, since 0.109"),
    ("processors/memory_ballast", "GOMEMLIMIT, since 0.109"),
];

/// What the components take of what is said to them here, by their `config.schema.yaml`: a key that one does not know
/// keeps the collector from starting.
const TAKEN: [(&str, &[&str]); 9] = [
    ("extensions/health_check", &["endpoint"]),
    (
        "receivers/otlp",
        &[
            "protocols.grpc.endpoint",
            "protocols.http.endpoint",
            "protocols.http.cors.allowed_origins",
            "protocols.http.cors.allowed_headers",
        ],
    ),
    (
        "processors/memory_limiter",
        &["check_interval", "limit_percentage", "spike_limit_percentage", "limit_mib", "spike_limit_mib"],
    ),
    ("processors/batch", &["timeout", "send_batch_size"]),
    ("exporters/debug", &["verbosity"]),
    (
        "exporters/otlp_grpc",
        &[
            "endpoint",
            "compression",
            "headers",
            "retry_on_failure.enabled",
            "retry_on_failure.max_elapsed_time",
            "sending_queue.enabled",
            "sending_queue.queue_size",
        ],
    ),
    ("exporters/otlp_http", &["endpoint", "headers", "sending_queue.batch.flush_timeout"]),
    ("exporters/awsxray", &["region", "indexed_attributes", "aws_log_groups"]),
    ("exporters/awscloudwatchlogs", &["region", "log_group_name", "log_stream_name"]),
];

const SECTIONS: [&str; 3] = ["receivers", "processors", "exporters"];

/// The ports that a configuration has the collector listen on.
pub(super) fn ports(config: &Value) -> Vec<String> {
    listeners(config)
        .into_iter()
        .filter_map(|(_, address)| Some(address.rsplit_once(':')?.1.to_owned()))
        .collect()
}

/// Everything that listens, with its place and address; what is not said is empty.
fn listeners(config: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, receiver) in config["receivers"].as_object().into_iter().flatten() {
        for (protocol, settings) in receiver["protocols"].as_object().into_iter().flatten() {
            let address = settings["endpoint"].as_str().unwrap_or_default();
            found.push((format!("receivers/{name}/{protocol}"), address.to_owned()));
        }
    }
    for (name, extension) in config["extensions"].as_object().into_iter().flatten() {
        let address = extension["endpoint"].as_str().unwrap_or_default();
        found.push((format!("extensions/{name}"), address.to_owned()));
    }
    found
}

/// Everything that is wrong with a configuration whose variables are expanded.
///
/// An exporter that is `spare` may be there without being used.
fn faults(config: &Value, spare: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, address) in listeners(config) {
        // Since 0.104 the default is localhost, which no other container reaches.
        if !address.starts_with("0.0.0.0:") {
            faults.push(format!("{place}: listens on {address:?}, where no container reaches it"));
        }
    }
    for (section, entries) in config.as_object().into_iter().flatten() {
        for name in entries.as_object().into_iter().flatten().map(|(name, _)| name) {
            let kind = format!("{section}/{}", name.split('/').next().unwrap_or_default());
            if let Some((_, instead)) = GONE.iter().find(|(gone, _)| *gone == kind) {
                faults.push(format!("{section}/{name}: {instead}"));
            }
        }
    }
    faults.extend(unknown(config));
    faults.extend(pipelines(config, spare));
    for (name, cors) in cors(config) {
        if cors["allowed_origins"] == json!(["*"]) {
            faults.push(format!("{name}: any page may send"));
        }
        if cors["allowed_headers"] != json!(["*"]) {
            faults.push(format!("{name}: a browser may not say that it sends JSON"));
        }
    }
    let limiter = &config["processors"]["memory_limiter"];
    if limiter["check_interval"].is_null() || limiter["limit_percentage"].is_null() {
        faults.push("processors/memory_limiter: has no limit".to_owned());
    }
    if limiter["spike_limit_percentage"].as_u64() >= limiter["limit_percentage"].as_u64() {
        faults.push("processors/memory_limiter: a spike takes more than there is".to_owned());
    }
    for (name, exporter) in config["exporters"].as_object().into_iter().flatten() {
        if exporter["tls"]["insecure"] == true || exporter["tls"]["insecure_skip_verify"] == true {
            faults.push(format!("exporters/{name}: the key goes out in the clear"));
        }
    }
    if !config["service"]["telemetry"]["metrics"]["address"].is_null() {
        faults.push("service/telemetry/metrics/address: readers, since 0.123".to_owned());
    }
    faults
}

/// What is said to a component that it does not take.
fn unknown(config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for section in SECTIONS.into_iter().chain(["extensions"]) {
        for (name, settings) in config[section].as_object().into_iter().flatten() {
            let kind = format!("{section}/{}", name.split('/').next().unwrap_or_default());
            let taken =
                TAKEN.iter().find(|(known, _)| *known == kind).map_or([].as_slice(), |(_, keys)| keys);
            let said = keys(settings).into_iter().filter(|key| !taken.contains(&key.as_str()));
            faults.extend(said.map(|key| format!("{section}/{name}: does not take {key}")));
        }
    }
    faults
}

/// Where the values of settings are, as in `protocols.http.endpoint`; what headers are called is anybody's choice.
fn keys(settings: &Value) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| {
        let below = if name == "headers" { Vec::new() } else { keys(value) };
        match below.is_empty() {
            true => vec![name.clone()],
            false => below.into_iter().map(|key| format!("{name}.{key}")).collect(),
        }
    };
    settings.as_object().into_iter().flatten().flat_map(of).collect()
}

fn cors(config: &Value) -> Vec<(String, &Value)> {
    let http = |(name, receiver): (&String, &'_ Value)| {
        let cors = receiver.pointer("/protocols/http/cors").is_some();
        cors.then(|| format!("receivers/{name}/http/cors"))
    };
    config["receivers"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, receiver)| {
            Some((http((name, receiver))?, &receiver["protocols"]["http"]["cors"]))
        })
        .collect()
}

/// What is wrong with the pipelines, and with what they are made of.
fn pipelines(config: &Value, spare: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let names = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut used: BTreeSet<_> = spare.iter().map(|name| format!("exporters/{name}")).collect();
    for (pipeline, parts) in config["service"]["pipelines"].as_object().into_iter().flatten() {
        for section in SECTIONS {
            let chosen = names(&parts[section]);
            if chosen.is_empty() {
                faults.push(format!("pipelines/{pipeline}: has no {section}"));
            }
            for name in chosen {
                if config[section].get(&name).is_none() {
                    faults.push(format!("pipelines/{pipeline}: {section}/{name} is not configured"));
                }
                used.insert(format!("{section}/{name}"));
            }
        }
        let processors = names(&parts["processors"]);
        if processors.first().is_none_or(|first| first != "memory_limiter") {
            faults.push(format!("pipelines/{pipeline}: the memory_limiter is not first"));
        }
        if processors.last().is_none_or(|last| last != "batch") {
            faults.push(format!("pipelines/{pipeline}: batch is not last"));
        }
    }
    for name in names(&config["service"]["extensions"]) {
        if config["extensions"].get(&name).is_none() {
            faults.push(format!("service: extensions/{name} is not configured"));
        }
        used.insert(format!("extensions/{name}"));
    }
    for section in SECTIONS.into_iter().chain(["extensions"]) {
        for name in config[section].as_object().into_iter().flatten().map(|(name, _)| name) {
            if !used.contains(&format!("{section}/{name}")) {
                faults.push(format!("{section}/{name}: nobody uses it"));
            }
        }
    }
    faults
}

/// What compose gives the collector, with and without a key.
fn given(key: Option<&str>) -> Variables {
    let shell = key.map_or_else(Variables::new, |key| variables([("HONEYCOMB_API_KEY", key)]));
    let project = documents::project(&shell);
    let environment = project["services"]["otel-collector"]["environment"].as_object().unwrap();
    let passed = |(name, value): (&String, &Value)| {
        let value = value.as_str().or_else(|| shell.get(name).map(String::as_str))?;
        Some((name.clone(), value.to_owned()))
    };
    environment.iter().filter_map(passed).collect()
}

const HONEYCOMB: &str = "otlp_grpc/honeycomb";

#[test]
fn the_collector_starts_with_a_key_and_without() {
    for (key, exporters, spare) in [
        (None, json!(["debug"]), [HONEYCOMB].as_slice()),
        (Some(""), json!(["debug"]), &[HONEYCOMB]),
        (Some("dummy-key"), json!(["debug", HONEYCOMB]), &[]),
    ] {
        let given = given(key);
        let config = documents::collector(&given);
        assert_eq!(faults(&config, spare), Vec::<String>::new(), "{key:?}");
        for pipeline in ["traces", "metrics"] {
            assert_eq!(config["service"]["pipelines"][pipeline]["exporters"], exporters, "{key:?}");
        }
        let headers = &config["exporters"][HONEYCOMB]["headers"];
        assert_eq!(headers["x-honeycomb-team"], key.unwrap_or_default());
        assert_eq!(
            config["receivers"]["otlp"]["protocols"]["http"]["cors"]["allowed_origins"],
            json!(["http://localhost:3000"])
        );
    }
    // And on its own, without compose.
    let alone = documents::collector(&Variables::new());
    assert_eq!(faults(&alone, &[HONEYCOMB]), Vec::<String>::new());
}

#[test]
fn with_awss_exporters_it_starts_as_well() {
    let base = documents::collector(&given(None));
    let aws = documents::parse(&file("deploy/compose/otel-collector-aws.yaml"));
    let config = documents::merged(base, documents::expanded(&aws, &Variables::new()));
    assert_eq!(faults(&config, &[HONEYCOMB]), Vec::<String>::new());
    assert_eq!(config["service"]["pipelines"]["traces"]["exporters"], json!(["debug", "awsxray"]));
    assert_eq!(config["service"]["pipelines"]["metrics"]["exporters"], json!(["debug"]));
}

/// In ECS and Kubernetes there is another one, whose other rules are those of the task and the pod.
#[test]
fn the_collectors_beside_the_service_are_told_what_they_take() {
    let [ecs, kubernetes] = ["aws/json/collector.json", "deploy/kubernetes/collector.yaml"]
        .map(|path| documents::parse(&file(path)));
    assert_eq!(unknown(&ecs), Vec::<String>::new());
    assert_eq!(ecs, kubernetes);
}

#[test]
fn every_variable_of_the_configuration_is_given_by_compose() {
    let project = documents::project(&Variables::new());
    let given = project["services"]["otel-collector"]["environment"].as_object().unwrap();
    let config = file("otel-collector-config.yaml");
    let used: BTreeSet<_> =
        config.split("${env:").skip(1).map(|rest| rest.split([':', '}']).next().unwrap()).collect();
    let given: BTreeSet<_> = given.keys().map(String::as_str).collect();
    assert_eq!(used, given);
}

#[test]
fn planted_faults_in_the_configuration_are_found() {
    let config = documents::collector(&given(Some("dummy-key")));
    for (place, value, fault) in [
        ("/receivers/otlp/protocols/http", json!({}), "receivers/otlp/http: listens on \"\""),
        ("/receivers/otlp/protocols/grpc/endpoint", json!("localhost:4317"), "where no container reaches it"),
        ("/extensions/health_check", json!({}), "extensions/health_check: listens on \"\""),
        ("/exporters", json!({"debug": {}, "logging": {}}), "exporters/logging: debug, since 0.111"),
        ("/exporters", json!({"otlp/honeycomb": {}}), "exporters/otlp/honeycomb: otlp_grpc, since 0.144"),
        ("/extensions", json!({"memory_ballast": {}}), "extensions/memory_ballast: GOMEMLIMIT"),
        ("/exporters/debug", json!({"tls": {"insecure": true}}), "in the clear"),
        ("/receivers/otlp/protocols/http/cors/allowed_origins", json!(["*"]), "any page may send"),
        (
            "/receivers/otlp/protocols/http/cors/allowed_headers",
            json!(null),
            "may not say that it sends JSON",
        ),
        ("/processors/memory_limiter", json!(null), "has no limit"),
        (
            "/service/pipelines/traces/processors",
            json!(["batch", "memory_limiter"]),
            "memory_limiter is not first",
        ),
        ("/service/pipelines/traces/processors", json!(["memory_limiter"]), "batch is not last"),
        ("/processors/memory_limiter/spike_limit_percentage", json!(75), "a spike takes more than there is"),
        ("/exporters/debug", json!({"verbose": true}), "exporters/debug: does not take verbose"),
        (
            "/receivers/otlp/protocols/http/cors",
            json!({"allowed_origin": []}),
            "receivers/otlp: does not take protocols.http.cors.allowed_origin",
        ),
        ("/service/pipelines/traces/exporters", json!([]), "pipelines/traces: has no exporters"),
        ("/service/pipelines/traces/exporters", json!(["zipkin"]), "exporters/zipkin is not configured"),
        ("/service/pipelines/metrics/receivers", json!(["statsd"]), "receivers/statsd is not configured"),
        ("/service/extensions", json!(["pprof"]), "extensions/pprof is not configured"),
        ("/service/extensions", json!([]), "extensions/health_check: nobody uses it"),
        ("/service/pipelines", json!({}), "processors/batch: nobody uses it"),
        ("/service", json!({"telemetry": {"metrics": {"address": ":8888"}}}), "readers, since 0.123"),
    ] {
        let mut config = config.clone();
        *config.pointer_mut(place).unwrap() = value;
        let found = faults(&config, &[]);
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
    }
}
