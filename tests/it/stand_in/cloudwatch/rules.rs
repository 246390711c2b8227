//! The service's limits, as its documentation has them. Where it leaves two readings, the stricter one holds.

use std::ops::Range;

use serde_json::{Map, Value};

use super::wire::{Call, CreateLogGroup, Entity, InputLogEvent, PutLogEvents, PutRetentionPolicy};

/// Of a batch: the messages in UTF-8, and 26 for each event.
const BATCH_BYTES: usize = 1_048_576;
const EVENT_OVERHEAD: usize = 26;
const BATCH_EVENTS: usize = 10_000;
/// The most characters of a group's and of a stream's name.
const LONGEST_NAME: usize = 512;
const RETENTIONS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
const CLASSES: [&str; 4] = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"];
/// All in milliseconds.
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const OLDEST: i64 = 14 * DAY;
const NEWEST: i64 = 2 * HOUR;
const LONGEST_SPAN: i64 = DAY;

/// What of a call is wrong whatever there is in the account.
pub(super) fn check(call: &Call) -> Result<(), String> {
    match call {
        Call::CreateLogGroup(input) => check_new_group(input),
        Call::CreateLogStream(input) => check_names(&input.log_group_name, &input.log_stream_name),
        Call::DescribeLogGroups(_) => Ok(()),
        Call::DescribeLogStreams(input) => check_group(&input.log_group_name),
        Call::PutLogEvents(input) => check_batch(input),
        Call::PutRetentionPolicy(PutRetentionPolicy { log_group_name, retention_in_days }) => {
            check_group(log_group_name)?;
            require(RETENTIONS.contains(retention_in_days), || {
                format!("retentionInDays: {retention_in_days} is not one of {RETENTIONS:?}")
            })
        }
    }
}

fn require(fulfilled: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if fulfilled { Ok(()) } else { Err(otherwise()) }
}

fn check_group(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    let legal = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed);
    require(legal && !name.starts_with("aws/"), || format!("logGroupName: {name:?} is not allowed"))
}

fn check_names(group: &str, stream: &str) -> Result<(), String> {
    check_group(group)?;
    let legal = (1..=LONGEST_NAME).contains(&stream.chars().count()) && !stream.contains([':', '*']);
    require(legal, || format!("logStreamName: {stream:?} is not allowed"))
}

fn check_new_group(input: &CreateLogGroup) -> Result<(), String> {
    let CreateLogGroup { log_group_name, log_group_class, kms_key_id, tags } = input;
    check_group(log_group_name)?;
    let class = log_group_class.as_deref().unwrap_or("STANDARD");
    require(CLASSES.contains(&class), || format!("logGroupClass: {class:?} is not one of {CLASSES:?}"))?;
    require(kms_key_id.is_none(), || "kmsKeyId: there is no such key".to_owned())?;
    let tags = tags.as_ref().map_or(1, |tags| tags.len());
    require((1..=50).contains(&tags), || format!("tags: {tags} are not 1 to 50"))
}

fn check_batch(input: &PutLogEvents) -> Result<(), String> {
    let PutLogEvents { log_group_name, log_stream_name, log_events, sequence_token, entity: _ } = input;
    check_names(log_group_name, log_stream_name)?;
    let events = log_events.len();
    require((1..=BATCH_EVENTS).contains(&events), || {
        format!("logEvents: {events} are not 1 to {BATCH_EVENTS}")
    })?;
    let valid = |event: &InputLogEvent| !event.message.is_empty() && event.timestamp >= 0;
    require(log_events.iter().all(valid), || {
        "logEvents: an empty message, or a time before 1970".to_owned()
    })?;
    let bytes: usize = log_events.iter().map(|event| event.message.len() + EVENT_OVERHEAD).sum();
    require(bytes <= BATCH_BYTES, || {
        format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES}")
    })?;
    require(log_events.is_sorted_by_key(|event| event.timestamp), || {
        "Log events in a single PutLogEvents request must be in chronological order.".to_owned()
    })?;
    require(sequence_token.as_deref() != Some(""), || "sequenceToken: it is empty".to_owned())
}

/// Which events of a batch in order are kept, and what the answer says of the others.
#[derive(Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) kept: Range<usize>,
    pub(super) rejected: Map<String, Value>,
}

/// Judges a batch by the clock, which is in milliseconds since the epoch, and by the group's retention in days.
pub(super) fn judge(events: &[InputLogEvent], retention: Option<u32>, now: i64) -> Result<Judged, String> {
    let before = |time: i64| events.partition_point(|event| event.timestamp < time);
    let too_old = before(now - OLDEST);
    let expired = retention.map_or(0, |days| before(now - i64::from(days) * DAY));
    let too_new = before(now + NEWEST + 1);
    if let [first, .., last] = &events[too_old..too_new] {
        let span = last.timestamp - first.timestamp;
        require(span <= LONGEST_SPAN, || {
            format!(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours: {span}"
            )
        })?;
    }
    let indices = [
        ("tooNewLogEventStartIndex", (too_new < events.len()).then_some(too_new)),
        ("tooOldLogEventEndIndex", (too_old > 0).then_some(too_old)),
        ("expiredLogEventEndIndex", (expired > 0).then_some(expired)),
    ];
    let rejected =
        indices.into_iter().filter_map(|(name, index)| Some((name.to_owned(), index?.into()))).collect();
    Ok(Judged { kept: too_old.max(expired)..too_new, rejected })
}

/// Why an entity is not taken, which does not keep the events from being taken.
pub(super) fn entity_fault(entity: &Entity) -> Option<&'static str> {
    let Entity { key_attributes, attributes } = entity;
    let fits = |(key, value): (&String, &String), longest: usize| {
        (1..=longest).contains(&key.chars().count()) && (1..=512).contains(&value.chars().count())
    };
    let needed: &[&str] = match key_attributes.get("Type").map(String::as_str) {
        Some("Service") => &["Name", "Environment"],
        _ => &["Type"],
    };
    if !(2..=4).contains(&key_attributes.len()) || !key_attributes.iter().all(|pair| fits(pair, 32)) {
        Some("InvalidKeyAttributes")
    } else if !needed.iter().all(|key| key_attributes.contains_key(*key)) {
        Some("MissingRequiredFields")
    } else if attributes.len() > 10 || !attributes.iter().all(|pair| fits(pair, 256)) {
        Some("InvalidAttributes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn judged(ages: &[i64], retention: Option<u32>) -> Result<(Range<usize>, Value), String> {
        let event = |age: &i64| InputLogEvent { timestamp: NOW - age, message: "m".to_owned() };
        let events: Vec<_> = ages.iter().map(event).collect();
        judge(&events, retention, NOW).map(|Judged { kept, rejected }| (kept, rejected.into()))
    }

    #[test]
    fn age_is_judged_to_the_millisecond() {
        assert_eq!(judged(&[OLDEST], None), Ok((0..1, json!({}))));
        assert_eq!(judged(&[OLDEST + 1], None), Ok((1..1, json!({"tooOldLogEventEndIndex": 1}))));
        assert_eq!(judged(&[-NEWEST], None), Ok((0..1, json!({}))));
        assert_eq!(judged(&[-NEWEST - 1], None), Ok((0..0, json!({"tooNewLogEventStartIndex": 0}))));
        assert_eq!(judged(&[3 * DAY], Some(3)), Ok((0..1, json!({}))));
        assert_eq!(judged(&[3 * DAY + 1], Some(3)), Ok((1..1, json!({"expiredLogEventEndIndex": 1}))));
        let all = judged(&[OLDEST + 1, 3 * DAY + 2, 3 * DAY + 1, 3 * DAY, 2 * DAY + 2], Some(3));
        assert_eq!(all, Ok((3..5, json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 3}))));
    }

    #[test]
    fn what_is_neither_too_old_nor_too_new_spans_a_day_at_most() {
        assert_eq!(judged(&[DAY, 0], None), Ok((0..2, json!({}))));
        assert!(judged(&[DAY + 1, 0], None).unwrap_err().contains("span more than 24 hours: 86400001"));
        let both = json!({"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2});
        assert_eq!(judged(&[OLDEST + 1, 0, -NEWEST - 1], None), Ok((1..2, both)));
    }
}
