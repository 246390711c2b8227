//! X-Ray, by AWS's own client: what the service sends can be uploaded and read back.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::folder::Folder;
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
