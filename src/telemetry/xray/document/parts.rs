//! The parts of a segment document, in the order in which they are written: the daemon looks for `id` and
//! `trace_id` before anything nested.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{Json, Object};

/// A segment or a subsegment.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) trace_id: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) kind: Option<&'static str>,
    pub(super) name: String,
    pub(super) start_time: f64,
    pub(super) end_time: f64,
    pub(super) namespace: Option<&'static str>,
    pub(super) service: Option<Service>,
    pub(super) user: Option<String>,
    pub(super) origin: Option<&'static str>,
    pub(super) http: Option<Http>,
    pub(super) error: Option<bool>,
    pub(super) throttle: Option<bool>,
    pub(super) fault: Option<bool>,
    pub(super) aws: Option<Aws>,
    pub(super) sql: Option<Sql>,
    pub(super) annotations: BTreeMap<String, Value>,
    pub(super) metadata: Metadata,
    pub(super) cause: Option<Cause>,
    pub(super) subsegments: Vec<Document>,
}

impl Json for Document {
    fn write(&self, out: &mut Vec<u8>) {
        let Self {
            id,
            trace_id,
            parent_id,
            kind,
            name,
            start_time,
            end_time,
            namespace,
            service,
            user,
            origin,
            http,
            error,
            throttle,
            fault,
            aws,
            sql,
            annotations,
            metadata,
            cause,
            subsegments,
        } = self;
        Object::open(out)
            .field("id", id)
            .field("trace_id", trace_id)
            .field("parent_id", parent_id)
            .field("type", kind)
            .field("name", name)
            .field("start_time", start_time)
            .field("end_time", end_time)
            .field("namespace", namespace)
            .field("service", service)
            .field("user", user)
            .field("origin", origin)
            .field("http", http)
            .field("error", error)
            .field("throttle", throttle)
            .field("fault", fault)
            .field("aws", aws)
            .field("sql", sql)
            .field("annotations", annotations)
            .field("metadata", metadata)
            .field("cause", cause)
            .field("subsegments", subsegments)
            .close();
    }
}

/// Values by namespace and key.
pub(super) type Metadata = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) version: String,
    pub(super) runtime: &'static str,
}

impl Json for Service {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { version, runtime } = self;
        Object::open(out).field("version", version).field("runtime", runtime).close();
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Http {
    pub(super) request: Option<Request>,
    pub(super) response: Option<Response>,
}

impl Json for Http {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { request, response } = self;
        Object::open(out).field("request", request).field("response", response).close();
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) client_ip: Option<String>,
    pub(super) x_forwarded_for: Option<bool>,
}

impl Json for Request {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { method, url, user_agent, client_ip, x_forwarded_for } = self;
        Object::open(out)
            .field("method", method)
            .field("url", url)
            .field("user_agent", user_agent)
            .field("client_ip", client_ip)
            .field("x_forwarded_for", x_forwarded_for)
            .close();
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Response {
    pub(super) status: Option<i64>,
    pub(super) content_length: Option<u64>,
}

impl Json for Response {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { status, content_length } = self;
        Object::open(out).field("status", status).field("content_length", content_length).close();
    }
}

/// What is known of AWS around a segment or in a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Aws {
    pub(super) account_id: Option<String>,
    pub(super) xray: Option<SdkInfo>,
    pub(super) cloudwatch_logs: Vec<LogGroup>,
    pub(super) ec2: BTreeMap<&'static str, String>,
    pub(super) ecs: BTreeMap<&'static str, String>,
    pub(super) operation: Option<String>,
    pub(super) region: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Json for Aws {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { account_id, xray, cloudwatch_logs, ec2, ecs, operation, region, request_id } = self;
        Object::open(out)
            .field("account_id", account_id)
            .field("xray", xray)
            .field("cloudwatch_logs", cloudwatch_logs)
            .field("ec2", ec2)
            .field("ecs", ecs)
            .field("operation", operation)
            .field("region", region)
            .field("request_id", request_id)
            .close();
    }
}

#[derive(Debug, Clone)]
pub(super) struct SdkInfo {
    pub(super) sdk: &'static str,
    pub(super) sdk_version: &'static str,
    pub(super) sampling_rule_name: Option<String>,
}

impl Json for SdkInfo {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { sdk, sdk_version, sampling_rule_name } = self;
        Object::open(out)
            .field("sdk", sdk)
            .field("sdk_version", sdk_version)
            .field("sampling_rule_name", sampling_rule_name)
            .close();
    }
}

#[derive(Debug, Clone)]
pub(super) struct LogGroup {
    pub(super) log_group: String,
}

impl Json for LogGroup {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { log_group } = self;
        Object::open(out).field("log_group", log_group).close();
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) url: Option<String>,
    pub(super) database_type: Option<String>,
    pub(super) user: Option<String>,
    pub(super) sanitized_query: Option<String>,
}

impl Json for Sql {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { url, database_type, user, sanitized_query } = self;
        Object::open(out)
            .field("url", url)
            .field("database_type", database_type)
            .field("user", user)
            .field("sanitized_query", sanitized_query)
            .close();
    }
}

#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) working_directory: String,
    pub(super) exceptions: Vec<Exception>,
}

impl Json for Cause {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { working_directory, exceptions } = self;
        Object::open(out)
            .field("working_directory", working_directory)
            .field("exceptions", exceptions)
            .close();
    }
}

impl Cause {
    pub(super) fn of(exceptions: Vec<Exception>) -> Self {
        let here = std::env::current_dir().map(|here| here.display().to_string());
        let working_directory = super::cut(&here.unwrap_or_default(), super::LONGEST);
        Self { working_directory, exceptions }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Exception {
    pub(super) id: String,
    pub(super) class: String,
    pub(super) message: String,
    pub(super) cause: Option<String>,
    pub(super) stack: Vec<StackFrame>,
}

impl Json for Exception {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { id, class, message, cause, stack } = self;
        Object::open(out)
            .field("id", id)
            .field("type", class)
            .field("message", message)
            .field("cause", cause)
            .field("stack", stack)
            .close();
    }
}

#[derive(Debug, Clone)]
pub(super) struct StackFrame {
    pub(super) path: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) label: String,
}

impl Json for StackFrame {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { path, line, label } = self;
        Object::open(out).field("path", path).field("line", line).field("label", label).close();
    }
}
