//! The dependencies are what `deny.toml` lets in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use uuid::Uuid;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const RULES: &str = include_str!("../../deny.toml");

/// What is built for, as in `deny.toml`.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// What `cargo tree` prints of the packages that are there for `edges`.
fn tree(edges: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]);
    cargo.args(TARGETS.iter().flat_map(|target| ["--target", target]));
    printed(cargo.args(["--edges", edges]).current_dir(ROOT))
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with what is checked; it is removed when this is dropped.
struct Checked(PathBuf);

impl Checked {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("all"), tree("normal,build,dev")).unwrap();
        fs::write(folder.join("shipped"), tree("normal,build")).unwrap();
        Self(folder)
    }

    /// What is wrong by these rules, a line for each.
    fn mistakes(&self, rules: &str) -> String {
        let path = self.0.join("deny.toml");
        fs::write(&path, rules).unwrap();
        let mut python = Command::new("python3");
        python.arg(Path::new(ROOT).join("tests/it/dependencies.py")).arg(path);
        printed(python.arg(self.0.join("all")).arg(self.0.join("shipped")))
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn dependencies_are_what_is_let_in() {
    let checked = Checked::new();
    assert_eq!(checked.mistakes(RULES), "");
    for (from, to, complaint) in [
        ("\"Unicode-3.0\", ", "", "unicode-ident "),
        ("\"digest:0.10\"", "\"syn:2\"", "digest is there twice: 0.10."),
        ("\"digest:0.10\"", "\"digest:0.9\"", "digest:0.9 is not there, and need not be skipped"),
        ("\"hyper:<1\"", "\"hyper:<2\"", ": banned: one HTTP stack: hyper 1"),
    ] {
        assert!(RULES.contains(from), "{from}");
        let mistakes = checked.mistakes(&RULES.replace(from, to));
        assert!(mistakes.contains(complaint), "{to}: {mistakes}");
    }
    let path = checked.0.join("all");
    let foreign = "foreign v1.0.0 (https://example.com/foreign#1234)\tMIT\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + foreign).unwrap();
    let expected = "foreign 1.0.0: it comes from (https://example.com/foreign#1234)\n";
    assert_eq!(checked.mistakes(RULES), expected);
}
