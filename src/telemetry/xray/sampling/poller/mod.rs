//! Keeps a sampler in step with AWS, through the daemon: fetches the rules, reports what was seen, follows the
//! targets.
//!
//! Requests never wait for it. What fails is tried again when it is next due; people are told when trouble begins
//! and when it is over.

mod schedule;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::{Instant, sleep_until};
use tracing::Level;
use uuid::Uuid;

use self::schedule::{Action, Schedule, next_action};
use super::central::{Document, REPORT_AT_MOST, Report, Targets};
use super::daemon::{Api, Daemon};
use super::reservoir::Statistics;
use super::{Sampler, VALID_FOR, counted, seconds};
use crate::telemetry::delivery::{Notice, Runtime, random};

/// A running poller; it ends with the runtime that it was started on.
#[derive(Debug, Clone)]
pub struct Poller(Arc<State>);

/// What people can be told.
struct State {
    sampler: Sampler,
    address: String,
    notice: Notice,
    trouble: Mutex<Trouble>,
}

/// Either call may be in trouble alone: permissions are given for each.
#[derive(Debug, Default)]
struct Trouble {
    rules: Option<String>,
    targets: Option<String>,
}

/// A call, for its trouble.
#[derive(Debug, Clone, Copy)]
enum Call {
    Rules,
    Targets,
}

impl Poller {
    /// Starts to keep `sampler` in step, through the daemon at `address` (host, by name or number, and port).
    #[must_use]
    pub fn start(sampler: Sampler, address: String, runtime: &Runtime, notice: Notice) -> Self {
        let daemon = Daemon::new(&address);
        let state = Arc::new(State { sampler, address, notice, trouble: Mutex::default() });
        match daemon {
            Ok(daemon) => runtime.spawn(Worker::new(daemon, Arc::clone(&state), Outside::real()).run()),
            Err(error) => state.failed(Call::Rules, &error.to_string()),
        }
        Self(state)
    }

    /// Which rules hold, in a sentence, and why if they are not the central ones.
    #[must_use]
    pub fn state(&self) -> String {
        self.0.sentence(SystemTime::now())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("address", &self.address).finish_non_exhaustive()
    }
}

impl State {
    fn sentence(&self, now: SystemTime) -> String {
        let (now, daemon) = (seconds(now), format_args!("the daemon at {}", self.address));
        let central = self
            .sampler
            .fetched()
            .map(|(rules, fetched)| (counted(rules as u64, "rule"), now.abs_diff(fetched)));
        let trouble = self.trouble();
        let why = trouble.rules.as_ref().or(trouble.targets.as_ref());
        match (central, why) {
            (Some((rules, age)), None) if age <= VALID_FOR => {
                format!("{rules} from {daemon}, fetched {age} s ago")
            }
            (Some((rules, age)), Some(why)) if age <= VALID_FOR => {
                format!("{rules} from {daemon}, fetched {age} s ago; now it {why}")
            }
            (_, Some(why)) => format!("local rules, because {daemon} {why}"),
            (Some((_, age)), None) => format!("local rules, because those from {daemon} are {age} s old"),
            (None, None) => format!("local rules, until {daemon} has answered"),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told once, until it is over.
    fn failed(&self, call: Call, why: &str) {
        let before = self.trouble().of(call).replace(why.to_owned());
        if before.is_none() {
            let consequence = match call {
                Call::Rules if self.sampler.fetched().is_none() => "local rules decide",
                Call::Rules => "the rules fetched last decide for an hour",
                Call::Targets => "the rules decide without quotas",
            };
            let address = &self.address;
            (self.notice)(
                Level::WARN,
                &format!("X-Ray sampling: the daemon at {address} {why}; {consequence}"),
            );
        }
    }

    fn succeeded(&self, call: Call) {
        if self.trouble().of(call).take().is_some() {
            let what = match call {
                Call::Rules => "gives rules",
                Call::Targets => "takes reports",
            };
            (self.notice)(
                Level::INFO,
                &format!("X-Ray sampling: the daemon at {} {what} again", self.address),
            );
        }
    }
}

impl Trouble {
    fn of(&mut self, call: Call) -> &mut Option<String> {
        match call {
            Call::Rules => &mut self.rules,
            Call::Targets => &mut self.targets,
        }
    }
}

/// What a test brings itself.
struct Outside {
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    random: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Outside {
    fn real() -> Self {
        Self { clock: Box::new(SystemTime::now), random: Box::new(random) }
    }
}

struct Worker<A> {
    api: A,
    state: Arc<State>,
    outside: Outside,
    schedule: Schedule,
    /// 24 hexadecimal digits, new for each process.
    client_id: String,
    /// When AWS's rules were last changed, as far as is known: in seconds since the epoch, by AWS's clock.
    modified: Option<f64>,
    /// Whether people know that no rule is for the service's name.
    told_of_name: bool,
}

impl<A: Api> Worker<A> {
    fn new(api: A, state: Arc<State>, outside: Outside) -> Self {
        let schedule = Schedule::new(Instant::now(), (outside.random)());
        let client_id = format!("{:024x}", Uuid::new_v4().as_u128() >> 32);
        Self { api, state, outside, schedule, client_id, modified: None, told_of_name: false }
    }

    async fn run(mut self) {
        loop {
            match next_action(&self.schedule, Instant::now()) {
                Action::FetchRules => self.fetch().await,
                Action::Report => self.report().await,
                Action::Wait(until) => sleep_until(until).await,
            }
        }
    }

    async fn fetch(&mut self) {
        let answer = self.api.rules().await;
        let random = (self.outside.random)();
        match answer {
            Ok(rules) => {
                self.state.sampler.install(rules, (self.outside.clock)());
                self.schedule.fetched(Instant::now(), random);
                self.state.succeeded(Call::Rules);
                self.tell_of_name();
            }
            Err(error) => {
                self.schedule.failed(Instant::now(), random);
                self.state.failed(Call::Rules, &error.to_string());
            }
        }
    }

    /// The rule that somebody made for this service, under another name, would never match: worth a warning.
    fn tell_of_name(&mut self) {
        let name = self.state.sampler.name_without_rule();
        if let (Some(name), false) = (name, self.told_of_name) {
            let message = format!(
                "X-Ray sampling: no rule but Default is for a service named {name}; see --explain-sampling"
            );
            (self.state.notice)(Level::WARN, &message);
        }
        self.told_of_name = name.is_some();
    }

    async fn report(&mut self) {
        // Regular whatever the answer takes, for AWS counts on it.
        self.schedule.reported(Instant::now(), (self.outside.random)());
        let now = (self.outside.clock)();
        let due = self.state.sampler.take_statistics(now);
        for chunk in due.chunks(REPORT_AT_MOST) {
            let documents = chunk
                .iter()
                .map(|(rule, statistics)| Document::new(rule, &self.client_id, seconds(now), *statistics));
            let report = Report { sampling_statistics_documents: documents.collect() };
            match self.api.targets(&report).await {
                Ok(targets) => self.follow(targets, chunk),
                Err(error) => {
                    for (rule, statistics) in chunk {
                        self.state.sampler.put_back(rule, *statistics);
                    }
                    self.state.failed(Call::Targets, &error.to_string());
                }
            }
        }
    }

    fn follow(&mut self, answer: Targets, reported: &[(Arc<str>, Statistics)]) {
        let Targets { targets, last_modification, unprocessed } = answer;
        for (rule, target) in targets {
            self.state.sampler.aim(&rule, target);
        }
        let mut stale = self.is_news(last_modification);
        for refused in &unprocessed {
            if refused.is_theirs() {
                // Not counted, and nothing wrong with it: next time.
                for (rule, statistics) in reported.iter().filter(|(rule, _)| **rule == *refused.rule_name) {
                    self.state.sampler.put_back(rule, *statistics);
                }
            } else {
                stale = true;
            }
        }
        if stale {
            self.schedule.refetch(Instant::now());
        }
        match unprocessed.first() {
            None => self.state.succeeded(Call::Targets),
            Some(first) => {
                let (rule, code, message) = (&first.rule_name, &first.error_code, &first.message);
                self.state
                    .failed(Call::Targets, &format!("takes no report on rule {rule:?}: {code} {message:?}"));
            }
        }
    }

    /// Whether the rules have been changed since they were fetched. Only the first time are two clocks compared,
    /// AWS's and this machine's; later on it is AWS's with itself, lest one that is wrong cause a fetch each time.
    fn is_news(&mut self, modification: Option<f64>) -> bool {
        let Some(modified) = modification else { return false };
        let fetched = self.state.sampler.fetched().map_or(0, |(_, fetched)| fetched);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a mantissa holds seconds for longer than there will be any"
        )]
        let known = self.modified.unwrap_or(fetched as f64);
        self.modified = Some(modified);
        modified > known
    }
}

#[cfg(test)]
mod tests;
