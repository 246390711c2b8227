//! A call as it came in: AWS's JSON protocol, version 1.1, read as strictly as it is written down.

use std::collections::BTreeMap;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Method, request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Operation;
use super::answer::Refusal;

pub(super) const JSON: &str = "application/x-amz-json-1.1";

/// An operation with its input.
#[derive(Debug)]
pub(super) enum Call {
    CreateLogGroup(CreateLogGroup),
    CreateLogStream(CreateLogStream),
    DescribeLogGroups(DescribeLogGroups),
    DescribeLogStreams(DescribeLogStreams),
    PutLogEvents(PutLogEvents),
    PutRetentionPolicy(PutRetentionPolicy),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateLogGroup {
    pub(super) log_group_name: String,
    pub(super) log_group_class: Option<String>,
    pub(super) kms_key_id: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateLogStream {
    pub(super) log_group_name: String,
    pub(super) log_stream_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DescribeLogGroups {
    pub(super) log_group_name_prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DescribeLogStreams {
    pub(super) log_group_name: String,
    pub(super) log_stream_name_prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PutLogEvents {
    pub(super) log_group_name: String,
    pub(super) log_stream_name: String,
    pub(super) log_events: Vec<InputLogEvent>,
    pub(super) sequence_token: Option<String>,
    pub(super) entity: Option<Entity>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputLogEvent {
    /// In milliseconds since the epoch.
    pub(super) timestamp: i64,
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Entity {
    pub(super) key_attributes: BTreeMap<String, String>,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PutRetentionPolicy {
    pub(super) log_group_name: String,
    pub(super) retention_in_days: u32,
}

impl Call {
    pub(super) fn read(head: &request::Parts, body: &[u8]) -> Result<Self, Refusal> {
        let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let uri = head.uri.to_string();
        if (&head.method, &*uri) != (&Method::POST, "/") {
            return Err(unknown(format!("{} {uri} is not POST /", head.method)));
        }
        let target = header("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix("Logs_20140328.").and_then(Operation::named);
        let operation = operation.ok_or_else(|| unknown(format!("no operation of ours: {target:?}")))?;
        let content = header(CONTENT_TYPE.as_str());
        if content != Some(JSON) {
            return Err(unknown(format!("it is {content:?}")));
        }
        // It works at present, but nothing in the service's model says that it does.
        if let Some(encoding) = header(CONTENT_ENCODING.as_str()) {
            return Err(Refusal::violation("SerializationException", format!("encoding {encoding}")));
        }
        Ok(match operation {
            Operation::CreateLogGroup => Self::CreateLogGroup(input(body)?),
            Operation::CreateLogStream => Self::CreateLogStream(input(body)?),
            Operation::DescribeLogGroups => Self::DescribeLogGroups(input(body)?),
            Operation::DescribeLogStreams => Self::DescribeLogStreams(input(body)?),
            Operation::PutLogEvents => Self::PutLogEvents(input(body)?),
            Operation::PutRetentionPolicy => Self::PutRetentionPolicy(input(body)?),
        })
    }

    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::CreateLogGroup(_) => Operation::CreateLogGroup,
            Self::CreateLogStream(_) => Operation::CreateLogStream,
            Self::DescribeLogGroups(_) => Operation::DescribeLogGroups,
            Self::DescribeLogStreams(_) => Operation::DescribeLogStreams,
            Self::PutLogEvents(_) => Operation::PutLogEvents,
            Self::PutRetentionPolicy(_) => Operation::PutRetentionPolicy,
        }
    }
}

fn unknown(message: String) -> Refusal {
    Refusal::violation("UnknownOperationException", message)
}

fn input<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::violation("SerializationException", error.to_string()))
}
