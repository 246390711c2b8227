//! Gitpod and Codespaces: where the services are reached from outside, and which of their ports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cruddur::config::{Config, Environment};
use serde_json::Value;
use uuid::Uuid;

use super::{Variables, assignments, documents, file};

const GITPOD: [(&str, &str); 2] =
    [("GITPOD_WORKSPACE_ID", "crimson-fox-1a2b3c"), ("GITPOD_WORKSPACE_CLUSTER_HOST", "ws-eu107.gitpod.io")];
const CODESPACES: [(&str, &str); 2] = [
    ("CODESPACE_NAME", "fluffy-umbrella-4x7"),
    ("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev"),
];

/// A file such as `.env` for the script to write into; it is removed when this is dropped.
struct Written(PathBuf);

impl Written {
    fn with(text: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        fs::write(&path, text).unwrap();
        Self(path)
    }

    /// What the script makes of it in such an environment.
    fn by(&self, environment: &[(&str, &str)]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/urls.sh");
        let mut command = Command::new(script);
        command.env_clear().envs(environment.iter().copied());
        let output = command.arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

#[test]
fn addresses_come_from_where_it_runs() {
    for (place, frontend, backend) in [
        (
            GITPOD,
            "https://3000-crimson-fox-1a2b3c.ws-eu107.gitpod.io",
            "https://4567-crimson-fox-1a2b3c.ws-eu107.gitpod.io",
        ),
        (
            CODESPACES,
            "https://fluffy-umbrella-4x7-3000.app.github.dev",
            "https://fluffy-umbrella-4x7-4567.app.github.dev",
        ),
    ] {
        let written = Written::with("HONEYCOMB_API_KEY=dummy\nFRONTEND_URL=https://yesterday\n");
        let text = written.by(&place);
        let pattern = backend.replace("https://", "*") + "*";
        let expected = format!(
            "HONEYCOMB_API_KEY=dummy\nFRONTEND_URL={frontend}\nBACKEND_URL={backend}\nAWS_XRAY_URL={pattern}\n"
        );
        assert_eq!(text, expected);
        assert_eq!(written.by(&place), expected, "once more changes nothing");

        let project = documents::project(&assignments(&text));
        let environment = &project["services"]["backend"]["environment"];
        assert_eq!(environment["FRONTEND_URL"], frontend);
        let called = &project["services"]["frontend-react-js"]["environment"]["REACT_APP_BACKEND_URL"];
        assert_eq!(called, backend);
        let loaded = Config::load(&Environment::from_iter(assignments(&text))).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(loaded.config.http.origins.iter().any(|origin| origin == frontend));
    }
}

#[test]
fn anywhere_else_nothing_is_written() {
    assert_eq!(Written::with("A=b\n").by(&[]), "A=b\n");
    assert_eq!(Written::with("").by(&[("GITPOD_WORKSPACE_ID", "")]), "");
}

#[test]
fn what_is_opened_to_the_outside_is_published() {
    let project = documents::project(&Variables::new());
    let services = project["services"].as_object().unwrap();
    let mappings = services.values().flat_map(|service| service["ports"].as_array().into_iter().flatten());
    let published: BTreeSet<u64> = mappings
        .map(|mapping| {
            let mapping = mapping.as_str().unwrap().split('/').next().unwrap();
            mapping.rsplit(':').nth(1).unwrap().parse().unwrap()
        })
        .collect();

    let gitpod = documents::parse(&file(".gitpod.yml"));
    let ports = gitpod["ports"].as_array().unwrap();
    let opened: Vec<_> = ports.iter().map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(opened, [3000, 4567, 2000]);
    assert!(opened.iter().all(|port| published.contains(port)), "{published:?}");
    assert!(ports.iter().all(|port| port["visibility"] == "public"));
    assert_eq!(ports[0]["onOpen"], "open-browser");

    let container: Value = serde_json::from_str(&file(".devcontainer/devcontainer.json")).unwrap();
    assert_eq!(container["forwardPorts"], serde_json::json!([3000, 4567]));
    assert_eq!(container["postStartCommand"], gitpod["tasks"][0]["before"]);
}
