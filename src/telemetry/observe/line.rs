//! Records and log events as JSON lines: one flat object each, the same on the console and in log stores.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Array, KeyValue, Value};
use tracing::Level;

use super::conventions::{ERROR_ID, address};
use super::identity::hex_pairs;
use super::log::{EventId, LogEvent};
use super::record::{RequestRecord, Verdict};

/// ISO 8601 in UTC with microseconds: `2026-11-20T23:56:35.179053Z`. What is before 1970 is 1970, and years have four
/// digits, as all have that a clock shows.
#[must_use]
pub fn timestamp(time: SystemTime) -> [u8; 27] {
    const DAY: u64 = 86_400;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    write_digits(&mut text[..4], year);
    write_digits(&mut text[5..7], month);
    write_digits(&mut text[8..10], day);
    write_digits(&mut text[11..13], second / 3600);
    write_digits(&mut text[14..16], second / 60 % 60);
    write_digits(&mut text[17..19], second % 60);
    write_digits(&mut text[20..26], since.subsec_micros().into());
    text
}

/// Year, month and day, by the days since 1970: Howard Hinnant's `civil_from_days`, whose years begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since / ERA, since % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_month)
}

/// The last digits of a number, as many as there is room for.
fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A number with zeros in front, `WIDTH` digits in all.
pub(super) fn digits<const WIDTH: usize>(text: &mut String, number: u64) {
    let mut digits = [0; WIDTH];
    write_digits(&mut digits, number);
    text.push_str(ascii(&digits));
}

/// Text that is known to be some.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
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
    draw_access(record, Line::plain())
}

/// The same as a string within JSON, without the quotes around it: to draw it so is far cheaper than to quote it later,
/// for every seventh character is a quote.
#[must_use]
pub fn quoted_access_line(record: &RequestRecord) -> String {
    draw_access(record, Line::quoted())
}

fn draw_access(record: &RequestRecord, mut line: Line) -> String {
    let (identity, request) = (record.identity(), record.request());
    let (method, route) = (request.method_label(), request.route.as_deref());
    let status = record.status.map(|status| status.as_u16());
    line.begin(record.ended(), level(record));
    line.key("message");
    line.mark();
    for (blank, part) in [("", method), (" ", route.unwrap_or("-")), (" ", status_text(record))] {
        line.raw(blank);
        line.escape(part);
    }
    line.mark();
    line.ids(record.event_id, Some((identity.trace_id, identity.span_id)));
    line.text("method", method);
    line.optional("route", route);
    line.text("path", &request.path);
    line.key("status");
    match status {
        Some(status) => line.number(status),
        None => line.raw("null"),
    }
    line.milliseconds("duration_ms", record.duration);
    line.key("bytes");
    line.number(record.response_bytes);
    let client = request.client_address.map(address);
    line.optional("client", client.as_deref());
    line.text("outcome", record.outcome.as_str());
    line.fields(&access_fields(record));
    line.end()
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
    draw_event(event, Line::plain())
}

/// The same as a string within JSON, without the quotes around it.
#[must_use]
pub fn quoted_event_line(event: &LogEvent) -> String {
    draw_event(event, Line::quoted())
}

fn draw_event(event: &LogEvent, mut line: Line) -> String {
    line.begin(event.time, event.level);
    line.text("message", &event.message);
    line.ids(event.event_id, event.span);
    line.fields(&event.fields);
    line.end()
}

/// A line in the making: a flat object whose keys need no escaping. It is put together by hand, because two lines a
/// request are what a derived serializer is too slow for.
struct Line {
    text: String,
    /// A quotation mark, as it is written here.
    mark: &'static str,
}

impl Line {
    fn plain() -> Self {
        Self { text: String::with_capacity(512), mark: "\"" }
    }

    fn quoted() -> Self {
        Self { text: String::with_capacity(768), mark: "\\\"" }
    }

    fn begin(&mut self, time: SystemTime, level: Level) {
        self.raw("{");
        self.member("time", ascii(&timestamp(time)));
        self.raw(",");
        self.member("level", level.as_str());
    }

    fn end(mut self) -> String {
        self.raw("}");
        self.text
    }

    /// What needs no escaping and no quoting.
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn mark(&mut self) {
        self.text.push_str(self.mark);
    }

    /// A key and text that both need no escaping.
    fn member(&mut self, key: &str, text: &str) {
        for piece in [self.mark, key, self.mark, ":", self.mark, text, self.mark] {
            self.text.push_str(piece);
        }
    }

    fn key(&mut self, key: &str) {
        for piece in [",", self.mark, key, self.mark, ":"] {
            self.text.push_str(piece);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        self.key(key);
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    fn ids(&mut self, event_id: EventId, span: Option<(TraceId, SpanId)>) {
        self.key("event_id");
        self.mark();
        event_id.write(&mut self.text);
        self.mark();
        let Some((trace_id, span_id)) = span else { return };
        let (trace_id, span_id) = (hex_pairs(trace_id.to_bytes()), hex_pairs(span_id.to_bytes()));
        let (trace_id, span_id) = (ascii(trace_id.as_flattened()), ascii(span_id.as_flattened()));
        let (epoch, rest) = trace_id.split_at_checked(8).unwrap_or_default();
        self.raw(",");
        self.member("trace_id", trace_id);
        self.key("xray_trace_id");
        for piece in [self.mark, "1-", epoch, "-", rest, self.mark, ","] {
            self.text.push_str(piece);
        }
        self.member("span_id", span_id);
    }

    /// Attributes as an object, each value in its own type; none where there are none.
    fn fields(&mut self, fields: &[KeyValue]) {
        if fields.is_empty() {
            return;
        }
        self.key("fields");
        for (at, field) in fields.iter().enumerate() {
            self.raw(if at == 0 { "{" } else { "," });
            self.string(field.key.as_str());
            self.raw(":");
            match &field.value {
                Value::String(text) => self.string(text.as_str()),
                Value::I64(number) => self.number(*number),
                other => self.json(&ruly(json(other).to_string())),
            }
        }
        self.raw("}");
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.raw(itoa::Buffer::new().format(number));
    }

    /// Milliseconds, to the nanosecond.
    fn milliseconds(&mut self, key: &str, duration: Duration) {
        self.key(key);
        self.number(duration.as_millis());
        self.raw(".");
        digits::<6>(&mut self.text, u64::from(duration.subsec_nanos() % 1_000_000));
    }

    fn string(&mut self, text: &str) {
        self.mark();
        self.escape(text);
        self.mark();
    }

    /// Text within quotes, on one line.
    fn escape(&mut self, text: &str) {
        // Without a branch for each byte, so that many are looked at at once.
        let plain = |byte: u8| (b' '..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
        if text.bytes().fold(true, |all, byte| all & plain(byte)) {
            return self.raw(text);
        }
        let mut escaped = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            match c {
                '"' => escaped.push_str("\\\""),
                '\\' => escaped.push_str("\\\\"),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                c if is_unruly(c) => push_escaped(&mut escaped, c),
                c => escaped.push(c),
            }
        }
        self.json(&escaped);
    }

    /// JSON, or a part of it.
    fn json(&mut self, json: &str) {
        if self.mark == "\"" {
            self.raw(json);
        } else {
            quote(json, &mut self.text);
        }
    }
}

/// Text as it is written in a string of JSON.
pub fn quote(text: &str, into: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || matches!(c, '"' | '\\')) {
        let (plain, marked) = rest.split_at_checked(at).unwrap_or_default();
        into.push_str(plain);
        let mut marked = marked.chars();
        match marked.next() {
            Some(mark @ ('"' | '\\')) => into.extend(['\\', mark]),
            Some(control) => push_escaped(into, control),
            None => {}
        }
        rest = marked.as_str();
    }
    into.push_str(rest);
}

/// `\uXXXX`; all that is unruly is in the plane that this can say.
fn push_escaped(text: &mut String, c: char) {
    text.push_str(&format!("\\u{:04x}", u32::from(c)));
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
    json.chars().fold(String::with_capacity(json.len() + 16), |mut escaped, c| {
        if is_unruly(c) {
            push_escaped(&mut escaped, c);
        } else {
            escaped.push(c);
        }
        escaped
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
        assert_eq!(ascii(&timestamp(event("", Vec::new()).time)), "2023-11-14T22:13:20.000042Z");
    }

    #[test]
    fn durations_are_milliseconds() {
        for (nanos, expected) in [(0, "0.000000"), (5_000_000, "5.000000"), (1_234_567_890, "1234.567890")] {
            let mut line = Line::plain();
            line.milliseconds("d", Duration::from_nanos(nanos));
            assert_eq!(line.text, format!(",\"d\":{expected}"));
        }
    }

    proptest! {
        #[test]
        fn a_timestamp_is_what_chrono_says(seconds in 0..253_402_300_800_u64, nanos in 0..1_000_000_000_u32) {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            let expected = DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            let written = timestamp(time);
            prop_assert_eq!(ascii(&written), expected);
        }
    }

    proptest! {
        #[test]
        fn a_quoted_line_is_the_line(message in ".*", key in "[a-z\"\\\\]{1,9}", text in ".*", ratio: f64) {
            let mut event = event(&message, vec![KeyValue::new(key, text), KeyValue::new("ratio", ratio)]);
            event.span = Some((TraceId::from(7), SpanId::from(8)));
            let quoted = format!("\"{}\"", quoted_event_line(&event));
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), event_line(&event));
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
