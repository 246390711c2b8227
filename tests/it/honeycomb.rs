//! What `deploy/honeycomb/apply.py` makes, seen by a strict stand-in for Honeycomb's API.

mod stand_in;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use self::stand_in::{Honeycomb, KEY, query_mistakes};
use crate::caller::Caller;
use crate::process::Process;
use crate::stand_in::{Otlp, attributes};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/honeycomb");
const NAMES: [&str; 8] = [
    "Latency",
    "Latency by route",
    "Recent traces with errors",
    "Latency by user",
    "Latency by handle",
    "Average duration by trace",
    "Spans by trace",
    "Traces",
];

/// A copy of the folder, which a test may change; it is removed when this is dropped.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string());
        assert!(Command::new("cp").arg("-R").arg(DEPLOY).arg(&path).status().unwrap().success());
        Self(path)
    }

    fn query(&self, file: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.0.join("queries").join(file)).unwrap()).unwrap()
    }

    fn change(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut saved = self.query(file);
        change(&mut saved);
        fs::write(self.0.join("queries").join(file), saved.to_string()).unwrap();
    }

    fn apply(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new("python3");
        command.arg(self.0.join("apply.py")).args(arguments).env_clear().envs(variables.iter().copied());
        command.env("PATH", std::env!("PATH")).stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs it against the stand-in with its key.
async fn apply(copy: Copy, honeycomb: &Honeycomb, arguments: &'static [&'static str]) -> (Copy, Output) {
    let url = honeycomb.url.clone();
    let variables = move |copy: &Copy| {
        let variables = [("HONEYCOMB_API_ENDPOINT", &*url), ("HONEYCOMB_CONFIGURATION_KEY", KEY)];
        copy.apply(&variables, arguments)
    };
    spawn_blocking(move || {
        let output = variables(&copy);
        (copy, output)
    })
    .await
    .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn the_board_is_made_once_and_what_changes_is_replaced() {
    let (copy, honeycomb) = (Copy::new(), Honeycomb::start().await);
    let (copy, output) = apply(copy, &honeycomb, &["board"]).await;
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
    assert_eq!(
        honeycomb.writes(),
        [["POST query", "POST annotation"].repeat(8), vec!["POST board"]].concat()
    );
    assert_eq!(honeycomb.shown(), NAMES);

    let (copy, output) = apply(copy, &honeycomb, &["board"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(honeycomb.writes(), [""; 0], "nothing has changed");

    copy.change("8-traces.json", |saved| saved["query"]["time_range"] = json!(600));
    let (_, output) = apply(copy, &honeycomb, &["board"]).await;
    assert!(output.status.success(), "{output:?}");
    let writes = ["POST query", "POST annotation", "PUT board", "DELETE annotation"];
    assert_eq!(honeycomb.writes(), writes);
    assert_eq!(honeycomb.shown(), NAMES);
}

#[tokio::test]
async fn a_deploy_is_marked() {
    let (copy, honeycomb) = (Copy::new(), Honeycomb::start().await);
    let arguments = &["marker", "v1.2", "--url", "https://example.com/v1.2"];
    let (_, output) = apply(copy, &honeycomb, arguments).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(honeycomb.writes(), ["POST marker"]);
    let marker = honeycomb.markers().remove(0);
    assert_eq!(marker["message"], "v1.2");
    assert_eq!(marker["url"], "https://example.com/v1.2");
}

#[tokio::test]
async fn a_dry_run_needs_no_key_and_sends_nothing() {
    let (copy, honeycomb) = (Copy::new(), Honeycomb::start().await);
    let url = honeycomb.url.clone();
    let output =
        spawn_blocking(move || copy.apply(&[("HONEYCOMB_API_ENDPOINT", &url)], &["--dry-run", "board"]));
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = said(&output);
    assert_eq!(said.matches("POST /1/queries/cruddur-backend {").count(), 8, "{said}");
    assert_eq!(said.matches("POST /1/boards {").count(), 1, "{said}");
    assert_eq!(honeycomb.calls(), 0);
}

#[tokio::test]
async fn what_honeycomb_refuses_is_explained_and_the_key_is_never_shown() {
    let honeycomb = Honeycomb::start().await;
    let url = honeycomb.url.clone();
    let copy = Copy::new();
    copy.change("1-latency.json", |saved| saved["query"]["calculations"][1]["op"] = json!("P91"));
    let key_file = copy.0.join("key");
    fs::write(&key_file, format!("{KEY}\n")).unwrap();
    spawn_blocking(move || {
        let key_file = key_file.to_str().unwrap();
        let at = ("HONEYCOMB_API_ENDPOINT", &*url);
        for (variables, complaint) in [
            (vec![at, ("HONEYCOMB_CONFIGURATION_KEY_FILE", key_file)], "422: columns come into being"),
            (vec![at, ("HONEYCOMB_CONFIGURATION_KEY", "dummy-of-another")], "401: the key is not one of"),
            (vec![at], "HONEYCOMB_CONFIGURATION_KEY is not set"),
            (vec![at, ("HONEYCOMB_CONFIGURATION_KEY_FILE", "/nowhere")], "/nowhere, which cannot be read"),
            (vec![at, ("HONEYCOMB_CONFIGURATION_KEY", "dummy\nkey")], "a key of printable characters"),
            (
                vec![("HONEYCOMB_API_ENDPOINT", "http://example.com"), ("HONEYCOMB_CONFIGURATION_KEY", KEY)],
                "it should begin with https://",
            ),
            (
                vec![("HONEYCOMB_API_ENDPOINT", "http://127.0.0.1:1"), ("HONEYCOMB_CONFIGURATION_KEY", KEY)],
                "http://127.0.0.1:1 is not reached",
            ),
        ] {
            let output = copy.apply(&variables, &["board"]);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(complaint) && !said.contains("Traceback"), "{complaint}: {said}");
            assert!(!said.contains("dummy"), "a key is shown: {said}");
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_query_that_honeycomb_would_refuse_is_refused_here() {
    let sound = Copy::new().query("3-errors.json")["query"].clone();
    assert_eq!(query_mistakes(&sound), [""; 0]);
    for (pointer, value, complaint) in [
        ("/calculations/1/op", json!("P42"), "no calculation P42"),
        ("/calculations/1/op", json!("COUNT"), "COUNT has no column"),
        ("/calculations/0/op", json!("AVG"), "AVG has a column"),
        ("/filters/0/op", json!("is"), "no filter is"),
        ("/filters/0/op", json!("exists"), "exists has no value"),
        ("/filter_combination", json!("XOR"), "filter_combination"),
        ("/orders/0/op", json!("P90"), "orders by what it does not calculate"),
        ("/orders/0/order", json!("down"), "no order down"),
        ("/limit", json!(1001), "limit"),
        ("/time_range", json!(0), "time_range"),
        ("/breakdowns/0", json!(7), "breakdowns"),
    ] {
        let mut planted = sound.clone();
        *planted.pointer_mut(pointer).unwrap() = value;
        let mistakes = query_mistakes(&planted);
        assert!(mistakes.iter().any(|mistake| mistake.contains(complaint)), "{complaint}: {mistakes:?}");
    }
    let mut planted = sound;
    planted["calculation"] = json!([]);
    assert_eq!(query_mistakes(&planted), ["unknown key calculation"]);
}

/// What Honeycomb itself makes of a span, and of its `exception` event.
const HONEYCOMBS_OWN: [&str; 6] =
    ["duration_ms", "trace.trace_id", "trace.parent_id", "name", "type", "error"];

#[tokio::test]
async fn queries_ask_for_what_spans_have() {
    let otlp = Otlp::start();
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp.endpoint())]);
    let mut caller = Caller::connect(process.address).await;
    for path in ["/api/activities/@andrewbrown", "/test/raise"] {
        caller.get(path).await;
    }
    let json = [("content-type", "application/json")];
    let body = r#"{"message":"Hello","ttl":"7-days"}"#;
    assert_eq!(caller.ask("POST", "/api/activities", &json, body).await.status, 200);
    assert_eq!(process.terminate().code, Some(0));
    let mut columns: BTreeSet<_> = HONEYCOMBS_OWN.map(str::to_owned).into();
    for received in otlp.spans() {
        columns.extend(received.attributes().into_keys());
        let exceptions = received.span.events.iter().filter(|event| event.name == "exception");
        columns.extend(exceptions.flat_map(|event| attributes(&event.attributes).into_keys()));
    }
    let (copy, mut asked) = (Copy::new(), BTreeSet::new());
    for file in fs::read_dir(copy.0.join("queries")).unwrap() {
        let query = copy.query(file.unwrap().file_name().to_str().unwrap())["query"].clone();
        for list in ["calculations", "filters", "breakdowns"] {
            for part in query[list].as_array().into_iter().flatten() {
                let column = part.as_str().or_else(|| part["column"].as_str());
                asked.extend(column.map(str::to_owned));
            }
        }
    }
    assert!(asked.len() > 6, "{asked:?}");
    assert_eq!(asked.difference(&columns).collect::<Vec<_>>(), [""; 0]);
}

/// The README reckons with it: Honeycomb counts spans and their events.
#[tokio::test]
async fn a_home_request_is_three_events() {
    let otlp = Otlp::start();
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &otlp.endpoint())]);
    Caller::connect(process.address).await.get("/api/activities/home").await;
    assert_eq!(process.terminate().code, Some(0));
    let spans = otlp.spans();
    let events: usize = spans.iter().map(|received| received.span.events.len()).sum();
    assert_eq!((spans.len(), events), (2, 1));
}
