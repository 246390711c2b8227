use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::{Asked, DaemonError, LocalRules};
use super::*;

/// The system clock when a test begins, in seconds since the epoch.
const EPOCH: u64 = 1_795_219_000;

const ASKED: Asked<'_> = Asked {
    host: Some("localhost"),
    method: "GET",
    path: "/",
    service_name: "cruddur-backend",
    service_type: None,
};

/// What was called when, in milliseconds from the beginning, with what.
type Calls = Arc<Mutex<Vec<(u64, String, Value)>>>;

/// Answers as told; an unscripted call for rules gets the last rules again, one for targets no targets.
#[derive(Clone)]
struct Script {
    start: Instant,
    calls: Calls,
    rules: Arc<Mutex<VecDeque<Result<Value, StatusCode>>>>,
    targets: Arc<Mutex<VecDeque<Result<Value, StatusCode>>>>,
}

impl Api for Script {
    async fn call(&self, operation: &str, body: String) -> Result<Vec<u8>, DaemonError> {
        let body = serde_json::from_str(&body)?;
        let at = self.start.elapsed().as_millis().try_into().unwrap();
        self.calls.lock().unwrap().push((at, operation.to_owned(), body));
        let answer = match operation {
            "GetSamplingRules" => {
                let mut rules = self.rules.lock().unwrap();
                if rules.len() > 1 { rules.pop_front().unwrap() } else { rules.front().unwrap().clone() }
            }
            _ => self.targets.lock().unwrap().pop_front().unwrap_or_else(|| Ok(json!({}))),
        };
        let refused = |status| DaemonError::Refused { status, excerpt: String::new() };
        answer.map(|answer| answer.to_string().into_bytes()).map_err(refused)
    }
}

struct Bench {
    script: Script,
    sampler: Sampler,
    state: Arc<State>,
    notices: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Bench {
    fn start(rules: Vec<Result<Value, StatusCode>>, targets: Vec<Result<Value, StatusCode>>) -> Self {
        let start = Instant::now();
        let script = Script {
            start,
            calls: Calls::default(),
            rules: Arc::new(Mutex::new(rules.into())),
            targets: Arc::new(Mutex::new(targets.into())),
        };
        let notices = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&notices);
        let notice: Notice =
            Arc::new(move |level, text: &str| kept.lock().unwrap().push(format!("{level} {text}")));
        let sampler = Sampler::for_service("cruddur-backend", LocalRules::default());
        let trouble = Mutex::default();
        let state =
            Arc::new(State { sampler: sampler.clone(), address: "daemon:2000".to_owned(), notice, trouble });
        let outside = Outside { clock: Box::new(move || now(start)), random: Box::new(|| 0.5) };
        let worker = Worker::new(script.clone(), Arc::clone(&state), outside);
        let mut tasks = JoinSet::new();
        tasks.spawn(worker.run());
        Self { script, sampler, state, notices, tasks }
    }

    /// Lets time pass, and returns what was called meanwhile.
    async fn pass(&self, duration: Duration) -> Vec<(u64, String)> {
        self.script.calls.lock().unwrap().clear();
        tokio::time::sleep(duration).await;
        assert_eq!(self.tasks.len(), 1);
        let calls = self.script.calls.lock().unwrap();
        calls.iter().map(|(at, operation, _)| (*at, operation.clone())).collect()
    }

    /// The statistics documents that were sent since the last pass.
    fn documents(&self) -> Vec<Value> {
        let calls = self.script.calls.lock().unwrap();
        let reports = calls.iter().filter(|(_, operation, _)| operation == "SamplingTargets");
        reports
            .flat_map(|(_, _, body)| body["SamplingStatisticsDocuments"].as_array().unwrap().clone())
            .collect()
    }

    fn ask(&self) -> bool {
        self.sampler.decide_at(&ASKED, now(self.script.start), 0.99).sampled
    }

    fn sentence(&self) -> String {
        self.state.sentence(now(self.script.start))
    }

    fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }
}

fn now(start: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH) + start.elapsed()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules(names: &[&str]) -> Value {
    let records = names.iter().map(|name| {
        json!({"SamplingRule": {"RuleName": name, "ResourceARN": "*", "Priority": 9000, "FixedRate": 0.1,
            "ReservoirSize": 5, "ServiceName": "cruddur-*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
            "URLPath": "*", "Version": 1}})
    });
    json!({"SamplingRuleRecords": records.collect::<Vec<_>>()})
}

fn call(at: u64, operation: &str) -> (u64, String) {
    (at, operation.to_owned())
}

const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;

#[tokio::test(start_paused = true)]
async fn rules_come_at_once_and_then_every_five_minutes() {
    let bench = Bench::start(vec![Ok(rules(&["Cruddur", "Default"]))], vec![]);
    assert_eq!(bench.sentence(), "local rules, until the daemon at daemon:2000 has answered");
    assert_eq!(bench.pass(secs(1)).await, [call(0, "GetSamplingRules")]);
    assert_eq!(bench.script.calls.lock().unwrap()[0].2, json!({}));
    assert_eq!(bench.sentence(), "2 rules from the daemon at daemon:2000, fetched 1 s ago");
    // Nothing was asked, so there is nothing to report.
    assert_eq!(bench.pass(secs(399)).await, [call(302_500, "GetSamplingRules")]);
    assert_eq!(bench.notices(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_reported_and_targets_are_followed() {
    let target = json!({"SamplingTargetDocuments": [{"RuleName": "Cruddur", "FixedRate": 0.0, "ReservoirQuota": 2,
        "ReservoirQuotaTTL": EPOCH + 20, "Interval": 10}], "LastRuleModification": EPOCH - 9});
    let bench = Bench::start(vec![Ok(rules(&["Cruddur"]))], vec![Ok(target)]);
    bench.pass(secs(1)).await;
    assert_eq!([bench.ask(), bench.ask(), bench.ask()], [true, false, false], "one is borrowed");
    assert_eq!(bench.pass(secs(10)).await, [call(10_050, "SamplingTargets")]);
    let [document] = &bench.documents()[..] else { panic!("one document") };
    let id = document["ClientID"].as_str().unwrap();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let expected = json!({"RuleName": "Cruddur", "ClientID": id, "Timestamp": EPOCH + 10, "RequestCount": 3,
        "SampledCount": 0, "BorrowCount": 1});
    assert_eq!(*document, expected);
    assert_eq!([bench.ask(), bench.ask(), bench.ask()], [true, true, false], "the quota is two");
    bench.pass(secs(10)).await;
    let [document] = &bench.documents()[..] else { panic!("one document") };
    assert_eq!((&document["RequestCount"], &document["SampledCount"]), (&json!(3), &json!(2)));
    assert_eq!([bench.ask(), bench.ask()], [true, false], "the quota has expired");
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_reported_when_its_interval_is_over() {
    let target = json!({"SamplingTargetDocuments": [{"RuleName": "Cruddur", "Interval": 30}]});
    let bench = Bench::start(vec![Ok(rules(&["Cruddur"]))], vec![Ok(target)]);
    bench.pass(secs(1)).await;
    bench.ask();
    bench.pass(secs(10)).await;
    bench.ask();
    let calls = bench.pass(secs(40)).await;
    assert_eq!(calls, [call(40_200, "SamplingTargets")]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_comes_late_is_found_and_both_are_said_once() {
    let answers = vec![Err(BAD_GATEWAY), Err(BAD_GATEWAY), Ok(rules(&["Cruddur"]))];
    let bench = Bench::start(answers, vec![]);
    assert_eq!(bench.pass(secs(5)).await, [call(0, "GetSamplingRules")]);
    let because = "local rules, because the daemon at daemon:2000 answers 502 Bad Gateway";
    assert_eq!(bench.sentence(), because);
    assert!(bench.ask() && !bench.ask(), "local rules decide");
    let calls = bench.pass(secs(55)).await;
    assert_eq!(calls, [call(12_500, "GetSamplingRules"), call(35_000, "GetSamplingRules")]);
    assert_eq!(
        bench.notices(),
        [
            "WARN X-Ray sampling: the daemon at daemon:2000 answers 502 Bad Gateway; local rules decide",
            "INFO X-Ray sampling: the daemon at daemon:2000 gives rules again",
        ]
    );
    assert_eq!(bench.sentence(), "1 rule from the daemon at daemon:2000, fetched 25 s ago");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_leaves_is_missed_for_an_hour_and_then_done_without() {
    let answers = vec![Ok(rules(&["Cruddur"])), Err(BAD_GATEWAY)];
    let bench = Bench::start(answers, vec![]);
    bench.pass(secs(400)).await;
    let still = "1 rule from the daemon at daemon:2000, fetched 400 s ago; now it answers 502 Bad Gateway";
    assert_eq!(bench.sentence(), still);
    assert_eq!(
        bench.notices(),
        ["WARN X-Ray sampling: the daemon at daemon:2000 answers 502 Bad Gateway; the rules fetched last \
          decide for an hour"]
    );
    bench.pass(secs(3300)).await;
    assert_eq!(bench.sentence(), "local rules, because the daemon at daemon:2000 answers 502 Bad Gateway");
    assert_eq!(bench.notices(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_is_added_to_the_next() {
    let bench = Bench::start(vec![Ok(rules(&["Cruddur"]))], vec![Err(BAD_GATEWAY)]);
    bench.pass(secs(1)).await;
    bench.ask();
    bench.pass(secs(10)).await;
    bench.ask();
    assert_eq!(bench.sentence().split("; ").nth(1), Some("now it answers 502 Bad Gateway"));
    bench.pass(secs(10)).await;
    let [document] = &bench.documents()[..] else { panic!("one document") };
    assert_eq!((&document["RequestCount"], &document["BorrowCount"]), (&json!(2), &json!(2)));
    assert_eq!(
        bench.notices(),
        [
            "WARN X-Ray sampling: the daemon at daemon:2000 answers 502 Bad Gateway; the rules decide without \
             quotas",
            "INFO X-Ray sampling: the daemon at daemon:2000 takes reports again",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn reports_hold_at_most_twenty_five_documents() {
    let names: Vec<_> = (0..60).map(|number| format!("rule{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut page = rules(&names);
    for (number, record) in page["SamplingRuleRecords"].as_array_mut().unwrap().iter_mut().enumerate() {
        record["SamplingRule"]["URLPath"] = json!(format!("/{number}"));
    }
    let bench = Bench::start(vec![Ok(page)], vec![]);
    bench.pass(secs(1)).await;
    for number in 0..60 {
        let path = format!("/{number}");
        drop(bench.sampler.decide_at(&Asked { path: &path, ..ASKED }, now(bench.script.start), 0.99));
    }
    assert_eq!(bench.pass(secs(10)).await, vec![call(10_050, "SamplingTargets"); 3]);
    let calls = bench.script.calls.lock().unwrap();
    let sizes =
        calls.iter().map(|(_, _, body)| body["SamplingStatisticsDocuments"].as_array().unwrap().len());
    assert_eq!(sizes.collect::<Vec<_>>(), [25, 25, 10]);
}

#[tokio::test(start_paused = true)]
async fn changed_rules_are_fetched_at_once_and_only_once_for_each_change() {
    let modified = |at: u64| Ok(json!({"LastRuleModification": at}));
    // This machine's clock is behind AWS's, so what was changed before the fetch seems to come after it.
    let targets =
        vec![modified(EPOCH + 500), modified(EPOCH + 500), modified(EPOCH + 501), modified(EPOCH + 501)];
    let bench = Bench::start(vec![Ok(rules(&["Cruddur"]))], targets);
    bench.pass(secs(1)).await;
    let mut fetches = Vec::new();
    for _ in 0..4 {
        bench.ask();
        let calls = bench.pass(Duration::from_millis(10_050)).await;
        fetches.push(calls.iter().filter(|(_, operation)| operation == "GetSamplingRules").count());
    }
    assert_eq!(fetches, [1, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_older_change_is_no_news() {
    let bench =
        Bench::start(vec![Ok(rules(&["Cruddur"]))], vec![Ok(json!({"LastRuleModification": EPOCH - 1}))]);
    bench.pass(secs(1)).await;
    bench.ask();
    assert_eq!(bench.pass(secs(10)).await, [call(10_050, "SamplingTargets")]);
}

#[tokio::test(start_paused = true)]
async fn a_document_refused_means_stale_rules_and_one_not_processed_is_reported_again() {
    let unprocessed = |rule: &str, code: &str| {
        Ok(json!({"UnprocessedStatistics": [{"RuleName": rule, "ErrorCode": code, "Message": "sorry"}]}))
    };
    let targets = vec![unprocessed("Cruddur", "400"), unprocessed("Cruddur", "500")];
    let bench = Bench::start(vec![Ok(rules(&["Cruddur"]))], targets);
    bench.pass(secs(1)).await;

    bench.ask();
    let calls = bench.pass(Duration::from_millis(10_050)).await;
    assert_eq!(calls, [call(10_050, "SamplingTargets"), call(10_050, "GetSamplingRules")]);
    bench.ask();
    assert_eq!(bench.pass(Duration::from_millis(10_050)).await, [call(20_100, "SamplingTargets")]);
    let document = |bench: &Bench| bench.documents()[0]["RequestCount"].clone();
    assert_eq!(document(&bench), json!(1), "what was refused is not reported again");
    bench.ask();
    bench.pass(Duration::from_millis(10_050)).await;
    assert_eq!(document(&bench), json!(2));
    assert_eq!(
        bench.notices(),
        [
            "WARN X-Ray sampling: the daemon at daemon:2000 takes no report on rule \"Cruddur\": 400 \"sorry\"; \
             the rules decide without quotas",
            "INFO X-Ray sampling: the daemon at daemon:2000 takes reports again",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_rule_is_for_is_said_once() {
    let mut other = rules(&["Cruddur", "Default"]);
    other["SamplingRuleRecords"][0]["SamplingRule"]["ServiceName"] = json!("backend-flask");
    let bench = Bench::start(vec![Ok(other)], vec![]);
    bench.pass(secs(700)).await;
    assert_eq!(
        bench.notices(),
        ["WARN X-Ray sampling: no rule but Default is for a service named cruddur-backend; see \
          --explain-sampling"]
    );
}

#[tokio::test]
async fn it_polls_a_real_socket_on_the_telemetry_runtime() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let runtime = Runtime::start().unwrap();
    let sampler = Sampler::new(LocalRules::default());
    let poller = Poller::start(sampler.clone(), address.clone(), &runtime, Arc::new(|_, _| {}));

    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    let body = rules(&["Cruddur"]).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while sampler.fetched().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(poller.state().starts_with(&format!("1 rule from the daemon at {address}, fetched ")));
    assert!(sampler.decide(&ASKED, SystemTime::now()).central);
}
