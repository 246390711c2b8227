//! The worker with a disk.

use std::fs;
use std::sync::Barrier;

use super::*;
use crate::telemetry::delivery::spool::{Fate, Folder, Group};
use crate::telemetry::delivery::{Delivery, Runtime, Tally};

const PLENTY: u64 = 1 << 30;

/// Batches of a hundred, and memory for a thousand.
fn large() -> Policy {
    Policy { batch: Limits { items: 100, weight: 1000, linger: 100 * MS }, ..policy() }
}

fn spool(folder: &Folder) -> Spool {
    Spool::open(&folder.0, PLENTY, false).unwrap()
}

impl Bench {
    fn tally(&self) -> Tally {
        let tally = self.queue.ledger().tally();
        assert!(tally.balances(), "{tally:?}");
        tally
    }

    fn bytes(&self) -> u64 {
        self.log.as_ref().unwrap().kept().bytes
    }

    /// As a killed process leaves it: nothing is written any more.
    async fn kill(mut self) {
        self.worker.abort_all();
        while self.worker.join_next().await.is_some() {}
    }

    /// Has everything delivered; what came, in its order.
    async fn deliver(&mut self, count: usize) -> Vec<u32> {
        let mut items = Vec::new();
        while items.len() < count {
            items.extend(self.answer(Ok(Sent::default())).await.0);
        }
        items
    }
}

/// How many files there are, in all folders.
fn files(folder: &Folder) -> usize {
    let slots = fs::read_dir(&folder.0).unwrap();
    let logs = slots.flat_map(|slot| fs::read_dir(slot.unwrap().path().join("there"))).flatten();
    logs.count()
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_in_time_is_never_written() {
    let folder = Folder::new();
    let spool = spool(&folder);
    let mut bench = Bench::start_spooled(policy(), Some(&spool));
    for round in 0..20 {
        bench.push([round]);
        let (_, _, answer) = bench.asked().await;
        sleep(40 * MS).await;
        answer.send(Ok(Sent::default())).unwrap();
        assert_eq!(bench.bytes(), 0);
    }
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 20);
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_memory_is_large_loses_nothing_and_keeps_the_order() {
    let folder = Folder::new();
    let spool = spool(&folder);
    let mut bench = Bench::start_spooled(large(), Some(&spool));
    let mut pushed = 0;
    let mut refused = None;
    while pushed < 10_000 {
        bench.push(pushed..pushed + 500);
        pushed += 500;
        sleep(200 * MS).await;
        while let Ok(asked) = bench.asked.try_recv() {
            refused = Some(asked.items);
            asked.answer.send(retry(Some(Duration::from_secs(1)))).unwrap();
        }
        assert_eq!(bench.tally().lost(), 0, "{:?}", bench.tally());
    }
    assert_eq!(refused.unwrap(), (0..100).collect::<Vec<_>>(), "the oldest is tried again and again");
    sleep(200 * MS).await;
    assert_eq!(bench.tally().spooled, 10_000);
    assert!(bench.bytes() > 10_000 * 24);
    let delivered = loop {
        let (items, _, answer) = bench.asked().await;
        if answer.send(Ok(Sent::default())).is_ok() {
            break items;
        }
    };
    // What comes meanwhile waits behind, although it is in memory.
    bench.push(pushed..pushed + 50);
    let mut all = delivered;
    all.extend(bench.deliver(10_050 - all.len()).await);
    assert_eq!(all, (0..10_050).collect::<Vec<_>>());
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.spooled), (10_050, 0));
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_leaves_what_was_old_enough_and_the_next_delivers_it() {
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=12);
    // One is settled, one is on its way, one waits.
    let (first, _, answer) = bench.asked().await;
    sleep(160 * MS).await;
    assert_eq!(bench.tally().spooled, 12);
    answer.send(Ok(Sent::default())).unwrap();
    let (second, _, _never) = bench.asked().await;
    assert_eq!((first, second), (vec![1, 2, 3, 4], vec![5, 6, 7, 8]));
    // Too young.
    bench.push([13]);
    sleep(140 * MS).await;
    assert_eq!((bench.tally().spooled, bench.tally().queued), (8, 1));
    bench.kill().await;

    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    assert_eq!(bench.tally().created, 0, "the worker goes through it, and nobody waits for that");
    tokio::task::yield_now().await;
    assert_eq!((bench.tally().created, bench.tally().spooled), (8, 8));
    let adopted = "there: 8 items of an earlier run are in the spool";
    assert_eq!(bench.notices.lock().unwrap().as_slice(), [adopted]);
    assert_eq!(bench.deliver(8).await, (5..=12).collect::<Vec<_>>());
    assert_eq!(bench.start.elapsed(), Duration::ZERO, "nothing of it lingers");
    assert_eq!(bench.shut_down(Duration::from_secs(1)).await.0.delivered, 8);
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_is_spooled_and_no_loss() {
    let folder = Folder::new();
    let mut bench =
        Bench::start_spooled(Policy { in_flight: 2, in_flight_behind: 2, ..policy() }, Some(&spool(&folder)));
    bench.push(1..=4);
    bench.answer(retry(Some(Duration::from_secs(60)))).await;
    sleep(MS).await;
    bench.push(5..=9);
    sleep(MS).await;
    let (tally, took) = bench.shut_down(Duration::from_secs(10)).await;
    assert_eq!((tally.spooled, tally.lost(), took), (9, 0, Duration::ZERO));
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    assert_eq!(bench.deliver(9).await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_hangs_at_the_end_is_spooled_too() {
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=6);
    let (_, _, _never) = bench.asked().await;
    let (tally, took) = bench.shut_down(100 * MS).await;
    assert_eq!((tally.spooled, tally.lost(), took), (6, 0, 100 * MS));
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_is_spooled_as_well() {
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=8);
    bench.refuse(3, 7).await;
    bench.answer(retry(Some(Duration::from_secs(60)))).await;
    sleep(200 * MS).await;
    assert_eq!((bench.tally().delivered, bench.tally().spooled), (7, 1));
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.spooled, tally.lost()), (7, 1, 0));
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    assert_eq!(bench.deliver(1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_lost_alone() {
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push([1, UNWRITABLE, 2, 3]);
    let (on_its_way, _, answer) = bench.asked().await;
    bench.push([4, UNWRITABLE, 5]);
    sleep(200 * MS).await;
    let tally = bench.tally();
    // The one that is on its way may still arrive.
    assert_eq!((tally.spooled, tally.queued, tally.dropped["sink_panicked"]), (5, 1, 1));
    assert!(bench.status.sentence().contains("(sink_panicked)"), "{}", bench.status.sentence());
    assert_eq!(on_its_way, [1, UNWRITABLE, 2, 3]);
    answer.send(Ok(Sent::default())).unwrap();
    assert_eq!(bench.deliver(2).await, [4, 5]);
    bench.push([UNWRITABLE]);
    bench.answer(retry(Some(Duration::from_secs(60)))).await;
    sleep(200 * MS).await;
    let (tally, _) = bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!((tally.delivered, tally.dropped["sink_panicked"], tally.dropped[UNDELIVERED]), (6, 1, 1));
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_batch_are_settled_by_themselves() {
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=4);
    let (_, _, answer) = bench.asked().await;
    sleep(160 * MS).await;
    answer.send(Err(SendError::Split { reason: "invalid", cause: "400".into() })).unwrap();
    assert_eq!(bench.answer(Ok(Sent { rejected: vec![("old", 1)], said: String::new() })).await.0, [1, 2]);
    let (_, _, _never) = bench.asked().await;
    let tally = bench.tally();
    assert_eq!((tally.delivered, tally.dropped["old"], tally.spooled), (1, 1, 2));
    bench.kill().await;
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    assert_eq!(bench.deliver(2).await, [3, 4]);
    bench.shut_down(Duration::from_secs(1)).await;
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_throws_away_what_is_worth_least_and_counts_it() {
    let folder = Folder::new();
    // Four files of 16 kB, each with about 580 items of 28 bytes.
    let spool = Spool::open(&folder.0, 4 * 16 * 1024, false).unwrap();
    let mut bench = Bench::start_spooled(large(), Some(&spool));
    let (mut kept, mut pushed) = (Vec::new(), 0);
    bench.push([0]);
    let (_, _, _never) = bench.asked().await;
    for round in 0..12_u32 {
        let detail = 9000 + round * 100..9000 + round * 100 + 100;
        let routine = 8000 + round * 20..8000 + round * 20 + 20;
        let notable = 1 + round * 100..1 + round * 100 + 100;
        kept.extend(notable.clone());
        pushed += 220;
        bench.push(notable.chain(detail).chain(routine));
        sleep(200 * MS).await;
        bench.tally();
    }
    let tally = bench.tally();
    assert_eq!(tally.created, pushed + 1);
    assert_eq!((tally.dropped.len(), tally.spooled + tally.dropped["spool_full"]), (1, pushed + 1));
    assert!(bench.bytes() <= 4 * 16 * 1024, "{}", bench.bytes());
    let state = bench.status.sentence();
    assert!(
        state.contains("(spool_full): the spool has its 65536 bytes") && state.contains("SPOOL_MAX_BYTES"),
        "{state}"
    );
    bench.kill().await;
    drop(spool);

    let mut bench = Bench::start_spooled(large(), Some(&self::spool(&folder)));
    let delivered = bench.deliver(usize::try_from(tally.spooled).unwrap()).await;
    let notable: Vec<_> = delivered.iter().copied().filter(|item| (1..8000).contains(item)).collect();
    assert_eq!(notable, kept, "no detail is worth any of it");
    let routine = delivered.iter().filter(|item| (8000..9000).contains(*item)).count();
    assert_eq!(routine, 240, "nor of what succeeded");
    let detail: Vec<_> = delivered.iter().copied().filter(|item| *item >= 9000).collect();
    assert!(detail.is_sorted() && detail.last() == Some(&10_199) && detail.len() < 1200, "{detail:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_worth_less_than_all_there_is_is_not_taken() {
    let folder = Folder::new();
    let spool = Spool::open(&folder.0, 16 * 1024, false).unwrap();
    let mut bench = Bench::start_spooled(large(), Some(&spool));
    // In a file of its own: what is on its way is not thrown away in any case.
    bench.push([8000]);
    let (_, _, _never) = bench.asked().await;
    bench.push(1..500);
    sleep(200 * MS).await;
    assert_eq!(bench.tally().spooled, 500);
    bench.push(9000..9200);
    sleep(200 * MS).await;
    let tally = bench.tally();
    assert_eq!((tally.spooled, tally.dropped["spool_full"]), (500, 200));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_for_its_destination_is_not_sent() {
    let folder = Folder::new();
    let bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=9);
    sleep(200 * MS).await;
    bench.kill().await;

    let (ledger, spool) = (Arc::new(Ledger::default()), spool(&folder));
    let status = Status::new("there", Arc::new(|_, _| {}));
    let keep = Keep { max_age: Duration::ZERO, ..KEEP };
    let log = spool.log("there", keep, Arc::clone(&ledger), status).unwrap();
    let (read, _) = log.take(&policy().batch, |_| Some(()), |()| Measure { weight: 1, items: 1 });
    assert!(read.is_empty());
    let tally = ledger.tally();
    assert_eq!((tally.created, tally.dropped["spool_expired"], tally.spooled), (9, 9, 0));
    assert_eq!(files(&folder), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_leaves_memory_and_is_asked_again() {
    let folder = Folder::new();
    let spool = spool(&folder);
    let mut bench = Bench::start_spooled(large(), Some(&spool));
    let own = spool.folder().join("there");
    fs::remove_dir(&own).unwrap();
    bench.push(0..50);
    let (_, _, _never) = bench.asked().await;
    sleep(200 * MS).await;
    bench.push(50..1200);
    sleep(500 * MS).await;
    // As without a spool: a thousand, of which those on their way are some.
    let tally = bench.tally();
    assert_eq!((tally.queued, tally.spooled, tally.dropped["queue_full"]), (1000, 0, 200));
    let said = format!("nothing can be spooled, so that memory is all: {}", spool.folder().display());
    let notices = bench.notices.lock().unwrap().clone();
    assert_eq!(notices.iter().filter(|notice| notice.contains(&said)).count(), 1, "{notices:?}");
    assert!(bench.status.sentence().contains("; nothing can be spooled for"), "{}", bench.status.sentence());

    fs::create_dir(&own).unwrap();
    sleep(1000 * MS).await;
    let tally = bench.tally();
    assert_eq!((tally.queued, tally.spooled), (0, 1000));
    assert!(bench.notices.lock().unwrap().iter().any(|notice| notice.contains("spooling again")));
    assert!(!bench.status.sentence().contains("spooled"), "{}", bench.status.sentence());
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_hangs_does_not_fill_the_queue() {
    let folder = Folder::new();
    let policy = Policy { in_flight: 20, in_flight_behind: 20, ..large() };
    let mut bench = Bench::start_spooled(policy, Some(&spool(&folder)));
    let mut hanging = Vec::new();
    for round in 0..30 {
        bench.push(round * 100..round * 100 + 100);
        sleep(200 * MS).await;
        while let Ok(asked) = bench.asked.try_recv() {
            hanging.push(asked);
        }
    }
    assert_eq!(hanging.len(), 20);
    assert_eq!((bench.tally().spooled, bench.tally().lost()), (3000, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_told_while_the_disk_stalls() {
    use std::sync::mpsc;
    let folder = Folder::new();
    let mut bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    bench.push(1..=3);
    bench.answer(retry(None)).await;
    sleep(200 * MS).await;
    let before = bench.log.as_ref().unwrap().kept();
    assert_eq!(before.items, 3);
    bench.kill().await;
    let bench = Bench::start_spooled(policy(), Some(&spool(&folder)));
    let log = bench.log.unwrap();
    let ((reads, reading), (goes_on, go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    let reader = {
        let log = log.clone();
        let stall = move |_: &[u8]| {
            reads.send(()).unwrap();
            go_on.recv().ok().map(|()| 0_u32)
        };
        std::thread::spawn(move || log.take(&policy().batch, stall, Scripted::measure).0.len())
    };
    reading.recv().unwrap();
    let (tells, told) = mpsc::channel();
    std::thread::spawn(move || tells.send(log.kept()));
    let kept = told.recv_timeout(Duration::from_secs(60)).expect("an answer");
    assert_eq!((kept.items, kept.bytes), (before.items, before.bytes));
    drop(goes_on);
    assert_eq!(reader.join().unwrap(), 0);
}

#[test]
fn what_is_kept_is_told_in_one_piece() {
    let folder = Folder::new();
    let (ledger, status) = (Arc::new(Ledger::default()), Status::new("there", Arc::new(|_, _| {})));
    let log = spool(&folder).log("there", KEEP, ledger, status).unwrap();
    let writer = {
        let log = log.clone();
        std::thread::spawn(move || {
            for _ in 0..500 {
                let mut group = Group::default();
                group.add(Rank::ALL[0], 1, true, |body| body.push(7));
                let fates = log.append(group, Instant::now());
                let [Fate::Kept(place)] = fates[..] else { panic!("{fates:?}") };
                log.settle(&[place]);
            }
        })
    };
    while !writer.is_finished() {
        let kept = log.kept();
        assert_eq!(kept.items == 0, kept.bytes == 0, "{kept:?}");
    }
    writer.join().unwrap();
}

/// A delivery on threads of its own, and what it has of the spool.
fn start<S: Sink>(
    sink: S,
    policy: Policy,
    spool: &Spool,
    keep: Keep,
    runtime: &Runtime,
) -> (Delivery<S::Item>, Log) {
    let ledger = Arc::new(Ledger::default());
    let status = Status::new("there", Arc::new(|_, _| {}));
    let log = spool.log("there", keep, Arc::clone(&ledger), status.clone()).unwrap();
    (Delivery::start_spooled(sink, policy, status, ledger, Some(log.clone()), runtime), log)
}

/// Shuts a delivery down, and gives it all the time that it needs.
fn end<T: Send + Sync + 'static>(delivery: &Delivery<T>) -> Tally {
    let ending = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ending.block_on(delivery.shut_down(Instant::now() + Duration::from_secs(60)))
}

#[test]
fn written_through_is_on_disk_when_the_push_returns() {
    let folder = Folder::new();
    for (through, asks) in [(true, true), (true, false), (false, true)] {
        let spool = Spool::open(&folder.0, PLENTY, through).unwrap();
        let (sender, mut asked) = mpsc::unbounded_channel();
        let runtime = Runtime::start().unwrap();
        let lingering =
            Policy { batch: Limits { linger: Duration::from_secs(3600), ..policy().batch }, ..policy() };
        let keep = Keep { through: asks, ..KEEP };
        let (delivery, log) = start(Scripted(sender), lingering, &spool, keep, &runtime);
        assert_eq!(log.writes_through(), through && asks);
        delivery.queue().push(1);
        let tally = delivery.queue().ledger().tally();
        assert!(tally.balances() && tally.created == 1, "{tally}");
        if through && asks {
            assert_eq!((tally.spooled, files(&folder)), (1, 1));
        }
        delivery.queue().push(UNDRAWABLE);
        // A full batch goes out, in order, wherever it was.
        for item in 2..=4 {
            delivery.queue().push(item);
        }
        let arrived = asked.blocking_recv().unwrap();
        assert_eq!(arrived.items, [1, 2, 3, 4]);
        arrived.answer.send(Ok(Sent::default())).unwrap();
        let tally = end(&delivery);
        assert_eq!((tally.delivered, tally.dropped["sink_panicked"], tally.created), (4, 1, 5), "{tally}");
    }
}

/// A sink that takes its time over writing an item.
struct Slow(Arc<Barrier>);

impl Sink for Slow {
    type Item = ();

    fn measure((): &()) -> Measure {
        Measure { weight: 10, items: 1 }
    }

    fn encode(&self, (): &(), _: &mut Vec<u8>) {
        // It has begun; and it may go on.
        self.0.wait();
        self.0.wait();
    }

    async fn send(&self, _: &[()]) -> Answer {
        unreachable!("nothing is sent at the end")
    }
}

#[test]
fn what_is_being_written_at_the_end_is_not_lost() {
    let folder = Folder::new();
    let spool = Spool::open(&folder.0, PLENTY, true).unwrap();
    let (barrier, runtime) = (Arc::new(Barrier::new(2)), Runtime::start().unwrap());
    let keep = Keep { through: true, ..KEEP };
    let (delivery, _) = start(Slow(Arc::clone(&barrier)), policy(), &spool, keep, &runtime);
    let queue = delivery.queue().clone();
    let pushing = std::thread::spawn(move || queue.push(()));
    barrier.wait();
    let told = end(&delivery);
    assert_eq!((told.created, told.lost()), (0, 0), "{told}");
    barrier.wait();
    assert!(pushing.join().unwrap(), "it is on disk");
    let tally = delivery.queue().ledger().tally();
    assert!(tally.balances() && (tally.created, tally.spooled, tally.lost()) == (1, 1, 0), "{tally}");
    assert_eq!(delivery.kept().unwrap().items, 1);
}
