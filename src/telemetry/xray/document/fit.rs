//! Documents that fit a datagram: nothing is lost whole.

use super::json::{Json as _, Object, key};
use super::{Document, Documents, by_beginning};

/// The least a document can be cut to: ids, times, names, flags and `http` are never given up, and that is what they
/// are at most when every character of them is escaped.
pub(in super::super) const LEAST: usize = 8192;

/// What can be given up, in the order of [`super::Part`].
const PARTS: [&str; 6] = ["metadata", "stacks", "annotations", "cause", "sql", "aws"];

/// Appends the document as one or several, each at most `most` bytes: the largest subsegments become documents of
/// their own, until the rest fits; a document that is too large by itself gives up metadata first, then stacks,
/// annotations and so on, and says so.
pub(super) fn fit(root: Document<'_>, most: usize, documents: &mut Documents) {
    let most = most.max(LEAST);
    let mut waiting = Vec::new();
    let mut next = Some(root);
    while let Some(mut document) = next {
        let mut length = documents.append(&document);
        if length > most && !document.subsegments.is_empty() {
            waiting.extend(hoist(&mut document, length - most));
            length = documents.replace(&document);
        }
        // Every string that is left in the end is bounded, so that all of it is smaller than `LEAST`.
        while length > most && document.given_up < PARTS.len() {
            document.given_up += 1;
            length = documents.replace(&document);
        }
        next = waiting.pop();
    }
}

impl Documents {
    /// Returns the document's length.
    fn append(&mut self, document: &Document<'_>) -> usize {
        let begin = self.bytes.len();
        document.write(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.bytes.len() - begin
    }

    /// The same for the last one, drawn again.
    fn replace(&mut self, document: &Document<'_>) -> usize {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
        self.append(document)
    }
}

/// Takes the largest subsegments out until `excess` bytes are gone, or there are none left.
fn hoist<'a>(document: &mut Document<'a>, excess: usize) -> Vec<Document<'a>> {
    let place = document.place.map(|(trace_id, _)| (trace_id, Some(document.id())));
    let mut buffer = Vec::new();
    let mut length = |subsegment: &Document<'_>| {
        buffer.clear();
        subsegment.write(&mut buffer);
        buffer.len()
    };
    let mut sized: Vec<_> =
        document.subsegments.drain(..).map(|subsegment| (length(&subsegment), subsegment)).collect();
    sized.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let (mut gone, mut hoisted) = (0, Vec::new());
    for (size, subsegment) in sized {
        if gone < excess {
            // The comma between two goes too; not counting it errs on the safe side.
            gone += size;
            hoisted.push(Document { place, ..subsegment });
        } else {
            document.subsegments.push(subsegment);
        }
    }
    by_beginning(&mut document.subsegments);
    hoisted
}

/// What a document has given up, where its metadata would be: that goes first.
pub(super) fn name_what_is_given_up(document: &Document<'_>, metadata: &mut Object<'_>) {
    let names = PARTS.into_iter().take(document.given_up);
    metadata.object(key!("cruddur"), |own| {
        own.array(key!("dropped"), names, |name, out| name.write(out));
    });
}
