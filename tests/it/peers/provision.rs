//! What `aws/provision.sh` makes, by AWS's own command line, its client's models, and an imitation of AWS.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};

use super::environment::{AWS, Environment, run};
use super::folder::Folder;
use super::moto::Moto;
use crate::caller::Caller;
use crate::process::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const SCRIPT: &str = include_str!("../../../aws/provision.sh");
const TASK: &str = include_str!("../../../aws/json/task-definition.json");
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A copy of `aws/` to break something in.
struct Copy(Folder);

impl Copy {
    fn new() -> Self {
        let (folder, aws) = (Folder::new(), Path::new(ROOT).join("aws"));
        run("the folder cannot be copied", Command::new("cp").arg("-R").arg(aws).arg(&folder.0));
        Self(folder)
    }

    /// Replaces text in a file of `aws/`, where it stands once or more.
    fn plant(self, file: &str, from: &str, to: &str) -> Self {
        let path = self.0.0.join("aws").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replace(from, to)).unwrap();
        self
    }

    fn provision(&self, endpoint: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        Command::new("bash")
            .arg(self.0.0.join("aws/provision.sh"))
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", Environment::get(&AWS).executables().display()))
            // Where nobody has left any configuration.
            .env("HOME", &self.0.0)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ACCESS_KEY_ID", "dummy")
            .env("AWS_SECRET_ACCESS_KEY", "dummy")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("IMAGE", "registry.example/cruddur:1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The calls that would be made.
    fn dry_run(&self) -> String {
        let output = self.provision(NOWHERE, &[], &["--dry-run"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What the checks of this folder say of the calls of each dry run.
fn check(runs: &[String]) -> Vec<Value> {
    let folder = Folder::new();
    let mut python = Environment::get(&AWS).python();
    python.arg(Path::new(ROOT).join("tests/it/peers/calls.py"));
    for (number, calls) in runs.iter().enumerate() {
        let path = folder.0.join(number.to_string());
        fs::write(&path, calls).unwrap();
        python.arg(path);
    }
    let checked = run("calls cannot be checked", &mut python);
    checked.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What an account has of X-Ray and of log groups, and the calls that it got.
#[derive(Debug, Default)]
struct Account {
    groups: BTreeSet<String>,
    has_xray_group: bool,
    has_rule: bool,
    calls: Vec<(String, Value)>,
}

impl Account {
    /// Answers as AWS does, to the few operations that it knows.
    fn answer(&mut self, operation: &str, body: &Value) -> Response {
        self.calls.push((operation.to_owned(), body.clone()));
        let named =
            |here: bool, list: &str, record: Value| json!({list: if here { vec![record] } else { vec![] }});
        let answer = match operation {
            "CreateLogGroup" if !self.groups.insert(body["logGroupName"].to_string()) => {
                return refusal("ResourceAlreadyExistsException", "The specified log group already exists");
            }
            "CreateLogGroup" => json!({}),
            "PutRetentionPolicy" if self.groups.contains(&body["logGroupName"].to_string()) => json!({}),
            "Groups" => named(self.has_xray_group, "Groups", json!({"GroupName": "Cruddur"})),
            "GetSamplingRules" => {
                let record = json!({"SamplingRule": {"RuleName": "Cruddur"}});
                named(self.has_rule, "SamplingRuleRecords", record)
            }
            "CreateGroup" if !self.has_xray_group => {
                self.has_xray_group = true;
                json!({})
            }
            "CreateSamplingRule" if !self.has_rule => {
                self.has_rule = true;
                json!({})
            }
            "UpdateGroup" if self.has_xray_group => json!({}),
            "UpdateSamplingRule" if self.has_rule => json!({}),
            _ => return refusal("InvalidRequestException", &format!("{operation} is not for now")),
        };
        answer.to_string().into_response()
    }
}

fn refusal(code: &str, message: &str) -> Response {
    let body = json!({"__type": code, "message": message}).to_string();
    (StatusCode::BAD_REQUEST, [("x-amzn-errortype", code.to_owned())], body).into_response()
}

/// An AWS with such an account.
async fn aws(account: &Arc<Mutex<Account>>) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let account = Arc::clone(account);
    let take = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let target = target.and_then(|target| target.rsplit('.').next());
        let operation = target.unwrap_or_else(|| uri.path().trim_start_matches('/')).to_owned();
        let body = if body.is_empty() { json!({}) } else { serde_json::from_slice(&body).unwrap() };
        account.lock().unwrap_or_else(PoisonError::into_inner).answer(&operation, &body)
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, Router::new().fallback(take)).await.unwrap() });
    (url, tasks)
}

/// Runs these steps of a copy; returns the calls that the account got of it.
async fn provision(
    copy: &Arc<Copy>,
    account: &Arc<Mutex<Account>>,
    steps: &'static [&'static str],
) -> (Output, Vec<(String, Value)>) {
    let (url, _tasks) = aws(account).await;
    let copy = Arc::clone(copy);
    let output = spawn_blocking(move || copy.provision(&url, &[], steps)).await.unwrap();
    (output, std::mem::take(&mut account.lock().unwrap().calls))
}

fn call(operation: &str, body: Value) -> (String, Value) {
    (operation.to_owned(), body)
}

fn group() -> Value {
    json!({"GroupName": "Cruddur", "FilterExpression": r#"service("cruddur-backend")"#})
}

#[tokio::test]
async fn groups_and_the_rule_are_made_once_and_then_brought_up_to_date() {
    let (copy, account) = (Arc::new(Copy::new()), Arc::default());
    let kept = |group: &str, days: u32| {
        [
            call("CreateLogGroup", json!({"logGroupName": group})),
            call("PutRetentionPolicy", json!({"logGroupName": group, "retentionInDays": days})),
        ]
    };
    let rule = json!({"RuleName": "Cruddur", "ResourceARN": "*", "Priority": 9000, "FixedRate": 0.1,
        "ReservoirSize": 5, "ServiceName": "cruddur-backend", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
        "URLPath": "*"});
    let mut created = rule.clone();
    created["Version"] = json!(1);
    let logs = [kept("cruddur", 30), kept("/ecs/cruddur", 14)].concat();
    let asked = ["Groups", "GetSamplingRules"].map(|list| call(list, json!({})));
    let [groups, rules] = asked;
    let first = [
        groups.clone(),
        call("CreateGroup", group()),
        rules.clone(),
        call("CreateSamplingRule", json!({"SamplingRule": created})),
    ];
    let second = [
        groups,
        call("UpdateGroup", group()),
        rules,
        call("UpdateSamplingRule", json!({"SamplingRuleUpdate": rule})),
    ];
    for xray in [first, second] {
        let (output, calls) = provision(&copy, &account, &["logs", "xray"]).await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(calls, [&logs[..], &xray[..]].concat());
        assert_eq!(said(&output), "logs: done\nxray: done\n");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_rule_or_the_script_is_noticed_before_it_is_sent() {
    let (rule, script) = ("json/xray.json", "provision.sh");
    let found = || vec!["Groups", "CreateGroup", "GetSamplingRules"];
    for (file, from, to, sent, complaint) in [
        (rule, "9000", r#""high""#, found(), "Invalid type for parameter SamplingRule.Priority, value: high"),
        (
            rule,
            "ReservoirSize",
            "ReservoirSise",
            found(),
            "Unknown parameter in SamplingRule: \"ReservoirSise\"",
        ),
        (script, "--query \"Groups", "--qeury \"Groups", vec![], "Unknown options: --qeury,"),
    ] {
        let copy = Arc::new(Copy::new().plant(file, from, to));
        let (output, calls) = provision(&copy, &Arc::default(), &["xray"]).await;
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(complaint), "{said}");
        assert!(said.contains("provision.sh: xray failed at \"aws xray "), "{said}");
        let operations: Vec<_> = calls.iter().map(|(operation, _)| operation.as_str()).collect();
        assert_eq!(operations, sent, "{complaint}");
    }
}

#[test]
fn a_dry_run_makes_no_call_and_says_what_aws_would_take() {
    let copy = Copy::new();
    let calls = copy.dry_run();
    assert!(!calls.contains("${A"), "a place is left empty: {calls}");
    let checked = check(&[calls]).remove(0);
    assert_eq!(checked["mistakes"], json!([]));
    let operations: BTreeSet<_> = checked["operations"].as_array().unwrap().iter().map(name).collect();
    // What it asks first is not among the calls of a dry run, which makes none.
    let asked = SCRIPT.lines().filter_map(|line| line.split_once("$(ask ").or(line.split_once("$(aws ")));
    let asked: BTreeSet<_> = asked.filter_map(|(_, call)| operation(call)).collect();
    let expected =
        ["ecs:DescribeTaskDefinition", "ssm:DescribeParameters", "xray:GetGroups", "xray:GetSamplingRules"];
    assert_eq!(asked, BTreeSet::from(expected.map(str::to_owned)));
    // What may be done is what is done, and what comes with it.
    let policy = fs::read_to_string(Path::new(ROOT).join("aws/json/provisioning-policy.json")).unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let may =
        policy["Statement"].as_array().unwrap().iter().flat_map(|statement| match &statement["Action"] {
            Value::Array(actions) => actions.iter().map(name).collect(),
            action => vec![name(action)],
        });
    let with = ["iam:PassRole", "ecs:TagResource"].map(str::to_owned);
    let does: BTreeSet<_> = operations.into_iter().chain(asked).chain(with).collect();
    assert_eq!(may.collect::<BTreeSet<_>>(), does);
}

fn name(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// `xray get-groups …` is `xray:GetGroups`.
fn operation(call: &str) -> Option<String> {
    let mut words = call.split(' ');
    let service = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))?;
    let capital = |word: &str| {
        word.chars()
            .next()
            .map(|first| first.to_ascii_uppercase())
            .into_iter()
            .chain(word.chars().skip(1))
            .collect::<String>()
    };
    let name: String = words.next()?.split('-').map(capital).collect();
    Some(format!("{service}:{name}"))
}

#[test]
fn planted_faults_are_refused() {
    let task = "json/task-definition.json";
    let planted = [
        (
            task,
            "\"stopTimeout\": 30",
            "\"stopTimeout\": 20",
            "cruddur: it is stopped after 20 s, and wants more than 20 s",
        ),
        (
            task,
            "\"stopTimeout\": 30",
            "\"stopTimout\": 30",
            "Unknown parameter in containerDefinitions[0]: \"stopTimout\"",
        ),
        (
            task,
            "\"interval\": 10",
            "\"interval\": \"10s\"",
            "Invalid type for parameter containerDefinitions[0].healthCheck.interval",
        ),
        (task, "\"memory\": \"1024\"", "\"memory\": \"512\"", "Fargate has no 512 units of CPU with 512 MiB"),
        (task, "\"condition\": \"START\"", "\"condition\": \"STARTED\"", "STARTED is none of"),
        (task, "collector:0.159.0", "collector:latest", "otel-collector: its image is not pinned"),
        (task, "\"sourceVolume\": \"spool\"", "\"sourceVolume\": \"spoil\"", "there is no volume spoil"),
        (
            task,
            "\"name\": \"SPOOL_DIR\"",
            "\"name\": \"ROLLBAR_TOKEN\"",
            "ROLLBAR_TOKEN should come from a secret",
        ),
        (
            task,
            "\"--bind-tcp\", \"127.0.0.1:2000\"",
            "\"--bind-tcp\", \"0.0.0.0:2000\"",
            "xray-daemon: --bind-tcp: ",
        ),
        (task, "\"CMD\", ", "\"CMD-SHELL\", ", "its health is not checked without a shell"),
        (
            "json/collector.json",
            "127.0.0.1:4318",
            "127.0.0.1:4317",
            "the collector listens on 127.0.0.1:4317",
        ),
        (
            "json/collector.json",
            "\"receivers\": [\"otlp\"]",
            "\"receivers\": [\"jaeger\"]",
            "['jaeger'] are used",
        ),
        (
            "json/xray.json",
            "\"Priority\": 9000",
            "\"Priority\": 90000",
            "SamplingRule.Priority: 90000 is not from 1 to 9999",
        ),
        ("json/alarms/latency.json", "GreaterThanThreshold", "GreaterThan", "GreaterThan is none of"),
        (
            "json/alarms/latency.json",
            "\"Period\": 60",
            "\"Period\": 0",
            "Invalid value for parameter Period, value: 0",
        ),
        ("json/alarms/latency.json", "\"p90\"", "\"p190\"", "there is no statistic p190"),
        ("json/alarms/faults.json", "FROM SCHEMA", "FORM SCHEMA", "not a query that an alarm can have"),
        ("json/dashboard.json", "\"x\": 18", "\"x\": 17", "it lies on another"),
        ("json/dashboard.json", "\"width\": 6", "\"width\": 7", "it is not within the 24 columns"),
        ("json/dashboard.json", "'p99', 60", "'p990', 60", "there is no statistic p990"),
        ("json/dashboard.json", "SOURCE", "SUORCE", "a query begins with its source"),
        (
            "json/xray-runtime-policy.json",
            "xray:PutTraceSegments",
            "xray:PutSegments",
            "there is no action xray:PutSegments",
        ),
        ("json/xray-runtime-policy.json", "xray:PutTraceSegments", "xray:*", "there is no action xray:*"),
        (
            "json/execution-policy.json",
            "arn:aws:ssm:*:*:parameter/cruddur/*",
            "*",
            "ssm:GetParameters should be on named resources",
        ),
        (
            "json/execution-policy.json",
            "\"Effect\"",
            "\"Efect\"",
            "it should have ['Action', 'Effect', 'Resource', 'Sid']",
        ),
        (
            "json/task-trust-policy.json",
            "ecs-tasks.amazonaws.com",
            "*",
            "only tasks of ECS should be trusted",
        ),
        ("provision.sh", "--retention-in-days", "--retention-days", "there is no option --retention-days"),
    ];
    let runs = planted.map(|(file, from, to, _)| Copy::new().plant(file, from, to).dry_run());
    let checked = check(&runs);
    assert_eq!(checked.len(), planted.len());
    for ((file, _, to, complaint), checked) in planted.iter().zip(checked) {
        let mistakes =
            checked["mistakes"].as_array().unwrap().iter().map(name).collect::<Vec<_>>().join("\n");
        assert!(mistakes.contains(complaint), "{file}, {to}: {mistakes}");
    }
}

#[test]
fn policies_that_no_step_uses_are_sound_as_well() {
    let check = |copy: &Copy| {
        let mut python = Environment::get(&AWS).python();
        python.arg(Path::new(ROOT).join("tests/it/peers/policies.py"));
        for file in ["cloudwatch-create", "cloudwatch-runtime", "provisioning"] {
            python.arg(copy.0.0.join(format!("aws/json/{file}-policy.json")));
        }
        run("policies cannot be checked", &mut python)
    };
    assert_eq!(check(&Copy::new()), "");
    let planted =
        Copy::new().plant("json/cloudwatch-create-policy.json", "PutRetentionPolicy", "PutRetention");
    let expected = "cloudwatch-create-policy.json: CreateTheGroup: there is no action logs:PutRetention\n";
    assert_eq!(check(&planted), expected);
}

/// All but X-Ray, whose groups and rules moto does not know.
const IN_MOTO: [&str; 5] = ["logs", "roles", "task", "alarms", "dashboard"];

#[tokio::test]
async fn the_rest_is_made_in_an_imitation_of_aws_and_a_second_run_changes_nothing() {
    let (moto, copy) = (spawn_blocking(Moto::start).await.unwrap(), Copy::new());
    let provisioned = spawn_blocking(move || {
        let run = |image: &str, steps: &[&str]| {
            let topic = "arn:aws:sns:us-east-1:123456789012:cruddur";
            let output = copy.provision(&moto.url, &[("IMAGE", image), ("ALARM_TOPIC", topic)], steps);
            assert!(output.status.success(), "{output:?}");
            (said(&output), moto.ask("read_provisioned.py", ""))
        };
        let (first, made) = run("cruddur:1", &IN_MOTO);
        assert!(first.contains("the secret /cruddur/honeycomb-api-key is missing"), "{first}");
        let (second, again) = run("cruddur:1", &IN_MOTO);
        assert!(
            second.contains("task: the latest revision of the task definition is this one\n"),
            "{second}"
        );
        assert_eq!(again, made);
        let (_, changed) = run("cruddur:2", &["task"]);
        assert_eq!(changed["images"], json!(["cruddur:1", "cruddur:2"]));
        made
    });
    let made = provisioned.await.unwrap();
    assert_eq!(made["groups"], json!({"/ecs/cruddur": 14, "cruddur": 30}));
    assert_eq!(made["images"], json!(["cruddur:1"]));
    let trust = json!({"Service": "ecs-tasks.amazonaws.com"});
    let roles = &made["roles"];
    assert_eq!([&roles["cruddur-task"]["trust"], &roles["cruddur-execution"]["trust"]], [&trust, &trust]);
    let policies = &roles["cruddur-task"]["policies"];
    assert_eq!(policies["cloudwatch-runtime"], json!(["logs:CreateLogStream", "logs:PutLogEvents"]));
    assert_eq!(policies["xray-runtime"][0].as_array().unwrap().len(), 4);
    let topic = "arn:aws:sns:us-east-1:123456789012:cruddur";
    let alarms = json!({"Cruddur CPU": [80.0, topic], "Cruddur faults": [0.01, topic], "Cruddur latency": [250.0, topic],
        "Cruddur memory": [80.0, topic], "Cruddur spending on lines": [5e9, topic]});
    assert_eq!(made["alarms"], alarms);
    assert_eq!(made["widgets"].as_array().unwrap().len(), 6);
}

/// The metrics that alarms and the dashboard speak of are those of the lines.
#[tokio::test]
async fn alarms_and_dashboard_show_what_lines_have() {
    let moto = spawn_blocking(Moto::start).await.unwrap();
    let process = Process::start(&[
        ("AWS_ENDPOINT_URL", &moto.url),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIADUMMY"),
        ("AWS_SECRET_ACCESS_KEY", "dummy-secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("CLOUDWATCH_LOG_STREAM", "one"),
        ("CLOUDWATCH_METRICS_NAMESPACE", "Cruddur"),
    ]);
    let reply = Caller::connect(process.address).await.get("/api/activities/home").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(process.terminate().code, Some(0));
    let (lines, checked) = spawn_blocking(move || {
        (moto.ask("read_lines.py", "cruddur"), check(&[Copy::new().dry_run()]).remove(0))
    })
    .await
    .unwrap();
    let lines = lines["streams"]["one"].as_array().unwrap();
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line[1].as_str().unwrap()).unwrap());
    let line = lines.into_iter().find(|line| line["_aws"].is_object()).unwrap();
    let metrics = &line["_aws"]["CloudWatchMetrics"][0];
    let mut dimensions: Vec<_> = metrics["Dimensions"][0].as_array().unwrap().iter().map(name).collect();
    dimensions.sort();
    let names = metrics["Metrics"].as_array().unwrap().iter().map(|metric| name(&metric["Name"]));
    let expected: Value =
        names.map(|name| (name, json!([dimensions]))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(checked["metrics"]["Cruddur"], expected);
    assert_eq!(line["Service"], "cruddur-backend");
    assert_eq!(line["Route"], "/api/activities/home", "the alarm on latency is on this route");
    let query = fs::read_to_string(Path::new(ROOT).join("aws/json/dashboard.json")).unwrap();
    let (_, fields) = query.split_once("| fields ").unwrap();
    for field in fields.split(" | ").next().unwrap().split(", ") {
        assert!(line.get(field).is_some(), "lines have no {field}");
    }
}

#[test]
fn the_service_takes_the_tasks_variables() {
    let task: Value = serde_json::from_str(TASK).unwrap();
    let container = &task["containerDefinitions"][0];
    let variables = container["environment"].as_array().unwrap().iter().map(|pair| {
        let value = match name(&pair["value"]) {
            place if place.starts_with("${") => match place.as_str() {
                "${AWS_REGION}" => "eu-central-1".to_owned(),
                "${APP_ENV}" => "production".to_owned(),
                _ => "https://cruddur.example".to_owned(),
            },
            value => value,
        };
        (name(&pair["name"]), value)
    });
    let output = Command::new(env!("CARGO_BIN_EXE_cruddur"))
        .arg("--check")
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = said(&output);
    assert!(!said.contains("did you mean"), "{said}");
}

#[test]
fn help_and_mistakes_are_answered_in_words() {
    let copy = Copy::new();
    let help = copy.provision(NOWHERE, &[], &["--help"]);
    assert!(help.status.success() && said(&help).contains("Usage: aws/provision.sh"), "{help:?}");
    for (variables, arguments, complaint) in [
        (&[][..], &["cloud"][..], "there is no step \"cloud\", but logs xray roles task alarms dashboard"),
        (&[("AWS_REGION", "")], &["logs"], "AWS_REGION is not set"),
        (&[("IMAGE", "")], &[], "IMAGE is not set"),
        (&[("APP_ENV", "it's")], &["logs"], "APP_ENV is \"it's\""),
        (&[("PATH", "/nowhere:/bin")], &["logs"], "the AWS CLI is missing"),
    ] {
        let output = copy.provision(NOWHERE, variables, arguments);
        assert_eq!(output.status.code(), Some(2), "{complaint}: {output:?}");
        assert!(said(&output).contains(complaint), "{complaint}: {output:?}");
    }
    let none = copy.provision(NOWHERE, &[("AWS_MAX_ATTEMPTS", "1")], &["logs"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("logs failed at \"aws logs create-log-group\""), "{none:?}");
}
