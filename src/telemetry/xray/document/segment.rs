//! A request as a segment.

use http::StatusCode;

use super::cause::Failure;
use super::fields::Sorted;
use super::json::{Object, Pieces, Plain, key};
use super::{Constants, Document, LONGEST, Part, cut};
use crate::telemetry::observe::{Address, RequestFacts, RequestRecord, Verdict};
use crate::telemetry::xray::metadata::Surroundings;

/// Who has drawn the document.
const SDK: &str = concat!(
    key!("sdk"),
    "\"",
    env!("CARGO_PKG_NAME"),
    " for Rust\"",
    key!("sdk_version"),
    "\"",
    env!("CARGO_PKG_VERSION"),
    "\""
);
/// The most characters of a rule's name.
const LONGEST_RULE: usize = 32;

/// All that a segment is drawn from.
pub(super) struct Segment<'a> {
    pub(super) record: &'a RequestRecord,
    name: &'a str,
    rule: Option<&'a str>,
    constants: &'a Constants,
    around: &'a Surroundings,
    failure: Option<Failure<'a>>,
    fields: Sorted<'a>,
}

impl<'a> Segment<'a> {
    pub(super) fn new(
        record: &'a RequestRecord,
        name: &'a str,
        rule: Option<&'a str>,
        constants: &'a Constants,
        around: &'a Surroundings,
    ) -> Self {
        let (failure, fields) =
            (Failure::of(record), Sorted::of(&record.attributes).reported(record.error_id));
        Self { record, name, rule, constants, around, failure, fields }
    }

    /// All but ids and subsegments.
    pub(super) fn write(&self, document: &Document<'_>, object: &mut Object<'_>) {
        let Self { record, constants, around, .. } = self;
        let verdict = record.verdict();
        let flag = |is_set: bool| is_set.then_some(true);
        object
            .field(key!("name"), self.name)
            .field(key!("start_time"), record.started())
            .field(key!("end_time"), record.ended())
            .object(key!("service"), |service| {
                service.constant(&constants.service);
            })
            .field(key!("user"), record.user.as_deref().map(|user| cut(user, LONGEST)))
            .field(key!("origin"), around.origin)
            .object(key!("http"), |http| self.http(http))
            .field(key!("error"), flag(matches!(verdict, Verdict::ClientError | Verdict::Throttled)))
            .field(key!("throttle"), flag(verdict == Verdict::Throttled))
            .field(key!("fault"), flag(verdict == Verdict::ServerFault));
        if document.keeps(Part::Aws) {
            object.object(key!("aws"), |aws| self.aws(aws));
        }
        self.fields.write(document, object);
        if let Some(failure) = &self.failure
            && document.keeps(Part::Cause)
        {
            failure.write(document.keeps(Part::Stacks), object);
        }
    }

    fn http(&self, http: &mut Object<'_>) {
        let (record, request) = (self.record, self.record.request());
        let client_ip = request.client_address.as_ref().map(Address::as_str);
        let status = record.status.as_ref().map(StatusCode::as_u16);
        http.object(key!("request"), |object| {
            // A token.
            object.field(key!("method"), Plain(cut(request.method.as_str(), LONGEST)));
            with_url(request, |url| {
                object.field(key!("url"), url);
            });
            object
                .field(key!("user_agent"), request.user_agent().map(|agent| cut(agent, LONGEST)))
                .field(key!("client_ip"), client_ip.map(Plain))
                .field(key!("x_forwarded_for"), request.client_forwarded.then_some(true));
        })
        .object(key!("response"), |response| {
            response
                .field(key!("status"), status.map(u64::from))
                .field(key!("content_length"), status.map(|_| record.response_bytes));
        });
    }

    fn aws(&self, aws: &mut Object<'_>) {
        let Self { constants, around, .. } = self;
        let pairs = |known: &std::collections::BTreeMap<&str, String>, object: &mut Object<'_>| {
            known.iter().for_each(|(key, value)| object.entry(key, value.as_str()));
        };
        aws.field(key!("account_id"), around.account_id.as_deref())
            .object(key!("xray"), |xray| {
                xray.constant(SDK)
                    .field(key!("sampling_rule_name"), self.rule.map(|rule| cut(rule, LONGEST_RULE)));
            })
            .constant(&constants.logs)
            .object(key!("ec2"), |ec2| pairs(&around.ec2, ec2))
            .object(key!("ecs"), |ecs| pairs(&around.ecs, ecs));
    }
}

/// Protocol, host and path, without the query.
fn with_url(request: &RequestFacts, write: impl FnOnce(Pieces<'_>)) {
    let mut digits = itoa::Buffer::new();
    let port = request.server_port.filter(|port| *port != request.scheme.default_port());
    let (colon, port) = port.map_or(("", ""), |port| (":", digits.format(port)));
    let host = request.server_address.as_deref().unwrap_or("-");
    let pieces = [request.scheme.as_str(), "://", host, colon, port, &request.path];
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= LONGEST {
        return write(Pieces(&pieces));
    }
    write(Pieces(&[cut(&pieces.concat(), LONGEST)]));
}
