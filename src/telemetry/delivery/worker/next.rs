//! What a worker does next: a pure function of its situation.

use tokio::time::Instant;

use crate::telemetry::delivery::batch::Next;
use crate::telemetry::delivery::gate::Permit;

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Send,
    /// Send what is set aside.
    SendAside,
    /// Write what is only in memory, oldest first.
    Spool,
    /// Nothing, until something changes or, where an instant is given, until then.
    Wait(Option<Instant>),
    /// Everything is settled.
    Finish,
    /// The time is over, or nothing can happen before it is.
    GiveUp,
}

/// All that the next action depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) now: Instant,
    /// When to be done, once the delivery is shutting down.
    pub(super) deadline: Option<Instant>,
    pub(super) ready: Next,
    pub(super) permit: Permit,
    /// Whether what is set aside may be sent; `None` where nothing is.
    pub(super) aside: Option<Permit>,
    pub(super) in_flight: usize,
    /// When what is only in memory is to be written.
    pub(super) spool_at: Option<Instant>,
}

pub(super) fn next_action(situation: Situation) -> Action {
    let Situation { now, deadline, ready, permit, aside, in_flight, spool_at } = situation;
    if deadline.is_some_and(|deadline| now >= deadline) {
        let settled = ready == Next::Idle && in_flight == 0 && aside.is_none();
        return if settled { Action::Finish } else { Action::GiveUp };
    }
    let again = match aside {
        Some(Permit::Go) => return Action::SendAside,
        Some(Permit::At(until)) => Some(until),
        Some(Permit::Busy) | None => None,
    };
    let wait = match (ready, permit) {
        (Next::Idle, _) if in_flight == 0 && deadline.is_some() => match again {
            Some(until) if deadline.is_some_and(|deadline| until < deadline) => None,
            Some(_) => return Action::GiveUp,
            None => return Action::Finish,
        },
        (Next::Ship, Permit::Go) => return Action::Send,
        (Next::Ship, Permit::At(until)) => match deadline {
            Some(deadline) if until >= deadline && in_flight == 0 => return Action::GiveUp,
            _ => Some(until),
        },
        (Next::Wait(wait), _) => Some(now + wait),
        (Next::Idle, _) | (Next::Ship, Permit::Busy) => None,
    };
    if spool_at.is_some_and(|at| at <= now) {
        return Action::Spool;
    }
    Action::Wait([wait, again, deadline, spool_at].into_iter().flatten().min())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_next_action_follows_from_the_situation() {
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let (idle, ship, wait) = (Next::Idle, Next::Ship, Next::Wait(50 * MS));
        for (deadline, ready, permit, in_flight, expected) in [
            (None, idle, Permit::Go, 0, Action::Wait(None)),
            (None, wait, Permit::Go, 0, Action::Wait(Some(at(50)))),
            (None, ship, Permit::Go, 0, Action::Send),
            (None, ship, Permit::Busy, 1, Action::Wait(None)),
            (None, ship, Permit::At(at(900)), 0, Action::Wait(Some(at(900)))),
            (Some(at(100)), idle, Permit::Go, 0, Action::Finish),
            (Some(at(100)), idle, Permit::Go, 1, Action::Wait(Some(at(100)))),
            (Some(at(100)), ship, Permit::Go, 0, Action::Send),
            (Some(at(100)), ship, Permit::At(at(30)), 0, Action::Wait(Some(at(30)))),
            (Some(at(100)), ship, Permit::At(at(900)), 0, Action::GiveUp),
            (Some(at(100)), ship, Permit::At(at(900)), 1, Action::Wait(Some(at(100)))),
            (Some(now), ship, Permit::Go, 0, Action::GiveUp),
            (Some(now), idle, Permit::Go, 1, Action::GiveUp),
            (Some(now), idle, Permit::Go, 0, Action::Finish),
        ] {
            let situation =
                Situation { now, deadline, ready, permit, aside: None, in_flight, spool_at: None };
            assert_eq!(next_action(situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn what_is_only_in_memory_is_written_in_time_but_sent_rather_than_written() {
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let (idle, ship, wait) = (Next::Idle, Next::Ship, Next::Wait(500 * MS));
        for (deadline, ready, permit, in_flight, spool_at, expected) in [
            (None, wait, Permit::Go, 0, at(150), Action::Wait(Some(at(150)))),
            (None, wait, Permit::Go, 0, now, Action::Spool),
            (None, ship, Permit::Go, 0, now, Action::Send),
            (None, ship, Permit::Busy, 1, at(80), Action::Wait(Some(at(80)))),
            (None, ship, Permit::At(at(900)), 0, at(80), Action::Wait(Some(at(80)))),
            (None, ship, Permit::At(at(900)), 0, now, Action::Spool),
            (None, idle, Permit::Go, 1, now, Action::Spool),
            (Some(at(100)), ship, Permit::Busy, 1, at(150), Action::Wait(Some(at(100)))),
            (Some(at(100)), ship, Permit::Busy, 1, now, Action::Spool),
            (Some(now), ship, Permit::Busy, 1, now, Action::GiveUp),
        ] {
            let situation =
                Situation { now, deadline, ready, permit, aside: None, in_flight, spool_at: Some(spool_at) };
            assert_eq!(next_action(situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn what_is_set_aside_is_tried_by_itself_and_waited_for() {
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let (idle, ship) = (Next::Idle, Next::Ship);
        for (deadline, ready, permit, aside, in_flight, expected) in [
            (None, ship, Permit::Busy, Permit::Go, 1, Action::SendAside),
            (None, ship, Permit::Go, Permit::At(at(50)), 0, Action::Send),
            (None, idle, Permit::Go, Permit::At(at(50)), 0, Action::Wait(Some(at(50)))),
            (None, idle, Permit::Go, Permit::Busy, 1, Action::Wait(None)),
            (Some(at(100)), idle, Permit::Go, Permit::At(at(50)), 0, Action::Wait(Some(at(50)))),
            (Some(at(100)), idle, Permit::Go, Permit::At(at(150)), 0, Action::GiveUp),
            (Some(now), idle, Permit::Go, Permit::Go, 0, Action::GiveUp),
        ] {
            let aside = Some(aside);
            let situation = Situation { now, deadline, ready, permit, aside, in_flight, spool_at: None };
            assert_eq!(next_action(situation), expected, "{situation:?}");
        }
    }
}
