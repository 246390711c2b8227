//! What must hold between the services of the compose file.

use std::collections::{BTreeMap, BTreeSet};

use cruddur::config::{Config, Environment, TOPICS};
use serde_json::{Value, json};

use super::{Variables, assignments, collector, documents, file, variables};

/// Starts beside `backend`, on the same port, in its place.
const INSTEAD: &str = "direct";

/// Who writes where the sources are, so that its root filesystem cannot be read only.
const DEVELOPED: &str = "frontend-react-js";

/// The ports that the images listen on, which their files say and this repository does not.
const IMAGES: [(&str, &str); 4] = [
    ("frontend-react-js", "3000/tcp"),
    ("moto", "5000/tcp"),
    ("xray-daemon", "2000/udp"),
    ("xray-daemon", "2000/tcp"),
];

/// Everything that is wrong with a compose file whose variables are resolved.
fn faults(project: &Value, listens: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut faults = Vec::new();
    let services = entries(&project["services"]);
    let mut published = BTreeMap::new();
    for (name, service) in &services {
        let mut fault = |text: String| faults.push(format!("{name}: {text}"));
        confinement(name, service).into_iter().for_each(&mut fault);
        for port in strings(&service["ports"]) {
            let (host, container) = ports(&port);
            if !listens.contains(&((*name).clone(), container.clone())) {
                fault(format!("publishes {container}, where nobody listens"));
            }
            if *name == INSTEAD {
                continue;
            }
            if let Some(other) = published.insert(host.clone(), *name)
                && other != *name
            {
                fault(format!("publishes {host}, as {other} does"));
            }
        }
        for (variable, value) in &entries(&service["environment"]) {
            let Some((host, port)) = value.as_str().and_then(address) else { continue };
            if !services.contains_key(&host.to_owned()) {
                fault(format!("{variable}: there is no service {host}"));
            } else if !listens
                .iter()
                .any(|(service, listens)| service == host && listens.split('/').next() == Some(port))
            {
                fault(format!("{variable}: {host} does not listen on {port}"));
            }
        }
        for (other, condition) in dependencies(&service["depends_on"]) {
            match services.get(&other) {
                None => fault(format!("depends on {other}, which is no service")),
                Some(other_service) => {
                    // The backend's image has a check of its own.
                    let checked = !other_service["healthcheck"].is_null() || other == "backend";
                    if condition == "service_healthy" && !checked {
                        fault(format!("waits for {other} to be healthy, which nobody checks"));
                    }
                    if !other_service["profiles"].is_null() {
                        fault(format!("depends on {other}, which is not always there"));
                    }
                }
            }
        }
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            if let Some(path) = source.strip_prefix("./") {
                if !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
                    fault(format!("mounts {source}, which is not there"));
                }
                if !volume.ends_with(":ro") {
                    fault(format!("may write to {source}"));
                }
            } else if !entries(&project["volumes"]).contains_key(&source.to_owned()) {
                fault(format!("uses the volume {source}, which is not declared"));
            }
        }
    }
    faults
}

/// What a service is allowed that it does not need.
fn confinement(name: &str, service: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, text: &str| {
        if !holds {
            faults.push(text.to_owned());
        }
    };
    must(service["cap_drop"] == json!(["ALL"]), "keeps capabilities");
    must(service["security_opt"] == json!(["no-new-privileges:true"]), "may gain privileges");
    must(service["restart"] == "unless-stopped", "does not come back");
    must(service["read_only"] == true || name == DEVELOPED, "may write to its root filesystem");
    let limits = &service["deploy"]["resources"]["limits"];
    must(limits["memory"].is_string() && limits["cpus"].is_string(), "may take everything the machine has");
    if service["build"].is_null() {
        let image = service["image"].as_str().unwrap_or_default();
        let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map_or("", |(_, tag)| tag);
        must(image.split('/').count() > 2, "does not say which registry its image is in");
        must(tag.contains(|c: char| c.is_ascii_digit()), "does not say which version of its image");
    }
    if let Some(test) = service["healthcheck"]["test"].as_array() {
        must(test.first().is_some_and(|first| first == "CMD"), "checks its health by a shell");
    }
    faults
}

fn entries(value: &Value) -> BTreeMap<&String, &Value> {
    value.as_object().into_iter().flatten().collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn dependencies(value: &Value) -> Vec<(String, String)> {
    let started = |name: String| (name, "service_started".to_owned());
    let conditioned = |(name, how): (&&String, &&Value)| {
        ((*name).clone(), how["condition"].as_str().unwrap_or_default().to_owned())
    };
    strings(value).into_iter().map(started).chain(entries(value).iter().map(conditioned)).collect()
}

/// The host's and the container's port of a mapping such as `127.0.0.1:2000:2000/udp`, each with its protocol.
fn ports(mapping: &str) -> (String, String) {
    let (ports, protocol) = mapping.split_once('/').unwrap_or((mapping, "tcp"));
    let [.., host, container] = ports.split(':').collect::<Vec<_>>()[..] else { panic!("{mapping}") };
    (format!("{host}/{protocol}"), format!("{container}/{protocol}"))
}

/// The host and port of a value that is an address of a service.
fn address(value: &str) -> Option<(&str, &str)> {
    let value = value.split_once("://").map_or(value, |(_, rest)| rest);
    let (host, port) = value.split('/').next()?.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = host.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
    (is_port && is_name && !host.is_empty() && host != "localhost").then_some((host, port))
}

/// Who listens on which port.
fn listens() -> BTreeSet<(String, String)> {
    let of = |name: &str, port: &str| (name.to_owned(), port.to_owned());
    let exposed = file("Dockerfile");
    let exposed = exposed.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let mut listens: BTreeSet<_> = IMAGES.iter().map(|(name, port)| of(name, port)).collect();
    listens.extend(["backend", INSTEAD].map(|name| of(name, &format!("{exposed}/tcp"))));
    let config = documents::collector(&Variables::new());
    listens.extend(collector::ports(&config).iter().map(|port| of("otel-collector", &format!("{port}/tcp"))));
    listens
}

/// What a service is started with: a name without a value is passed on where it is set.
fn environment(project: &Value, service: &str, given: &Variables) -> Variables {
    entries(&project["services"][service]["environment"])
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.as_str().or_else(|| given.get(name).map(String::as_str))?;
            Some((name.clone(), value.to_owned()))
        })
        .collect()
}

/// What the binary says of being started as `service`.
fn check(service: &str, given: &Variables) -> BTreeMap<&'static str, String> {
    let project = documents::project(given);
    let environment = environment(&project, service, given);
    let checked = Config::check(&Environment::from_iter(environment));
    assert!(checked.errors.is_empty(), "{:?}", checked.errors);
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    checked.settings.into_iter().map(|setting| (setting.name, setting.value)).collect()
}

#[test]
fn services_fit_each_other() {
    let local = assignments(&file("deploy/compose/local-aws.env"));
    let outside = variables([
        ("HONEYCOMB_API_KEY", "dummy"),
        ("PUBLISH_ADDRESS", "0.0.0.0"),
        ("FRONTEND_DIR", "elsewhere"),
        ("BACKEND_URL", "https://4567-x.gitpod.io"),
    ]);
    for given in [Variables::new(), local, outside] {
        assert_eq!(faults(&documents::project(&given), &listens()), Vec::<String>::new(), "{given:?}");
    }
}

#[test]
fn planted_faults_between_services_are_found() {
    let project = documents::project(&Variables::new());
    for (place, value, fault) in [
        (
            "/services/backend/ports",
            json!(["4567:4568"]),
            "backend: publishes 4568/tcp, where nobody listens",
        ),
        ("/services/xray-daemon/ports/0", json!("127.0.0.1:2000:2001/udp"), "publishes 2001/udp, where"),
        ("/services/otel-collector/ports/1", json!("4318:8888"), "publishes 8888/tcp, where nobody listens"),
        ("/services/moto/ports", json!(["4567:5000"]), "moto: publishes 4567/tcp, as backend does"),
        (
            "/services/backend/environment/AWS_XRAY_DAEMON_ADDRESS",
            json!("daemon:2000"),
            "backend: AWS_XRAY_DAEMON_ADDRESS: there is no service daemon",
        ),
        (
            "/services/backend/environment/OTEL_EXPORTER_OTLP_ENDPOINT",
            json!("http://otel-collector:4319"),
            "otel-collector does not listen on 4319",
        ),
        ("/services/backend/depends_on/0", json!("xray"), "depends on xray, which is no service"),
        ("/services/backend/depends_on/0", json!("moto"), "depends on moto, which is not always there"),
        (
            "/services/frontend-react-js/depends_on",
            json!({"xray-daemon": {"condition": "service_healthy"}}),
            "waits for xray-daemon to be healthy, which nobody checks",
        ),
        ("/services/backend/volumes/0", json!("spoon:/var/lib/cruddur"), "uses the volume spoon"),
        (
            "/services/otel-collector/volumes/0",
            json!("./gone.yaml:/x:ro"),
            "mounts ./gone.yaml, which is not there",
        ),
        ("/services/otel-collector/volumes/0", json!("./README.md:/x"), "may write to ./README.md"),
        ("/services/backend/read_only", json!(false), "may write to its root filesystem"),
        ("/services/moto/cap_drop", json!([]), "keeps capabilities"),
        ("/services/moto/security_opt", json!([]), "may gain privileges"),
        ("/services/moto/restart", json!("no"), "does not come back"),
        ("/services/moto/deploy", json!(null), "may take everything the machine has"),
        ("/services/moto/image", json!("docker.io/motoserver/moto:latest"), "which version of its image"),
        ("/services/moto/image", json!("docker.io/motoserver/moto"), "which version of its image"),
        ("/services/moto/image", json!("motoserver/moto:5.2.5"), "which registry its image is in"),
        ("/services/moto/healthcheck/test/0", json!("CMD-SHELL"), "checks its health by a shell"),
    ] {
        let mut project = project.clone();
        *project.pointer_mut(place).unwrap() = value;
        let found = faults(&project, &listens());
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
    }
}

#[test]
fn the_binary_understands_what_it_is_given() {
    let settings = check("backend", &Variables::new());
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel-collector:4318/v1/traces"),
        ("AWS_XRAY_DAEMON_ADDRESS", "xray-daemon:2000"),
        ("FRONTEND_URL", "http://localhost:3000"),
        ("HONEYCOMB_API_KEY", "-"),
    ] {
        assert_eq!(settings[name], value, "{name}");
    }
    assert!(settings["CLOUDWATCH_LOG_GROUP"].starts_with("off"), "{}", settings["CLOUDWATCH_LOG_GROUP"]);

    let local = check("backend", &assignments(&file("deploy/compose/local-aws.env")));
    assert_eq!(local["CLOUDWATCH_LOG_GROUP"], "cruddur");
    assert_eq!(local["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"], "http://moto:5000/");

    // Empty values are what compose makes of `NAME=` in .env.
    let empty = TOPICS
        .iter()
        .flat_map(|topic| topic.variables)
        .map(|variable| (variable.name.to_owned(), String::new()));
    assert_eq!(check("backend", &empty.collect()), settings);

    let direct = check("direct", &variables([("HONEYCOMB_API_KEY", "dummy-key")]));
    assert_eq!(direct["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], "https://api.honeycomb.io/v1/traces");
    assert_eq!(direct["HONEYCOMB_API_KEY"], "****");
}

#[test]
fn no_secret_is_written_down() {
    let project = documents::parse(&file("docker-compose.yml"));
    let variables = TOPICS.iter().flat_map(|topic| topic.variables);
    let secrets: Vec<_> = variables.filter(|variable| variable.secret).collect();
    assert!(secrets.iter().any(|variable| variable.name == "HONEYCOMB_API_KEY"));
    for (name, service) in entries(&project["services"]) {
        for (variable, value) in entries(&service["environment"]) {
            if secrets.iter().any(|secret| secret.name == variable) {
                assert!(value.is_null(), "{name}: {variable} has a value");
            }
        }
    }
    // Between the service and Honeycomb stands the collector, and only one of them needs the key.
    assert!(project["services"]["backend"]["environment"].get("HONEYCOMB_API_KEY").is_none());
}

#[test]
fn a_container_is_given_the_time_that_it_takes_to_stop() {
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u32>().unwrap();
    let settings = check("backend", &Variables::new());
    let project = documents::project(&Variables::new());
    let period = seconds(project["services"]["backend"]["stop_grace_period"].as_str().unwrap());
    assert!(period > seconds(&settings["SHUTDOWN_GRACE"]) + 2, "{period}");
}

#[test]
fn the_image_is_built_by_the_compiler_and_writes_where_compose_mounts() {
    let (dockerfile, manifest) = (file("Dockerfile"), file("Cargo.toml"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let version = version.trim_end_matches('"');
    let from = format!("FROM docker.io/library/rust:{version}.");
    assert!(dockerfile.lines().any(|line| line.starts_with(&from)), "no {from}");

    let project = documents::project(&Variables::new());
    let spool = project["services"]["backend"]["environment"]["SPOOL_DIR"].as_str().unwrap();
    assert_eq!(project["services"]["backend"]["volumes"], json!([format!("spool:{spool}")]));
    assert!(dockerfile.contains(&format!("SPOOL_DIR=\"{spool}\"")), "{spool}");
    assert!(dockerfile.contains(&format!("VOLUME [\"{spool}\"]")), "{spool}");
}
