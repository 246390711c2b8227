//! The delivery as it is, on paused time, with a wire that answers by script.

use std::collections::VecDeque;
use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::failure::{Failure, Kind};
use super::super::{POLICY, document};
use super::wire::Reply;
use super::*;
use crate::telemetry::delivery::{BoxError, Delivery, Runtime, Status};

const SECOND: Duration = Duration::from_secs(1);
const TOKEN: &str = "a-token-of-the-tests";

/// Answers by script, and takes everything when that is over.
struct Scripted {
    script: Mutex<VecDeque<Result<Reply, &'static str>>>,
    posts: mpsc::UnboundedSender<(Instant, String)>,
}

impl Wire for Scripted {
    async fn post(&self, item: String) -> Result<Reply, BoxError> {
        self.posts.send((Instant::now(), item)).unwrap();
        let next = self.script.lock().unwrap().pop_front();
        next.unwrap_or_else(|| Ok(reply(200, &[], r#"{"err":0}"#))).map_err(Into::into)
    }
}

fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.collect::<HeaderMap>(),
        body: body.to_owned(),
    }
}

struct Bench {
    delivery: Delivery<Item>,
    posts: mpsc::UnboundedReceiver<(Instant, String)>,
    ledger: Arc<Ledger>,
    desk: Desk,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn start(script: Vec<Result<Reply, &'static str>>) -> Self {
        let (sender, posts) = mpsc::unbounded_channel();
        let ledger = Arc::<Ledger>::default();
        let desk = Desk::new(Arc::clone(&ledger));
        let wire = Scripted { script: Mutex::new(script.into()), posts: sender };
        let api = Api::new(wire, TOKEN.into(), desk.clone(), Arc::clone(&ledger));
        let told = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&told);
        let status =
            Status::new("Rollbar", Arc::new(move |_, text| notes.lock().unwrap().push(text.to_owned())));
        let delivery = Delivery::start(api, POLICY, status, Arc::clone(&ledger), &Runtime::here());
        Self { delivery, posts, ledger, desk, told }
    }

    fn push(&self, document: &Value) {
        self.delivery.queue().push(Item::new(Uuid::nil(), document.to_string()));
    }

    async fn post(&mut self) -> (Instant, String) {
        self.posts.recv().await.unwrap()
    }

    /// Nothing is posted for so long.
    async fn is_quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.posts.recv()).await.is_err()
    }
}

fn small() -> Value {
    json!({"data": {"uuid": Uuid::nil().to_string(), "notifier": {"name": "cruddur", "version": "1"},
        "body": {"message": {"body": "small"}}}})
}

/// An item that stays above 128 KiB as long as nothing is left out of it.
fn large() -> Value {
    let custom: serde_json::Map<_, _> = (0..2000).map(|n| (n.to_string(), "x".repeat(200).into())).collect();
    json!({"data": {"uuid": Uuid::nil().to_string(), "custom": custom, "notifier": {"name": "cruddur", "version": "1"},
        "body": {"message": {"body": "large"}}}})
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_kept_for_as_long_as_it_says_and_then_there_is_one_probe() {
    let limited =
        reply(429, &[("x-rate-limit-remaining-seconds", "30")], r#"{"err":1,"message":"rate limit"}"#);
    let mut bench = Bench::start(vec![Ok(limited.clone()), Ok(limited)]);
    for _ in 0..5 {
        bench.push(&small());
    }
    let (first, _) = bench.post().await;
    let (probe, _) = bench.post().await;
    let (waited, most) = (probe - first, 30 * SECOND * 11 / 10);
    assert!(waited >= 30 * SECOND && waited <= most + SECOND, "{waited:?}");
    // The probe was not taken either: again nothing, and again one.
    assert!(bench.is_quiet_for(30 * SECOND - Duration::from_millis(1)).await);
    for _ in 0..5 {
        bench.post().await;
    }
    assert!(bench.is_quiet_for(600 * SECOND).await, "all five have been taken");
    assert_eq!(bench.ledger.tally().to_string(), "created 5, delivered 5");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_does_not_say_how_long_is_kept_twice_as_long_each_time() {
    let mut bench = Bench::start((0..4).map(|_| Ok(reply(429, &[], ""))).collect());
    bench.push(&small());
    let (mut last, _) = bench.post().await;
    for minutes in [1, 2, 4, 8] {
        let (next, _) = bench.post().await;
        let (least, waited) = (minutes * 60 * SECOND, next - last);
        // Our own patience may be longer by then: five minutes at most.
        assert!(waited >= least && waited <= (least * 11 / 10).max(300 * SECOND), "{minutes}: {waited:?}");
        last = next;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_always_too_large_is_posted_three_times() {
    let too_large = || Ok(reply(413, &[], r#"{"err":1,"message":"Request entity too large"}"#));
    let mut bench = Bench::start((0..10).map(|_| too_large()).collect());
    bench.push(&large());
    let sizes = [bench.post().await.1.len(), bench.post().await.1.len(), bench.post().await.1.len()];
    assert!(sizes[0] > 128 << 10 && sizes[1] <= 128 << 10 && sizes[2] <= 2 << 10, "{sizes:?}");
    assert!(bench.is_quiet_for(3600 * SECOND).await);
    assert_eq!(bench.ledger.tally().to_string(), "created 1, delivered 0, dropped 1 (http_413)");
    // One that is small already is not posted twice as it is.
    bench.push(&small());
    let (first, second) = (bench.post().await.1, bench.post().await.1);
    assert_ne!(first, second);
    assert!(bench.is_quiet_for(3600 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_smaller_form_that_fails_is_what_is_tried_again() {
    let mut bench =
        Bench::start(vec![Ok(reply(413, &[], "")), Ok(reply(502, &[], "")), Err("connection reset")]);
    bench.push(&large());
    bench.post().await;
    let cut = bench.post().await.1;
    for _ in 0..2 {
        assert_eq!(bench.post().await.1, cut);
    }
    assert!(bench.is_quiet_for(3600 * SECOND).await);
    assert_eq!(bench.ledger.tally().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_error_is_retried_with_the_same_bytes() {
    let mut bench = Bench::start((0..20).map(|n| Ok(reply(500 + n % 5, &[], "oops"))).collect());
    bench.push(&small());
    let (begun, first) = bench.post().await;
    for _ in 0..20 {
        assert_eq!(bench.post().await.1, first);
    }
    assert!(begun.elapsed() <= 20 * 300 * SECOND, "{:?}", begun.elapsed());
    assert!(bench.is_quiet_for(3600 * SECOND).await);
    assert_eq!(bench.ledger.tally().to_string(), "created 1, delivered 1");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_told_once_and_tried_every_ten_minutes() {
    let refused = format!(r#"{{"err":1,"message":"invalid access token {TOKEN}"}}"#);
    let mut bench = Bench::start(vec![Ok(reply(401, &[], &refused)), Ok(reply(403, &[], &refused))]);
    bench.push(&small());
    bench.push(&small());
    let (first, _) = bench.post().await;
    let (second, _) = bench.post().await;
    assert_eq!((second - first).as_secs(), 600);
    let sentence = bench.delivery.status().sentence();
    assert!(sentence.contains("ROLLBAR_ACCESS_TOKEN") && !sentence.contains(TOKEN), "{sentence}");
    let (third, _) = bench.post().await;
    assert_eq!((third - second).as_secs(), 600);
    bench.post().await;
    assert!(bench.is_quiet_for(3600 * SECOND).await);
    assert_eq!(bench.ledger.tally().to_string(), "created 2, delivered 2");
    let told = bench.told.lock().unwrap().join("\n");
    assert!(told.contains("ROLLBAR_ACCESS_TOKEN") && !told.contains(TOKEN), "{told}");
}

#[tokio::test(start_paused = true)]
async fn when_the_breaker_closes_one_notice_says_what_is_missing() {
    let limited = || Ok(reply(429, &[("x-rate-limit-remaining-seconds", "60")], ""));
    let mut bench = Bench::start(vec![limited(), limited(), limited()]);
    bench.push(&small());
    bench.post().await;
    bench.ledger.enter(|tally| tally.suppress(7));
    for _ in 0..3 {
        bench.post().await;
    }
    assert!(bench.is_quiet_for(3600 * SECOND).await);
    assert!(!bench.desk.is_idle(), "nobody is told");
    let Failure { kind: Kind::Notice(text), record: None, at, .. } = bench.desk.next().unwrap() else {
        panic!("not a notice")
    };
    assert!(at <= SystemTime::now() && text.contains("429") && text.contains(" 7 were suppressed"), "{text}");
    assert!(bench.desk.is_idle(), "one notice");
    // What went well all the time is nothing to tell of.
    bench.push(&small());
    bench.post().await;
    assert!(bench.is_quiet_for(SECOND).await && bench.desk.is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_rollbar_refuses_is_dropped_and_told_without_its_contents() {
    for (status, body, reason) in [
        (400, r#"{"err":1,"message":"invalid JSON"}"#, "http_400"),
        (422, r#"{"err":1,"message":"no body"}"#, "http_422"),
        (200, r#"{"err":1,"message":"no such project"}"#, "refused"),
    ] {
        let mut bench = Bench::start(vec![Ok(reply(status, &[], body))]);
        bench.push(&small());
        bench.post().await;
        assert!(bench.is_quiet_for(3600 * SECOND).await);
        let account = format!("created 1, delivered 0, dropped 1 ({reason})");
        assert_eq!(bench.ledger.tally().to_string(), account);
        let told = bench.told.lock().unwrap().join("\n");
        assert!(told.contains(&Uuid::nil().to_string()) && !told.contains("small"), "{told}");
    }
}

#[test]
fn a_document_that_cannot_be_read_back_is_still_something() {
    let item = Item::new(Uuid::nil(), "junk".to_owned());
    item.too_large.store(2, Ordering::Relaxed);
    assert!(item.form().unwrap().starts_with("{\"data\""));
    assert!(document::skeleton(&Value::Null).len() < 200);
}
