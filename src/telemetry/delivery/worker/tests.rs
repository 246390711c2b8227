//! The worker on paused time, with a sink that answers by script.

use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use std::time::Duration;

use super::super::queue::Asks;
use super::*;
use crate::telemetry::delivery::{Keep, Ledger, Rank, Spool, UNDELIVERED};

const MS: Duration = Duration::from_millis(1);
const KEEP: Keep = Keep { max_age: Duration::from_secs(24 * 3600), through: false };

fn policy() -> Policy {
    Policy {
        batch: Limits { items: 4, weight: 1000, linger: 100 * MS },
        capacity: Measure { weight: 10_000, items: u64::MAX },
        in_flight: 1,
        in_flight_behind: 1,
        backoff: Backoff { base: 200 * MS, cap: Duration::from_secs(30) },
        keep: KEEP,
    }
}

type Answer = Result<Sent, SendError>;

/// What the sink panics over when it is to be written.
const UNWRITABLE: u32 = 77_777;
/// What it panics over when it is to be drawn.
const UNDRAWABLE: u32 = 66_666;

/// A sink that shows each batch to the test, which then answers it.
struct Scripted(mpsc::UnboundedSender<Asked>);

struct Asked {
    items: Vec<u32>,
    at: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Sink for Scripted {
    type Item = u32;

    fn measure(_: &u32) -> Measure {
        Measure { weight: 10, items: 1 }
    }

    fn rank(item: &u32) -> Rank {
        match item {
            9000.. => Rank::Detail,
            8000.. => Rank::Routine,
            _ => Rank::Notable,
        }
    }

    fn draw(&self, item: u32) -> u32 {
        assert_ne!(item, UNDRAWABLE);
        item
    }

    fn encode(&self, item: &u32, into: &mut Vec<u8>) {
        let bytes = item.to_le_bytes();
        into.extend_from_slice(&bytes[..2]);
        assert_ne!(*item, UNWRITABLE, "in the middle of it");
        into.extend_from_slice(&bytes[2..]);
    }

    fn decode(&self, bytes: &[u8]) -> Option<u32> {
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    async fn send(&self, batch: &[u32]) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { items: batch.to_vec(), at: Instant::now(), answer }).unwrap();
        answered.await.unwrap()
    }
}

struct Bench {
    queue: Queue<u32>,
    log: Option<Log>,
    asked: mpsc::UnboundedReceiver<Asked>,
    deadline: watch::Sender<Option<Instant>>,
    worker: JoinSet<()>,
    notices: Arc<Mutex<Vec<String>>>,
    status: Status,
    start: Instant,
}

impl Bench {
    fn start(policy: Policy) -> Self {
        Self::start_spooled(policy, None)
    }

    /// With a part of the spool, where there is one.
    fn start_spooled(policy: Policy, spool: Option<&Spool>) -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&notices);
        let status =
            Status::new("there", Arc::new(move |_, text: &str| told.lock().unwrap().push(text.to_owned())));
        let ledger = Arc::new(Ledger::default());
        let log = spool.map(|spool| spool.log("there", KEEP, Arc::clone(&ledger), status.clone()).unwrap());
        let asks =
            Asks { measure: Scripted::measure, gathered: None, at_once: Box::new(|_| false), through: None };
        let queue = Queue::new(asks, policy.capacity, policy.batch, ledger);
        let (deadline, due) = watch::channel(None);
        let mut worker = JoinSet::new();
        let sink = Arc::new(Scripted(sender));
        worker.spawn(Worker::new(sink, queue.clone(), policy, status.clone(), log.clone()).run(due));
        Self { queue, log, asked, deadline, worker, notices, status, start: Instant::now() }
    }

    fn push(&self, items: impl IntoIterator<Item = u32>) {
        for item in items {
            self.queue.push(item);
        }
    }

    /// The next batch: its items, when it came, and how to answer.
    async fn asked(&mut self) -> (Vec<u32>, Duration, oneshot::Sender<Answer>) {
        // Where nothing else is to happen, the clock that stands goes there at once.
        let asked =
            tokio::time::timeout(30 * KEEP.max_age, self.asked.recv()).await.expect("a batch").unwrap();
        (asked.items, asked.at - self.start, asked.answer)
    }

    async fn answer(&mut self, answer: Answer) -> (Vec<u32>, Duration) {
        let (items, at, sender) = self.asked().await;
        sender.send(answer).unwrap();
        (items, at)
    }

    async fn shut_down(mut self, within: Duration) -> (crate::telemetry::delivery::Tally, Duration) {
        let asked = Instant::now();
        self.queue.close();
        self.deadline.send_replace(Some(asked + within));
        self.worker.join_next().await.unwrap().unwrap();
        let tally = self.queue.ledger().tally();
        assert!(tally.balances(), "{tally:?}");
        assert_eq!(tally.queued, 0, "{tally:?}");
        (tally, asked.elapsed())
    }
}

fn retry(after: Option<Duration>) -> Answer {
    Err(SendError::Retry { after, cause: "503".into() })
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_panics_over_is_lost_alone() {
    let mut bench = Bench::start(policy());
    bench.push([1, UNDRAWABLE, 2]);
    assert_eq!(bench.answer(Ok(Sent::default())).await.0, [1, 2]);
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["sink_panicked"]), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_leaves_when_it_is_full_or_has_waited() {
    let mut bench = Bench::start(policy());
    bench.push(1..=5);
    let (items, at) = bench.answer(Ok(Sent::default())).await;
    assert_eq!((items, at), (vec![1, 2, 3, 4], Duration::ZERO));
    let (items, at) = bench.answer(Ok(Sent::default())).await;
    assert_eq!((items, at), (vec![5], 100 * MS));
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!(tally.delivered, 5);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_comes_back_first_after_a_delay() {
    let mut bench = Bench::start(policy());
    bench.push(1..=8);
    for failures in 1..=6_u32 {
        let (items, _) = bench.answer(retry(None)).await;
        assert_eq!(items, [1, 2, 3, 4], "try {failures}");
    }
    let (_, last) = bench.answer(Ok(Sent::default())).await;
    assert!(last <= (200 + 400 + 800 + 1600 + 3200 + 6400) * MS, "{last:?}");
    assert_eq!(bench.answer(Ok(Sent::default())).await.0, [5, 6, 7, 8]);
    let notices = bench.notices.lock().unwrap().clone();
    assert_eq!(notices.len(), 2, "said once, and once that it is over: {notices:?}");
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 8);
}

impl Bench {
    /// Answers, and refuses whatever has `bad` in it, until that is all that is undelivered; what was taken.
    async fn refuse(&mut self, bad: u32, taken: usize) -> Vec<u32> {
        let mut items = Vec::new();
        while items.len() < taken {
            assert!(self.start.elapsed() < KEEP.max_age, "{items:?}");
            let (batch, _, answer) = self.asked().await;
            let is_bad = batch.contains(&bad);
            answer.send(if is_bad { retry(None) } else { Ok(Sent::default()) }).unwrap();
            if !is_bad {
                items.extend(batch);
            }
        }
        items
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_always_refused_is_set_aside_and_halved_until_it_expires() {
    let mut bench = Bench::start(policy());
    bench.push(1..=12);
    let mut taken = bench.refuse(3, 11).await;
    assert_eq!(taken[..4], [5, 6, 7, 8], "what waited behind it has its turn");
    assert!(bench.start.elapsed() < Duration::from_secs(60), "{:?}", bench.start.elapsed());
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    // Alone, it keeps nobody waiting, and is tried now and then.
    let mut tries = 0;
    while bench.start.elapsed() < KEEP.max_age - Duration::from_secs(3600) {
        let (items, ..) = bench.answer(retry(None)).await;
        assert_eq!(items, [3]);
        tries += 1;
    }
    assert!((1000..6000).contains(&tries), "{tries}");
    bench.push(20..=23);
    let begun = Instant::now();
    assert_eq!(bench.refuse(3, 4).await, [20, 21, 22, 23]);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    while bench.queue.ledger().tally().lost() == 0 {
        tokio::select! {
            Some(asked) = bench.asked.recv() => asked.answer.send(retry(None)).unwrap(),
            () = sleep(Duration::from_secs(60)) => {}
        }
    }
    let late = bench.start.elapsed() - KEEP.max_age;
    assert!(late < Duration::from_secs(180), "{late:?}");
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["expired"]), (15, 1));
}

#[tokio::test(start_paused = true)]
async fn what_only_an_outage_refused_is_delivered_when_it_is_over() {
    let mut bench = Bench::start(policy());
    bench.push(1..=40);
    // Long enough that several are set aside.
    while bench.start.elapsed() < Duration::from_secs(1800) {
        bench.answer(retry(None)).await;
    }
    let mut taken = Vec::new();
    while taken.len() < 40 {
        taken.extend(bench.answer(Ok(Sent::default())).await.0);
    }
    taken.sort_unstable();
    assert_eq!(taken, (1..=40).collect::<Vec<_>>());
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 40);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_sent_from_memory_either() {
    let mut bench = Bench::start(policy());
    bench.push(1..=4);
    let hold = Err(SendError::Hold { probe: KEEP.max_age, cause: "401".into() });
    bench.answer(hold).await;
    sleep(MS).await;
    bench.push([5]);
    let (items, at) = bench.answer(Ok(Sent::default())).await;
    assert_eq!((items, at), (vec![5], KEEP.max_age));
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["expired"]), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_off_by_several_at_once_and_nothing_else_is() {
    let mut bench = Bench::start(Policy { in_flight_behind: 3, ..policy() });
    bench.push(1..=20);
    let (_, _, first) = bench.asked().await;
    sleep(Duration::from_secs(1)).await;
    assert!(bench.asked.try_recv().is_err(), "four full batches are no backlog");
    bench.push(21..=24);
    let (items, _, second) = bench.asked().await;
    assert_eq!(items, [5, 6, 7, 8]);
    sleep(Duration::from_secs(1)).await;
    assert!(bench.asked.try_recv().is_err(), "four again");
    for answer in [first, second] {
        answer.send(Ok(Sent::default())).unwrap();
    }
    for _ in 0..4 {
        bench.answer(Ok(Sent::default())).await;
    }
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 24);
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_is_honoured_and_only_then_one_probe_goes_out() {
    let mut bench = Bench::start(Policy { in_flight: 3, in_flight_behind: 3, ..policy() });
    bench.push(1..=12);
    let (_, _, first) = bench.asked().await;
    let (_, _, second) = bench.asked().await;
    let (_, _, third) = bench.asked().await;
    first.send(retry(Some(Duration::from_secs(7200)))).unwrap();
    second.send(Ok(Sent::default())).unwrap();
    // The success of a request that was on its way says nothing about the wait that was asked for.
    third.send(retry(Some(Duration::from_secs(1)))).unwrap();
    let (_, at, probe) = bench.asked().await;
    assert!(at >= Duration::from_secs(7200), "{at:?}");
    sleep(Duration::from_secs(5)).await;
    assert!(bench.asked.try_recv().is_err(), "one probe alone");
    assert!(
        bench.status.sentence().starts_with("not delivering to there for"),
        "{}",
        bench.status.sentence()
    );
    probe.send(Ok(Sent::default())).unwrap();
    bench.answer(Ok(Sent::default())).await;
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 12);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_mend_is_held_and_probed() {
    let mut bench = Bench::start(policy());
    bench.push([1]);
    let hold = || Err(SendError::Hold { probe: Duration::from_secs(600), cause: "401".into() });
    let (_, first) = bench.answer(hold()).await;
    let (_, second) = bench.answer(hold()).await;
    let (_, third) = bench.answer(Ok(Sent::default())).await;
    assert_eq!((second - first, third - second), (Duration::from_secs(600), Duration::from_secs(600)));
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn splitting_finds_the_bad_item_and_delivers_the_rest() {
    let mut bench = Bench::start(policy());
    bench.push(1..=4);
    let mut delivered = Vec::new();
    while delivered.len() < 3 {
        let (items, _, answer) = bench.asked().await;
        let bad = items.contains(&3);
        let split = || SendError::Split { reason: "invalid", cause: "400".into() };
        answer.send(if bad { Err(split()) } else { Ok(Sent::default()) }).unwrap();
        if !bad {
            delivered.extend(items);
        }
    }
    delivered.sort_unstable();
    assert_eq!(delivered, [1, 2, 4]);
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["invalid"]), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_counted_and_not_sent_again() {
    let mut bench = Bench::start(policy());
    bench.push(1..=8);
    bench.answer(Ok(Sent { rejected: vec![("too_old", 3)], said: "too old".to_owned() })).await;
    bench.answer(Err(SendError::Reject { reason: "http_400", cause: "400".into() })).await;
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["too_old"], tally.dropped["http_400"]), (1, 3, 4));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_does_not_outlast_the_deadline() {
    let mut bench = Bench::start(policy());
    bench.push(1..=6);
    let (_, _, _never) = bench.asked().await;
    let (tally, took) = bench.shut_down(Duration::from_secs(2)).await;
    assert_eq!((tally.dropped[UNDELIVERED], took), (6, Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_at_the_deadline_is_delivered() {
    // Which of two things that have happened is looked at first is left to chance.
    for _ in 0..30 {
        let mut bench = Bench::start(policy());
        bench.push(1..=4);
        let (_, _, answer) = bench.asked().await;
        answer.send(Ok(Sent::default())).unwrap();
        let (tally, _) = bench.shut_down(Duration::ZERO).await;
        assert_eq!(tally.delivered, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_name_a_deadline_any_more_nothing_is_taken() {
    let mut bench = Bench::start(policy());
    bench.push([1]);
    tokio::task::yield_now().await;
    drop(bench.deadline);
    bench.worker.join_next().await.unwrap().unwrap();
    assert!(!bench.queue.push(2));
    let tally = bench.queue.ledger().tally();
    assert_eq!(
        (tally.queued, tally.dropped[UNDELIVERED], tally.dropped["shut_down"]),
        (0, 1, 1),
        "{tally:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_is_told_by_what_became_of_the_rest() {
    for (rejected, rest) in [(1, "the rest was delivered"), (9, "nothing was delivered")] {
        let mut bench = Bench::start(policy());
        bench.push(1..=4);
        let sent = Sent { rejected: vec![("odd", rejected)], said: "no\nway".to_owned() };
        bench.answer(Ok(sent)).await;
        bench.asked.close();
        let is_settled = || bench.queue.ledger().tally().queued == 0;
        while !is_settled() {
            tokio::task::yield_now().await;
        }
        let lost = rejected.min(4);
        let expected = format!("there: {lost} items are lost (odd): {rest} (it said: no way)");
        assert_eq!(*bench.notices.lock().unwrap(), [expected]);
        let sentence = bench.status.sentence();
        assert_eq!(sentence.starts_with("delivering to there"), rejected < 4, "{sentence}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_is_not_waited_for() {
    let mut bench = Bench::start(policy());
    bench.push([1]);
    bench.answer(retry(Some(Duration::from_secs(60)))).await;
    sleep(MS).await;
    let (tally, took) = bench.shut_down(Duration::from_secs(10)).await;
    assert_eq!((tally.dropped[UNDELIVERED], took), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_nothing_lingers() {
    let mut bench = Bench::start(policy());
    bench.push([1]);
    sleep(MS).await;
    let (asked, queue) = (&mut bench.asked, bench.queue.clone());
    queue.close();
    bench.deadline.send_replace(Some(Instant::now() + Duration::from_secs(1)));
    let asked = asked.recv().await.unwrap();
    assert_eq!(asked.at - bench.start, MS);
    asked.answer.send(Ok(Sent::default())).unwrap();
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_loses_its_batch_and_nothing_else() {
    let mut bench = Bench::start(policy());
    bench.push(1..=4);
    // Dropping the way to answer makes the sink panic.
    drop(bench.asked().await);
    bench.push([5]);
    bench.answer(Ok(Sent::default())).await;
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["sink_panicked"]), (1, 4));
}

mod spooled;
