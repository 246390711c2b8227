//! `X-Amzn-Trace-Id`: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.

use opentelemetry::trace::{SpanId, TraceId};

use super::{AmznTraceId, unhex};

/// What the caller decided about sampling this trace in X-Ray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// `1`: kept.
    Yes,
    /// `0`: not kept.
    No,
    /// `?`: the callee decides, and says so in its answer.
    Ask,
}

/// `X-Amzn-Trace-Id`, taken apart. Absent and malformed parts are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AmznTraceHeader {
    /// The trace id.
    pub root: Option<TraceId>,
    /// The caller's segment or subsegment.
    pub parent: Option<SpanId>,
    /// The caller's decision; `None` means: decide yourself.
    pub sampled: Option<Sampled>,
    /// `Lineage`, `CalledFrom` and whatever else must be handed on as it came, in order.
    pub extra: Vec<(String, String)>,
}

impl AmznTraceHeader {
    /// Reads the header's value. `Self`, which a load balancer adds, is of no interest to anyone behind it;
    /// parts without `=` are skipped, as X-Ray's SDKs for Go and Java do.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut header = Self::default();
        for part in text.split(';') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            match key {
                "Root" => header.root = value.parse().ok().map(|AmznTraceId(id)| id),
                "Parent" => header.parent = span_id(value),
                "Sampled" => header.sampled = sampled(value),
                "Self" | "" => {}
                _ => header.extra.push((key.to_owned(), value.to_owned())),
            }
        }
        header
    }
}

fn span_id(text: &str) -> Option<SpanId> {
    let id = if text.len() == 16 { unhex(text).ok()? } else { 0 };
    u64::try_from(id).ok().filter(|id| *id != 0).map(SpanId::from)
}

fn sampled(text: &str) -> Option<Sampled> {
    match text {
        "1" => Some(Sampled::Yes),
        "0" => Some(Sampled::No),
        "?" => Some(Sampled::Ask),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_come_in_any_order_with_blanks() {
        let header = AmznTraceHeader::parse(
            "Self=1-67891234-12456789abcdef012345678; Sampled=? ;Lineage=25:3a:1|x:0;junk;\
             Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793;CalledFrom=app=x",
        );
        assert_eq!(header.root.unwrap().to_string(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!(header.parent.unwrap().to_string(), "53995c3f42cd8ad8");
        assert_eq!(header.sampled, Some(Sampled::Ask));
        let extra = [("Lineage", "25:3a:1|x:0"), ("CalledFrom", "app=x")];
        assert_eq!(header.extra, extra.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn malformed_parts_are_absent() {
        for bad in [
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
            "Root=1-+759e988-bd862e3fe1be46a994272793",
            "Root=5759e988bd862e3fe1be46a994272793",
            "Parent=zz995c3f42cd8ad8",
            "Parent=0000000000000000",
            "Parent=1",
            "Sampled=yes",
            ";;==;=x",
        ] {
            assert_eq!(AmznTraceHeader::parse(bad), AmznTraceHeader::default(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,300}") {
            drop(AmznTraceHeader::parse(&text));
        }
    }
}
