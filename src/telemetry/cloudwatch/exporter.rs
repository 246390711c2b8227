//! The wire: one call that puts a batch of lines into the stream, by the way that Amazon's SDK has found.

mod answer;
mod shortcut;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryConfig;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::config::{Credentials, Region};
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::operation::RequestId as _;
use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use reqwest::Url;
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tracing::Level;

use self::answer::Failure;
use self::shortcut::Shortcut;
use super::document::{self, Form, Item, Line};
use crate::config::{self, AccessKey, LogClass};
use crate::telemetry::delivery::{Gathered, Measure, Notice, Rank, SendError, Sent, Sink};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a call may take: the SDK has no limit of its own, and a peer that never answers would be waited for for
/// ever. A slow answer is waited for, because what is sent again is stored again.
const CALL: Duration = Duration::from_secs(15);
/// How long a group may take to be told how long to keep lines, and how soon it is told again where it did not answer.
const TELL: Duration = Duration::from_secs(3);
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// The most bytes and the longest time from the first line to the last that one call takes, by the API's model
/// (2014-03-28).
const LARGEST: usize = 1 << 20;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) stream: String,
    pub(super) create_group: bool,
    pub(super) retention_days: Option<i32>,
    pub(super) class: LogClass,
}

/// How the service is reached, and by whose leave.
#[derive(Debug)]
pub(super) struct Access {
    region: Option<String>,
    endpoint: Option<Url>,
    key: Option<AccessKey>,
}

/// Writes to one stream.
pub(super) struct Stream {
    place: Place,
    form: Arc<Form>,
    access: Access,
    notice: Notice,
    /// Made at the first call: finding credentials can take seconds.
    service: OnceCell<Service>,
    /// From when on the group is to be told how long to keep lines, where that is left to be done.
    retention: Mutex<Option<Instant>>,
}

/// The service, to be called.
struct Service {
    client: Client,
    shortcut: Option<Shortcut>,
}

impl Access {
    pub(super) fn of(config: &config::CloudWatch) -> Self {
        Self { region: config.region.clone(), endpoint: config.endpoint.clone(), key: config.key.clone() }
    }

    /// The service, unless it is nowhere said in which region.
    async fn connect(&self) -> Result<Service, SendError> {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(CALL).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint.as_str());
        }
        if let Some(AccessKey { id, secret, token, .. }) = &self.key {
            let token = token.as_ref().map(|token| token.expose_secret().to_owned());
            let secret = secret.expose_secret();
            loader = loader.credentials_provider(Credentials::new(id, secret, token, None, "environment"));
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(answer::hold("no region is known; set AWS_REGION"));
        }
        Ok(Service { client: Client::new(&config), shortcut: Shortcut::new(&config) })
    }
}

impl Stream {
    pub(super) fn new(place: Place, form: Arc<Form>, access: Access, notice: Notice) -> Self {
        let retention = Mutex::new(Some(Instant::now()));
        Self { place, form, access, notice, service: OnceCell::new(), retention }
    }

    async fn put(&self, service: &Service, lines: &[&Line]) -> Result<Sent, Failure> {
        let Place { group, stream, .. } = &self.place;
        let body = Bytes::from(document::body(group, stream, lines));
        if let Some(shortcut) = &service.shortcut
            && let Some(tried) = shortcut.put(&body).await
        {
            return Ok(answer::accepted(tried?.as_ref(), lines.len()));
        }
        // What the SDK insists on before it writes a body of its own, which is short.
        let call = service.client.put_log_events().log_group_name(group).log_stream_name(stream);
        let way = Arc::new(OnceLock::new());
        let taken = Arc::clone(&way);
        let call = call.set_log_events(Some(Vec::new())).customize().mutate_request(move |request| {
            request.headers_mut().insert(CONTENT_LENGTH.as_str(), body.len().to_string());
            *request.body_mut() = body.clone().into();
            taken.get_or_init(|| request.uri().to_owned());
        });
        let output = call.send().await.map_err(|error| answer::failure(&error))?;
        if output.request_id().is_none() {
            return Err(answer::not_cloudwatch().into());
        }
        if let (Some(shortcut), Some(url)) = (&service.shortcut, way.get()) {
            shortcut.learn(url);
        }
        Ok(answer::accepted(output.rejected_log_events_info(), lines.len()))
    }

    /// A line was refused by itself. Where another is taken in its place, it was the line; where that is refused too, it
    /// is the group or the stream, and all lines are kept.
    async fn line_or_place(&self, service: &Service, item: &Item, refusal: SendError) -> SendError {
        let another = document::in_place_of(item, SystemTime::now());
        match self.put(service, &[&another]).await {
            Ok(_) => refusal,
            Err(Failure::Other(SendError::Split { cause, .. })) => answer::takes_nothing(&cause.to_string()),
            Err(failure) => failure.or_retry(),
        }
    }

    /// Creates the stream, and before it the group where that is missing too.
    async fn create(&self, client: &Client) -> Result<(), SendError> {
        match self.create_stream(client).await {
            Err(Failure::NotThere(what)) if !self.place.create_group => {
                let group = &self.place.group;
                let hint = format!(
                    "the log group {group} is not there ({what}); create it, or set CLOUDWATCH_CREATE_GROUP=on"
                );
                Err(answer::hold(&hint))
            }
            Err(Failure::NotThere(_)) => {
                self.create_group(client).await?;
                self.create_stream(client).await.map_err(Failure::or_retry)
            }
            created => created.map_err(Failure::or_retry),
        }
    }

    async fn create_stream(&self, client: &Client) -> Result<(), Failure> {
        let Place { group, stream, .. } = &self.place;
        let created = client.create_log_stream().log_group_name(group).log_stream_name(stream).send().await;
        answer::created(created.map(|_| ()))
    }

    async fn create_group(&self, client: &Client) -> Result<(), SendError> {
        let class = match self.place.class {
            LogClass::Standard => None,
            LogClass::InfrequentAccess => Some(LogGroupClass::InfrequentAccess),
        };
        let call = client.create_log_group().log_group_name(&self.place.group).set_log_group_class(class);
        answer::created(call.send().await.map(|_| ())).map_err(Failure::or_retry)?;
        // A group that is new keeps lines for ever.
        self.tell_from(Instant::now());
        Ok(())
    }

    /// Tells the group how long to keep lines, once. That it may not be told is said; where it does not answer, lines wait
    /// for that once a minute, and not for long.
    async fn keep_for(&self, client: &Client) {
        let Some(days) = self.place.retention_days else { return };
        if self.retention().take_if(|from| *from <= Instant::now()).is_none() {
            return;
        }
        let call = client.put_retention_policy().log_group_name(&self.place.group).retention_in_days(days);
        let Ok(answer) = timeout(TELL, call.send()).await else {
            return self.tell_from(Instant::now() + TELL_AGAIN);
        };
        let Err(error) = answer else { return };
        match answer::failure(&error) {
            // The group may not be there yet, and is told when it is.
            Failure::NotThere(_) => self.tell_from(Instant::now()),
            Failure::Other(SendError::Retry { .. }) => self.tell_from(Instant::now() + TELL_AGAIN),
            Failure::Other(_) => {
                let (group, code) = (&self.place.group, error.code().unwrap_or("no answer"));
                let text = format!(
                    "CLOUDWATCH_RETENTION_DAYS: {group} cannot be told to keep lines for {days} days ({code})"
                );
                (self.notice)(Level::WARN, &text);
            }
        }
    }

    fn tell_from(&self, from: Instant) {
        *self.retention() = Some(from);
    }

    fn retention(&self) -> MutexGuard<'_, Option<Instant>> {
        self.retention.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one call cannot take all of it: estimates may err, and after an outage a batch may be days long.
fn is_too_much(lines: &[&Line]) -> bool {
    let size: usize = lines.iter().map(|line| line.size()).sum();
    let (first, last) = (lines.first(), lines.last());
    let span = last.map_or(0, |line| line.timestamp) - first.map_or(0, |line| line.timestamp);
    lines.len() > 1 && (size > LARGEST || span >= DAY)
}

impl Sink for Stream {
    type Item = Item;

    const GATHERED: Option<Gathered<Item>> = Some(document::gathered);

    fn measure(item: &Item) -> Measure {
        Measure { weight: document::weight(item), items: 1 }
    }

    fn rank(item: &Item) -> Rank {
        document::rank(item)
    }

    fn draw(&self, item: Item) -> Item {
        document::draw(item, &self.form)
    }

    fn encode(&self, item: &Item, into: &mut Vec<u8>) {
        document::encode(item, into);
    }

    fn decode(&self, bytes: &[u8]) -> Option<Item> {
        document::decode(bytes)
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        let service = self.service.get_or_try_init(|| self.access.connect()).await?;
        let lines = document::lines(batch);
        if is_too_much(&lines) {
            return Err(SendError::Split { reason: "too_large", cause: "more than one call takes".into() });
        }
        self.keep_for(&service.client).await;
        let sent = match self.put(service, &lines).await {
            Err(Failure::NotThere(_)) => {
                self.create(&service.client).await?;
                self.put(service, &lines).await
            }
            sent => sent,
        };
        match (sent, batch) {
            (Err(Failure::Other(refusal @ SendError::Split { reason: answer::INVALID, .. })), [item]) => {
                Err(self.line_or_place(service, item, refusal).await)
            }
            (sent, _) => sent.map_err(Failure::or_retry),
        }
    }
}

#[cfg(test)]
mod tests;
