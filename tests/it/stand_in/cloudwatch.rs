//! CloudWatch Logs: it verifies signatures, keeps every documented limit, and fails on script.

mod account;
mod answer;
mod rules;
mod signature;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::TcpListener;
use std::time::Duration;

use axum::body::Body;
use chrono::Utc;
use http::header::USER_AGENT;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::account::Account;
pub(crate) use self::account::{Event, Group};
pub(crate) use self::answer::Answer;
use self::answer::{Act, Refusal};
use self::signature::Credentials;
use self::wire::Call;
use super::server::Server;

/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose events these are: the names of the group and of the stream.
pub(crate) type Streams = BTreeMap<(String, String), Vec<Event>>;

/// What it can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    CreateLogGroup,
    CreateLogStream,
    DescribeLogGroups,
    DescribeLogStreams,
    PutLogEvents,
    PutRetentionPolicy,
}

impl Operation {
    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::CreateLogGroup,
            Self::CreateLogStream,
            Self::DescribeLogGroups,
            Self::DescribeLogStreams,
            Self::PutLogEvents,
            Self::PutRetentionPolicy,
        ];
        all.into_iter().find(|operation| format!("{operation:?}") == name)
    }
}

/// All that has happened, and what is to happen.
#[derive(Debug, Default)]
struct Seen {
    account: Account,
    /// How often each operation was asked for, by calls that break no rule by themselves.
    calls: BTreeMap<Operation, usize>,
    /// Who put events, by what they call themselves, call by call.
    agents: Vec<String>,
    violations: Vec<String>,
    script: BTreeMap<Operation, VecDeque<Answer>>,
    otherwise: BTreeMap<Operation, Answer>,
    held: BTreeSet<Operation>,
    /// How often each operation was released.
    releases: BTreeMap<Operation, usize>,
    poison: Option<fn(&str) -> bool>,
    /// How much older events are taken for than they are.
    aged: Duration,
}

/// A running stand-in; it ends when this is dropped.
pub(crate) struct CloudWatch {
    seen: watch::Sender<Seen>,
    credentials: Credentials,
    server: Server,
}

impl CloudWatch {
    /// With an empty account, for credentials that do not expire.
    pub(crate) fn start() -> Self {
        Self::serve(None)
    }

    /// The same for temporary credentials, which come with a session token.
    pub(crate) fn start_with_session() -> Self {
        Self::serve(Some("dummy-session-token"))
    }

    fn serve(session_token: Option<&'static str>) -> Self {
        let (region, key_id, secret) = ("us-east-1", "AKIADUMMYDUMMYDUMMY0", "dummy-secret");
        let credentials = Credentials { region, key_id, secret, session_token };
        let (seen, _) = watch::channel(Seen::default());
        let service = Service { seen: seen.clone(), credentials: credentials.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(listener, move |stream| service.clone().serve(stream));
        Self { seen, credentials, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The variables by which a client finds it and signs for it.
    pub(crate) fn vars(&self) -> Vec<(&'static str, String)> {
        let Credentials { region, key_id, secret, session_token } = self.credentials;
        let mut variables = vec![
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", self.url()),
            ("AWS_REGION", region.to_owned()),
            ("AWS_ACCESS_KEY_ID", key_id.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ];
        variables.extend(session_token.map(|token| ("AWS_SESSION_TOKEN", token.to_owned())));
        variables
    }

    /// What the next calls of an operation are answered, one by one; those that come after are carried out.
    pub(crate) fn script(&self, operation: Operation, answers: impl IntoIterator<Item = Answer>) {
        self.seen.send_modify(|seen| seen.script.entry(operation).or_default().extend(answers));
    }

    /// What every call of an operation is answered that the script has nothing for.
    pub(crate) fn always(&self, operation: Operation, answer: Answer) {
        self.seen.send_modify(|seen| seen.otherwise.extend([(operation, answer)]));
    }

    /// Keeps all calls of an operation waiting until it is released.
    pub(crate) fn hold(&self, operation: Operation) {
        self.seen.send_modify(|seen| seen.held.extend([operation]));
    }

    /// Lets the calls of an operation that are held or hang go on.
    pub(crate) fn release(&self, operation: Operation) {
        self.seen.send_modify(|seen| {
            seen.held.remove(&operation);
            *seen.releases.entry(operation).or_default() += 1;
        });
    }

    /// From now on, a batch with a message like that is refused as a whole, and nobody is told why.
    pub(crate) fn poison(&self, like_that: fn(&str) -> bool) {
        self.seen.send_modify(|seen| seen.poison = Some(like_that));
    }

    /// From now on, events are taken for so much older than they are.
    pub(crate) fn age(&self, by: Duration) {
        self.seen.send_modify(|seen| seen.aged = by);
    }

    /// Deletes a group with all that is in it.
    #[track_caller]
    pub(crate) fn delete_group(&self, group: &str) {
        self.seen.send_modify(|seen| drop(seen.account.groups.remove(group).unwrap()));
    }

    /// Deletes a stream with all that is in it.
    #[track_caller]
    pub(crate) fn delete_stream(&self, group: &str, stream: &str) {
        let delete = |seen: &mut Seen| seen.account.groups.get_mut(group)?.streams.remove(stream);
        self.seen.send_modify(|seen| drop(delete(seen).unwrap()));
    }

    /// A group as it is now, if there is one.
    pub(crate) fn group(&self, name: &str) -> Option<Group> {
        self.seen.borrow().account.groups.get(name).cloned()
    }

    /// What is in the streams that there are now, in the order of acceptance.
    pub(crate) fn streams(&self) -> Streams {
        let seen = self.seen.borrow();
        let groups = seen.account.groups.iter();
        let streams = groups.flat_map(|(group, found)| found.streams.iter().map(move |found| (group, found)));
        streams.map(|(group, (stream, events))| ((group.clone(), stream.clone()), events.clone())).collect()
    }

    /// Every event that was ever accepted, in order, be its stream still there or not.
    pub(crate) fn accepted(&self) -> Vec<Event> {
        self.seen.borrow().account.accepted.clone()
    }

    /// How many well-formed calls of an operation there were, whatever they were answered.
    pub(crate) fn calls(&self, operation: Operation) -> usize {
        self.seen.borrow().calls_of(operation)
    }

    /// Who put events, by the names that they give themselves, call by call.
    pub(crate) fn agents(&self) -> Vec<String> {
        let name = |agent: &String| agent.split('/').next().unwrap_or_default().to_owned();
        self.seen.borrow().agents.iter().map(name).collect()
    }

    /// Waits until so many events have been accepted.
    pub(crate) async fn wait_for(&self, events: usize) {
        self.wait_until(&format!("{events} events"), |seen| seen.account.accepted.len() >= events).await;
    }

    /// Waits until there were so many calls of an operation.
    pub(crate) async fn wait_for_calls(&self, operation: Operation, calls: usize) {
        self.wait_until(&format!("{calls} of {operation:?}"), |seen| seen.calls_of(operation) >= calls).await;
    }

    async fn wait_until(&self, what: &str, happened: impl Fn(&Seen) -> bool) {
        let mut receiver = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, receiver.wait_for(happened)).await;
        let waited = waited.map(|seen| drop(seen.unwrap()));
        assert!(waited.is_ok(), "never came: {what}; {}", self.seen.borrow().summary());
    }

    /// What was wrong with the calls so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.seen.borrow().violations.clone()
    }

    /// No call broke a rule, and the whole script was needed.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let seen = self.seen.borrow();
        assert!(seen.violations.is_empty(), "{:#?}", seen.violations);
        assert!(seen.script.values().all(VecDeque::is_empty), "not needed: {:?}", seen.script);
    }
}

impl Seen {
    fn calls_of(&self, operation: Operation) -> usize {
        self.calls.get(&operation).copied().unwrap_or_default()
    }

    fn releases_of(&self, operation: Operation) -> usize {
        self.releases.get(&operation).copied().unwrap_or_default()
    }

    fn summary(&self) -> String {
        let Self { account, calls, violations, .. } = self;
        format!("{} events, {calls:?}; {violations:?}", account.accepted.len())
    }

    /// Counts a call and says what it is answered, and how often its operation has been released.
    fn take(&mut self, operation: Operation) -> (Answer, usize) {
        *self.calls.entry(operation).or_default() += 1;
        let scripted = self.script.get_mut(&operation).and_then(VecDeque::pop_front);
        let answer = scripted.or_else(|| self.otherwise.get(&operation).cloned()).unwrap_or_default();
        (answer, self.releases_of(operation))
    }

    fn carry_out(&mut self, call: Call) -> Result<Value, Refusal> {
        if let (Call::PutLogEvents(input), Some(poison)) = (&call, self.poison)
            && input.log_events.iter().any(|event| poison(&event.message))
        {
            return Err(Refusal::news("InvalidParameterException", "Something is not to our taste."));
        }
        let outcome = self.account.carry_out(call, (Utc::now() + self.aged).timestamp_millis());
        outcome.inspect_err(|refusal| self.note(refusal))
    }

    fn note(&mut self, refusal: &Refusal) {
        if refusal.is_violation {
            self.violations.push(format!("{}: {}", refusal.code, refusal.message));
        }
    }
}

#[derive(Clone)]
struct Service {
    seen: watch::Sender<Seen>,
    credentials: Credentials,
}

impl Service {
    async fn serve(self, stream: TcpStream) {
        let closed = CancellationToken::new();
        let stream = stream.into_std().unwrap();
        let same = stream.try_clone().unwrap();
        let reset = {
            let closed = closed.clone();
            move || {
                // Whoever closes without having lingered resets.
                SockRef::from(&same).set_linger(Some(Duration::ZERO)).unwrap();
                closed.cancel();
            }
        };
        let service = service_fn(|request| self.answer(request, &reset));
        let stream = TokioIo::new(TcpStream::from_std(stream).unwrap());
        // An error is a connection that the client has closed.
        closed.run_until_cancelled(http1::Builder::new().serve_connection(stream, service)).await;
    }

    async fn answer(&self, request: Request<Incoming>, reset: &impl Fn()) -> hyper::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let read = self.credentials.verify(&head, &body, Utc::now()).and_then(|()| Call::read(&head, &body));
        let read = read.and_then(|call| match rules::check(&call) {
            Ok(()) => Ok(call),
            Err(message) => Err(Refusal::violation("InvalidParameterException", message)),
        });
        let call = match read {
            Ok(call) => call,
            Err(refusal) => {
                self.seen.send_modify(|seen| seen.note(&refusal));
                return Ok(refusal.response());
            }
        };
        if let Call::PutLogEvents(_) = &call {
            let agent =
                head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
            self.seen.send_modify(|seen| seen.agents.push(agent.to_owned()));
        }
        match self.act(call).await {
            Some(response) => Ok(response),
            None => {
                reset();
                std::future::pending().await
            }
        }
    }

    /// Does as the script says; `None` resets the connection.
    async fn act(&self, call: Call) -> Option<Response<Body>> {
        let operation = call.operation();
        let mut taken = None;
        self.seen.send_modify(|seen| taken = Some(seen.take(operation)));
        let (Answer { act, delay }, released) = taken?;
        tokio::time::sleep(delay).await;
        let hangs = matches!(act, Act::Hang);
        let goes_on = |seen: &Seen| {
            !seen.held.contains(&operation) && (!hangs || seen.releases_of(operation) > released)
        };
        // The sender is ours, so it does not go away.
        drop(self.seen.subscribe().wait_for(goes_on).await);
        let mut outcome = Ok(Value::Null);
        if act.carries_out() {
            self.seen.send_modify(|seen| outcome = seen.carry_out(call));
        }
        act.response(outcome)
    }
}
