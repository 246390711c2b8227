//! The way of the packets: one trace id, from the answer that names it to wherever it can be found.
//!
//! The service runs as the binary does; behind it are a real collector, a daemon's stand-in and an imitation of AWS,
//! all of them processes of their own or on sockets of their own, as in `docker compose up`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::caller::Caller;
use crate::peers::Collector;
use crate::peers::environment::{Environment, OTLP};
use crate::peers::moto::Moto;
use crate::process::Process;
use crate::readme;
use crate::stand_in::rollbar::{Rollbar, TOKEN};
use crate::stand_in::xray::XRay;
use crate::stand_in::{Otlp, Received, hex};

/// The ways that are gone, and what is answered.
const REQUESTS: [(&str, u16); 5] = [
    ("/api/activities/home", 200),
    ("/api/activities/@andrewbrown", 200),
    ("/api/activities/68f126b0-1ceb-4a33-88be-d90fa7109eee", 200),
    ("/test/raise", 500),
    ("/test/panic", 500),
];

/// What one place has of every trace, in a line: what it is there, the id, and the rest.
type Found = BTreeMap<String, String>;

/// Where a trace is looked for.
struct Place {
    name: &'static str,
    found: Found,
    /// Whether what was answered so is to be found there.
    expects: fn(status: u16) -> bool,
}

#[tokio::test]
async fn one_trace_is_found_wherever_it_was_sent() {
    let (far_end, daemon, rollbar) = (Otlp::start(), XRay::start(), Rollbar::start());
    let collector = Collector::start(&Environment::get(&OTLP), &far_end);
    let moto = spawn_blocking(Moto::start).await.unwrap();
    let process = Process::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.http)),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("AWS_XRAY_DAEMON_ADDRESS", &daemon.address()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &moto.url),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("ROLLBAR_ACCESS_TOKEN", TOKEN),
        ("ROLLBAR_ENDPOINT", &rollbar.endpoint()),
    ]);
    let mut caller = Caller::connect(process.address).await;
    let mut traces = Vec::new();
    for (path, status) in REQUESTS {
        // Sampled, whatever the rules that the daemon has not served yet would say.
        let reply = caller.ask("GET", path, &[("x-amzn-trace-id", "Sampled=1")], "").await;
        assert_eq!(reply.status, status, "{path}");
        traces.push(reply.trace().0);
    }
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let servers = |spans: &[Received]| spans.iter().filter(|span| is_server(span)).count();
    far_end.wait_until("every request", |seen| servers(&seen.spans) == REQUESTS.len()).await;
    far_end.assert_clean();
    daemon.wait_for(|state| (state.documents.len() == REQUESTS.len()).then_some(()));
    rollbar.assert_clean();
    let lines = spawn_blocking(move || moto.ask("read_lines.py", "cruddur")).await.unwrap();

    let always = |_| true;
    let places = [
        Place { name: "the collector", found: at_the_far_end(&far_end), expects: always },
        Place { name: "the X-Ray daemon", found: at_the_daemon(&daemon.documents()), expects: always },
        Place { name: "CloudWatch", found: at_cloudwatch(&lines), expects: always },
        Place { name: "Rollbar", found: at_rollbar(&rollbar.items()), expects: |status| status == 500 },
    ];
    let mut seen = String::new();
    for ((path, status), trace) in REQUESTS.iter().zip(&traces) {
        writeln!(seen, "GET {path} {status} trace {trace}").unwrap();
        let mut ids = BTreeSet::new();
        for Place { name, found, .. } in places.iter().filter(|place| (place.expects)(*status)) {
            let found =
                found.get(trace).unwrap_or_else(|| panic!("{name} has no {trace}: {found:#?}\n{seen}"));
            assert!(found.contains(&format!(" {status}")), "{path}: {name} has {found}");
            ids.extend(found.split(' ').nth(1));
            writeln!(seen, "  {name:<16} {found}").unwrap();
        }
        assert_eq!(ids.len(), 1, "all have the same id for the request:\n{seen}");
    }
    for Place { name, found, expects } in &places {
        let expected = REQUESTS.iter().filter(|(_, status)| expects(*status)).count();
        assert_eq!(found.len(), expected, "{name}: {found:#?}");
    }
    writeln!(std::io::stdout(), "{seen}").unwrap();
    assert_on_first_screen(&seen);
}

/// The README begins with what this prints.
fn assert_on_first_screen(seen: &str) {
    let [session] = readme::blocks("shell-session")[..] else { panic!("one session") };
    let (command, shown) = session.split_once('\n').unwrap();
    assert_eq!(command, "$ cargo test packets -- --nocapture");
    readme::assert_shown("the way of the packets", shown, &format!("\n{seen}"));
}

fn is_server(received: &Received) -> bool {
    received.span.parent_span_id.is_empty()
}

/// What came out of the collector: the server's span, and how many are below it.
fn at_the_far_end(far_end: &Otlp) -> Found {
    let spans = far_end.spans();
    spans
        .iter()
        .filter(|received| is_server(received))
        .map(|received| {
            let trace = received.trace_id();
            let below = spans.iter().filter(|other| other.trace_id() == trace).count() - 1;
            let attributes = received.attributes();
            let status = &attributes["http.response.status_code"];
            let (name, id) = (&received.span.name, hex(&received.span.span_id));
            (trace, format!("span {id} {name} {status}, {below} below"))
        })
        .collect()
}

/// What came to the daemon, by the trace id that the others have.
fn at_the_daemon(documents: &[Value]) -> Found {
    documents
        .iter()
        .map(|document| {
            let trace = document["trace_id"].as_str().unwrap().replacen("1-", "", 1).replace('-', "");
            let (id, name) = (document["id"].as_str().unwrap(), document["name"].as_str().unwrap());
            let status = &document["http"]["response"]["status"];
            let fault = if document["fault"] == true { ", fault" } else { "" };
            (trace, format!("segment {id} {name} {status}{fault}"))
        })
        .collect()
}

/// What can be read back from CloudWatch: the access lines.
fn at_cloudwatch(read: &Value) -> Found {
    let streams = read["streams"].as_object().unwrap().values();
    streams
        .flat_map(|stream| stream.as_array().unwrap())
        .map(|line| serde_json::from_str::<Value>(line[1].as_str().unwrap()).unwrap())
        .filter(|line| !line["status"].is_null())
        .map(|line| {
            let of = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let text = format!(
                "line {} {} {} {} {}",
                of("span_id"),
                of("method"),
                of("path"),
                line["status"],
                of("outcome")
            );
            (of("trace_id"), text)
        })
        .collect()
}

/// What Rollbar was sent.
fn at_rollbar(items: &[Value]) -> Found {
    let of = |item: &Value, name: &str| {
        let attributes = item["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == name).unwrap();
        found["value"].as_str().unwrap().to_owned()
    };
    items
        .iter()
        .map(|item| {
            let item = &item["data"];
            let (title, level) =
                (item["title"].as_str().unwrap_or_default(), item["level"].as_str().unwrap());
            let status = &item["custom"]["status"];
            (of(item, "trace_id"), format!("item {} {level} {title} {status}", of(item, "span_id")))
        })
        .collect()
}
