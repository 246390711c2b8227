//! Documents as JSON, appended in long pieces: keys are known to need no escaping, and what is absent is left out.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::digits;
use crate::telemetry::observe::line::is_plain;
use crate::telemetry::observe::{AmznTraceId, hex_pairs};

/// A key as it is written: with a comma in front, which becomes a brace where the object begins.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// What can be appended to a document.
pub(super) trait Json {
    fn write(self, out: &mut Vec<u8>);

    /// Whether a field with this value is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// An object, field after field.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// Where it begins.
    at: usize,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        let at = out.len();
        Self { out, at }
    }

    /// A field whose key is a [`key!`].
    #[inline]
    pub(super) fn field(&mut self, key: &'static str, value: impl Json) -> &mut Self {
        if !value.is_absent() {
            self.out.extend_from_slice(key.as_bytes());
            value.write(self.out);
        }
        self
    }

    /// Fields that are the same in all documents, each as [`key!`] begins one.
    #[inline]
    pub(super) fn constant(&mut self, fields: impl AsRef<[u8]>) -> &mut Self {
        self.out.extend_from_slice(fields.as_ref());
        self
    }

    /// A field whose key may need escaping.
    pub(super) fn entry(&mut self, key: &str, value: impl Json) {
        self.out.push(b',');
        key.write(self.out);
        self.out.push(b':');
        value.write(self.out);
    }

    /// An object within this one, left out where it is empty.
    #[inline]
    pub(super) fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let before = self.out.len();
        self.out.extend_from_slice(key.as_bytes());
        if !self.inner(fill) {
            self.out.truncate(before);
        }
        self
    }

    /// An object under a key that may need escaping.
    pub(super) fn object_entry(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.out.push(b',');
        key.write(self.out);
        self.out.push(b':');
        self.inner(fill);
    }

    /// Whether it has got any fields.
    fn inner(&mut self, fill: impl FnOnce(&mut Object<'_>)) -> bool {
        let mut inner = Object::open(self.out);
        fill(&mut inner);
        let is_filled = !inner.is_empty();
        inner.close();
        is_filled
    }

    /// An array of what `write` makes of each of `all`, left out where there are none.
    pub(super) fn array<T>(
        &mut self,
        key: &'static str,
        all: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Vec<u8>),
    ) -> &mut Self {
        let mut before = b'[';
        for one in all {
            if before == b'[' {
                self.out.extend_from_slice(key.as_bytes());
            }
            self.out.push(before);
            before = b',';
            write(one, self.out);
        }
        if before == b',' {
            self.out.push(b']');
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.out.len() == self.at
    }

    pub(super) fn close(&mut self) {
        if self.is_empty() {
            self.out.push(b'{');
        } else if let Some(comma) = self.out.get_mut(self.at) {
            *comma = b'{';
        }
        self.out.push(b'}');
    }
}

/// Lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hex<const BYTES: usize>(pub(super) [u8; BYTES]);

impl<const BYTES: usize> Json for Hex<BYTES> {
    fn write(self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(hex_pairs(self.0).as_flattened());
        out.push(b'"');
    }
}

/// A trace's id in X-Ray's form, `1-8hex-24hex`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceIdText(pub(super) opentelemetry::trace::TraceId);

impl Json for TraceIdText {
    fn write(self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&AmznTraceId(self.0).digits());
        out.push(b'"');
    }
}

/// Seconds since 1970 with microseconds.
impl Json for SystemTime {
    fn write(self, out: &mut Vec<u8>) {
        const TEN_DIGITS: std::ops::Range<u64> = 1_000_000_000..10_000_000_000;
        let since = self.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (since.as_secs(), u64::from(since.subsec_micros()));
        // From 2001 to 2286 that many, and sixteen with those of the microseconds.
        if TEN_DIGITS.contains(&seconds) {
            let [a, b, c, d, e, f, g, h] = digits::eight(seconds / 100);
            let [i, j, k, l, m, n, o, p] = digits::eight(seconds % 100 * 1_000_000 + micros);
            out.extend_from_slice(&[a, b, c, d, e, f, g, h, i, j, b'.', k, l, m, n, o, p]);
        } else {
            seconds.write(out);
            out.push(b'.');
            out.extend_from_slice(&digits::six(micros));
        }
    }
}

impl Json for &str {
    fn write(self, out: &mut Vec<u8>) {
        if is_plain(self.as_bytes()) {
            return Plain(self).write(out);
        }
        scalar(out, self);
    }
}

/// Text that is known to need no escaping.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl Json for Plain<'_> {
    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        out.reserve(self.0.len() + 2);
        out.push(b'"');
        out.extend_from_slice(self.0.as_bytes());
        out.push(b'"');
    }
}

/// Text in pieces.
pub(super) struct Pieces<'a>(pub(super) &'a [&'a str]);

impl Json for Pieces<'_> {
    fn write(self, out: &mut Vec<u8>) {
        let at = out.len();
        out.push(b'"');
        self.0.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
        if is_plain(out.get(at + 1..).unwrap_or_default()) {
            return out.push(b'"');
        }
        out.truncate(at);
        scalar(out, &self.0.concat());
    }
}

impl Json for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self { b"true" } else { b"false" });
    }
}

impl Json for u64 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

impl Json for i64 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

impl Json for &serde_json::Value {
    fn write(self, out: &mut Vec<u8>) {
        scalar(out, self);
    }
}

impl<T: Json> Json for Option<T> {
    fn write(self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// As serde writes it. Maps have text for keys, so that this cannot fail.
fn scalar(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).ok();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::TraceId;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: impl Json) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let mut out = b"[".to_vec();
        let list = json!([1, null, {"c": "d\n"}]);
        Object::open(&mut out)
            .field(key!("none"), None::<bool>)
            .field(key!("yes"), true)
            .object(key!("empty"), |empty| {
                empty.array(key!("none"), [0; 0], |_: u8, _| {});
            })
            .object(key!("map"), |map| map.entry("a\"b", &list))
            .array(key!("list"), [1, 2], |number: u64, out| number.write(out))
            .close();
        let expected = r#"[{"yes":true,"map":{"a\"b":[1,null,{"c":"d\n"}]},"list":[1,2]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        Object::open(&mut out).field(key!("none"), None::<bool>).close();
        assert_eq!(out, b"{}");
    }

    proptest! {
        #[test]
        fn texts_are_what_serde_writes(pieces in prop::collection::vec(".*", 0..4)) {
            let texts: Vec<_> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(written(Pieces(&texts)), serde_json::to_string(&pieces.concat()).unwrap());
        }

        #[test]
        fn times_are_seconds_with_microseconds(seconds in 0..10_000_000_000_u64, micros in 0..1_000_000_u32) {
            let time = UNIX_EPOCH + Duration::new(seconds, micros * 1000 + 999);
            prop_assert_eq!(written(time), format!("{seconds}.{micros:06}"));
        }

        #[test]
        fn ids_are_hexadecimal(id in any::<u128>()) {
            let text = format!("{id:032x}");
            prop_assert_eq!(written(Hex(id.to_be_bytes())), format!("\"{text}\""));
            let (epoch, rest) = text.split_at(8);
            prop_assert_eq!(written(TraceIdText(TraceId::from(id))), format!("\"1-{epoch}-{rest}\""));
        }
    }
}
