//! What there is at CloudWatch Logs: groups, their streams, and the events in them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Value, json};

use super::answer::Refusal;
use super::rules::{self, Judged};
use super::wire::{Call, CreateLogGroup, CreateLogStream, PutLogEvents, PutRetentionPolicy};

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// In milliseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) message: String,
    /// Its place among all that were ever accepted, from 0.
    pub(crate) ingested: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) class: String,
    pub(crate) retention_days: Option<u32>,
    /// The events of each stream, in the order of their acceptance.
    pub(crate) streams: BTreeMap<String, Vec<Event>>,
}

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) groups: BTreeMap<String, Group>,
    /// Every event that was ever accepted, in order, be its stream still there or not.
    pub(super) accepted: Vec<Event>,
}

impl Account {
    /// Carries out a call that breaks no rule by itself; `now` is in milliseconds since the epoch.
    pub(super) fn carry_out(&mut self, call: Call, now: i64) -> Result<Value, Refusal> {
        match call {
            Call::CreateLogGroup(input) => self.create_group(input),
            Call::CreateLogStream(input) => self.create_stream(input),
            Call::DescribeLogGroups(input) => {
                let prefix = input.log_group_name_prefix.unwrap_or_default();
                let groups = self.groups.iter().filter(|(name, _)| name.starts_with(&prefix)).map(describe);
                Ok(json!({"logGroups": groups.collect::<Vec<_>>()}))
            }
            Call::DescribeLogStreams(input) => {
                let prefix = input.log_stream_name_prefix.unwrap_or_default();
                let streams = self.group(&input.log_group_name)?.streams.keys();
                let streams = streams.filter(|name| name.starts_with(&prefix));
                let streams: Vec<_> = streams.map(|name| json!({"logStreamName": name})).collect();
                Ok(json!({"logStreams": streams}))
            }
            Call::PutLogEvents(input) => self.put(input, now),
            Call::PutRetentionPolicy(PutRetentionPolicy { log_group_name, retention_in_days }) => {
                self.group(&log_group_name)?.retention_days = Some(retention_in_days);
                Ok(Value::Null)
            }
        }
    }

    fn group(&mut self, name: &str) -> Result<&mut Group, Refusal> {
        self.groups.get_mut(name).ok_or_else(|| missing("group"))
    }

    fn create_group(&mut self, input: CreateLogGroup) -> Result<Value, Refusal> {
        // A class cannot be changed: another one does not make it another group.
        match self.groups.entry(input.log_group_name) {
            Entry::Occupied(_) => Err(existing("group")),
            Entry::Vacant(place) => {
                let class = input.log_group_class.unwrap_or_else(|| "STANDARD".to_owned());
                place.insert(Group { class, retention_days: None, streams: BTreeMap::new() });
                Ok(Value::Null)
            }
        }
    }

    fn create_stream(&mut self, input: CreateLogStream) -> Result<Value, Refusal> {
        match self.group(&input.log_group_name)?.streams.entry(input.log_stream_name) {
            Entry::Occupied(_) => Err(existing("stream")),
            Entry::Vacant(place) => {
                place.insert(Vec::new());
                Ok(Value::Null)
            }
        }
    }

    fn put(&mut self, input: PutLogEvents, now: i64) -> Result<Value, Refusal> {
        let PutLogEvents { log_group_name, log_stream_name, log_events, entity, .. } = input;
        let before = self.accepted.len();
        let group = self.groups.get_mut(&log_group_name).ok_or_else(|| missing("group"))?;
        let stream = group.streams.get_mut(&log_stream_name).ok_or_else(|| missing("stream"))?;
        let Judged { kept, rejected } = rules::judge(&log_events, group.retention_days, now)
            .map_err(|message| Refusal::violation("InvalidParameterException", message))?;
        let events = log_events[kept].iter().cloned().zip(before..);
        let events = events.map(|(event, ingested)| Event {
            timestamp: event.timestamp,
            message: event.message,
            ingested,
        });
        stream.extend(events.clone());
        self.accepted.extend(events);
        let mut output = json!({"nextSequenceToken": format!("{:056}", self.accepted.len())});
        if !rejected.is_empty() {
            output["rejectedLogEventsInfo"] = rejected.into();
        }
        if let Some(fault) = entity.as_ref().and_then(rules::entity_fault) {
            output["rejectedEntityInfo"] = json!({"errorType": fault});
        }
        Ok(output)
    }
}

fn describe((name, group): (&String, &Group)) -> Value {
    let mut described = json!({"logGroupName": name, "logGroupClass": group.class});
    if let Some(days) = group.retention_days {
        described["retentionInDays"] = days.into();
    }
    described
}

fn missing(what: &str) -> Refusal {
    Refusal::news("ResourceNotFoundException", format!("The specified log {what} does not exist."))
}

fn existing(what: &str) -> Refusal {
    Refusal::news("ResourceAlreadyExistsException", format!("The specified log {what} already exists"))
}
