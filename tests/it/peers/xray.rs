//! X-Ray, by AWS's own clients: what the service sends can be uploaded and read back, and what sets up the group and
//! the sampling rule is what the command line takes.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use http::Uri;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};

use super::Folder;
use super::environment::{AWS, Environment};
use super::moto::Moto;
use crate::caller::Caller;
use crate::process::Process;
use crate::stand_in::xray::XRay;

/// Puts these documents into moto, an imitation of AWS, and reads their traces back.
fn read_back(documents: &[String]) -> Value {
    let (moto, folder) = (Moto::start(), Folder::new());
    let path = folder.0.join("documents");
    fs::write(&path, json!(documents).to_string()).unwrap();
    moto.ask("read_back.py", path)
}

#[tokio::test]
async fn segments_come_back_from_aws_byte_for_byte() {
    let daemon = XRay::start();
    let process = Process::start(&[("AWS_XRAY_DAEMON_ADDRESS", &daemon.address())]);
    let mut caller = Caller::connect(process.address).await;
    let mut faults = BTreeMap::new();
    for (path, fault) in [
        ("/api/activities/home", false),
        ("/api/activities/@andrewbrown", false),
        ("/test/raise?chain=1", true),
    ] {
        let reply = caller.ask("GET", path, &[("x-amzn-trace-id", "Sampled=1")], "").await;
        let root = reply.headers["x-amzn-trace-id"].to_str().unwrap();
        faults.insert(root.strip_prefix("Root=").unwrap().to_owned(), fault);
    }
    assert_eq!(process.terminate().code, Some(0));
    let texts = daemon.wait_for(|state| (state.texts.len() == 3).then(|| state.texts.clone()));
    let by_id = |text: &String| {
        let document: Value = serde_json::from_str(text).unwrap();
        (document["id"].as_str().unwrap().to_owned(), text.clone())
    };
    let documents: BTreeMap<_, _> = texts.iter().map(by_id).collect();
    let read = spawn_blocking(move || read_back(&texts)).await.unwrap();
    assert_eq!(read, json!({"unprocessed": [], "documents": documents, "faults": faults}));
}

#[tokio::test]
async fn a_document_that_aws_does_not_take_does_not_come_back() {
    let nameless = r#"{"id":"53995c3f42cd8ad8","trace_id":"1-5759e988-bd862e3fe1be46a994272793","start_time":1,"end_time":2}"#;
    let read = spawn_blocking(|| read_back(&[nameless.to_owned()])).await.unwrap();
    assert_eq!(read, json!({"unprocessed": ["53995c3f42cd8ad8"], "documents": {}, "faults": {}}));
}

/// The path and the body of each request, in order.
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// Something that takes every call to AWS.
async fn aws() -> (String, Requests, JoinSet<()>) {
    let (listener, requests) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Requests::default());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let take = {
        let requests = Arc::clone(&requests);
        async move |uri: Uri, body: Bytes| {
            let call = (uri.path().to_owned(), serde_json::from_slice(&body).unwrap());
            requests.lock().unwrap().push(call);
            "{}"
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, Router::new().fallback(take)).await.unwrap() });
    (url, requests, tasks)
}

const SCRIPT: &str = include_str!("../../../aws/xray-setup.sh");
const RULE: &str = include_str!("../../../aws/json/xray.json");

/// Runs the script, with this rule beside it, against something that takes every call.
async fn set_up(script: &str, rule: &str) -> (Output, Vec<(String, Value)>) {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("json")).unwrap();
    fs::write(folder.0.join("xray-setup.sh"), script).unwrap();
    fs::write(folder.0.join("json/xray.json"), rule).unwrap();
    let (url, requests, _tasks) = aws().await;
    let output = spawn_blocking(move || {
        let executables = Environment::get(&AWS).executables();
        Command::new("bash")
            .arg(folder.0.join("xray-setup.sh"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", executables.display()))
            // Where nobody has left any configuration.
            .env("HOME", &folder.0)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", url)
            .env("AWS_ACCESS_KEY_ID", "dummy")
            .env("AWS_SECRET_ACCESS_KEY", "dummy")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    let requests = requests.lock().unwrap().clone();
    (output, requests)
}

fn group() -> (String, Value) {
    let body = json!({"GroupName": "Cruddur", "FilterExpression": r#"service("cruddur-backend")"#});
    ("/CreateGroup".to_owned(), body)
}

#[tokio::test]
async fn aws_is_asked_for_the_group_and_the_rule() {
    let (output, requests) = set_up(SCRIPT, RULE).await;
    assert!(output.status.success(), "{output:?}");
    let rule = json!({"SamplingRule": {"RuleName": "Cruddur", "ResourceARN": "*", "Priority": 9000, "FixedRate": 0.1,
        "ReservoirSize": 5, "ServiceName": "cruddur-backend", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
        "URLPath": "*", "Version": 1}});
    assert_eq!(requests, [group(), ("/CreateSamplingRule".to_owned(), rule)]);
}

#[tokio::test]
async fn what_is_wrong_with_the_rule_or_the_script_is_noticed_before_it_is_sent() {
    let (high, misspelt) =
        (RULE.replace("9000", r#""high""#), RULE.replace("ReservoirSize", "ReservoirSise"));
    let option = SCRIPT.replace("--filter-expression", "--filter-expresion");
    for (script, rule, sent, complaint) in [
        (SCRIPT, &*high, &[group()][..], "Invalid type for parameter SamplingRule.Priority, value: high"),
        (SCRIPT, &misspelt, &[group()], "Unknown parameter in SamplingRule: \"ReservoirSise\""),
        (&option, RULE, &[], "Unknown options: --filter-expresion,"),
    ] {
        let (output, requests) = set_up(script, rule).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(complaint), "{said}");
        assert_eq!(requests, sent, "{complaint}");
    }
}
