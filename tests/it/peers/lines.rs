//! CloudWatch Logs, by AWS's own client: what the service sends can be read back.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::moto::Moto;
use crate::caller::Caller;
use crate::process::Process;

/// Each makes an access line and a log event.
const REQUESTS: usize = 3_000;

#[tokio::test]
async fn every_line_comes_back_from_aws_once_and_in_order() {
    let moto = spawn_blocking(Moto::start).await.unwrap();
    let process = Process::start(&[
        ("AWS_ENDPOINT_URL", &moto.url),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIADUMMY"),
        ("AWS_SECRET_ACCESS_KEY", "dummy-secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("CLOUDWATCH_LOG_STREAM", "{service}/one"),
        ("CLOUDWATCH_RETENTION_DAYS", "30"),
    ]);
    let mut caller = Caller::connect(process.address).await;
    let mut asked = Vec::new();
    for _ in 0..REQUESTS {
        asked.push(caller.get("/api/activities/home").await.trace().0);
    }
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let read = spawn_blocking(move || moto.ask("read_lines.py", "cruddur"));
    let read = read.await.unwrap();
    assert_eq!(read["retention"], json!(30));
    let streams = read["streams"].as_object().unwrap();
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["cruddur-backend/one"]);
    let mut lines: Vec<(i64, Value)> = streams["cruddur-backend/one"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line[0].as_i64().unwrap(), serde_json::from_str(line[1].as_str().unwrap()).unwrap()))
        .collect();
    assert!(lines.is_sorted_by_key(|(at, _)| *at), "the stream is not in order");
    // Of what happens in one millisecond, what is told later may go with the next call.
    lines.sort_by(|(at, line), (other_at, other)| {
        (at, line["event_id"].as_str()).cmp(&(other_at, other["event_id"].as_str()))
    });
    let ids: Vec<_> = lines.iter().map(|(_, line)| line["event_id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted(), "ids do not follow the time");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a line came twice");
    for (is_access, kind) in [(true, "access lines"), (false, "log events")] {
        let lines = lines.iter().filter(|(_, line)| line.get("status").is_some() == is_access);
        let traces: Vec<_> = lines.filter_map(|(_, line)| line["trace_id"].as_str()).collect();
        assert_eq!(traces, asked, "{kind}");
    }
}
