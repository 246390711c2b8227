//! Lines, drawn from records and log events by pure functions.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tracing::Level;

use crate::config::LineFormat;
use crate::telemetry::delivery::{Mark, Rank};
use crate::telemetry::observe::line::{self, one_line};
use crate::telemetry::observe::{Address, LogEvent, RequestRecord, Verdict, attributes_weight};

/// What one event takes of a call beside its text, in bytes, by the API's model (2014-03-28).
pub(super) const OVERHEAD: usize = 26;
/// The longest text of an event, in bytes: 256 KiB by the older pages, 1 MiB by the newer, less the overhead. What is
/// within the smaller is within both.
const LONGEST: usize = 256 * 1024 - OVERHEAD;
/// What is around an event's text in a call, beyond its [`OVERHEAD`], in bytes.
const EVENT_FRAME: usize = 32;
/// What an event takes in memory beside its texts.
const FRAME: usize = 640;
/// How many times larger in memory than as a line a home request is with its log event, roughly.
pub(super) const SHARE: usize = 3;
/// What is said in place of a line that CloudWatch refuses.
const REFUSED: &str = "CloudWatch refused this line";
/// Marks where something was cut out.
const CUT: &str = "…[truncated]";

/// What becomes a line.
#[derive(Debug)]
pub(super) enum Item {
    Request(Arc<RequestRecord>),
    Event(Arc<LogEvent>),
    /// What either has become, and what it is worth.
    Drawn(Line, Rank),
}

/// What a line is drawn from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Request(&'a RequestRecord),
    Event(&'a LogEvent),
}

impl Source<'_> {
    /// What is known of its line beside the text.
    pub(super) fn mark(self) -> Mark {
        let (time, event_id) = match self {
            Self::Request(record) => (record.ended(), record.event_id),
            Self::Event(event) => (event.time, event.event_id),
        };
        Mark { rank: self.rank(), millis: millis(time), turn: event_id.number() }
    }

    fn rank(self) -> Rank {
        match self {
            Self::Request(record) if record.verdict() == Verdict::Fine => Rank::Routine,
            Self::Event(event) if event.level >= Level::DEBUG => Rank::Detail,
            Self::Request(_) | Self::Event(_) => Rank::Notable,
        }
    }
}

impl Item {
    fn source(&self) -> Option<Source<'_>> {
        match self {
            Self::Request(record) => Some(Source::Request(record)),
            Self::Event(event) => Some(Source::Event(event)),
            Self::Drawn(..) => None,
        }
    }

    fn line(&self) -> Option<&Line> {
        if let Self::Drawn(line, _) = self { Some(line) } else { None }
    }
}

/// What lines look like.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) format: LineFormat,
    /// What makes access lines metrics too.
    pub(super) metrics: Option<Metrics>,
}

/// Where metrics belong.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) environment: String,
}

/// An event as the API takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// What came before what within a millisecond: views may be told later than what follows. 0 for what has been on disk,
    /// which stays in the order that it was written in.
    pub(super) turn: u64,
    /// 1 to [`LONGEST`] bytes on one line, as they are written in a string of JSON.
    pub(super) quoted: Bytes,
}

impl Line {
    fn new(timestamp: i64, turn: u64, message: &str) -> Self {
        let mut quoted = Vec::with_capacity(message.len() + message.len() / 4);
        line::quote(message, &mut quoted);
        Self { timestamp, turn, quoted: quoted.into() }
    }

    /// The text itself.
    fn message(&self) -> String {
        // What is quoted here is a string of JSON.
        serde_json::from_slice(&[b"\"", &self.quoted[..], b"\""].concat()).unwrap_or_default()
    }

    /// What it takes of a call's size at most, in bytes; without the quoting it is about a fifth less.
    pub(super) fn size(&self) -> usize {
        self.quoted.len() + OVERHEAD
    }
}

/// Draws what is not drawn yet.
pub(super) fn draw(item: Item, form: &Form) -> Item {
    let Some(source) = item.source() else { return item };
    let (mark, mut quoted) = (source.mark(), Vec::new());
    if draw_quoted(source, form, &mut quoted) {
        return gathered(quoted.into(), mark);
    }
    Item::Drawn(Line::new(mark.millis, mark.turn, &message(source, form)), mark.rank)
}

/// Appends a line of JSON as it will be in a string of JSON, which most are drawn as without a detour; says whether this
/// is one.
pub(super) fn draw_quoted(source: Source<'_>, form: &Form, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    match (source, form.format) {
        (Source::Request(record), LineFormat::Json) if form.metrics.is_none() => {
            line::quoted_access_line(record, out);
        }
        (Source::Event(event), LineFormat::Json) => line::quoted_event_line(event, out),
        _ => return false,
    }
    out.len() - begin <= LONGEST
}

/// What [`draw_quoted`] has appended.
pub(super) fn gathered(quoted: Bytes, Mark { rank, millis, turn }: Mark) -> Item {
    Item::Drawn(Line { timestamp: millis, turn, quoted }, rank)
}

/// The lines of a call, which have to be in the order of their times.
pub(super) fn lines(items: &[Item]) -> Vec<&Line> {
    let mut lines = Vec::with_capacity(items.len());
    lines.extend(items.iter().filter_map(Item::line));
    lines.sort_by_key(|line: &&Line| (line.timestamp, line.turn));
    lines
}

/// What is sent in place of a line that was refused: nobody can object to it, and whoever looks for the line finds it.
pub(super) fn in_place_of(item: &Item, now: SystemTime) -> Line {
    let refused = item.line().and_then(|line| serde_json::from_str(&line.message()).ok());
    let message = refused.map_or_else(|| REFUSED.to_owned(), |line: Value| identified(&line, REFUSED));
    Line::new(millis(now), 0, &message)
}

/// The body of a call. It is written here because the SDK takes longer to write one than all else that is done to lines;
/// it signs and sends what it is given.
pub(super) fn body(group: &str, stream: &str, lines: &[&Line]) -> Vec<u8> {
    let names = 2 * (group.len() + stream.len());
    let length: usize = lines.iter().map(|line| line.size() + EVENT_FRAME).sum();
    let mut body = Vec::with_capacity(FRAME + names + length);
    body.extend_from_slice(b"{\"logGroupName\":\"");
    line::quote(group, &mut body);
    body.extend_from_slice(b"\",\"logStreamName\":\"");
    line::quote(stream, &mut body);
    body.extend_from_slice(b"\",\"logEvents\":[");
    for (at, Line { timestamp, quoted, .. }) in lines.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"{\"timestamp\":" } else { b",{\"timestamp\":" });
        body.extend_from_slice(itoa::Buffer::new().format(*timestamp).as_bytes());
        body.extend_from_slice(b",\"message\":\"");
        body.extend_from_slice(quoted);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body
}

/// How much an item takes in memory, in bytes and by estimate. Its line is shorter by [`SHARE`], as a rule.
pub(super) fn weight(item: &Item) -> usize {
    match item {
        Item::Request(record) => record.weight(),
        Item::Event(event) => FRAME + event.message.len() + attributes_weight(&event.fields),
        Item::Drawn(line, _) => SHARE * line.size(),
    }
}

/// An item as it is written to disk: its time, little endian, and its text.
pub(super) fn encode(item: &Item, into: &mut Vec<u8>) {
    let Item::Drawn(Line { timestamp, quoted, .. }, _) = item else { return };
    into.extend_from_slice(&timestamp.to_le_bytes());
    into.extend_from_slice(quoted);
}

/// What [`encode`] has written.
pub(super) fn decode(bytes: &[u8]) -> Option<Item> {
    let (timestamp, quoted) = bytes.split_first_chunk()?;
    let quoted = std::str::from_utf8(quoted).ok().filter(|quoted| !quoted.is_empty())?;
    let line = Line { timestamp: i64::from_le_bytes(*timestamp), turn: 0, quoted: quoted.to_owned().into() };
    Some(Item::Drawn(line, Rank::Notable))
}

/// What an item is worth when there is not room for all.
pub(super) fn rank(item: &Item) -> Rank {
    match item {
        Item::Request(record) => Source::Request(record).rank(),
        Item::Event(event) => Source::Event(event).rank(),
        Item::Drawn(_, rank) => *rank,
    }
}

/// The text of a line, of [`LONGEST`] bytes at most.
fn message(source: Source<'_>, form: &Form) -> String {
    let message = match (source, form.format) {
        (Source::Request(record), LineFormat::Json) => access_json(record, form),
        (Source::Request(record), LineFormat::Classic) => classic_access(record),
        (Source::Event(event), LineFormat::Json) => line::event_line(event),
        (Source::Event(event), LineFormat::Classic) => classic_event(event),
    };
    match form.format {
        _ if message.len() <= LONGEST => message,
        LineFormat::Json => shortened_json(&message, LONGEST),
        LineFormat::Classic => shortened(&message, LONGEST),
    }
}

/// Since 1970; what is before is 1970, as all clocks have it that show no time.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_secs().saturating_mul(1000).saturating_add(since.subsec_millis().into());
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn access_json(record: &RequestRecord, form: &Form) -> String {
    let line = line::access_line(record);
    match (&form.metrics, line.strip_suffix('}')) {
        // Members of the same object, whose own names are all lower case.
        (Some(metrics), Some(open)) => format!("{open},{}}}", embedded_metrics(record, metrics)),
        _ => line,
    }
}

/// The members that make a line a metric, by the embedded metric format. `Route` is the template and never the path,
/// because each value is a metric that is paid for.
fn embedded_metrics(record: &RequestRecord, metrics: &Metrics) -> String {
    let fault = u8::from(record.verdict() == Verdict::ServerFault);
    let members = json!({
        "_aws": {
            "Timestamp": millis(record.ended()),
            "CloudWatchMetrics": [{
                "Namespace": metrics.namespace,
                "Dimensions": [["Service", "Environment", "Route"]],
                "Metrics": [
                    {"Name": "Latency", "Unit": "Milliseconds"},
                    {"Name": "Count", "Unit": "Count"},
                    {"Name": "Faults", "Unit": "Count"},
                ],
            }],
        },
        "Service": metrics.service,
        "Environment": metrics.environment,
        "Route": record.request().route.as_deref().unwrap_or("(none)"),
        "Latency": record.duration.as_secs_f64() * 1e3,
        "Count": 1,
        "Faults": fault,
    });
    let text = members.to_string();
    text.trim_start_matches('{').strip_suffix('}').unwrap_or_default().to_owned()
}

/// `[2026-Nov-20 23:55] 127.0.0.1 GET http /api/activities/home 200 OK`, with the query where there is one.
fn classic_access(record: &RequestRecord) -> String {
    let request = record.request();
    let time = DateTime::<Utc>::from(record.ended()).format("[%Y-%b-%d %H:%M]");
    let client = request.client_address.as_ref().map_or("-", Address::as_str);
    let (method, scheme, path) = (&request.method, request.scheme.as_str(), &request.path);
    let query = request.query.iter().filter(|query| !query.is_empty());
    let query: String = query.flat_map(|query| ["?", query]).collect();
    let status = match record.status {
        // With the reason, where there is one.
        Some(status) => status.to_string().trim_end_matches(" <unknown status code>").to_owned(),
        None => format!("- {}", record.outcome.as_str()),
    };
    one_line(&format!("{time} {client} {method} {scheme} {path}{query} {status}")).into_owned()
}

/// The message and what comes with it, as words.
fn classic_event(event: &LogEvent) -> String {
    let mut text = if event.message.is_empty() { event.target.to_owned() } else { event.message.clone() };
    for field in &event.fields {
        write!(text, " {}={}", field.key, field.value.as_str()).ok();
    }
    if let Some((trace_id, span_id)) = event.span {
        write!(text, " trace_id={trace_id} span_id={span_id}").ok();
    }
    one_line(&text).into_owned()
}

/// Text of at most `most` bytes, cut between characters.
fn shortened(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most.saturating_sub(CUT.len()));
    text.get(..end).unwrap_or_default().to_owned() + CUT
}

/// JSON of at most `most` bytes that is still JSON: the longest of its strings is cut, and again, until it fits.
fn shortened_json(text: &str, most: usize) -> String {
    /// Ids and times are within it.
    const SHORT: usize = 256;
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return shortened(text, most) };
    loop {
        let json = line::ruly(value.to_string());
        let Some(excess) = json.len().checked_sub(most).filter(|excess| *excess > 0) else { return json };
        let Some(longest) = longest_string(&mut value).filter(|longest| longest.len() > SHORT) else {
            // Nothing but names and numbers, hundreds of kilobytes of them.
            return identified(&value, CUT);
        };
        // What is escaped takes more room on the line than here, so that this may take several rounds.
        let target = longest.len().saturating_sub(excess).max(longest.len() / 2);
        *longest = shortened(longest, target);
    }
}

/// What identifies a line, which is all ours, and another message.
fn identified(line: &Value, message: &str) -> String {
    const NEEDED: [&str; 6] = ["time", "level", "event_id", "trace_id", "xray_trace_id", "span_id"];
    let kept = NEEDED.into_iter().filter_map(|key| Some((key.to_owned(), line.get(key)?.clone())));
    let message = ("message".to_owned(), Value::from(message));
    Value::Object(kept.chain([message]).collect()).to_string()
}

fn longest_string(value: &mut Value) -> Option<&mut String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(values) => values.iter_mut().filter_map(longest_string).max_by_key(|text| text.len()),
        Value::Object(members) => {
            members.values_mut().filter_map(longest_string).max_by_key(|text| text.len())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests;
