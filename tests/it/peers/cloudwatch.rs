//! The stand-in for CloudWatch Logs, by AWS's own clients: they are understood, and what breaks a rule is refused.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_blocking};

use super::environment::{AWS, Environment, run};
use super::folder::Folder;
use crate::stand_in::cloudwatch::{Answer, CloudWatch, Operation, Streams};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// For what the clock goes on by during a test.
const MARGIN: i64 = HOUR / 2;

/// Milliseconds since the epoch.
fn now() -> i64 {
    Utc::now().timestamp_millis()
}

/// What each of these calls came to, made by boto3 as these variables say.
fn made(variables: Vec<(&'static str, String)>, calls: &Value) -> Value {
    let (environment, folder) = (Environment::get(&AWS), Folder::new());
    let path = folder.0.join("calls");
    fs::write(&path, calls.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/logs.py");
    let mut python = environment.python();
    python.env_clear().env("HOME", &folder.0).envs(variables).arg(script).arg(path);
    serde_json::from_str(&run("the calls cannot be made", &mut python)).unwrap()
}

/// The same, for a stand-in that is at work meanwhile.
async fn outcomes(logs: &CloudWatch, calls: Value) -> Value {
    let variables = logs.vars();
    spawn_blocking(move || made(variables, &calls)).await.unwrap()
}

fn create_group() -> Value {
    json!(["create_log_group", {"logGroupName": "cruddur"}])
}

fn create_stream() -> Value {
    json!(["create_log_stream", {"logGroupName": "cruddur", "logStreamName": "s"}])
}

fn put(events: &[(i64, &str)]) -> Value {
    let events: Vec<_> = events
        .iter()
        .map(|(timestamp, message)| json!({"timestamp": timestamp, "message": message}))
        .collect();
    json!(["put_log_events", {"logGroupName": "cruddur", "logStreamName": "s", "logEvents": events}])
}

/// One that has the group `cruddur` with the stream `s`.
async fn with_stream() -> CloudWatch {
    let logs = CloudWatch::start();
    assert_eq!(outcomes(&logs, json!([create_group(), create_stream()])).await, json!([{}, {}]));
    logs
}

fn messages(logs: &CloudWatch) -> Vec<String> {
    logs.accepted().into_iter().map(|event| event.message).collect()
}

/// Runs AWS's command line, which must succeed.
fn aws(variables: &[(&'static str, String)], line: &[&str]) -> String {
    let (environment, folder) = (Environment::get(&AWS), Folder::new());
    let mut command = Command::new(environment.executables().join("aws"));
    command.env_clear().env("HOME", &folder.0).envs(variables.iter().cloned());
    run("the command line is not understood", command.args(["--region", "us-east-1", "logs"]).args(line))
}

#[tokio::test]
async fn awss_command_line_is_understood() {
    let logs = CloudWatch::start_with_session();
    let (variables, time) = (logs.vars(), now());
    let described = spawn_blocking(move || {
        let [group, stream] = [["--log-group-name", "cruddur"], ["--log-stream-name", "s"]];
        let events = format!("timestamp={time},message=one timestamp={time},message=two");
        let events: Vec<_> = events.split(' ').collect();
        aws(
            &variables,
            &[&["create-log-group", "--log-group-class", "INFREQUENT_ACCESS"], &group[..]].concat(),
        );
        aws(&variables, &[&["put-retention-policy", "--retention-in-days", "7"], &group[..]].concat());
        aws(&variables, &[&["create-log-stream"], &group[..], &stream[..]].concat());
        aws(&variables, &[&["put-log-events"], &group[..], &stream, &["--log-events"], &events].concat());
        aws(&variables, &["describe-log-groups"])
    });
    let described: Value = serde_json::from_str(&described.await.unwrap()).unwrap();
    let group =
        json!({"logGroupName": "cruddur", "logGroupClass": "INFREQUENT_ACCESS", "retentionInDays": 7});
    assert_eq!(described, json!({"logGroups": [group]}));
    let group = logs.group("cruddur").unwrap();
    assert_eq!((&*group.class, group.retention_days), ("INFREQUENT_ACCESS", Some(7)));
    assert_eq!(group.streams["s"], logs.accepted());
    let events = logs.accepted().into_iter().map(|event| (event.timestamp, event.message, event.ingested));
    assert_eq!(events.collect::<Vec<_>>(), [(time, "one".to_owned(), 0), (time, "two".to_owned(), 1)]);
    logs.assert_clean();
}

#[tokio::test]
async fn what_is_missing_or_there_already_is_said_and_no_violation() {
    let (logs, hello) = (CloudWatch::start(), put(&[(now(), "hello")]));
    let other_class =
        json!(["create_log_group", {"logGroupName": "cruddur", "logGroupClass": "INFREQUENT_ACCESS"}]);
    let streams = |prefix: &str| json!(["describe_log_streams", {"logGroupName": "cruddur", "logStreamNamePrefix": prefix}]);
    let groups = json!(["describe_log_groups", {"logGroupNamePrefix": "other"}]);
    let retention = json!(["put_retention_policy", {"logGroupName": "cruddur", "retentionInDays": 7}]);
    let (group, stream) = (create_group(), create_stream());
    let calls = json!([
        hello,
        stream,
        streams(""),
        retention,
        group,
        group,
        other_class,
        hello,
        stream,
        stream,
        hello,
        groups,
        streams("s"),
        streams("t")
    ]);
    let (missing, existing) = ("ResourceNotFoundException", "ResourceAlreadyExistsException");
    let came_to = json!([
        missing, missing, missing, missing, {}, existing, existing, missing, {}, existing, {}, {"logGroups": []},
        {"logStreams": [{"logStreamName": "s"}]}, {"logStreams": []}
    ]);
    assert_eq!(outcomes(&logs, calls).await, came_to);
    assert_eq!(logs.group("cruddur").unwrap().class, "STANDARD", "a class does not change");
    assert_eq!(logs.calls(Operation::PutLogEvents), 3);
    logs.assert_clean();

    logs.delete_stream("cruddur", "s");
    assert_eq!(logs.streams(), Streams::new());
    assert_eq!(outcomes(&logs, json!([hello, stream, hello])).await, json!([missing, {}, {}]));
    assert_eq!(logs.streams()[&("cruddur".to_owned(), "s".to_owned())].len(), 1);
    assert_eq!(logs.accepted().len(), 2, "what was accepted before has not been forgotten");
    logs.delete_group("cruddur");
    assert_eq!(outcomes(&logs, json!([hello, stream])).await, json!([missing, missing]));
    assert_eq!(logs.group("cruddur"), None);
    logs.assert_clean();
}

#[tokio::test]
async fn names_classes_and_retentions_are_those_that_are_allowed() {
    let logs = with_stream().await;
    let (longest, long) = ("x".repeat(512), "x".repeat(513));
    let group = |name: &str| json!(["create_log_group", {"logGroupName": name}]);
    let stream =
        |name: &str| json!(["create_log_stream", {"logGroupName": "cruddur", "logStreamName": name}]);
    let retention =
        |days: u32| json!(["put_retention_policy", {"logGroupName": "cruddur", "retentionInDays": days}]);
    let allowed = json!([
        group("/a.b-C_1#/aws/"),
        group(&longest),
        stream("2026/11/21 [1] ä"),
        stream(&longest),
        retention(3653)
    ]);
    assert_eq!(outcomes(&logs, allowed).await, json!([{}, {}, {}, {}, {}]));
    logs.assert_clean();
    let with = |key: &str, value: Value| json!(["create_log_group", {"logGroupName": "new", key: value}]);
    let many: serde_json::Map<_, _> = (0..51).map(|tag| (tag.to_string(), json!(""))).collect();
    let refused = [
        group(""),
        group("aws/lambda"),
        group("a b"),
        group("ä"),
        group(&long),
        stream(""),
        stream("a:b"),
        stream("a*"),
        stream(&long),
        retention(6),
        retention(0),
        with("logGroupClass", json!("standard")),
        with("tags", many.into()),
        with("kmsKeyId", json!("arn:aws:kms:us-east-1:1:key/1")),
        json!(["put_log_events", {"logGroupName": "a b", "logStreamName": "s", "logEvents": [{"timestamp": now(), "message": "m"}]}]),
        json!(["describe_log_streams", {"logGroupName": "a b"}]),
    ];
    let came_to = outcomes(&logs, json!(refused)).await;
    assert_eq!(came_to, json!(vec!["InvalidParameterException"; refused.len()]));
    assert_eq!(logs.violations().len(), refused.len());
}

#[tokio::test]
async fn a_batch_is_in_order_and_within_its_limits() {
    let (logs, now) = (with_stream().await, now());
    // With 26 for each of the two: a batch as large as it may be, and one that is larger by one.
    let half = "x".repeat(1_048_576 / 2 - 26);
    let larger = format!("{half}x");
    let most = vec![(now, "m"); 10_000];
    let with_token = |token: &str| {
        let mut call = put(&[(now, "m")]);
        call[1]["sequenceToken"] = token.into();
        call
    };
    let allowed = [
        put(&[(now, &half), (now, &half)]),
        put(&most),
        put(&[(now - DAY + 1, "a"), (now, "b")]),
        with_token("any, for it is ignored"),
    ];
    assert_eq!(outcomes(&logs, json!(allowed)).await, json!([{}, {}, {}, {}]));
    logs.wait_for(10_005).await;
    logs.assert_clean();
    let refused = [
        put(&[(now, &half), (now, &larger)]),
        // In UTF-8, in which this has two bytes more than characters.
        put(&[(now, &half), (now, &half.replacen("xx", "ää", 1))]),
        put(&[&most[..], &[(now, "m")]].concat()),
        put(&[]),
        put(&[(now, "")]),
        put(&[(-1, "m")]),
        put(&[(now, "b"), (now - 1, "a")]),
        put(&[(now - DAY - 1, "a"), (now, "b")]),
        with_token(""),
    ];
    let came_to = outcomes(&logs, json!(refused)).await;
    assert_eq!(came_to, json!(vec!["InvalidParameterException"; refused.len()]));
    assert_eq!(logs.violations().len(), refused.len(), "{:#?}", logs.violations());
    assert_eq!(logs.accepted().len(), 10_005);
}

#[tokio::test]
async fn single_events_are_rejected_for_their_age_and_entities_for_their_attributes() {
    let (logs, now) = (with_stream().await, now());
    let (old, new) = (now - 14 * DAY - MARGIN, now + 2 * HOUR + MARGIN);
    let expired = now - 7 * DAY - MARGIN;
    let retention = json!(["put_retention_policy", {"logGroupName": "cruddur", "retentionInDays": 7}]);
    let entity = |entity: Value| {
        let mut call = put(&[(now, "entity")]);
        call[1]["entity"] = entity;
        call
    };
    let service = json!({"Type": "Service", "Name": "cruddur-backend", "Environment": "production"});
    let many: serde_json::Map<_, _> = (0..11).map(|key| (key.to_string(), json!("v"))).collect();
    let calls = json!([
        put(&[(old, "old"), (old, "old"), (now, "valid"), (new, "new")]),
        put(&[(old, "old")]),
        put(&[(new, "new")]),
        put(&[(expired, "within 14 days")]),
        retention,
        put(&[(old, "old"), (expired, "expired")]),
        entity(json!({"keyAttributes": service, "attributes": {"Telemetry.SDK": "cruddur"}})),
        entity(json!({"keyAttributes": {"Type": "Service"}})),
        entity(json!({"keyAttributes": {"Type": "Service", "Name": "cruddur-backend"}})),
        entity(json!({"keyAttributes": service, "attributes": many})),
    ]);
    let rejected = |info: Value| json!({"rejectedLogEventsInfo": info});
    let refused = |fault: &str| json!({"rejectedEntityInfo": {"errorType": fault}});
    let came_to = json!([
        rejected(json!({"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3})),
        rejected(json!({"tooOldLogEventEndIndex": 1})),
        rejected(json!({"tooNewLogEventStartIndex": 0})),
        {},
        {},
        rejected(json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2})),
        {},
        refused("InvalidKeyAttributes"),
        refused("MissingRequiredFields"),
        refused("InvalidAttributes"),
    ]);
    assert_eq!(outcomes(&logs, calls).await, came_to);
    assert_eq!(messages(&logs), [&["valid", "within 14 days"][..], &["entity"; 4]].concat());
    logs.assert_clean();
}

#[tokio::test]
async fn a_request_is_in_the_services_words_and_signed_in_full() {
    let logs = CloudWatch::start();
    let request = |changes: Value| json!(["request", changes]);
    let name = r#"{"logGroupName": "cruddur"}"#;
    let (signature, serialization) = ("InvalidSignatureException", "SerializationException");
    let (incomplete, unknown) = ("IncompleteSignatureException", "UnknownOperationException");
    let credential = "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/logs/aws4_request";
    let wrong = [
        (json!({"region": "eu-central-1"}), signature, "/eu-central-1/logs/aws4_request"),
        (json!({"service": "monitoring"}), signature, "/us-east-1/monitoring/aws4_request"),
        (json!({"clock": -400}), signature, "Signature expired"),
        (json!({"clock": 400}), signature, "Signature expired"),
        (json!({"unsigned": ["host"]}), signature, r#"["host"] must be among the signed"#),
        (json!({"unsigned": ["x-amz-target"]}), signature, r#"["x-amz-target"] must be among the signed"#),
        (json!({"unsigned": ["content-type"]}), signature, r#"["content-type"] must be among the signed"#),
        (json!({"descending": true}), signature, "the signed headers are [\"x-amz-target"),
        (json!({"sent": name}), signature, "does not match the signature you provided"),
        (json!({"headers": {"X-Amz-Content-Sha256": "0"}}), signature, "not the one that was hashed"),
        (json!({"authorization": "Bearer 1"}), incomplete, "Bearer 1"),
        (json!({"authorization": credential}), incomplete, "AKIA"),
        (json!({"authorization": ""}), "MissingAuthenticationTokenException", "Missing"),
        (json!({"target": "Logs_20140328.DeleteLogGroup"}), unknown, "Logs_20140328.DeleteLogGroup"),
        (json!({"target": "Logs.DescribeLogGroups"}), unknown, "Logs.DescribeLogGroups"),
        (json!({"path": "/logs"}), unknown, "POST /logs is not POST /"),
        (json!({"path": "/?Action=1"}), unknown, "POST /?Action=1 is not POST /"),
        (json!({"headers": {"Content-Type": "application/json"}}), unknown, "application/json"),
        (json!({"headers": {"Content-Encoding": "gzip"}}), serialization, "encoding gzip"),
        (json!({"body": "{"}), serialization, "EOF"),
        (json!({"body": name}), serialization, "unknown field `logGroupName`"),
        (
            json!({"target": "Logs_20140328.CreateLogStream", "body": name}),
            serialization,
            "missing field `logStreamName`",
        ),
    ];
    let right = [json!({}), json!({"clock": -200}), json!({"clock": 200})];
    let calls = right.iter().chain(wrong.iter().map(|(changes, ..)| changes)).cloned().map(request);
    let came_to = outcomes(&logs, calls.collect()).await;
    let expected = vec![json!(200); 3].into_iter().chain(wrong.iter().map(|(_, code, _)| json!(code)));
    assert_eq!(came_to, expected.collect::<Value>());
    assert_eq!(logs.calls(Operation::DescribeLogGroups), 3);
    let violations = logs.violations();
    assert_eq!(violations.len(), wrong.len(), "{violations:#?}");
    for (violation, (_, code, complaint)) in violations.iter().zip(wrong) {
        assert!(violation.starts_with(code) && violation.contains(complaint), "{violation}, not {complaint}");
    }
}

#[tokio::test]
async fn only_its_own_credentials_are_believed() {
    for (logs, variable, value, code) in [
        (CloudWatch::start(), "AWS_SECRET_ACCESS_KEY", "another", "InvalidSignatureException"),
        (CloudWatch::start(), "AWS_ACCESS_KEY_ID", "another", "UnrecognizedClientException"),
        (CloudWatch::start(), "AWS_SESSION_TOKEN", "any", "UnrecognizedClientException"),
        (CloudWatch::start_with_session(), "AWS_SESSION_TOKEN", "another", "UnrecognizedClientException"),
        (CloudWatch::start_with_session(), "AWS_SESSION_TOKEN", "", "UnrecognizedClientException"),
    ] {
        let mut variables = logs.vars();
        variables.push((variable, value.to_owned()));
        let came_to = spawn_blocking(|| made(variables, &json!([create_group()]))).await.unwrap();
        assert_eq!(came_to, json!([code]), "{variable}={value}");
        assert_eq!((logs.violations().len(), logs.group("cruddur")), (1, None));
    }
}

#[tokio::test]
async fn what_the_script_says_happens() {
    let (logs, now) = (with_stream().await, now());
    logs.script(Operation::CreateLogStream, [Answer::error(400, "OperationAbortedException")]);
    let answers = [
        (Answer::error(400, "ThrottlingException"), "ThrottlingException"),
        (Answer::error(503, "ServiceUnavailableException"), "ServiceUnavailableException"),
        (Answer::empty(500), "500"),
        (Answer::empty(200), "without a request id"),
        (Answer::reset(), "ConnectionClosedError"),
        (Answer::reset_afterwards(), "ConnectionClosedError"),
    ];
    logs.script(Operation::PutLogEvents, answers.iter().map(|(answer, _)| answer.clone()));
    let slow = Answer::default().after(Duration::from_millis(10));
    logs.script(Operation::PutLogEvents, [slow]);
    let names: Vec<_> = (0..=answers.len()).map(|number| number.to_string()).collect();
    let calls = names.iter().map(|name| put(&[(now, name)])).chain([create_stream()]);
    let came_to = outcomes(&logs, calls.collect()).await;
    let codes = answers.iter().map(|(_, code)| json!(code));
    let expected = codes.chain([json!({}), json!("OperationAbortedException")]);
    assert_eq!(came_to, expected.collect::<Value>());
    // The last but one was carried out, of which the client does not know.
    assert_eq!(messages(&logs), ["5", "6"]);
    // Which boto3 would take for an empty answer.
    logs.script(Operation::DescribeLogGroups, [Answer::html()]);
    let came_to = outcomes(&logs, json!([["request", {}], ["request", {}]])).await;
    assert_eq!(came_to, json!(["<!doctype html><title>Log in</title>", 200]));
    logs.assert_clean();

    logs.always(Operation::PutLogEvents, Answer::error(400, "AccessDeniedException"));
    let twice = json!([put(&[(now, "m")]), put(&[(now, "m")])]);
    assert_eq!(
        outcomes(&logs, twice.clone()).await,
        json!(["AccessDeniedException", "AccessDeniedException"])
    );
    logs.always(Operation::PutLogEvents, Answer::default());
    assert_eq!(outcomes(&logs, twice).await, json!([{}, {}]));
}

#[tokio::test]
async fn a_poisonous_message_spoils_its_batch() {
    let (logs, now) = (with_stream().await, now());
    logs.poison(|message| message.contains("arsenic"));
    let spoilt = put(&[(now, "one"), (now, "with arsenic")]);
    let came_to = outcomes(&logs, json!([spoilt, put(&[(now, "two")])])).await;
    assert_eq!(came_to, json!(["InvalidParameterException", {}]));
    assert_eq!(messages(&logs), ["two"]);
    logs.assert_clean();
}

#[tokio::test]
async fn what_is_held_or_hangs_goes_on_when_it_is_released() {
    let (logs, mut tasks) = (Arc::new(with_stream().await), JoinSet::new());
    logs.hold(Operation::CreateLogStream);
    logs.script(Operation::PutLogEvents, [Answer::hang()]);
    let calling = {
        let logs = Arc::clone(&logs);
        let other = json!(["create_log_stream", {"logGroupName": "cruddur", "logStreamName": "other"}]);
        let calls = json!([other, put(&[(now(), "m")])]);
        async move { outcomes(&logs, calls).await }
    };
    tasks.spawn(calling);
    logs.wait_for_calls(Operation::CreateLogStream, 2).await;
    assert_eq!(logs.streams().len(), 1);
    logs.release(Operation::CreateLogStream);
    logs.wait_for_calls(Operation::PutLogEvents, 1).await;
    assert!(logs.accepted().is_empty());
    logs.release(Operation::PutLogEvents);
    logs.wait_for(1).await;
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), json!([{}, {}]));
    assert_eq!(logs.streams().len(), 2);
    logs.assert_clean();
}
