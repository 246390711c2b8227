//! The queue, without a worker.

use std::time::Duration;

use super::*;
use crate::telemetry::delivery::sink::Rank;

fn queue(weight: usize, items: u64) -> Queue<usize> {
    asking(weight, items, Box::new(|_| false))
}

fn asking(weight: usize, items: u64, at_once: AtOnce) -> Queue<usize> {
    let asks = Asks {
        measure: |weight: &usize| Measure { weight: *weight, items: 1 },
        gathered: Some(|piece, _| piece.iter().map(|byte| usize::from(*byte)).sum()),
        at_once,
        through: None,
    };
    let wake_at = Limits { items: 3, weight: 50, linger: Duration::ZERO };
    Queue::new(asks, Measure { weight, items }, wake_at, Arc::default())
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
        let queue = asking(100, 100, at_once);
        for thing in 1..=5 {
            queue.push_drawn(thing, true, Rank::Routine.into(), |thing, out| {
                out.push(u8::try_from(*thing).unwrap());
                true
            });
        }
        assert_eq!(*seen.lock().unwrap(), [[[1], [2], [3]]], "asked when it gets full, and not again");
        let tally = queue.ledger().tally();
        assert!(tally.balances());
        let (delivered, left) = if sends { (3, vec![4, 5]) } else { (0, vec![1, 2, 3, 4, 5]) };
        assert_eq!((tally.created, tally.delivered), (5, delivered));
        assert_eq!(queue.0.held.items(), 5 - delivered, "room is made");
        queue.draw("odd", Some);
        let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
        assert_eq!(queue.take(&all).into_iter().map(|entry| entry.thing).collect::<Vec<_>>(), left);
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

/// Draws a number as its one byte.
fn byte(number: &usize, out: &mut Vec<u8>) -> bool {
    out.extend(u8::try_from(*number));
    true
}

fn all_drawn(queue: &Queue<usize>) -> Vec<(usize, Measure)> {
    queue.draw("odd", Some);
    let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
    queue.take(&all).into_iter().map(|entry| (entry.thing, entry.measure)).collect()
}

#[test]
fn what_is_drawn_at_once_is_measured_before_and_lost_where_that_panics() {
    let queue = queue(10, 100);
    let draw = |number: &usize, out: &mut Vec<u8>| byte(&(10 * number), out);
    assert!(queue.push_drawn(3, true, MARK, draw));
    assert!(!queue.push_drawn(2, true, MARK, |_, _| panic!("a test's panic")));
    let tally = queue.ledger().tally();
    assert_eq!((tally.created, tally.queued, tally.dropped["sink_panicked"]), (2, 1, 1));
    assert_eq!(all_drawn(&queue), [(30, Measure { weight: 3, items: 1 })]);
    assert!(queue.push_drawn(7, true, MARK, byte), "what was lost takes no room");
}

#[test]
fn what_is_not_light_or_cannot_be_drawn_at_once_is_for_the_worker() {
    let queue = queue(100, 100);
    assert!(queue.push_drawn(3, false, MARK, |_, _| panic!("not here")));
    let half = |number: &usize, out: &mut Vec<u8>| !byte(number, out);
    assert!(queue.push_drawn(4, true, MARK, half));
    assert_eq!(queue.ledger().tally().queued, 2);
    assert_eq!(all_drawn(&queue).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn what_is_drawn_at_once_finds_as_much_room_as_all_else() {
    let queue = queue(10, 100);
    queue.push(6);
    assert!(!queue.push_drawn(5, true, MARK, |_, _| panic!("there is no room")));
    assert!(queue.push_drawn(4, true, MARK, byte));
    assert!(!queue.push(1));
    for (_, measure) in all_drawn(&queue) {
        queue.settle(measure);
    }
    assert!(queue.push_drawn(10, true, MARK, byte));
    queue.close();
    assert!(!queue.push_drawn(1, true, MARK, byte));
    let tally = queue.ledger().tally();
    assert_eq!((tally.queued, tally.dropped["queue_full"], tally.dropped["shut_down"]), (3, 2, 1));
}

#[test]
fn what_comes_up_while_it_is_drawn_waits_too() {
    let queue = queue(100, 100);
    let inner = queue.clone();
    let draw = |number: &usize, out: &mut Vec<u8>| inner.push_drawn(5, true, MARK, byte) && byte(number, out);
    assert!(queue.push_drawn(4, true, MARK, draw));
    assert_eq!(all_drawn(&queue).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_worker_is_woken_for_what_is_drawn_at_once_as_for_all_else() {
    let queue = queue(1000, 100);
    let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
    assert!(queue.push_drawn(1, true, MARK, byte));
    assert!(woken().await, "the first");
    assert!(queue.push_drawn(1, true, MARK, byte));
    assert!(!woken().await);
    assert!(queue.push_drawn(1, true, MARK, byte));
    assert!(woken().await, "three items");
    queue.draw("odd", Some);
    assert!(!queue.attend(true));
    assert!(queue.push_drawn(1, true, MARK, byte));
    assert!(!woken().await, "it looks soon");
    assert!(queue.attend(false), "it came unnoticed");
    queue.draw("odd", Some);
    assert!(!queue.attend(false));
}

#[tokio::test(start_paused = true)]
async fn what_is_drawn_late_waits_as_long_as_the_first() {
    let queue = queue(1000, 100);
    let begun = Instant::now();
    queue.push(1);
    tokio::time::advance(Duration::from_millis(40)).await;
    assert!(queue.push_drawn(2, true, MARK, byte));
    queue.draw("odd", Some);
    assert_eq!(
        queue.waits(),
        (Measure { weight: 3, items: 2 }, Some(begun)),
        "what was pushed first is not in front"
    );
}

#[test]
fn what_is_drawn_takes_the_room_that_it_is_drawn_as() {
    let queue = queue(1500, 100);
    let short = |_: &usize, out: &mut Vec<u8>| byte(&7, out);
    assert!(
        [900, 900, 900].map(|weight| queue.push_drawn(weight, true, MARK, short)).iter().all(|taken| *taken)
    );
    let drawn = all_drawn(&queue);
    let sum = drawn.iter().fold(Measure::default(), |sum, (_, measure)| sum.plus(*measure));
    assert!(sum.weight < 900 && sum.items == 3, "{drawn:?}");
    queue.settle(sum);
    assert!(queue.push(1500), "all of the room is there again");
}
