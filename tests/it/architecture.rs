//! Who may import whom, kept by reading the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A module may reach only these paths: a rule's path covers everything below it.
struct Rule {
    /// The module and everything below it.
    module: &'static str,
    /// The crates it may use. `std`, `core` and `alloc` go without saying; `None` leaves it open.
    crates: Option<&'static [&'static str]>,
    /// Paths within this crate, outside of the module itself.
    within: &'static [&'static str],
}

const RULES: &[Rule] = &[
    // The domain knows neither HTTP nor telemetry, beyond the facade of `tracing`.
    Rule {
        module: "crate::activities",
        crates: Some(&["chrono", "serde", "serde_json", "thiserror", "tracing", "uuid"]),
        within: &["crate::digits"],
    },
    // Arithmetic.
    Rule { module: "crate::digits", crates: Some(&[]), within: &[] },
    // The HTTP face tells the observer of failures and of users, and knows no backend.
    Rule {
        module: "crate::api",
        crates: None,
        within: &[
            "crate::activities",
            "crate::telemetry::observe::Exchange",
            "crate::telemetry::observe::Fault",
        ],
    },
    // What values are parsed into.
    Rule {
        module: "crate::config",
        crates: None,
        within: &[
            "crate::telemetry::observe",
            "crate::telemetry::xray::sampling",
            "crate::telemetry::xray::is_name_character",
        ],
    },
    // The core knows no vendor and no backend.
    Rule { module: "crate::telemetry::observe", crates: None, within: &["crate::digits"] },
    Rule { module: "crate::telemetry::delivery", crates: None, within: &[] },
];

/// What every backend, which is any other folder below `telemetry`, may import beside itself: `config` for the one
/// struct that its variables are read into, and how numbers are written.
const BACKEND: [&str; 4] =
    ["crate::config", "crate::digits", "crate::telemetry::observe", "crate::telemetry::delivery"];

/// The folders below `telemetry` that are no backends.
const NO_BACKENDS: [&str; 2] = ["observe", "delivery"];

/// Crates that speak one vendor's language, by their beginning, and the one module that may use them.
const VENDORS: [(&str, &str); 6] = [
    ("opentelemetry_otlp", "crate::telemetry::otlp"),
    ("opentelemetry_proto", "crate::telemetry::otlp"),
    ("tonic", "crate::telemetry::otlp"),
    ("prost", "crate::telemetry::otlp"),
    ("aws_", "crate::telemetry::cloudwatch"),
    ("quinn_udp", "crate::telemetry::xray"),
];

/// A source file: the module it is, and its text.
struct Source {
    module: String,
    text: String,
}

/// Whether `path` is `module` or below it.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The code without comments, and without its unit tests, which stand at the end of a file. Strings stay.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path that is written out with `::`, in `use` and elsewhere, groups taken apart, as it is written. A name in
/// macros and strings counts as well: better one exception too many than one violation unseen.
fn paths(code: &str) -> BTreeSet<String> {
    let imports = code.lines().filter_map(|line| line.trim_start().split_once("use "));
    // A crate that is imported whole has no `::`.
    let whole = imports.filter(|(_, path)| !rest(path, &name(path)).starts_with("::"));
    let mut paths: BTreeSet<_> = whole.map(|(_, path)| name(path)).collect();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let (before, after) = rest.split_at(at);
        let first = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
        let used = follow(first, after, &mut paths);
        rest = after.get(used.max(2)..).unwrap_or_default();
    }
    paths
}

/// Follows a path from the `::` with which `text` begins; how much of `text` it is.
fn follow(base: &str, text: &str, paths: &mut BTreeSet<String>) -> usize {
    let Some(after) = text.strip_prefix("::") else {
        paths.insert(base.to_owned());
        return 0;
    };
    let Some(group) = after.strip_prefix('{') else {
        let name = name(after);
        if name.is_empty() {
            // A glob, or a turbofish.
            paths.insert(base.to_owned());
            return 2;
        }
        return 2 + name.len() + follow(&format!("{base}::{name}"), rest(after, &name), paths);
    };
    let mut group = group;
    let begins = text.len();
    let mut alias = false;
    while let Some(c) = group.chars().next() {
        if !is_part(c) {
            group = group.strip_prefix(c).unwrap_or_default();
            if c == '}' {
                break;
            }
            continue;
        }
        let name = name(group);
        let after = rest(group, &name);
        group = after;
        if name == "as" {
            alias = true;
        } else if !std::mem::take(&mut alias) {
            let base = if name == "self" { base.to_owned() } else { format!("{base}::{name}") };
            let used = follow(&base, after, paths);
            group = after.get(used..).unwrap_or_default();
        }
    }
    begins - group.len()
}

/// The name with which `text` begins.
fn name(text: &str) -> String {
    text.chars().take_while(|c| is_part(*c)).collect()
}

/// What comes after a name.
fn rest<'a>(text: &'a str, name: &str) -> &'a str {
    text.strip_prefix(name).unwrap_or_default()
}

/// The path from the root: `crate::…` for our own, the crate's name first for others'; `None` for what is a type or
/// a module in scope, which an import has named already.
fn resolved(path: &str, source: &Source, crates: &BTreeSet<String>) -> Option<String> {
    let mut parts = path.split("::");
    let first = parts.next()?;
    if first == "crate" || crates.contains(first) {
        return Some(path.to_owned());
    }
    if first != "super" && first != "self" {
        return None;
    }
    let mut module = source.module.as_str();
    let mut rest = path;
    loop {
        if let Some(inner) = rest.strip_prefix("super::") {
            module = module.rsplit_once("::").map_or("crate", |(parent, _)| parent);
            rest = inner;
        } else if let Some(inner) = rest.strip_prefix("self::") {
            rest = inner;
        } else if rest == "super" {
            return Some(module.rsplit_once("::").map_or("crate", |(parent, _)| parent).to_owned());
        } else {
            return Some(format!("{module}::{rest}"));
        }
    }
}

/// Every breach, as a sentence.
fn breaches(sources: &[Source], crates: &BTreeSet<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        let code = code(&source.text);
        for path in paths(&code).iter().filter_map(|path| resolved(path, source, crates)) {
            for reason in judge(&source.module, &path) {
                breaches.push(format!("{} uses {path}: {reason}", source.module));
            }
        }
    }
    breaches
}

fn judge(module: &str, path: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    let ours = is_within(path, "crate");
    for rule in RULES.iter().filter(|rule| is_within(module, rule.module)) {
        let open = if ours {
            is_within(path, rule.module) || rule.within.iter().any(|allowed| is_within(path, allowed))
        } else {
            let name = path.split("::").next().unwrap_or_default();
            ["std", "core", "alloc"].contains(&name)
                || rule.crates.is_none_or(|crates| crates.contains(&name))
        };
        if !open {
            reasons.push(format!("{} may not", rule.module));
        }
    }
    if let Some(backend) = backend(module) {
        let open = is_within(path, &backend) || BACKEND.iter().any(|allowed| is_within(path, allowed));
        if ours && !open {
            reasons.push("a backend imports observe, delivery and its configuration alone".to_owned());
        }
    }
    for (vendor, home) in VENDORS {
        let name = path.split("::").next().unwrap_or_default();
        let is_vendor = if vendor.ends_with('_') { name.starts_with(vendor) } else { name == vendor };
        if is_vendor && !is_within(module, home) {
            reasons.push(format!("it belongs to {home}"));
        }
    }
    // These do not read variables.
    let harmless = ["std::env::VarError", "std::env::consts", "std::env::current_dir"];
    let reads_environment =
        is_within(path, "std::env") && !harmless.iter().any(|harmless| is_within(path, harmless));
    if reads_environment && !is_within(module, "crate::config") && module != "crate::main" {
        reasons.push("the environment is read once, in config".to_owned());
    }
    reasons
}

/// The backend that the module belongs to.
fn backend(module: &str) -> Option<String> {
    let name = module.strip_prefix("crate::telemetry::")?.split("::").next()?;
    let is_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry").join(name).is_dir();
    let planted = name == "planted";
    let is_backend = (is_folder || planted) && !NO_BACKENDS.contains(&name);
    is_backend.then(|| format!("crate::telemetry::{name}"))
}

fn read(folder: &Path, module: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            read(&path, &format!("{module}::{stem}"), sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let own = ["mod", "lib"].contains(&&*stem);
            let module = if own { module.to_owned() } else { format!("{module}::{stem}") };
            sources.push(Source { module, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

/// The names of the crates that the manifest has, as code spells them, and those of the toolchain.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let is_linked = |title: &str| title.ends_with("dependencies]") && !title.starts_with("dev-");
    let dependencies = manifest.split("\n[").filter(|section| section.lines().next().is_some_and(is_linked));
    let names = dependencies.flat_map(str::lines).filter_map(|line| line.split_once(" = "));
    let mut crates: BTreeSet<_> = names.map(|(name, _)| name.replace('-', "_")).collect();
    crates.extend(["std", "core", "alloc"].map(str::to_owned));
    crates
}

#[test]
fn modules_import_only_what_they_may_know() {
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "crate", &mut sources);
    let modules: BTreeSet<_> = sources.iter().map(|source| &*source.module).collect();
    for rule in RULES {
        assert!(modules.contains(rule.module), "there is no {}; the rule guards nothing", rule.module);
    }
    assert!(backend("crate::telemetry::terminal::layer").is_some());
    let crates = crates();
    assert!(crates.contains("tracing_subscriber") && !crates.contains("insta"), "{crates:?}");
    let breaches = breaches(&sources, &crates);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn planted_breaches_are_found() {
    let crates: BTreeSet<_> =
        ["std", "axum", "tracing", "opentelemetry_otlp", "aws_config"].map(str::to_owned).into();
    for (module, text, found) in [
        ("crate::activities::home", "use axum::Router;", 1),
        ("crate::activities::home", "use super::store::{Store, StoreError};\nuse tracing::info;", 0),
        ("crate::activities::home", "use crate::api::Error;", 1),
        ("crate::activities::home", "use super::super::api::Error;", 1),
        ("crate::activities::home", "fn f() { crate::telemetry::stack::observed() }", 1),
        ("crate::activities::home", "// use axum::Router;\n/// [`axum::Router`]", 0),
        ("crate::activities::home", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use axum::Router;\n}", 0),
        ("crate::api::error", "use crate::telemetry::observe::{Exchange as Current, Fault};", 0),
        ("crate::api::error", "use crate::telemetry::observe::{Exchange, RequestRecord};", 1),
        (
            "crate::api::error",
            "use crate::telemetry::{\n    observe::Fault,\n    terminal::{self, Format},\n};",
            2,
        ),
        ("crate::telemetry::observe::layer", "use super::super::terminal::Terminal;", 1),
        ("crate::telemetry::observe::layer", "use super::record::{Opening, Scheme as S};", 0),
        ("crate::telemetry::observe::layer", "use crate::config::Config;", 1),
        ("crate::telemetry::delivery::ledger", "use super::super::observe::LogEvent;", 1),
        ("crate::telemetry::planted::layer", "use super::super::terminal::Terminal;", 1),
        (
            "crate::telemetry::planted::layer",
            "use super::exporter::Queue;\nuse crate::telemetry::delivery::Ledger;",
            0,
        ),
        ("crate::telemetry::planted", "use super::{delivery::Ledger, observe, Telemetry};", 1),
        ("crate::telemetry::planted", "use opentelemetry_otlp::SpanExporter;\nuse aws_config::load;", 2),
        ("crate::telemetry::otlp", "use opentelemetry_otlp::SpanExporter;", 0),
        ("crate::config::parse", "use crate::telemetry::observe::Propagator;\nuse std::env::vars_os;", 0),
        ("crate::config::parse", "use crate::telemetry::Telemetry;", 1),
        ("crate::server", "fn f() { std::env::var_os(\"PORT\"); }", 1),
        ("crate::server", "use std::env;", 1),
        ("crate::server", "pub use aws_config as aws;", 1),
        ("crate::server", "use std::{env, io};", 1),
    ] {
        let source = Source { module: module.to_owned(), text: text.to_owned() };
        let breaches = breaches(&[source], &crates);
        assert_eq!(breaches.len(), found, "{module}: {text}: {breaches:?}");
    }
}
