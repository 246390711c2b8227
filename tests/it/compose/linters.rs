//! What is not Rust is linted: YAML, shell, the Dockerfile, and compose files by the specification's schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::peers::environment::{Environment, LINT};

/// A linter, and what it is to look at.
struct Linter {
    program: &'static str,
    arguments: &'static [&'static str],
    files: fn(&Path) -> bool,
    /// Something that it has to refuse, the name of such a file, and what it says of it.
    planted: (&'static str, &'static str, &'static str),
}

const LINTERS: [Linter; 4] = [
    Linter {
        program: "yamllint",
        arguments: &["--strict", "--config-file", ".yamllint"],
        files: |path| has_extension(path, &["yml", "yaml"]),
        planted: ("a: 1\na: 2\n", "twice.yml", "duplication of key"),
    },
    Linter {
        program: "shellcheck",
        arguments: &["--external-sources"],
        files: is_script,
        planted: ("#!/bin/sh\nrm -rf $1\n", "unquoted.sh", "SC2086"),
    },
    Linter {
        program: "hadolint",
        arguments: &["--no-color"],
        files: |path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("Dockerfile")),
        planted: ("FROM debian\nRUN cd /tmp\n", "Dockerfile", "DL3006"),
    },
    Linter {
        program: "check-jsonschema",
        arguments: &["--builtin-schema", "vendor.compose-spec"],
        files: |path| is_compose(path),
        planted: (
            "services:\n  a:\n    image: b\n    prots: []\n",
            "docker-compose.yml",
            "'prots' was unexpected",
        ),
    },
];

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
}

fn is_script(path: &Path) -> bool {
    has_extension(path, &["sh"])
        || path.parent().and_then(Path::file_name).is_some_and(|folder| folder == ".ci")
}

fn is_compose(path: &Path) -> bool {
    has_extension(path, &["yml"]) && fs::read_to_string(path).is_ok_and(|text| text.contains("\nservices:\n"))
}

/// Every file of the repository that is not below a folder of its tools.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.path();
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if ![".git", "target", "node_modules"].iter().any(|name| path.ends_with(name)) {
            found.extend(files(&path));
        }
    }
    found
}

/// What a linter says of files that it does not like.
fn refusal(environment: &Environment, linter: &Linter, files: &[PathBuf]) -> Option<String> {
    let mut command = Command::new(environment.executables().join(linter.program));
    // One linter starts another program of its environment.
    command.env("PATH", environment.executables()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.args(linter.arguments).args(files).stdin(Stdio::null()).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (!output.status.success()).then_some(text)
}

#[test]
fn linters_have_nothing_to_say() {
    let environment = Environment::get(&LINT);
    let all = files(Path::new(env!("CARGO_MANIFEST_DIR")));
    for linter in &LINTERS {
        let files: Vec<_> = all.iter().filter(|path| (linter.files)(path)).cloned().collect();
        assert!(!files.is_empty(), "{} has nothing to look at", linter.program);
        if let Some(refusal) = refusal(&environment, linter, &files) {
            panic!("{}:\n{refusal}", linter.program);
        }
    }
}

#[test]
fn linters_refuse_what_is_planted() {
    let environment = Environment::get(&LINT);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
    fs::create_dir_all(&folder).unwrap();
    for linter in &LINTERS {
        let (text, name, said) = linter.planted;
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let refusal = refusal(&environment, linter, &[path]);
        assert!(
            refusal.as_ref().is_some_and(|refusal| refusal.contains(said)),
            "{}: {refusal:?}",
            linter.program
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}
