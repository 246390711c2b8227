//! The call that is made all the time, signed and sent without what the SDK does around each: that costs as much as all
//! else that is done to lines.
//!
//! The SDK shows the way: where it has got through, the next calls go too, by the same credentials. What fails there is
//! the SDK's again for a while, which knows more ways, corrects the clock, and finds out what is wrong.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_cloudwatchlogs::types::RejectedLogEventsInfo;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::answer::{self, Failure};
use super::{CALL, CONNECT};
use crate::telemetry::delivery::{BoxError, SendError, read_beginning};

/// How long the SDK makes all calls after one that failed here.
const REST: Duration = Duration::from_secs(60);
/// How long credentials are believed that do not say when they expire, and how long before they expire others are asked
/// for: as the SDK has it.
const FRESH: Duration = Duration::from_secs(15 * 60);
const EARLY: Duration = Duration::from_secs(10);
/// How long it may take to find them, as the SDK has it.
const FIND: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The operation, and how it is encoded: AWS JSON 1.1, by the API's model (2014-03-28).
const TARGET: (&str, &str) = ("x-amz-target", "Logs_20140328.PutLogEvents");
const ENCODING: &str = "application/x-amz-json-1.1";
/// What the API signs as, by its model.
const SIGNING_NAME: &str = "logs";

/// A way to `PutLogEvents`.
pub(super) struct Shortcut {
    http: reqwest::Client,
    region: String,
    provider: SharedCredentialsProvider,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the SDK got through.
    url: Option<String>,
    /// Until when the SDK makes all calls.
    rests: Option<Instant>,
    /// They are believed until then.
    credentials: Option<(Credentials, SystemTime)>,
}

impl fmt::Debug for Shortcut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shortcut").field("region", &self.region).finish_non_exhaustive()
    }
}

/// What is answered about lines that were taken.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Taken {
    rejected_log_events_info: Option<Rejected>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rejected {
    too_new_log_event_start_index: Option<i32>,
    too_old_log_event_end_index: Option<i32>,
    expired_log_event_end_index: Option<i32>,
}

/// Why lines were not taken.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "__type")]
    code: String,
    #[serde(alias = "Message")]
    message: String,
}

/// What was not taken, if anything; or that all is to be sent again later.
type Answer = Result<Option<RejectedLogEventsInfo>, SendError>;

impl Shortcut {
    /// `None` where the SDK knows no region or no credentials, or TLS cannot be set up.
    pub(super) fn new(config: &SdkConfig) -> Option<Self> {
        let (region, provider) = (config.region()?.to_string(), config.credentials_provider()?);
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .redirect(Policy::none());
        Some(Self { http: http.build().ok()?, region, provider, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The SDK got through there.
    pub(super) fn learn(&self, url: &str) {
        self.state().url = Some(url.to_owned());
    }

    /// What came of the lines in `body`; `None` where they were not taken, and it is the SDK's turn.
    pub(super) async fn put(&self, body: &Bytes) -> Option<Answer> {
        let url = {
            let state = self.state();
            let rests = state.rests.is_some_and(|until| Instant::now() < until);
            state.url.clone().filter(|_| !rests)?
        };
        let tried = self.attempt(&url, body).await;
        if !matches!(tried, Some(Ok(_))) {
            *self.state() = State { url: Some(url), rests: Some(Instant::now() + REST), credentials: None };
        }
        tried
    }

    async fn attempt(&self, url: &str, body: &Bytes) -> Option<Answer> {
        let credentials = self.credentials().await?;
        let request = signed(url, &self.region, &credentials, body, SystemTime::now()).ok()?;
        match self.ask(request.try_into().ok()?).await {
            Ok((StatusCode::OK, true, said)) => {
                Some(taken(&said).ok_or_else(|| answer::unreadable(StatusCode::OK.as_u16())))
            }
            Ok((StatusCode::OK, false, _)) => Some(Err(answer::not_cloudwatch())),
            // Otherwise the SDK asks again, and finds out what it means.
            Ok((status, _, said)) => later(status.as_u16(), &said).map(Err),
            Err(error) if error.is_connect() || error.is_builder() => None,
            Err(error) => Some(Err(answer::unanswered(&error))),
        }
    }

    /// The answer's status, whether it has a request id, and its body.
    async fn ask(&self, request: reqwest::Request) -> reqwest::Result<(StatusCode, bool, Vec<u8>)> {
        let mut response = self.http.execute(request).await?;
        let mut said = Vec::new();
        read_beginning(&mut response, &mut said).await?;
        Ok((response.status(), has_request_id(response.headers()), said))
    }

    async fn credentials(&self) -> Option<Credentials> {
        let now = SystemTime::now();
        let known = self.state().credentials.clone().filter(|(_, until)| now < *until);
        if let Some((known, _)) = known {
            return Some(known);
        }
        let found = timeout(FIND, self.provider.provide_credentials()).await.ok()?.ok()?;
        let until = found.expiry().map_or(now + FRESH, |expiry| expiry - EARLY);
        self.state().credentials = Some((found.clone(), until));
        Some(found)
    }
}

/// A call with its signature.
fn signed(
    url: &str,
    region: &str,
    credentials: &Credentials,
    body: &Bytes,
    now: SystemTime,
) -> Result<Request<Bytes>, BoxError> {
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SIGNING_NAME)
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers = [TARGET, (CONTENT_TYPE.as_str(), ENCODING)];
    let signable = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body))?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    let mut request = Request::post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(body.clone())?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// Whether it is an answer of CloudWatch's own.
fn has_request_id(headers: &HeaderMap) -> bool {
    ["x-amzn-requestid", "x-amz-request-id"].iter().any(|name| headers.contains_key(*name))
}

/// That lines are to be sent again later, where that is what an answer means: there were too many, or they may have been
/// taken all the same.
fn later(status: u16, said: &[u8]) -> Option<SendError> {
    let Refusal { code, message } = serde_json::from_slice(said).unwrap_or_default();
    // Behind its namespace, and before a colon and more, by AWS JSON 1.1.
    let code = code.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or_default();
    match answer::refused(status, code, &message) {
        Failure::Other(later @ SendError::Retry { .. }) => Some(later),
        _ => None,
    }
}

/// What was not taken; `None` where the answer cannot be read. One that says nothing says that all is well.
fn taken(said: &[u8]) -> Option<Option<RejectedLogEventsInfo>> {
    if said.is_empty() {
        return Some(None);
    }
    let Taken { rejected_log_events_info } = serde_json::from_slice(said).ok()?;
    let rejected = rejected_log_events_info.map(|rejected| {
        RejectedLogEventsInfo::builder()
            .set_too_new_log_event_start_index(rejected.too_new_log_event_start_index)
            .set_too_old_log_event_end_index(rejected.too_old_log_event_end_index)
            .set_expired_log_event_end_index(rejected.expired_log_event_end_index)
            .build()
    });
    Some(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_sent_later_is_not_sent_again_at_once() {
        for (status, said, expected) in [
            (400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, true),
            (400, r#"{"__type":"com.amazonaws.logs#ThrottlingException:http://x","Message":"m"}"#, true),
            (429, "", true),
            (500, "<html>", true),
            (503, r#"{"__type":"ServiceUnavailableException"}"#, true),
            (204, "", true),
            (302, "", false),
            (
                400,
                r#"{"__type":"ResourceNotFoundException","message":"The log stream is not there."}"#,
                false,
            ),
            (400, r#"{"__type":"InvalidParameterException","message":"logEvents"}"#, false),
            (403, r#"{"__type":"ExpiredTokenException"}"#, false),
        ] {
            assert_eq!(later(status, said.as_bytes()).is_some(), expected, "{status} {said}");
        }
    }

    #[test]
    fn an_answer_says_what_was_not_taken() {
        let info = |new, old, expired| {
            RejectedLogEventsInfo::builder()
                .set_too_new_log_event_start_index(new)
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .build()
        };
        for (said, expected) in [
            ("{}", Some(None)),
            (r#"{"nextSequenceToken":"7"}"#, Some(None)),
            (r#"{"rejectedLogEventsInfo":null}"#, Some(None)),
            (
                r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":2}}"#,
                Some(Some(info(None, Some(2), None))),
            ),
            (
                r#"{"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":9,"expiredLogEventEndIndex":3}}"#,
                Some(Some(info(Some(9), None, Some(3)))),
            ),
            ("", Some(None)),
            ("<html>", None),
        ] {
            assert_eq!(taken(said.as_bytes()), expected, "{said}");
        }
    }
}
