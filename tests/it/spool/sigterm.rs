//! An orderly end in the middle of load: what was accepted is delivered or kept, and the report says so.

use super::*;

/// What the exit report says of a backend, by its own words; what was dropped is summed up.
fn account(report: &str, backend: &str) -> BTreeMap<String, u64> {
    let prefix = format!("  {backend}: ");
    let line = report.lines().find_map(|line| line.strip_prefix(&prefix)).expect(report);
    let mut account = BTreeMap::new();
    for figure in line.split(", ") {
        let words: Vec<_> = figure.split(' ').collect();
        let [name, number, ..] = words[..] else { panic!("{line}") };
        *account.entry(name.to_owned()).or_default() += number.parse::<u64>().unwrap();
    }
    account
}

/// What a process was given, and what it has left to the next.
fn created_and_left(report: &str, backend: &str) -> (u64, u64) {
    let account = account(report, backend);
    let figure = |name: &str| account.get(name).copied().unwrap_or_default();
    assert_eq!(figure("created"), figure("delivered") + figure("spooled"), "{report}");
    (figure("created"), figure("spooled"))
}

/// Load, SIGTERM in the middle of it, and another process.
async fn end_under_load(spans: Answer, lines: logs::Answer) {
    let (directory, otlp, logs) = (Directory::new(), Otlp::start(), CloudWatch::start());
    otlp.always(Signal::Traces, spans);
    logs.always(Operation::PutLogEvents, lines);
    let found = logs.vars();
    let mut more: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
    more.extend([("CLOUDWATCH_LOG_STREAM", "s"), ("SHUTDOWN_GRACE", "3s")]);
    let process = start(&directory, &otlp.endpoint(), &more);
    let mut load = Load::start(process.address);
    load.wait_for(600).await;
    let first = tokio::task::spawn_blocking(|| process.terminate()).await.unwrap();
    let answered = load.answered_before(Instant::now()).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.err.starts_with("stopped: every request was finished\n"), "{}", first.err);

    otlp.always(Signal::Traces, Answer::default());
    logs.always(Operation::PutLogEvents, logs::Answer::default());
    let second = start(&directory, &otlp.endpoint(), &more).terminate();
    assert_eq!(second.code, Some(0), "{second:?}");
    otlp.assert_clean();
    logs.assert_clean();
    assert_eq!(directory.segments().len(), 0, "nothing is left");

    let together = |backend: &str| {
        let (created, left) = created_and_left(&first.err, backend);
        let (created_later, left_again) = created_and_left(&second.err, backend);
        assert_eq!(left_again, 0, "{}", second.err);
        // What was taken over is in both accounts.
        created + created_later - left
    };
    // The stand-in takes a span once only.
    assert_eq!(otlp.spans().len() as u64, together("otlp"));
    let arrived = traces(&otlp.seen());
    assert!(answered.is_subset(&arrived), "{} of {}", answered.difference(&arrived).count(), answered.len());

    let lines = logs.accepted();
    let lines = lines.iter().map(|event| serde_json::from_str::<Value>(&event.message).unwrap());
    let (mut ids, mut arrived, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in lines {
        count += 1;
        ids.insert(line["event_id"].to_string());
        if line.get("status").is_some() {
            arrived.insert(line["trace_id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((count, ids.len() as u64), (together("cloudwatch"), together("cloudwatch")));
    assert!(answered.is_subset(&arrived), "{} of {}", answered.difference(&arrived).count(), answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing_and_repeats_nothing() {
    let slow = Duration::from_millis(120);
    let refuses = logs::Answer::error(503, "ServiceUnavailableException");
    end_under_load(Answer::default(), logs::Answer::default()).await;
    end_under_load(Answer::default().after(slow), refuses.clone()).await;
    end_under_load(Answer::status(503), logs::Answer::default().after(slow)).await;
    end_under_load(Answer::status(503), refuses).await;
}
