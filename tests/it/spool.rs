//! What outlives the process: kills, outages and restarts.

mod full;
mod sigterm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::caller::Caller;
use crate::otlp::relay::batch;
use crate::process::Process;
use crate::stand_in::cloudwatch::{self as logs, CloudWatch, Operation};
use crate::stand_in::rollbar::{self, Rollbar};
use crate::stand_in::{Answer, Otlp, Received, Seen, Signal, attributes, hex};

const HOME: &str = "/api/activities/home";
/// What is promised: a request that was answered that long before a kill is not lost.
const SAFE: Duration = Duration::from_millis(200);
/// How many exports are on their way at once.
const IN_FLIGHT: usize = 8;

/// A directory for the spool, which goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(Uuid::new_v4().to_string()))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// All files below it that hold items, and their content.
    fn segments(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut folders, mut found) = (vec![self.0.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "segment") {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        found
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn start(directory: &Directory, endpoint: &str, more: &[(&str, &str)]) -> Process {
    let mut variables = vec![
        ("SPOOL", "on"),
        ("SPOOL_DIR", directory.path()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    variables.extend_from_slice(more);
    Process::start(&variables)
}

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The trace ids of so many home requests.
async fn ask(address: SocketAddr, requests: usize) -> BTreeSet<String> {
    let mut caller = Caller::connect(address).await;
    let mut traces = BTreeSet::new();
    for _ in 0..requests {
        let reply = caller.get(HOME).await;
        assert_eq!(reply.status, 200);
        traces.insert(reply.trace().0);
    }
    traces
}

fn traces(seen: &Seen) -> BTreeSet<String> {
    seen.spans.iter().map(|received| received.trace_id()).collect()
}

/// Requests without an end, about a thousand a second, and which traces were answered when.
struct Load {
    answered: watch::Sender<Vec<(String, Instant)>>,
    callers: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (answered, _) = watch::channel(Vec::new());
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let answered = answered.clone();
            callers.spawn(async move {
                let mut caller = Caller::connect(address).await;
                while let Ok(reply) = caller.try_get(HOME).await {
                    let trace = (reply.trace().0, Instant::now());
                    answered.send_modify(|all| all.push(trace));
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
        }
        Self { answered, callers }
    }

    async fn wait_for(&self, requests: usize) {
        let mut all = self.answered.subscribe();
        all.wait_for(|all| all.len() >= requests).await.unwrap();
    }

    /// The traces of the requests that were answered early enough. The server must be gone.
    async fn answered_before(&mut self, latest: Instant) -> BTreeSet<String> {
        while self.callers.join_next().await.is_some() {}
        let all = self.answered.borrow();
        all.iter().filter(|(_, at)| *at < latest).map(|(trace, _)| trace.clone()).collect()
    }
}

/// How long the process's worker thread was ready to run and was not let, all in all: no promise can be kept by a
/// thread that does not run. Milliseconds on a machine that is not overloaded.
fn kept_waiting(process: u32) -> Duration {
    let waited = |thread: PathBuf| {
        let name = fs::read_to_string(thread.join("comm")).ok().filter(|name| name == "telemetry\n");
        name.and_then(|_| fs::read_to_string(thread.join("schedstat")).ok()?.split(' ').nth(1)?.parse().ok())
    };
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let longest = threads.filter_map(|thread| waited(thread.unwrap().path())).max();
    Duration::from_nanos(longest.expect("a thread called telemetry"))
}

/// A round: load, a kill in the middle of it, a restart.
async fn kill_and_recover(directory: &Directory, stand_in: &Otlp, answer: Answer) {
    stand_in.always(Signal::Traces, answer);
    stand_in.allow_repeats();
    let process = start(directory, &stand_in.endpoint(), &[]);
    let mut load = Load::start(process.address);
    load.wait_for(800).await;
    let (killed, kept_waiting) = (Instant::now(), kept_waiting(process.id()));
    process.kill();
    let before: BTreeSet<_> = {
        let seen = stand_in.seen();
        let last = seen.requests.iter().rev().take(IN_FLIGHT);
        last.flat_map(|arrived| &arrived.spans).map(|received| hex(&received.span.span_id)).collect()
    };
    let safe = load.answered_before(killed - SAFE - kept_waiting).await;
    assert!(safe.len() > 20, "{} of 800, {kept_waiting:?}", safe.len());

    stand_in.release();
    stand_in.always(Signal::Traces, Answer::default());
    let process = start(directory, &stand_in.endpoint(), &[]);
    let missing = |seen: &Seen| safe.difference(&traces(seen)).count();
    stand_in.wait_until("what was answered before the kill", |seen| missing(seen) == 0).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    stand_in.assert_clean();
    // Both spans of each.
    let seen = stand_in.seen();
    let spans = seen.spans.iter().filter(|received| safe.contains(&received.trace_id()));
    let distinct: BTreeSet<_> = spans.map(|received| received.span.span_id.clone()).collect();
    assert_eq!(distinct.len(), 2 * safe.len());
    // Only what was on its way comes twice.
    let repeated: BTreeSet<_> = seen.repeated.iter().flatten().map(|id| hex(id)).collect();
    assert!(repeated.is_subset(&before), "{} of {}", repeated.difference(&before).count(), repeated.len());
    drop(seen);
    assert_eq!(directory.segments().len(), 0, "nothing is left");
}

async fn rounds(count: usize) {
    let directory = Directory::new();
    for round in 0..count {
        let stand_in = Otlp::start();
        let answer = match round % 3 {
            0 => Answer::status(503),
            1 => Answer::default().after(Duration::from_millis(120)),
            _ => Answer::hang(),
        };
        kill_and_recover(&directory, &stand_in, answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_that_was_answered_before() {
    rounds(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form of the one above: cargo test --test it -- --ignored"]
async fn twenty_killed_processes_lose_nothing_that_was_answered_before() {
    rounds(20).await;
}

/// A round with log lines: load, a kill in the middle of it, a restart. Returns the traces that were answered by
/// `latest` before the kill and have no access line, and how many there were.
async fn kill_and_find_lines(mode: &str, latest: Duration, refuses: bool) -> (Vec<String>, usize) {
    let (directory, logs) = (Directory::new(), CloudWatch::start());
    if refuses {
        logs.always(Operation::PutLogEvents, logs::Answer::error(503, "ServiceUnavailableException"));
    }
    let found = logs.vars();
    let mut variables: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([("SPOOL", mode), ("SPOOL_DIR", directory.path()), ("CLOUDWATCH_LOG_STREAM", "s")]);
    let process = Process::start(&variables);
    let mut load = Load::start(process.address);
    load.wait_for(800).await;
    let (killed, kept_waiting) = (Instant::now(), kept_waiting(process.id()));
    process.kill();
    let slack = if latest.is_zero() { Duration::ZERO } else { latest + kept_waiting };
    let safe = load.answered_before(if latest.is_zero() { Instant::now() } else { killed - slack }).await;
    assert!(safe.len() > 20, "{} of 800, {kept_waiting:?}", safe.len());

    logs.always(Operation::PutLogEvents, logs::Answer::default());
    let process = Process::start(&variables);
    assert_eq!(process.terminate().code, Some(0));
    logs.assert_clean();
    let (mut traces, mut times) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    for event in logs.accepted() {
        let line: Value = serde_json::from_str(&event.message).unwrap();
        *times.entry(line["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        if line.get("status").is_some() {
            traces.insert(line["trace_id"].as_str().unwrap().to_owned());
        }
    }
    // One call is on its way at a time, and only that may come again.
    let repeated = times.values().filter(|times| **times > 1).count();
    assert!(repeated <= 10_000 && times.values().all(|times| *times <= 2), "{repeated}");
    assert_eq!(directory.segments().len(), 0, "nothing is left");
    (safe.difference(&traces).cloned().collect(), safe.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_through_no_line_of_an_answered_request_is_missing_after_a_kill() {
    for refuses in [false, true] {
        let (missing, answered) = kill_and_find_lines("write-through", Duration::ZERO, refuses).await;
        assert!(missing.is_empty(), "{} of {answered}", missing.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_costs_the_lines_of_the_last_moment_at_most() {
    for refuses in [false, true] {
        let (missing, answered) = kill_and_find_lines("on", SAFE, refuses).await;
        assert!(missing.is_empty(), "{} of {answered}", missing.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form of the two above: cargo test --test it -- --ignored"]
async fn twenty_killed_processes_lose_no_line_that_they_should_keep() {
    for round in 0..20 {
        let (mode, latest) = if round % 2 == 0 { ("write-through", Duration::ZERO) } else { ("on", SAFE) };
        let (missing, answered) = kill_and_find_lines(mode, latest, round % 4 < 2).await;
        assert!(missing.is_empty(), "round {round}: {} of {answered}", missing.len());
    }
}

#[tokio::test]
async fn what_cannot_be_delivered_by_the_end_is_delivered_by_the_next_process_once() {
    const KEY: &str = "not-a-real-key-0123456789";
    let (directory, absent) = (Directory::new(), nowhere().await);
    let endpoint = format!("http://{absent}");
    let header = format!("x-key={KEY}");
    let more = [("SHUTDOWN_GRACE", "1s"), ("OTEL_EXPORTER_OTLP_HEADERS", header.as_str())];
    let process = start(&directory, &endpoint, &more);
    let asked = ask(process.address, 40).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("  otlp: created 80, delivered 0, spooled 80\n"), "{}", ended.err);
    let folder = directory.0.join("instance-0");
    assert!(
        ended.out.contains(&format!("undelivered telemetry is kept in {}", folder.display())),
        "{}",
        ended.out
    );
    let segments = directory.segments();
    let holds =
        |text: &[u8]| segments.iter().any(|(_, bytes)| bytes.windows(text.len()).any(|part| part == text));
    assert!(holds(HOME.as_bytes()) && !holds(KEY.as_bytes()));

    let stand_in = Otlp::start_at(absent);
    let process = start(&directory, &endpoint, &more);
    let more_asked = ask(process.address, 10).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("  otlp: created 100, delivered 100\n"), "{}", ended.err);
    assert!(ended.out.contains("80 items of an earlier run are in the spool"), "{}", ended.out);
    // By span id, which the stand-in takes once only.
    stand_in.assert_clean();
    assert_eq!(traces(&stand_in.seen()), asked.union(&more_asked).cloned().collect());
    let instances: BTreeSet<_> = {
        let spans = stand_in.spans();
        let instance = |received: &Received| {
            attributes(&received.resource.attributes)["service.instance.id"].to_string()
        };
        spans.iter().map(instance).collect()
    };
    assert_eq!(instances.len(), 2, "each under the process that made it");
    assert_eq!(directory.segments().len(), 0);
}

#[tokio::test]
async fn an_item_for_rollbar_outlives_the_process_under_its_uuid_and_without_the_token() {
    let (directory, stand_in) = (Directory::new(), Rollbar::start());
    stand_in.always(rollbar::Answer::of(502, "bad gateway"));
    let endpoint = stand_in.endpoint();
    let variables = [
        ("SPOOL", "on"),
        ("SPOOL_DIR", directory.path()),
        ("ROLLBAR_ACCESS_TOKEN", rollbar::TOKEN),
        ("ROLLBAR_ENDPOINT", &endpoint),
        ("SHUTDOWN_GRACE", "1s"),
    ];
    let process = Process::start(&variables);
    let mut caller = Caller::connect(process.address).await;
    let error_id = caller.get("/test/raise?chain=1").await.json()["error_id"].clone();
    stand_in.wait_until("a post", |seen| !seen.posts.is_empty()).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("  rollbar: created 1, delivered 0, spooled 1\n"), "{}", ended.err);
    let segments = directory.segments();
    let holds = |text: &str| segments.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text));
    assert!(holds(error_id.as_str().unwrap()) && !holds(rollbar::TOKEN));

    stand_in.always(rollbar::Answer::taken());
    let process = Process::start(&variables);
    stand_in.wait_until("the item", |seen| seen.posts.iter().any(|post| post.status == 200)).await;
    assert_eq!(process.terminate().code, Some(0));
    stand_in.assert_clean();
    let taken: Vec<_> = stand_in.posts().into_iter().filter(|post| post.status == 200).collect();
    let [post] = &taken[..] else { panic!("{} items", taken.len()) };
    assert_eq!(post.item["data"]["uuid"], error_id);
}

#[tokio::test]
async fn what_comes_from_disk_is_what_would_have_come_from_memory() {
    let (directory, stand_in) = (Directory::new(), Otlp::start());
    stand_in.always(Signal::Traces, Answer::status(503));
    let more = [("OTLP_RELAY", "on"), ("OTEL_SERVICE_NAME", "spooled")];
    let process = start(&directory, &stand_in.endpoint(), &more);
    let mut caller = Caller::connect(process.address).await;
    for path in [HOME, "/test/raise?chain=1"] {
        caller.get(path).await;
    }
    let of_browser = batch(7).to_string();
    let relayed = caller.ask("POST", "/v1/traces", &[("content-type", "application/json")], of_browser).await;
    assert_eq!(relayed.status, 200);
    let all = |spans: &[Received]| {
        let by_id = spans.iter().map(|one| {
            (
                one.span.span_id.clone(),
                (one.span.clone(), one.scope.clone(), Arc::clone(&one.resource), one.schema_url.clone()),
            )
        });
        by_id.collect::<BTreeMap<_, _>>()
    };
    let refused = |seen: &Seen| {
        all(&seen.requests.iter().flat_map(|arrived| arrived.spans.clone()).collect::<Vec<_>>())
    };
    stand_in.wait_until("everything, and refused", |seen| refused(seen).len() == 4).await;
    for (backend, spans) in [("otlp", 3), ("otlp_relay", 1)] {
        health_until(process.address, backend, |otlp| otlp["items"]["spooled"] == spans).await;
    }
    process.kill();
    let expected = refused(&stand_in.seen());

    stand_in.always(Signal::Traces, Answer::default());
    let process = start(&directory, &stand_in.endpoint(), &more);
    stand_in.wait_for_spans(4).await;
    assert_eq!(process.terminate().code, Some(0));
    stand_in.assert_clean();
    assert_eq!(all(&stand_in.spans()), expected);
}

#[tokio::test]
async fn health_tells_what_is_on_disk() {
    let (directory, stand_in) = (Directory::new(), Otlp::start());
    stand_in.always(Signal::Traces, Answer::status(503));
    let process = start(&directory, &stand_in.endpoint(), &[]);
    ask(process.address, 5).await;
    let health = health_until(process.address, "otlp", |otlp| otlp["items"]["spooled"] == 10).await;
    let spool = &health["spool"];
    assert_eq!(spool["items"], 10);
    let on_disk: usize = directory.segments().iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(spool["bytes"], on_disk);
    assert!(spool["oldest_seconds"].is_u64(), "{health}");
    stand_in.always(Signal::Traces, Answer::default());
    // What is delivered is counted first, and then leaves the disk.
    let gone = |otlp: &Value| otlp["items"]["delivered"] == 10 && otlp["spool"]["items"] == 0;
    let health = health_until(process.address, "otlp", gone).await;
    assert_eq!(health["spool"], serde_json::json!({"items": 0, "bytes": 0, "oldest_seconds": 0}));
    stand_in.assert_clean();
}

/// Asks for `/health` until a backend is as it should be.
async fn health_until(address: SocketAddr, backend: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        let mut caller = Caller::connect(address).await;
        loop {
            let found = caller.get("/health").await.json()["backends"][backend].take();
            if is_so(&found) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("/health never said so")
}

#[tokio::test]
async fn processes_share_a_directory_and_the_next_one_delivers_for_all() {
    let (directory, stand_in) = (Directory::new(), Otlp::start());
    stand_in.always(Signal::Traces, Answer::status(503));
    let processes = [(); 3].map(|()| start(&directory, &stand_in.endpoint(), &[]));
    let mut asked = BTreeSet::new();
    for process in &processes {
        asked.extend(ask(process.address, 10).await);
        health_until(process.address, "otlp", |otlp| otlp["items"]["spooled"] == 20).await;
    }
    for (number, _) in processes.iter().enumerate() {
        assert!(directory.0.join(format!("instance-{number}")).is_dir());
    }
    assert_eq!(directory.segments().len(), 3);
    processes.into_iter().for_each(Process::kill);
    stand_in.always(Signal::Traces, Answer::default());
    let process = start(&directory, &stand_in.endpoint(), &[]);
    stand_in.wait_for_spans(60).await;
    assert_eq!(process.terminate().code, Some(0));
    stand_in.assert_clean();
    assert_eq!(traces(&stand_in.seen()), asked);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let directory = Directory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let file = directory.0.join("file");
    fs::write(&file, "").unwrap();
    let named = file.join("spool");
    let output = Command::new(env!("CARGO_BIN_EXE_cruddur"))
        .env_clear()
        .envs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("PORT", "0")])
        .env("SPOOL_DIR", &named)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = format!("error: SPOOL_DIR: {} cannot be used as a spool: ", named.display());
    assert!(said.starts_with(&expected) && said.contains("or set SPOOL=off"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    // Where nobody has named one, the service starts, and says so.
    let stand_in = Otlp::start();
    let process = Process::start(&[
        ("SPOOL", "on"),
        ("XDG_STATE_HOME", file.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &stand_in.endpoint()),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    ask(process.address, 1).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("undelivered telemetry is kept in memory only; SPOOL_DIR names"),
        "{}",
        ended.out
    );
    assert_eq!(stand_in.spans().len(), 2);
}
