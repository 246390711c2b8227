//! What CloudWatch's answers mean: pure functions.

use std::error::Error as _;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::config::http::HttpResponse;
use aws_sdk_cloudwatchlogs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::types::RejectedLogEventsInfo;

use crate::telemetry::delivery::{SendError, Sent, chain, excerpt};

/// How often to look whether a person has mended what only a person can.
const PROBE: Duration = Duration::from_secs(30);
/// What a line is counted under that is refused by itself.
pub(super) const INVALID: &str = "invalid";
/// What a refusal names that is not about lines, by the API's model (2014-03-28).
const PLACE: [&str; 2] = ["logGroupName", "logStreamName"];
/// What is said of a call that took too long.
const NO_ANSWER: &str = "no answer in time";
/// How much of an answer is shown, in characters.
const EXCERPT: usize = 300;

/// Why a call did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such group or stream; what was said.
    NotThere(String),
    /// Something else.
    Other(SendError),
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// What has just been created and is not there yet will be.
    pub(super) fn or_retry(self) -> SendError {
        match self {
            Self::NotThere(said) => SendError::Retry { after: None, cause: said.into() },
            Self::Other(error) => error,
        }
    }
}

/// A person must mend it.
pub(super) fn hold(cause: &str) -> SendError {
    SendError::Hold { probe: PROBE, cause: cause.into() }
}

/// No line is taken, whatever is in it.
pub(super) fn takes_nothing(said: &str) -> SendError {
    hold(&format!("every line is refused; check CLOUDWATCH_LOG_GROUP and CLOUDWATCH_LOG_STREAM: {said}"))
}

/// Behind a proxy that answers for it, 200 alone means nothing.
pub(super) fn not_cloudwatch() -> SendError {
    let cause = "the answer has no request id, so it is not CloudWatch's; check AWS_ENDPOINT_URL and proxies";
    SendError::Retry { after: None, cause: cause.into() }
}

/// Nor does a status alone.
pub(super) fn unreadable(status: u16) -> SendError {
    let cause = format!("status {status} with an answer that is not CloudWatch's");
    SendError::Retry { after: None, cause: cause.into() }
}

/// Nobody knows what became of a call that was sent without the SDK.
pub(super) fn unanswered(error: &reqwest::Error) -> SendError {
    let cause = if error.is_timeout() {
        NO_ANSWER.to_owned()
    } else {
        let why = error.source().map(chain).unwrap_or_default();
        format!("no whole answer{}", excerpt(&why, EXCERPT))
    };
    SendError::Retry { after: None, cause: cause.into() }
}

/// What became of the lines of a call that was taken. Lines are in the order of their times, and the indices name
/// its beginning and its end.
pub(super) fn accepted(rejected: Option<&RejectedLogEventsInfo>, lines: usize) -> Sent {
    let Some(info) = rejected else { return Sent::default() };
    let index =
        |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok()).map(|at| at.min(lines));
    let old = index(info.too_old_log_event_end_index()).unwrap_or(0);
    let expired = index(info.expired_log_event_end_index()).unwrap_or(0).saturating_sub(old);
    let new = index(info.too_new_log_event_start_index()).map_or(0, |first| lines - first);
    let counts = [("too_old", old), ("expired", expired), ("too_new", new)];
    let rejected: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason, count as u64))
        .collect();
    let said = "lines may be 14 days old at most, not older than the group keeps them, and 2 hours ahead";
    Sent { said: if rejected.is_empty() { String::new() } else { said.to_owned() }, rejected }
}

/// What is there already, or is being created, need not be created.
pub(super) fn created<E>(answer: Result<(), SdkError<E, HttpResponse>>) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = answer else { return Ok(()) };
    match error.code() {
        Some("ResourceAlreadyExistsException" | "OperationAbortedException") => Ok(()),
        Some(code @ "LimitExceededException") => {
            Err(hold(&format!("{code}: the account has no room for another log group")).into())
        }
        // Bisecting the lines would not help.
        Some(code @ "InvalidParameterException") => {
            Err(hold(&format!("{code}{}", excerpt(error.message().unwrap_or_default(), EXCERPT))).into())
        }
        _ => Err(failure(&error)),
    }
}

/// What a failed call means.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let retry = |what: String| SendError::Retry { after: None, cause: what.into() }.into();
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            refused(status, error.code().unwrap_or_default(), error.message().unwrap_or_default())
        }
        SdkError::TimeoutError(_) => retry(NO_ANSWER.to_owned()),
        SdkError::ResponseError(answer) => unreadable(answer.raw().status().as_u16()).into(),
        _ => {
            let what = excerpt(&DisplayErrorContext(error).to_string(), EXCERPT);
            // Before anything was sent; there is no type for it in what the SDK gives out.
            if what.contains("redential") {
                return hold(&format!(
                    "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role{what}"
                ))
                .into();
            }
            retry(format!("not reached{what}"))
        }
    }
}

/// What a refusal means, by its status, its code and what it says.
pub(super) fn refused(status: u16, code: &str, message: &str) -> Failure {
    let said = format!("{code}{}", excerpt(message, EXCERPT));
    match code {
        "ResourceNotFoundException" => Failure::NotThere(said),
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded"
        | "RequestTimeout" | "RequestTimeoutException" | "OperationAbortedException" => {
            SendError::Retry { after: None, cause: said.into() }.into()
        }
        // An unusable key of the group is reported like an unusable line.
        "InvalidParameterException" if message.contains("KMS") => {
            hold(&format!("the log group's KMS key cannot be used: {said}")).into()
        }
        "InvalidParameterException"
            if PLACE.iter().any(|place| message.contains(place)) && !message.contains("logEvents") =>
        {
            takes_nothing(&said).into()
        }
        "InvalidParameterException" | "SerializationException" => {
            SendError::Split { reason: INVALID, cause: said.into() }.into()
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired" => {
            hold(&format!("check AWS_SECRET_ACCESS_KEY, AWS_REGION and the clock: {said}")).into()
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            hold(&format!("the credentials have expired; renew AWS_SESSION_TOKEN or the profile: {said}")).into()
        }
        "AccessDeniedException" => {
            hold(&format!(
                "not allowed; the policy needs logs:PutLogEvents and logs:CreateLogStream, and logs:CreateLogGroup where \
                 the group is to be created: {said}"
            ))
            .into()
        }
        _ if (200..300).contains(&status) => not_cloudwatch().into(),
        _ if status == 413 => SendError::Split { reason: "too_large", cause: said.into() }.into(),
        _ if status == 429 || status >= 500 => {
            let cause = format!("status {status}: {said}");
            SendError::Retry { after: None, cause: cause.into() }.into()
        }
        // Unknown keys and wrong addresses among them: nothing is wrong with the lines.
        _ => hold(&format!("status {status}; check the credentials and AWS_ENDPOINT_URL: {said}")).into(),
    }
}

#[cfg(test)]
mod tests;
