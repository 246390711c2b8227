//! What CloudWatch Logs answers.

use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::JSON;

/// One answer. The default carries the call out, at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(super) act: Act,
    pub(super) delay: Duration,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Act {
    #[default]
    CarryOut,
    /// Waits for the operation's release before.
    Hang,
    Error {
        status: u16,
        code: &'static str,
    },
    /// Something in between answers, and knows neither JSON nor request ids.
    Foreign {
        status: u16,
        body: &'static str,
    },
    Reset,
    /// Carries the call out, and resets the connection instead of an answer.
    CarryOutAndReset,
}

impl Answer {
    /// The service's own error, such as `ThrottlingException` with 400.
    pub(crate) fn error(status: u16, code: &'static str) -> Self {
        Self::from(Act::Error { status, code })
    }

    /// This status with an empty body, and no request id.
    pub(crate) fn empty(status: u16) -> Self {
        Self::from(Act::Foreign { status, body: "" })
    }

    /// 200, with a page for people, and no request id.
    pub(crate) fn html() -> Self {
        Self::from(Act::Foreign { status: 200, body: "<!doctype html><title>Log in</title>" })
    }

    /// Resets the connection instead.
    pub(crate) fn reset() -> Self {
        Self::from(Act::Reset)
    }

    /// Carries the call out, of which the client never learns: the connection is reset.
    pub(crate) fn reset_afterwards() -> Self {
        Self::from(Act::CarryOutAndReset)
    }

    /// Nothing until the operation is released, and then the call is carried out.
    pub(crate) fn hang() -> Self {
        Self::from(Act::Hang)
    }

    /// How long it takes to answer.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl From<Act> for Answer {
    fn from(act: Act) -> Self {
        Self { act, delay: Duration::ZERO }
    }
}

impl Act {
    /// Whether the call is carried out, be the answer what it may.
    pub(super) fn carries_out(&self) -> bool {
        matches!(self, Self::CarryOut | Self::Hang | Self::CarryOutAndReset)
    }

    /// The answer to a call that came to `outcome`; `None` resets the connection.
    pub(super) fn response(&self, outcome: Result<Value, Refusal>) -> Option<Response<Body>> {
        match self {
            Self::CarryOut | Self::Hang => {
                Some(outcome.map_or_else(|refusal| refusal.response(), |output| success(&output)))
            }
            Self::Error { status, code } => Some(error(*status, code, "as the script says")),
            Self::Foreign { status, body } => {
                let response = Response::builder().status(*status).header(CONTENT_TYPE, "text/html");
                Some(response.body(Body::from(*body)).unwrap())
            }
            Self::Reset | Self::CarryOutAndReset => None,
        }
    }
}

/// Why a call is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Whether no client should ever give reason for it.
    pub(super) is_violation: bool,
}

impl Refusal {
    /// The client broke a rule.
    pub(super) fn violation(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_violation: true }
    }

    /// The client could not know.
    pub(super) fn news(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_violation: false }
    }

    pub(super) fn response(&self) -> Response<Body> {
        error(400, self.code, &self.message)
    }
}

/// An operation without output has an empty body.
fn success(output: &Value) -> Response<Body> {
    let body = if output.is_null() { String::new() } else { output.to_string() };
    answer(StatusCode::OK, body)
}

fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = json!({"__type": code, "message": message});
    answer(StatusCode::from_u16(status).unwrap(), body.to_string())
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, JSON);
    response.header("x-amzn-requestid", Uuid::new_v4().to_string()).body(body.into()).unwrap()
}
