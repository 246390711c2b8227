//! What Rollbar's answer means: a pure function.
//!
//! By the table of [its API](https://docs.rollbar.com/docs/api-overview) and
//! [rate limits](https://docs.rollbar.com/docs/rate-limits).

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::telemetry::delivery::excerpt;

/// The header that says for how many seconds a limit holds.
const REMAINING: &str = "x-rate-limit-remaining-seconds";
/// The longest that a limit is believed to hold: a probe an hour hurts nobody.
const LONGEST: Duration = Duration::from_secs(3600);
/// How much of an answer is shown, in characters.
const EXCERPT: usize = 200;

/// What became of a posted item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken.
    Taken,
    /// It has too many bytes.
    TooLarge(String),
    /// The token's limit, or the plan's, is used up, for as long as it says.
    Limited { after: Option<Duration>, cause: String },
    /// No item will be taken until a person mends what is wrong.
    Unwelcome(String),
    /// Time may mend it.
    Failed(String),
    /// This very item will never be taken.
    Refused { reason: &'static str, cause: String },
}

/// What Rollbar answers in words.
#[derive(Debug, Deserialize)]
struct Said {
    err: i64,
    #[serde(default)]
    message: Option<String>,
}

/// What an answer with this status, these headers and this body means.
pub(super) fn answer(status: StatusCode, headers: &HeaderMap, body: &str) -> Answer {
    let said = serde_json::from_str::<Said>(body).ok();
    let words = said.as_ref().and_then(|said| said.message.as_deref()).unwrap_or(body);
    let cause = |hint: &str| format!("{status}{hint}{}", excerpt(words, EXCERPT));
    match status.as_u16() {
        200..=299 => match said {
            Some(Said { err: 0, .. }) => Answer::Taken,
            Some(Said { err, .. }) => {
                Answer::Refused { reason: "refused", cause: cause(&format!(" with err {err}")) }
            }
            None => Answer::Failed(cause(", but not in Rollbar's words; check ROLLBAR_ENDPOINT")),
        },
        413 => Answer::TooLarge(cause("")),
        429 => Answer::Limited { after: remaining(headers), cause: cause("") },
        401 | 403 => Answer::Unwelcome(cause(
            ": Rollbar does not take this token; check ROLLBAR_ACCESS_TOKEN (a project access token with the scope \
             post_server_item)",
        )),
        300..=399 | 404 | 405 => {
            Answer::Unwelcome(cause(": nothing takes items at this URL; check ROLLBAR_ENDPOINT"))
        }
        408 | 500..=599 => Answer::Failed(cause("")),
        400 => Answer::Refused { reason: "http_400", cause: cause("") },
        422 => Answer::Refused { reason: "http_422", cause: cause("") },
        _ => Answer::Refused { reason: "http_4xx", cause: cause("") },
    }
}

fn remaining(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(REMAINING)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

/// How long to wait where the answer does not say: a minute, doubled with each answer of the kind in a row.
pub(super) fn unsaid(limited_before: u32) -> Duration {
    Duration::from_secs(60).saturating_mul(2_u32.saturating_pow(limited_before)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(status: u16, body: &str) -> Answer {
        answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body)
    }

    #[test]
    fn only_an_answer_without_an_error_is_success() {
        assert_eq!(of(200, r#"{"err":0,"result":{"id":null,"uuid":"x"}}"#), Answer::Taken);
        let Answer::Refused { reason: "refused", cause } =
            of(200, r#"{"err":1,"message":"no such project"}"#)
        else {
            panic!("an error was taken for success")
        };
        assert_eq!(cause, "200 OK with err 1 (it said: no such project)");
        assert!(matches!(of(200, "<html>Welcome to our hotel</html>"), Answer::Failed(_)));
        assert!(matches!(of(200, ""), Answer::Failed(_)));
    }

    #[test]
    fn every_status_has_its_consequence() {
        for (status, kind) in [
            (302, "Unwelcome"),
            (400, "Refused"),
            (401, "Unwelcome"),
            (403, "Unwelcome"),
            (404, "Unwelcome"),
            (408, "Failed"),
            (413, "TooLarge"),
            (418, "Refused"),
            (422, "Refused"),
            (429, "Limited"),
            (500, "Failed"),
            (502, "Failed"),
            (504, "Failed"),
        ] {
            let answer = format!("{:?}", of(status, r#"{"err":1,"message":"no"}"#));
            assert!(answer.starts_with(kind) && answer.contains("it said: no"), "{status}: {answer}");
        }
        let Answer::Unwelcome(cause) = of(401, "") else { panic!("a wrong token is mended by a person") };
        assert!(cause.contains("ROLLBAR_ACCESS_TOKEN"), "{cause}");
    }

    #[test]
    fn a_limit_holds_as_long_as_it_says_and_an_hour_at_most() {
        for (text, seconds) in [("30", Some(30)), (" 0 ", Some(0)), ("86400", Some(3600)), ("soon", None)] {
            let headers = [(REMAINING.parse().unwrap(), HeaderValue::from_str(text).unwrap())];
            let found = answer(StatusCode::TOO_MANY_REQUESTS, &headers.into_iter().collect(), "");
            let Answer::Limited { after, .. } = found else { panic!("{found:?}") };
            assert_eq!(after, seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!([0, 1, 5, 6, 99].map(unsaid).map(|wait| wait.as_secs()), [60, 120, 1920, 3600, 3600]);
    }
}
