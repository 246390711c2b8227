//! The queue, without a worker.

use std::time::Duration;

use super::*;
use crate::telemetry::delivery::sink::Rank;

fn queue(weight: usize, items: u64) -> Queue<usize> {
    made(Measure { weight, items }, 50, Box::new(|_| false), None)
}

/// With room for so many drawn pieces of one byte, three of which are a batch.
fn drawing(pieces: usize, at_once: AtOnce) -> Queue<usize> {
    made(Measure { weight: pieces * ONE_BYTE, items: 100 }, 3 * ONE_BYTE, at_once, None)
}

/// One where nothing may be lost with the process.
fn through(write: impl Fn(usize, u64) -> Result<Measure, usize> + Send + Sync + 'static) -> Queue<usize> {
    made(Measure { weight: 100, items: 100 }, 50, Box::new(|_| false), Some(Box::new(write)))
}

fn made(
    capacity: Measure,
    wake_weight: usize,
    at_once: AtOnce,
    through: Option<Through<usize>>,
) -> Queue<usize> {
    let asks = Asks {
        measure: |weight: &usize| Measure { weight: *weight, items: 1 },
        gathered: Some(|piece, _| piece.iter().map(|byte| usize::from(*byte)).sum()),
        at_once,
        through,
    };
    let wake_at = Limits { items: 3, weight: wake_weight, linger: Duration::ZERO };
    Queue::new(asks, capacity, wake_at, Arc::default())
}

#[test]
fn a_full_sheaf_is_sent_where_it_was_drawn_or_left_to_the_worker() {
    for sends in [true, false] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let at_once: AtOnce = {
            let seen = Arc::clone(&seen);
            Box::new(move |sheaf| {
                let pieces = sheaf.pieces().unwrap().map(<[u8]>::to_vec).collect::<Vec<_>>();
                seen.lock().unwrap().push(pieces);
                sends
            })
        };
        let queue = drawing(100, at_once);
        for number in 1..=5 {
            assert!(push_byte(&queue, number));
        }
        assert_eq!(*seen.lock().unwrap(), [[[1], [2], [3]]], "asked when it gets full, and not again");
        let tally = queue.ledger().tally();
        assert!(tally.balances());
        let (delivered, left) = if sends { (3, vec![4, 5]) } else { (0, vec![1, 2, 3, 4, 5]) };
        assert_eq!((tally.created, tally.delivered), (5, delivered));
        assert_eq!(queue.0.held.items(), 5 - delivered, "room is made");
        assert_eq!(all_drawn(&queue).into_iter().map(|(number, _)| number).collect::<Vec<_>>(), left);
    }
}

#[test]
fn what_finds_no_room_is_counted_until_something_is_settled() {
    let queue = queue(10, 100);
    for weight in [6, 6, 4] {
        queue.push(weight);
    }
    let tally = queue.ledger().tally();
    assert_eq!((tally.created, tally.queued, tally.dropped["queue_full"]), (3, 2, 1));
    assert!(tally.balances());
    let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
    assert_eq!(queue.take(&all).len(), 0, "nothing is drawn");
    queue.draw("odd", Some);
    let taken = queue.take(&all);
    assert_eq!(taken.iter().map(|entry| entry.thing).collect::<Vec<_>>(), [6, 4]);
    // Taken is not settled: it may come back.
    queue.push(1);
    assert_eq!(queue.ledger().tally().dropped["queue_full"], 2);
    queue.settle(taken[0].measure);
    queue.push(6);
    queue.draw("odd", Some);
    assert_eq!(queue.take(&all).len(), 1);
}

#[test]
fn what_cannot_be_drawn_makes_room_and_is_counted() {
    let queue = queue(10, 100);
    for weight in [3, 2, 5] {
        queue.push(weight);
    }
    queue.draw("odd", |weight| (weight % 2 == 0).then_some(10 * weight));
    assert_eq!(queue.waits().0, Measure { weight: 2, items: 1 });
    let tally = queue.ledger().tally();
    assert_eq!((tally.queued, tally.dropped["odd"]), (1, 2));
    assert!(queue.push(8), "there is room again");
    let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
    let things: Vec<_> = queue.take(&all).into_iter().map(|entry| entry.thing).collect();
    assert_eq!(things, [20]);
}

#[test]
fn items_are_bounded_too() {
    let queue = queue(1000, 2);
    for _ in 0..3 {
        queue.push(1);
    }
    assert_eq!(queue.ledger().tally().dropped["queue_full"], 1);
}

#[test]
fn a_closed_queue_refuses() {
    let queue = queue(10, 10);
    queue.close();
    queue.push(1);
    assert_eq!(queue.ledger().tally().dropped["shut_down"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_worker_is_woken_by_the_first_and_by_a_full_batch() {
    let woken = async |queue: &Queue<usize>| {
        tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok()
    };
    let queue = queue(1000, 100);
    queue.push(1);
    assert!(woken(&queue).await);
    queue.push(1);
    assert!(!woken(&queue).await);
    queue.push(1);
    assert!(woken(&queue).await, "three items");
    queue.draw("odd", Some);
    while !queue.take(&Limits { items: 100, weight: 1000, linger: Duration::ZERO }).is_empty() {}
    queue.push(1);
    assert!(woken(&queue).await, "the first again");
    queue.push(60);
    assert!(woken(&queue).await, "heavy");
    queue.push(1);
    assert!(!woken(&queue).await);
    queue.push(439);
    assert!(woken(&queue).await, "half full");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_looks_soon_is_not_woken_by_the_first() {
    let queue = queue(1000, 100);
    let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
    assert!(!queue.attend(true));
    queue.push(1);
    assert!(!woken().await);
    assert!(queue.attend(false), "it came unnoticed");
    queue.draw("odd", Some);
    while !queue.take(&Limits { items: 100, weight: 1000, linger: Duration::ZERO }).is_empty() {}
    assert!(!queue.attend(false));
    queue.push(1);
    assert!(woken().await);
}

const MARK: Mark = Mark { rank: Rank::Routine, millis: 0, turn: 0 };

/// What a drawn piece of one byte takes.
const ONE_BYTE: usize = 257;

/// Draws a number as its one byte.
fn push_byte(queue: &Queue<usize>, number: u8) -> bool {
    let draw = |out: &mut Vec<u8>| {
        out.push(number);
        true
    };
    queue.push_drawn(1, MARK, draw, || panic!("it is drawn"))
}

fn all_drawn(queue: &Queue<usize>) -> Vec<(usize, Measure)> {
    queue.draw("odd", Some);
    let all = Limits { items: 100, weight: 10_000, linger: Duration::ZERO };
    queue.take(&all).into_iter().map(|entry| (entry.thing, entry.measure)).collect()
}

#[test]
fn what_is_drawn_at_once_takes_what_it_is_drawn_as_and_is_lost_where_that_panics() {
    let queue = drawing(3, Box::new(|_| false));
    let draw = |out: &mut Vec<u8>| {
        out.extend([30, 40]);
        true
    };
    assert!(queue.push_drawn(7, MARK, draw, || panic!("it is drawn")));
    assert!(!queue.push_drawn(2, MARK, |_| panic!("a test's panic"), || panic!("it is lost")));
    let tally = queue.ledger().tally();
    assert_eq!((tally.created, tally.queued, tally.dropped["sink_panicked"]), (9, 7, 2));
    assert_eq!(all_drawn(&queue), [(70, Measure { weight: ONE_BYTE + 1, items: 7 })]);
    assert!(push_byte(&queue, 1), "what was lost takes no room");
}

#[test]
fn what_cannot_be_drawn_at_once_is_for_the_worker() {
    let queue = queue(100, 100);
    assert!(queue.push_drawn(1, MARK, |_| false, || 3));
    let half = |out: &mut Vec<u8>| {
        out.push(0);
        false
    };
    assert!(queue.push_drawn(1, MARK, half, || 4));
    assert_eq!(queue.ledger().tally().queued, 2);
    let expected = [3, 4].map(|weight| (weight, Measure { weight, items: 1 }));
    assert_eq!(all_drawn(&queue), expected);
}

#[test]
fn what_is_drawn_at_once_finds_as_much_room_as_all_else() {
    let queue = drawing(2, Box::new(|_| false));
    assert!(queue.push(2));
    assert!(push_byte(&queue, 4));
    assert!(!push_byte(&queue, 5), "there is no room");
    assert!(queue.push(ONE_BYTE - 2), "what found no room takes none");
    assert!(!queue.push(1));
    queue.settle(Measure { weight: ONE_BYTE, items: 1 });
    assert!(push_byte(&queue, 6));
    let numbers = || all_drawn(&queue).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!(numbers(), [4, 6, 2, ONE_BYTE - 2], "what found no room has left nothing");
    queue.settle(Measure { weight: ONE_BYTE, items: 1 });
    queue.close();
    assert!(!push_byte(&queue, 7));
    assert!(numbers().is_empty());
    let tally = queue.ledger().tally();
    assert_eq!((tally.queued, tally.dropped["queue_full"], tally.dropped["shut_down"]), (4, 2, 1));
}

#[test]
fn what_comes_up_while_it_is_drawn_waits_too() {
    let queue = drawing(100, Box::new(|_| false));
    let inner = queue.clone();
    let draw = |out: &mut Vec<u8>| {
        out.push(4);
        inner.push_drawn(1, MARK, |_| panic!("the sheaf is in use"), || 5)
    };
    assert!(queue.push_drawn(1, MARK, draw, || panic!("it is drawn")));
    assert_eq!(all_drawn(&queue).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_worker_is_woken_for_what_is_drawn_at_once_as_for_all_else() {
    let queue = drawing(100, Box::new(|_| false));
    let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
    assert!(push_byte(&queue, 1));
    assert!(woken().await, "the first");
    assert!(push_byte(&queue, 1));
    assert!(!woken().await);
    assert!(push_byte(&queue, 1));
    assert!(woken().await, "three items");
    queue.draw("odd", Some);
    assert!(!queue.attend(true));
    assert!(push_byte(&queue, 1));
    assert!(!woken().await, "it looks soon");
    assert!(queue.attend(false), "it came unnoticed");
    queue.draw("odd", Some);
    assert!(!queue.attend(false));
}

#[tokio::test(start_paused = true)]
async fn the_worker_is_woken_by_the_first_on_disk_and_by_a_full_batch_there() {
    // How much there is before each, as the disk says.
    let before = Mutex::new([0, 20, 40, 60].into_iter());
    let queue = through(move |_, _| {
        let weight = before.lock().unwrap().next().unwrap();
        Ok(Measure { weight, items: u64::from(weight > 0) })
    });
    assert!(!queue.attend(true));
    let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
    for (wakes, why) in [(true, "the first, however soon it looks"), (false, "the second"), (true, "heavy")] {
        assert!(queue.push(20));
        assert_eq!(woken().await, wakes, "{why}");
    }
    assert!(queue.push_drawn(1, MARK, |_| panic!("it goes to disk"), || 0));
    assert_eq!((queue.ledger().tally().created, queue.0.held.items()), (0, 0), "the disk enters it");
}

#[test]
fn what_cannot_go_to_disk_waits_and_all_that_comes_after_it() {
    let written = Arc::new(AtomicBool::new(false));
    let queue = {
        let written = Arc::clone(&written);
        through(move |thing, _| {
            assert!(!written.swap(true, Ordering::Relaxed), "it would overtake what waits");
            Err(thing)
        })
    };
    assert!(queue.push(1));
    assert!(queue.push(2));
    let expected = [1, 2].map(|weight| (weight, Measure { weight, items: 1 }));
    assert_eq!((queue.ledger().tally().queued, all_drawn(&queue)), (2, expected.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn what_is_drawn_late_waits_as_long_as_the_first() {
    let queue = drawing(100, Box::new(|_| false));
    let begun = Instant::now();
    queue.push(1);
    tokio::time::advance(Duration::from_millis(40)).await;
    assert!(push_byte(&queue, 2));
    queue.draw("odd", Some);
    assert_eq!(
        queue.waits(),
        (Measure { weight: 1 + ONE_BYTE, items: 2 }, Some(begun)),
        "what was pushed first is not in front"
    );
}
