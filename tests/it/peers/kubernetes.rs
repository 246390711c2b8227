//! `deploy/kubernetes`, by the schemas of Kubernetes' own API.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::environment::{Environment, KUBERNETES, run};
use super::folder::Folder;

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes")
}

/// What is wrong with the objects of a folder, a line for each mistake.
fn mistakes(folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/manifests.py");
    let mut python = Environment::get(&KUBERNETES).python();
    run("the manifests cannot be checked", python.arg(script).arg(folder))
}

#[test]
fn manifests_are_what_kubernetes_takes() {
    assert_eq!(mistakes(&manifests()), "");
}

#[test]
fn planted_faults_in_manifests_are_refused() {
    let deployment = "deployment.yaml";
    for (file, from, to, complaint) in [
        (deployment, "periodSeconds: 10", "periodSeconds: 10s", "'10s' is not of type 'integer'"),
        (deployment, "failureThreshold: 2", "failureTreshold: 2", "'failureTreshold' was unexpected"),
        (
            deployment,
            "app.kubernetes.io/name: cruddur}\n    spec",
            "app: cruddur}\n    spec",
            "selects no pod",
        ),
        (
            deployment,
            "terminationGracePeriodSeconds: 45",
            "terminationGracePeriodSeconds: 30",
            "but it has 30 s",
        ),
        (deployment, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "it may do more than"),
        (deployment, "collector:0.159.0", "collector:latest", "otel-collector: its image is not pinned"),
        (
            deployment,
            "mountPath: /var/lib/cruddur",
            "mountPath: /var/spool",
            "and its volume at ['/var/spool']",
        ),
        (deployment, "--bind, \"127.0.0.1:2000\", ", "", "xray-daemon: --bind: its image listens"),
        (deployment, "key: AWS_REGION", "key: REGION", "no config map has"),
        (deployment, "path: /api/health-check", "path: /healthz", "the startupProbe asks for"),
        (deployment, "enableServiceLinks: false", "hostPID: no\n      hostPID: no", "hostPID is there twice"),
        (deployment, "runAsNonRoot: true", "runAsNonRoot: false", "it may run as root"),
        (
            "service.yaml",
            "name: cruddur}\n  ports",
            "name: crudder}\n  ports",
            "Service: {'app.kubernetes.io/name': 'crudder'}",
        ),
        (
            "horizontalpodautoscaler.yaml",
            "minReplicas: 2",
            "minReplicas: 1",
            "two replicas of the deployment",
        ),
        (
            "horizontalpodautoscaler.yaml",
            "autoscaling/v2",
            "autoscaling/v3",
            "has no HorizontalPodAutoscaler of autoscaling/v3",
        ),
        ("networkpolicy.yaml", "port: 4567", "port: 2000", "it lets in [2000]"),
        ("poddisruptionbudget.yaml", "maxUnavailable: 1", "maxUnavailable: [1]", "[1] is not valid"),
        ("collector.yaml", "[otlp_http/metrics]", "[otlp/metrics]", "exporters: ['otlp/metrics', "),
        (
            "collector.yaml",
            "endpoint: 127.0.0.1:4318",
            "endpoint: 127.0.0.1:4317",
            "it listens at http://127.0.0.1:4317",
        ),
        ("kustomization.yaml", "  - service.yaml\n", "", "service.yaml: nobody names it"),
    ] {
        let folder = Folder::new();
        let copy = folder.0.join("kubernetes");
        run("the folder cannot be copied", Command::new("cp").arg("-R").arg(manifests()).arg(&copy));
        let text = fs::read_to_string(copy.join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(copy.join(file), text.replace(from, to)).unwrap();
        let said = refused(&copy);
        assert!(said.contains(complaint), "{file}, {to}: {said}");
    }
}

/// What is said of a folder with a mistake, be it such that the script ends.
fn refused(folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/manifests.py");
    let output = Environment::get(&KUBERNETES).python().arg(script).arg(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_service_takes_the_pods_variables() {
    let config = fs::read_to_string(manifests().join("config.env")).unwrap();
    let variables = config.lines().map(|line| line.split_once('=').unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_cruddur"))
        .arg("--check")
        .env_clear()
        .envs(variables)
        .env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=cruddur-1,k8s.namespace.name=default")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
