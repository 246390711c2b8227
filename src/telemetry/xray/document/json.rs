//! Documents as JSON, appended in long pieces: keys are known to need no escaping, and what is absent is left out.

use std::collections::BTreeMap;

use serde_json::Value;

/// What can be appended to a document.
pub(super) trait Json {
    fn write(&self, out: &mut Vec<u8>);

    /// Whether a field with this value is left out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// An object, field after field.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// What goes before the next field.
    before: u8,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    pub(super) fn field(&mut self, key: &str, value: &impl Json) -> &mut Self {
        if !value.is_absent() {
            self.begin();
            self.out.push(b'"');
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
            value.write(self.out);
        }
        self
    }

    pub(super) fn close(&mut self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    fn begin(&mut self) {
        self.out.push(self.before);
        self.before = b',';
    }
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if self.bytes().all(plain) {
            out.push(b'"');
            out.extend_from_slice(self.as_bytes());
            out.push(b'"');
        } else {
            scalar(out, self);
        }
    }
}

impl Json for &str {
    fn write(&self, out: &mut Vec<u8>) {
        str::write(self, out);
    }
}

impl Json for String {
    fn write(&self, out: &mut Vec<u8>) {
        str::write(self, out);
    }
}

impl Json for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Json for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        scalar(out, self);
    }
}

impl Json for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        scalar(out, self);
    }
}

impl Json for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        scalar(out, self);
    }
}

impl Json for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        scalar(out, self);
    }
}

impl Json for Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::String(text) => text.write(out),
            other => scalar(out, other),
        }
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut before = b'[';
        for value in self {
            out.push(before);
            before = b',';
            value.write(out);
        }
        out.push(b']');
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Json, V: Json> Json for BTreeMap<K, V> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        for (key, value) in self {
            object.begin();
            key.write(object.out);
            object.out.push(b':');
            value.write(object.out);
        }
        object.close();
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// As serde writes it. Numbers are finite and maps have text for keys, so that this cannot fail.
fn scalar(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).ok();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: &impl Json) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let mut out = Vec::new();
        let (none, empty) = (None::<bool>, Vec::<String>::new());
        let map = BTreeMap::from([("a\"b", json!([1, null, {"c": "d\n"}]))]);
        Object::open(&mut out).field("none", &none).field("yes", &true).field("map", &map).close();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"yes":true,"map":{"a\"b":[1,null,{"c":"d\n"}]}}"#);
        let mut out = Vec::new();
        Object::open(&mut out).field("none", &none).field("empty", &empty).close();
        assert_eq!(out, b"{}");
    }

    proptest! {
        #[test]
        fn maps_and_texts_are_what_serde_writes(
            map in prop::collection::btree_map(".*", prop::collection::vec(".*", 1..3), 1..3),
        ) {
            prop_assert_eq!(written(&map), serde_json::to_string(&map).unwrap());
        }
    }
}
