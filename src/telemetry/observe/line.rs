//! Records and log events as JSON lines: one flat object each, the same on the console and in log stores.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Array, KeyValue, Value};
use tracing::Level;

use super::conventions::ERROR_ID;
use super::identity::{AmznTraceId, hex_pairs};
use super::log::{EventId, LogEvent};
use super::record::{RequestRecord, Verdict};
use crate::digits;

/// Parts of a line with quotation marks between them.
macro_rules! marked {
    ($first:literal $(, $next:literal)*) => {
        Piece { plain: concat!($first $(, "\"", $next)*), quoted: concat!($first $(, "\\\"", $next)*) }
    };
}

/// `,"key":`, and where it is text, the mark that opens it; and before that the one that closes what is before, where
/// that is text as well. In one piece, because each is a look whether there is room.
macro_rules! key {
    ($key:literal) => {
        marked!(",", $key, ":")
    };
    ($key:literal text) => {
        marked!(",", $key, ":", "")
    };
    (text $key:literal text) => {
        marked!("", ",", $key, ":", "")
    };
}

/// ISO 8601 in UTC with microseconds: `2026-11-20T23:56:35.179053Z`. What is before 1970 is 1970, and years have four
/// digits, as all have that a clock shows.
#[must_use]
pub fn timestamp(time: SystemTime) -> [u8; 27] {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = [b'Z'; 27];
    text[..26].copy_from_slice(&digits::date_time(since.as_secs(), since.subsec_micros().into()));
    text
}

/// How grave a finished request is: the server's faults are errors, the client's warnings.
#[must_use]
pub fn level(record: &RequestRecord) -> Level {
    match record.verdict() {
        Verdict::ServerFault => Level::ERROR,
        Verdict::ClientError | Verdict::Throttled => Level::WARN,
        Verdict::Fine | Verdict::Abandoned => Level::INFO,
    }
}

/// The access line of a request, without a line break. Only access lines have a `status`.
#[must_use]
pub fn access_line(record: &RequestRecord) -> String {
    plain(|line| draw_access(record, line))
}

/// The same as a string within JSON, without the quotes around it: to draw it so is far cheaper than to quote it later,
/// for every seventh character is a quote.
pub fn quoted_access_line(record: &RequestRecord, into: &mut Vec<u8>) {
    draw_access(record, Line::<true> { out: into });
}

fn draw_access<const QUOTED: bool>(record: &RequestRecord, mut line: Line<'_, QUOTED>) {
    let (identity, request) = (record.identity(), record.request());
    let (method, route) = (request.method_label(), request.route.as_deref());
    let status = record.status.map(|status| status.as_u16());
    line.begin(record.ended(), level(record));
    // A token, which needs no escaping.
    line.raw(method);
    line.raw(" ");
    line.escape(route.unwrap_or("-"));
    line.raw(" ");
    line.raw(status_text(record));
    line.ids(record.event_id, Some((identity.trace_id, identity.span_id)));
    line.key(key!(text "method" text));
    line.raw(method);
    line.key(MARK);
    match route {
        Some(route) => line.text(key!("route" text), route),
        None => line.null(key!("route")),
    }
    line.text(key!("path" text), &request.path);
    match status {
        Some(status) => line.number(key!("status"), status),
        None => line.null(key!("status")),
    }
    line.milliseconds(key!("duration_ms"), record.duration);
    line.number(key!("bytes"), record.response_bytes);
    match &request.client_address {
        Some(client) => {
            line.key(key!("client" text));
            line.raw(client.as_str());
            line.key(key!(text "outcome" text));
        }
        None => {
            line.null(key!("client"));
            line.key(key!("outcome" text));
        }
    }
    line.raw(record.outcome.as_str());
    line.key(MARK);
    line.fields(&access_fields(record));
    line.raw("}");
}

/// What the application added to a request, and how it failed.
fn access_fields(record: &RequestRecord) -> Vec<KeyValue> {
    let mut fields = Vec::new();
    fields.extend(record.user.clone().map(|user| KeyValue::new("enduser.id", user)));
    fields.extend(record.error_id.map(|id| KeyValue::new(ERROR_ID, id.to_string())));
    if let Some(error) = super::conventions::exception(record) {
        fields.push(KeyValue::new("error.type", error.class.into_owned()));
        fields.push(KeyValue::new("error.message", error.message));
    }
    for own in &record.attributes {
        // An object has each key once; the observer knows better than the application.
        if !fields.iter().any(|known| known.key == own.key) {
            fields.push(own.clone());
        }
    }
    fields
}

fn status_text(record: &RequestRecord) -> &str {
    record.status.as_ref().map_or("-", StatusCode::as_str)
}

/// A log event as a line, without a line break.
#[must_use]
pub fn event_line(event: &LogEvent) -> String {
    plain(|line| draw_event(event, line))
}

/// The same as a string within JSON, without the quotes around it.
pub fn quoted_event_line(event: &LogEvent, into: &mut Vec<u8>) {
    draw_event(event, Line::<true> { out: into });
}

fn draw_event<const QUOTED: bool>(event: &LogEvent, mut line: Line<'_, QUOTED>) {
    line.begin(event.time, event.level);
    line.escape(&event.message);
    line.ids(event.event_id, event.span);
    line.key(MARK);
    line.fields(&event.fields);
    line.raw("}");
}

/// A line that stands by itself.
fn plain(draw: impl FnOnce(Line<'_, false>)) -> String {
    let mut text = Vec::with_capacity(512);
    draw(Line { out: &mut text });
    // Only text is put into it.
    String::from_utf8(text).unwrap_or_default()
}

/// A line in the making: a flat object whose keys need no escaping. It is put together by hand and in long pieces,
/// because two lines a request are what a derived serializer is too slow for.
///
/// `QUOTED` is whether it is within a string of JSON.
struct Line<'a, const QUOTED: bool> {
    out: &'a mut Vec<u8>,
}

/// A piece of a line that has quotation marks in it, as it is and as it is within a string of JSON.
#[derive(Clone, Copy)]
struct Piece {
    plain: &'static str,
    quoted: &'static str,
}

/// A quotation mark.
const MARK: Piece = marked!("", "");

impl<const QUOTED: bool> Line<'_, QUOTED> {
    /// All that is before the message's text.
    fn begin(&mut self, time: SystemTime, level: Level) {
        self.key(marked!("{", "time", ":", ""));
        self.out.extend_from_slice(&timestamp(time));
        self.key(key!(text "level" text));
        self.raw(level.as_str());
        self.key(key!(text "message" text));
    }

    /// What needs no escaping and no quoting.
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    // Inlined, so that the length is known where it is written.
    #[inline(always)]
    fn key(&mut self, key: Piece) {
        self.raw(if QUOTED { key.quoted } else { key.plain });
    }

    #[inline(always)]
    fn text(&mut self, key: Piece, text: &str) {
        self.key(key);
        self.escape(text);
        self.key(MARK);
    }

    #[inline(always)]
    fn null(&mut self, key: Piece) {
        self.key(key);
        self.raw("null");
    }

    /// The ids, between a text before them and one behind.
    fn ids(&mut self, event_id: EventId, span: Option<(TraceId, SpanId)>) {
        self.key(key!(text "event_id" text));
        self.out.extend_from_slice(&event_id.digits());
        let Some((trace_id, span_id)) = span else { return };
        self.key(key!(text "trace_id" text));
        self.out.extend_from_slice(hex_pairs(trace_id.to_bytes()).as_flattened());
        self.key(key!(text "xray_trace_id" text));
        self.out.extend_from_slice(&AmznTraceId(trace_id).digits());
        self.key(key!(text "span_id" text));
        self.out.extend_from_slice(hex_pairs(span_id.to_bytes()).as_flattened());
    }

    /// Attributes as an object, each value in its own type; none where there are none.
    fn fields(&mut self, fields: &[KeyValue]) {
        if fields.is_empty() {
            return;
        }
        self.key(key!("fields"));
        for (at, field) in fields.iter().enumerate() {
            self.raw(if at == 0 { "{" } else { "," });
            self.string(field.key.as_str());
            self.raw(":");
            match &field.value {
                Value::String(text) => self.string(text.as_str()),
                Value::I64(number) => self.raw(itoa::Buffer::new().format(*number)),
                other => self.json(&ruly(json(other).to_string())),
            }
        }
        self.raw("}");
    }

    #[inline(always)]
    fn number(&mut self, key: Piece, number: impl itoa::Integer) {
        self.key(key);
        self.raw(itoa::Buffer::new().format(number));
    }

    /// Milliseconds, to the nanosecond.
    fn milliseconds(&mut self, key: Piece, duration: Duration) {
        // Those of a thousand years fit.
        self.number(key, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let [a, b, c, d, e, f] = digits::six(duration.subsec_nanos().into());
        self.out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
    }

    fn string(&mut self, text: &str) {
        self.key(MARK);
        self.escape(text);
        self.key(MARK);
    }

    /// Text within quotes, on one line.
    fn escape(&mut self, text: &str) {
        if is_plain(text.as_bytes()) {
            return self.raw(text);
        }
        let mut json = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                '\n' => json.push_str("\\n"),
                '\r' => json.push_str("\\r"),
                '\t' => json.push_str("\\t"),
                c if is_unruly(c) => json.push_str(&escaped(c)),
                c => json.push(c),
            }
        }
        self.json(&json);
    }

    /// JSON, or a part of it.
    fn json(&mut self, json: &str) {
        if QUOTED {
            quote(json, self.out);
        } else {
            self.raw(json);
        }
    }
}

/// Whether it is printable ASCII without quotation mark and backslash, so that it needs no escaping anywhere.
#[must_use]
pub fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Eight bytes at once. A byte below `least` borrows from its high bit; what has the high bit itself is refused anyway.
    let below = |bytes: u64, least: u64| bytes.wrapping_sub(least * ONES) & !bytes;
    let is_not = |bytes: u64, byte: u8| below(bytes ^ (u64::from(byte) * ONES), 1);
    let odd = |bytes: u64| {
        let unprintable = bytes | below(bytes, 0x20) | is_not(bytes, 0x7f);
        (unprintable | is_not(bytes, b'"') | is_not(bytes, b'\\')) & HIGH
    };
    // The rest with what is before it, where there is enough of that, and some of them twice where there is not.
    if let Some(last) = bytes.last_chunk::<8>() {
        let (chunks, _) = bytes.as_chunks::<8>();
        let last = odd(u64::from_le_bytes(*last));
        return chunks.iter().fold(last, |all, chunk| all | odd(u64::from_le_bytes(*chunk))) == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return odd(u64::from(first) << 32 | u64::from(last)) == 0;
    }
    bytes.iter().all(|byte| odd(u64::from(*byte) * ONES) == 0)
}

/// Text as it is written in a string of JSON.
pub fn quote(text: &str, into: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        let (plain, marked) = rest.split_at_checked(at).unwrap_or_default();
        into.extend_from_slice(plain);
        let Some((mark, behind)) = marked.split_first() else { return };
        match mark {
            b'"' | b'\\' => into.extend_from_slice(&[b'\\', *mark]),
            control => into.extend_from_slice(escaped(char::from(*control)).as_bytes()),
        }
        rest = behind;
    }
    into.extend_from_slice(rest);
}

/// `\uXXXX`; all that is unruly is in the plane that this can say.
fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// An attribute's value in JSON, in its own type.
#[must_use]
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Array(Array::Bool(values)) => values.clone().into(),
        Value::Array(Array::I64(values)) => values.clone().into(),
        Value::Array(Array::F64(values)) => values.clone().into(),
        Value::Array(Array::String(values)) => values.iter().map(|value| value.as_str()).collect(),
        other => other.to_string().into(),
    }
}

/// Whether a terminal would act upon the character, or a reader of lines or of text be misled by it: controls of
/// both sets, the separators of lines and paragraphs, marks that change the direction of reading.
#[must_use]
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// Text with its unruly characters escaped: what a client sends must not move the cursor of who reads along, nor begin a
/// line.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unruly) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if is_unruly(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
        clean
    });
    Cow::Owned(escaped)
}

/// JSON with its unruly characters as `\uXXXX`: they stand in strings only, and JSON itself has just those below
/// U+0020 escaped.
#[must_use]
pub fn ruly(json: String) -> String {
    if !json.contains(is_unruly) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len() + 16), |mut ruly, c| {
        if is_unruly(c) {
            ruly.push_str(&escaped(c));
        } else {
            ruly.push(c);
        }
        ruly
    })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::super::log::EventId;
    use super::*;

    fn event(message: &str, fields: Vec<KeyValue>) -> LogEvent {
        LogEvent {
            time: SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_042),
            level: Level::INFO,
            target: "here",
            message: message.to_owned(),
            fields,
            event_id: EventId::next(),
            span: None,
            in_tracing_span: false,
            on_console: true,
            report: false,
        }
    }

    #[test]
    fn a_timestamp_has_microseconds_and_names_utc() {
        assert_eq!(&timestamp(event("", Vec::new()).time), b"2023-11-14T22:13:20.000042Z");
    }

    proptest! {
        #[test]
        fn plain_is_what_needs_no_escaping(text in "[ -~\u{0}-\u{ff}]{0,40}") {
            let plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
            prop_assert_eq!(is_plain(text.as_bytes()), text.bytes().all(plain));
        }
    }

    #[test]
    fn every_byte_is_plain_or_not_wherever_it_stands() {
        for (byte, place) in (0..=0x7f_u8).flat_map(|byte| (0..20).map(move |place| (byte, place))) {
            let mut text = [b'a'; 20];
            text[place] = byte;
            let expected = (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
            assert_eq!(is_plain(&text), expected, "{byte:#x} at {place}");
        }
        assert!(!is_plain("é".as_bytes()));
    }

    #[test]
    fn durations_are_milliseconds() {
        for (nanos, expected) in [(0, "0.000000"), (5_000_000, "5.000000"), (1_234_567_890, "1234.567890")] {
            let text = plain(|mut line| line.milliseconds(key!("d"), Duration::from_nanos(nanos)));
            assert_eq!(text, format!(",\"d\":{expected}"));
        }
    }

    proptest! {
        #[test]
        fn a_timestamp_is_what_chrono_says(seconds in 0..253_402_300_800_u64, nanos in 0..1_000_000_000_u32) {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            let expected = DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            let written = timestamp(time);
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_line_is_the_line(message in ".*", key in "[a-z\"\\\\]{1,9}", text in ".*", ratio: f64) {
            let mut event = event(&message, vec![KeyValue::new(key, text), KeyValue::new("ratio", ratio)]);
            event.span = Some((TraceId::from(7), SpanId::from(8)));
            let mut quoted = b"\"".to_vec();
            quoted_event_line(&event, &mut quoted);
            quoted.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), event_line(&event));
        }
    }

    #[test]
    fn an_event_outside_of_requests_has_no_ids_and_no_empty_fields() {
        let event = event("hello", Vec::new());
        let expected = format!(
            r#"{{"time":"2023-11-14T22:13:20.000042Z","level":"INFO","message":"hello","event_id":"{}"}}"#,
            event.event_id
        );
        assert_eq!(event_line(&event), expected);
    }

    #[test]
    fn every_field_keeps_its_type() {
        let fields = vec![
            KeyValue::new("bool", true),
            KeyValue::new("count", 3),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("not.a.number", f64::NAN),
            KeyValue::new("text", "a\"b"),
            KeyValue::new("bools", Value::Array(Array::Bool(vec![true]))),
            KeyValue::new("counts", Value::Array(Array::I64(vec![1, 2]))),
            KeyValue::new("ratios", Value::Array(Array::F64(vec![0.5]))),
            KeyValue::new("texts", Value::Array(Array::String(vec!["a".into()]))),
        ];
        let line = event_line(&event("", fields));
        let fields = line.split_once(r#""fields":"#).unwrap().1;
        assert_eq!(
            fields,
            r#"{"bool":true,"count":3,"ratio":0.5,"not.a.number":null,"text":"a\"b","bools":[true],"counts":[1,2],"ratios":[0.5],"texts":["a"]}}"#
        );
    }

    #[test]
    fn unruly_characters_are_escaped_and_others_left_alone() {
        assert!(matches!(one_line("é 🖖 %0d"), Cow::Borrowed("é 🖖 %0d")));
        assert_eq!(one_line("a\r\n\u{1b}[2J\u{7f}\u{9b}\u{202e}"), r"a\r\n\u{1b}[2J\u{7f}\u{9b}\u{202e}");
    }

    #[test]
    fn unruly_characters_are_escaped_and_mean_the_same() {
        let message = "\0\u{7}\n\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{202e}\u{2066} é 🖖";
        let line = event_line(&event(message, vec![KeyValue::new("k\u{9b}", message)]));
        assert!(!line.contains(is_unruly), "{line:?}");
        assert!(line.contains("é 🖖"), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["message"], &read["fields"]["k\u{9b}"]), (&message.into(), &message.into()));
    }
}
