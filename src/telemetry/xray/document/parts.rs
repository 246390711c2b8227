//! The parts of a segment document, in the order in which they are written: the daemon looks for `id` and
//! `trace_id` before anything nested.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A segment or a subsegment.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Document {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    pub(super) name: String,
    pub(super) start_time: f64,
    pub(super) end_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<Service>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) throttle: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aws: Option<Aws>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sql: Option<Sql>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<Cause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) subsegments: Vec<Document>,
}

/// Values by namespace and key.
pub(super) type Metadata = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Debug, Clone, Serialize)]
pub(super) struct Service {
    pub(super) version: String,
    pub(super) runtime: &'static str,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Response>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) x_forwarded_for: Option<bool>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Response {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_length: Option<u64>,
}

/// What is known of AWS around a segment or in a call.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Aws {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xray: Option<SdkInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cloudwatch_logs: Vec<LogGroup>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ec2: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ecs: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct SdkInfo {
    pub(super) sdk: &'static str,
    pub(super) sdk_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sampling_rule_name: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct LogGroup {
    pub(super) log_group: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Sql {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) database_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sanitized_query: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Cause {
    pub(super) working_directory: String,
    pub(super) exceptions: Vec<Exception>,
}

impl Cause {
    pub(super) fn of(exceptions: Vec<Exception>) -> Self {
        let here = std::env::current_dir().map(|here| here.display().to_string());
        let working_directory = super::cut(&here.unwrap_or_default(), super::LONGEST);
        Self { working_directory, exceptions }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Exception {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) class: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stack: Vec<StackFrame>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct StackFrame {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    pub(super) label: String,
}
