//! A disk, or a quota, that is full: requests do not notice, what is lost is counted, and room is used again.

use super::*;

/// A small filesystem, where this may mount one; it goes with the test.
struct Disk(Directory);

impl Disk {
    /// Of so many bytes.
    fn mount(bytes: usize) -> Option<Self> {
        let directory = Directory::new();
        fs::create_dir_all(&directory.0).unwrap();
        let options = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs", directory.path()]);
        let mounted = mount.output().is_ok_and(|mounted| mounted.status.success());
        mounted.then(|| Self(directory))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").args(["-l", self.0.path()]).status().ok();
    }
}

/// An outage that is longer than there is room, and its end. What was lost, by reason.
async fn outage(directory: &Directory, more: &[(&str, &str)], requests: usize) -> BTreeMap<String, u64> {
    let stand_in = Otlp::start();
    stand_in.always(Signal::Traces, Answer::status(503));
    // What waits in memory must not hide it.
    let mut variables = vec![("OTEL_BSP_MAX_QUEUE_SIZE", "1000")];
    variables.extend_from_slice(more);
    let process = start(directory, &stand_in.endpoint(), &variables);
    let mut asked = BTreeSet::new();
    let mut health = Value::Null;
    while asked.len() < requests {
        // Every one is answered.
        asked.extend(ask(process.address, 500).await);
        health =
            health_until(process.address, "otlp", |otlp| otlp["items"]["created"] == 2 * asked.len()).await;
    }
    assert!(health["items"]["dropped"].as_object().is_some_and(|lost| !lost.is_empty()), "{health}");

    stand_in.always(Signal::Traces, Answer::default());
    let waits = |otlp: &Value| otlp["items"]["queued"] != 0 || otlp["items"]["spooled"] != 0;
    let health = health_until(process.address, "otlp", |otlp| !waits(otlp)).await;
    let lost: BTreeMap<String, u64> = serde_json::from_value(health["items"]["dropped"].clone()).unwrap();
    let before = stand_in.spans().len() as u64;
    assert_eq!(health["items"]["delivered"], before);
    assert_eq!(before + lost.values().sum::<u64>(), 2 * asked.len() as u64, "{health}");
    assert!(before > 0);

    // There is room again, and it is used.
    stand_in.always(Signal::Traces, Answer::status(503));
    let later = ask(process.address, 20).await;
    let complains = |otlp: &Value| otlp["state"].as_str().unwrap().contains("nothing can be spooled");
    health_until(process.address, "otlp", |otlp| otlp["items"]["spooled"] == 40 && !complains(otlp)).await;
    stand_in.always(Signal::Traces, Answer::default());
    let ended = process.terminate();
    assert_eq!(ended.code, Some(3), "what was lost is not forgotten: {ended:?}");
    stand_in.assert_clean();
    assert!(later.is_subset(&traces(&stand_in.seen())));
    lost
}

#[tokio::test]
async fn a_quota_that_is_used_up_costs_what_is_worth_least_and_no_request() {
    let directory = Directory::new();
    let lost = outage(&directory, &[("SPOOL_MAX_BYTES", "1MB")], 3_000).await;
    assert_eq!(lost.keys().collect::<Vec<_>>(), ["spool_full"]);
}

#[tokio::test]
async fn a_disk_that_is_full_costs_what_memory_does_not_hold_and_no_request() {
    // Only root may mount one; everybody else has the quota above.
    let Some(disk) = Disk::mount(256 * 1024) else { return };
    let lost = outage(&disk.0, &[], 3_000).await;
    assert_eq!(lost.keys().collect::<Vec<_>>(), ["queue_full"]);
}
