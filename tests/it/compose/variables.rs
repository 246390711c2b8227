//! `.env.example` names every variable, and what it names reaches the service.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cruddur::config::TOPICS;

use super::{Variables, documents, file};

/// Those of compose and of its file.
const OWN: [(&str, &str, &str); 3] = [
    (
        "COMPOSE_PROFILES",
        "",
        "what is started beside the service, the daemon and the collector: frontend, local-aws",
    ),
    ("FRONTEND_DIR", "../frontend-react-js", "where the React frontend is built from"),
    (
        "PUBLISH_ADDRESS",
        "127.0.0.1",
        "where the daemon, the collector and moto are reached from outside of compose",
    ),
];

/// Those, by their name's end, that a container is not given, and why.
const WITHHELD: [(&str, &str); 16] = [
    ("PORT", "the container's own"),
    ("BIND_ADDR", "the container's own"),
    ("SPOOL_DIR", "the container's own"),
    ("CODE_VERSION", "it is built into the image"),
    ("HONEYCOMB_API_KEY", "the collector's, and the service direct's"),
    ("_CERTIFICATE", "names a file, which has to be mounted"),
    ("_CLIENT_KEY", "names a file, which has to be mounted"),
    ("AWS_XRAY_SAMPLING_RULES", "names a file, which has to be mounted"),
    ("ROLLBAR_ACCESS_TOKEN_FILE", "names a file, which has to be mounted"),
    ("AWS_PROFILE", "names a part of a file, which has to be mounted"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "set by a platform"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "set by a platform"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "set by a platform"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "set by a platform"),
    ("AWS_EC2_METADATA_DISABLED", "set by a platform"),
    ("ECS_CONTAINER_METADATA_URI_V4", "set by a platform"),
];

fn withheld(name: &str) -> Option<&'static str> {
    let is_end = |end: &str| if end.starts_with('_') { name.ends_with(end) } else { name == end };
    WITHHELD.iter().find(|(end, _)| is_end(end)).map(|(_, why)| *why)
}

/// What the file should be.
fn example() -> String {
    let mut text = "# What can be set: copy it to .env, and take away the # where something is to be different.\n\
                    # What stands there is the default, and nothing is none; docker-compose.yml has its own for the\n\
                    # addresses of the daemon and the collector.\n\n# Compose\n"
        .to_owned();
    for (name, default, meaning) in OWN {
        writeln!(text, "# {meaning}\n#{name}={default}").unwrap();
    }
    for topic in TOPICS {
        writeln!(text, "\n# {}", topic.title).unwrap();
        for variable in topic.variables {
            let is_name =
                TOPICS.iter().flat_map(|topic| topic.variables).any(|other| other.name == variable.default);
            let (words, value) = match variable.default {
                "-" => (String::new(), ""),
                words if words.contains(' ') || is_name => (format!(" [default: {words}]"), ""),
                value => (String::new(), value),
            };
            let why = withheld(variable.name).map(|why| format!(" (not passed on by compose: {why})"));
            let why = why.unwrap_or_default();
            writeln!(text, "# {}{words}{why}\n#{}={value}", variable.meaning, variable.name).unwrap();
        }
    }
    text
}

#[test]
fn the_example_names_every_variable() {
    let expected = example();
    for (line, expected_line) in file(".env.example").lines().zip(expected.lines()) {
        assert_eq!(line, expected_line, ".env.example should be:\n{expected}");
    }
    assert!(file(".env.example") == expected, ".env.example should be:\n{expected}");
}

#[test]
fn the_service_is_given_every_variable_that_is_not_withheld() {
    let project = documents::project(&Variables::new());
    let given = project["services"]["backend"]["environment"].as_object().unwrap();
    let given: BTreeSet<_> = given.keys().map(String::as_str).filter(|name| *name != "SPOOL_DIR").collect();
    let names = || TOPICS.iter().flat_map(|topic| topic.variables).map(|variable| variable.name);
    let wanted: BTreeSet<_> = names().filter(|name| withheld(name).is_none()).collect();
    let missing: Vec<_> = wanted.difference(&given).collect();
    assert!(missing.is_empty(), "x-environment in docker-compose.yml lacks {missing:?}");
    let withheld: Vec<_> = given.iter().filter(|name| withheld(name).is_some()).collect();
    assert!(withheld.is_empty(), "x-environment in docker-compose.yml passes {withheld:?} on");
}

#[test]
fn every_variable_of_the_compose_file_is_in_the_example() {
    let known = assigned(&file(".env.example"));
    let mut used = BTreeSet::new();
    for name in ["docker-compose.yml", "deploy/compose/collector-aws.yml"] {
        let text = file(name);
        let names =
            text.split("${").skip(1).map(|rest| rest.split([':', '-', '}']).next().unwrap().to_owned());
        used.extend(names);
    }
    used.extend(file("deploy/compose/local-aws.env").lines().filter_map(|line| {
        line.split_once('=').filter(|_| !line.starts_with('#')).map(|(name, _)| name.to_owned())
    }));
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(used.len() > 8, "{used:?}");
}

/// The names that a file sets, or would set without the `#`.
fn assigned(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('=')).map(|(name, _)| name);
    names.filter(|name| !name.contains(' ')).map(ToOwned::to_owned).collect()
}
