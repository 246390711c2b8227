//! Records and log events as text.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use opentelemetry::trace::{SpanId, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use tracing::Level;

use super::Format;
use super::exporter::Item;
use crate::telemetry::observe::line::{self, one_line};
use crate::telemetry::observe::{LogEvent, Outcome, RequestRecord, Stage, Verdict, conventions};

/// The longest field that a tree shows, in characters; the backends have the rest.
const LONGEST_FIELD: usize = 160;
/// How many generations of spans a tree shows.
const DEEPEST: usize = 24;

/// The text of one item, with its line breaks.
pub(super) fn render(item: &Item, format: Format) -> String {
    let paint = Paint { colour: format == Format::Pretty };
    match (item, format) {
        (Item::Record(record), Format::Json) => line::access_line(record) + "\n",
        (Item::Event(event), Format::Json) => line::event_line(event) + "\n",
        (Item::Record(record), _) => tree(record, paint),
        (Item::Event(event), _) => {
            let time = paint.dim(&clock(event.time));
            format!("{time} {}\n", event_text(event, paint))
        }
    }
}

/// A finished request: a line for the whole, below it what happened inside, in the order of its beginnings.
fn tree(record: &RequestRecord, paint: Paint) -> String {
    let mut text = headline(record, paint);
    let mut family = Family::of(record);
    let mut nodes = family.take(record.identity().span_id);
    nodes.extend(conventions::exception(record).map(Node::Exception));
    branches(nodes, &mut family, "", paint, &mut text);
    let dropped = [("spans", record.dropped_spans), ("log events", record.dropped_events)];
    for (what, count) in dropped.into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&paint.of(AnsiColor::Yellow, &format!("   {count} more {what} not kept\n")));
    }
    text
}

/// `12:00:00.123 GET /api/activities/{uuid} 404 in 312 µs completed, 65 B · trace … (/api/activities/x?y=z)`
fn headline(record: &RequestRecord, paint: Paint) -> String {
    let (identity, request) = (record.identity(), record.request());
    let colour = match record.verdict() {
        Verdict::Fine => AnsiColor::Green,
        Verdict::ClientError | Verdict::Throttled => AnsiColor::Yellow,
        Verdict::ServerFault => AnsiColor::Red,
        Verdict::Abandoned => AnsiColor::Magenta,
    };
    let status = record.status.map_or_else(|| "---".to_owned(), |status| status.as_u16().to_string());
    let outcome = match record.outcome {
        Outcome::Cancelled(Stage::Head) => "cancelled before the response",
        Outcome::Cancelled(Stage::Body) => "cancelled within the response",
        outcome => outcome.as_str(),
    };
    let mut target = one_line(&request.path).into_owned();
    if let Some(query) = &request.query {
        target = format!("{target}?{}", one_line(query));
    }
    let route = request.route.as_deref().unwrap_or("(no route)");
    let raw = if target == route { String::new() } else { format!(" {target}") };
    format!(
        "{} {} {} {} {}{}\n",
        paint.dim(&clock(record.started())),
        paint.bold(&format!("{} {route}", one_line(request.method.as_str()))),
        paint.of(colour, &status),
        paint.of(colour, outcome),
        paint.bold(&duration(record.duration)),
        paint.dim(&format!(" {} trace {}{raw}", bytes(record.response_bytes), identity.trace_id)),
    )
}

/// Something below a request or a span.
enum Node<'a> {
    Span(&'a SpanData),
    Event(&'a LogEvent),
    Exception(conventions::Exception),
}

impl Node<'_> {
    fn begins(&self) -> Option<SystemTime> {
        match self {
            Self::Span(span) => Some(span.start_time),
            Self::Event(event) => Some(event.time),
            Self::Exception(_) => None,
        }
    }
}

/// What belongs below which span.
struct Family<'a>(HashMap<SpanId, Vec<Node<'a>>>);

impl<'a> Family<'a> {
    fn of(record: &'a RequestRecord) -> Self {
        let root = record.identity().span_id;
        let known: HashSet<SpanId> = record.spans.iter().map(|span| span.span_context.span_id()).collect();
        // What has no parent in the record (it is still running, or found no room) is shown below the request.
        let shown_below = |parent: SpanId| if known.contains(&parent) { parent } else { root };
        let mut family = Self(HashMap::new());
        for span in &record.spans {
            family.0.entry(shown_below(span.parent_span_id)).or_default().push(Node::Span(span));
        }
        for event in record.events.iter().filter(|event| event.on_console) {
            let parent = event.span.map_or(root, |(_, span_id)| shown_below(span_id));
            family.0.entry(parent).or_default().push(Node::Event(event));
        }
        family
    }

    fn take(&mut self, parent: SpanId) -> Vec<Node<'a>> {
        let mut nodes = self.0.remove(&parent).unwrap_or_default();
        nodes.sort_by_key(Node::begins);
        nodes
    }
}

fn branches<'a>(
    nodes: Vec<Node<'a>>,
    family: &mut Family<'a>,
    indent: &str,
    paint: Paint,
    text: &mut String,
) {
    let last = nodes.len().saturating_sub(1);
    for (at, node) in nodes.into_iter().enumerate() {
        let (fork, stem) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let below = format!("{indent}{stem}");
        text.push_str(&paint.dim(&format!("{indent}{fork}")));
        match node {
            Node::Span(span) => {
                text.push_str(&span_text(span, paint));
                text.push('\n');
                let inside = family.take(span.span_context.span_id());
                if below.chars().count() > DEEPEST * stem.chars().count() && !inside.is_empty() {
                    text.push_str(&paint.dim(&format!("{below}… deeper spans are not shown\n")));
                } else {
                    branches(inside, family, &below, paint, text);
                }
            }
            Node::Event(event) => {
                text.push_str(&event_text(event, paint));
                text.push('\n');
            }
            Node::Exception(exception) => {
                let mut lines = exception.stacktrace.lines();
                text.push_str(
                    &paint.of(AnsiColor::Red, &one_line(lines.next().unwrap_or(&exception.message))),
                );
                text.push('\n');
                for line in lines {
                    text.push_str(&paint.dim(&below));
                    text.push_str(&paint.of(AnsiColor::Red, &one_line(line)));
                    text.push('\n');
                }
            }
        }
    }
}

fn span_text(span: &SpanData, paint: Paint) -> String {
    let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let mut text = format!("{} {}", paint.bold(&one_line(&span.name)), duration(took));
    if let Status::Error { description } = &span.status {
        text.push_str(&paint.of(AnsiColor::Red, &format!(" error {}", one_line(description))));
    }
    text + &fields(&span.attributes, paint)
}

fn event_text(event: &LogEvent, paint: Paint) -> String {
    let colour = match event.level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG => AnsiColor::Blue,
        Level::TRACE => AnsiColor::Magenta,
    };
    let level = paint.of(colour, event.level.as_str());
    format!("{level} {}{}", one_line(&event.message), fields(&event.fields, paint))
}

fn fields(fields: &[KeyValue], paint: Paint) -> String {
    fields.iter().fold(String::new(), |text, field| {
        let value = match &field.value {
            Value::String(value) => quoted(value.as_str()),
            other => shortened(&one_line(&other.as_str())),
        };
        text + " " + &paint.dim(&format!("{}=", field.key)) + &value
    })
}

/// Quotes a value that would not read as one word.
fn quoted(value: &str) -> String {
    let value = shortened(&one_line(value));
    if value.is_empty() || value.contains(' ') { format!("\"{value}\"") } else { value }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_FIELD) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

/// `23:56:35.179`, in UTC.
fn clock(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%H:%M:%S%.3f").to_string()
}

/// Three significant digits, in the unit that suits.
fn duration(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        ..10.0 => format!("{us:.1} µs"),
        ..1e3 => format!("{us:.0} µs"),
        ..1e4 => format!("{:.2} ms", us / 1e3),
        ..1e5 => format!("{:.1} ms", us / 1e3),
        ..1e6 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count for the eye")]
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn style(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn of(self, colour: AnsiColor, text: &str) -> String {
        self.style(colour.on_default(), text)
    }

    fn bold(self, text: &str) -> String {
        self.style(Style::new().bold(), text)
    }

    fn dim(self, text: &str) -> String {
        self.style(Style::new().dimmed(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_suits() {
        for (nanos, text) in [
            (0, "0.0 µs"),
            (1_234, "1.2 µs"),
            (312_400, "312 µs"),
            (1_234_000, "1.23 ms"),
            (12_340_000, "12.3 ms"),
            (123_400_000, "123 ms"),
            (1_234_000_000, "1.23 s"),
            (123_456_000_000, "123.46 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn bytes_are_counted_in_thousands() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_949, "999.9 kB"), (1_500_000, "1.5 MB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn the_clock_shows_milliseconds_of_the_day() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        assert_eq!(clock(time), "22:13:20.042");
    }

    #[test]
    fn values_are_quoted_where_they_would_not_read_as_one_word() {
        let long = "🖖".repeat(LONGEST_FIELD + 1);
        for (value, shown) in [
            ("word", "word".to_owned()),
            ("", r#""""#.to_owned()),
            ("two words", r#""two words""#.to_owned()),
            (&long, "🖖".repeat(LONGEST_FIELD) + "…"),
        ] {
            assert_eq!(quoted(value), shown);
        }
        let plain = Paint { colour: false };
        let pairs = [KeyValue::new("count", 3), KeyValue::new("note", "two words")];
        assert_eq!(fields(&pairs, plain), r#" count=3 note="two words""#);
    }

    #[test]
    fn colours_end_where_they_began() {
        assert_eq!(Paint { colour: true }.of(AnsiColor::Red, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Paint { colour: false }.of(AnsiColor::Red, "x"), "x");
    }
}
