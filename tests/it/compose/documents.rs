//! YAML, and the variables in it.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Map, Value};

use super::{Variables, file, variables};
use crate::peers::environment::{Environment, LINT};

/// What YAML says, as JSON.
pub(super) fn parse(yaml: &str) -> Value {
    let environment = Environment::get(&LINT);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/compose/to_json.py");
    let mut python = environment.python();
    let mut python = python
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{yaml}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The compose file, with its variables resolved.
pub(super) fn project(variables: &Variables) -> Value {
    resolved(&parse(&file("docker-compose.yml")), &mut |text| interpolate(text, variables))
}

/// The collector's configuration, as the collector reads it with these variables.
pub(super) fn collector(variables: &Variables) -> Value {
    let config = parse(&file("otel-collector-config.yaml"));
    expanded(&config, variables)
}

/// As the collector expands a configuration: a value that is a variable and nothing else is YAML again.
pub(super) fn expanded(config: &Value, variables: &Variables) -> Value {
    match config {
        Value::String(text) if text.starts_with("${env:") && text.ends_with('}') => {
            let text = expand(text, variables).unwrap();
            if text.starts_with('[') { parse(&text) } else { Value::String(text) }
        }
        Value::String(text) => Value::String(expand(text, variables).unwrap()),
        Value::Array(items) => items.iter().map(|item| expanded(item, variables)).collect(),
        Value::Object(entries) => Value::Object(
            entries.iter().map(|(key, value)| (key.clone(), expanded(value, variables))).collect(),
        ),
        other => other.clone(),
    }
}

/// Later files win over earlier ones: maps are merged, anything else is replaced.
pub(super) fn merged(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let before = base.remove(&key).unwrap_or(Value::Null);
                base.insert(key, merged(before, value));
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

fn resolved(value: &Value, resolve: &mut impl FnMut(&str) -> Result<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(resolve(text).unwrap_or_else(|fault| panic!("{fault}"))),
        Value::Array(items) => items.iter().map(|item| resolved(item, resolve)).collect(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), resolved(value, resolve)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// As the Compose specification resolves a value: `${X}`, `${X-otherwise}`, `${X:-otherwise}`, `${X:+instead}`, `$$`.
fn interpolate(text: &str, variables: &Variables) -> Result<String, String> {
    substitute(text, |expression| {
        let end = expression.find([':', '-', '+', '?']).unwrap_or(expression.len());
        let (name, rest) = expression.split_at(end);
        let value = variables.get(name);
        let filled = value.filter(|value| !value.is_empty());
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_uppercase() || b"_0123456789".contains(&byte))
        {
            return Err(format!("${{{expression}}}: that is no name"));
        }
        if let Some(otherwise) = rest.strip_prefix(":-") {
            Ok(filled.cloned().unwrap_or_else(|| otherwise.to_owned()))
        } else if let Some(instead) = rest.strip_prefix(":+") {
            Ok(filled.map_or_else(String::new, |_| instead.to_owned()))
        } else if let Some(otherwise) = rest.strip_prefix('-') {
            Ok(value.cloned().unwrap_or_else(|| otherwise.to_owned()))
        } else {
            Err(format!("${{{expression}}}: it does not start without {name}"))
        }
    })
}

/// As the collector resolves a value: `${env:X}` and `${env:X:-otherwise}`.
fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    substitute(text, |expression| {
        let Some(expression) = expression.strip_prefix("env:") else {
            return Err(format!("${{{expression}}}: not ${{env:…}}"));
        };
        let (name, otherwise) = expression.split_once(":-").unwrap_or((expression, ""));
        Ok(variables.get(name).map_or(otherwise, String::as_str).to_owned())
    })
}

fn substitute(text: &str, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            after
        } else if let Some((expression, after)) =
            after.strip_prefix('{').and_then(|after| after.split_once('}'))
        {
            result.push_str(&value(expression)?);
            after
        } else {
            return Err(format!("{text}: $ stands alone; $$ is a dollar"));
        };
    }
    Ok(result + rest)
}

#[test]
fn variables_are_resolved_as_compose_does() {
    let set = variables([("A", "a"), ("EMPTY", "")]);
    for (text, resolved) in [
        ("${A:-b}", "a"),
        ("${B:-b:c-d}", "b:c-d"),
        ("${EMPTY:-b}", "b"),
        ("${EMPTY-b}", ""),
        ("${A:+x}${B:+y}${EMPTY:+z}", "x"),
        ("[debug${A:+, other}]", "[debug, other]"),
        ("$${A}", "${A}"),
    ] {
        assert_eq!(interpolate(text, &set).as_deref(), Ok(resolved), "{text}");
    }
    for wrong in ["${B}", "${A}", "$A", "${B:?set it}", "${lower:-x}", "${A", "${}"] {
        assert!(interpolate(wrong, &set).is_err(), "{wrong}");
    }
}

#[test]
fn variables_are_expanded_as_the_collector_does() {
    let set = variables([("A", "a")]);
    let config =
        serde_json::json!({"x": "${env:A}", "y": ["${env:B:-b}"], "z": "${env:LIST:-[debug, other]}"});
    let expected = serde_json::json!({"x": "a", "y": ["b"], "z": ["debug", "other"]});
    assert_eq!(expanded(&config, &set), expected);
    for wrong in ["$A", "${A}", "${file:x}"] {
        assert!(expand(wrong, &set).is_err(), "{wrong}");
    }
}

#[test]
#[should_panic(expected = "duplicate key")]
fn a_key_that_comes_twice_is_refused() {
    parse("a: 1\na: 2\n");
}
