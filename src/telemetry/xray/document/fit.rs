//! Documents that fit a datagram: nothing is lost whole.

use serde_json::json;

use super::json::Json as _;
use super::parts::Document;

/// The least a document can be cut to: ids, times, names, flags and `http` are never given up, and that is what they
/// are at most when every character of them is escaped.
pub(in super::super) const LEAST: usize = 8192;

/// Where most documents fit without growing, in bytes: a request with one span inside is 800.
const USUAL_LEN: usize = 1024;

/// The document as one or several, each at most `most` bytes: the largest subsegments become documents of their
/// own, until the rest fits; a document that is too large by itself gives up metadata first, then stacks, annotations
/// and so on, and says so.
pub(super) fn fit(root: Document, most: usize) -> Vec<Vec<u8>> {
    let most = most.max(LEAST);
    let mut fitted = Vec::new();
    let mut waiting = vec![root];
    while let Some(mut document) = waiting.pop() {
        let mut bytes = encode(&document);
        if bytes.len() > most && !document.subsegments.is_empty() {
            waiting.extend(hoist(&mut document, bytes.len() - most));
            bytes = encode(&document);
        }
        if bytes.len() > most {
            bytes = trim(document, most);
        }
        fitted.push(bytes);
    }
    fitted
}

/// Takes the largest subsegments out until `excess` bytes are gone, or there are none left.
fn hoist(document: &mut Document, excess: usize) -> Vec<Document> {
    let mut sized: Vec<_> =
        document.subsegments.drain(..).map(|subsegment| (encode(&subsegment).len(), subsegment)).collect();
    sized.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let (mut gone, mut hoisted) = (0, Vec::new());
    for (size, mut subsegment) in sized {
        if gone < excess {
            // The comma between two goes too; not counting it errs on the safe side.
            gone += size;
            subsegment.trace_id.clone_from(&document.trace_id);
            subsegment.parent_id = Some(document.id.clone());
            subsegment.kind = Some("subsegment");
            hoisted.push(subsegment);
        } else {
            document.subsegments.push(subsegment);
        }
    }
    document.subsegments.sort_by(|one, other| one.start_time.total_cmp(&other.start_time));
    hoisted
}

/// Gives up what a document can do without, one kind after the other, until it fits.
fn trim(mut document: Document, most: usize) -> Vec<u8> {
    let steps: [fn(&mut Document); 6] = [
        |document| document.metadata.clear(),
        |document| {
            if let Some(cause) = &mut document.cause {
                cause.exceptions.iter_mut().for_each(|exception| exception.stack.clear());
            }
        },
        |document| document.annotations.clear(),
        |document| document.cause = None,
        |document| document.sql = None,
        |document| document.aws = None,
    ];
    let names = ["metadata", "stacks", "annotations", "cause", "sql", "aws"];
    for last in 0..steps.len() {
        steps[last](&mut document);
        let dropped = json!(names[..=last]);
        document.metadata = [("cruddur".to_owned(), [("dropped".to_owned(), dropped)].into())].into();
        let bytes = encode(&document);
        if bytes.len() <= most {
            return bytes;
        }
    }
    // Every string that is left is bounded, so that this is smaller than `LEAST`.
    encode(&document)
}

fn encode(document: &Document) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_LEN);
    document.write(&mut bytes);
    bytes
}
