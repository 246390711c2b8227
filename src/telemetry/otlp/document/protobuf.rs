//! Protobuf, written from front to back.

/// A message as it is written: fields in any order, each by its number. Zeros and empty texts are left out, as
/// protobuf 3 has it; what must be there even so is what a `oneof` chose.
#[derive(Debug)]
pub(super) struct Message<'a>(&'a mut Vec<u8>);

/// How a field's value is written: in as many bytes as it takes, in 8, behind its length, in 4.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// What is before a `KeyValue`'s key and value, and before a value's text.
const KEY: u8 = low_seven(1 << 3 | LENGTH);
const VALUE: u8 = low_seven(2 << 3 | LENGTH);
const TEXT: u8 = low_seven(1 << 3 | LENGTH);

impl<'a> Message<'a> {
    /// Fields behind what is written already.
    pub(super) fn behind(written: &'a mut Vec<u8>) -> Self {
        Self(written)
    }

    /// What has been written, in bytes.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// What is written already.
    pub(super) fn raw(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    /// Begins a message within this one, which will take `length` bytes.
    pub(super) fn open(&mut self, field: u64, length: usize) {
        self.head(field, LENGTH, length as u64);
    }

    /// A key and a number, which are small, as a rule.
    #[inline]
    fn head(&mut self, field: u64, kind: u64, number: u64) {
        let key = field << 3 | kind;
        if key < 0x80 && number < 0x80 {
            return self.raw(&[low_seven(key), low_seven(number)]);
        }
        self.varint(key);
        self.varint(number);
    }

    fn varint(&mut self, mut value: u64) {
        if value < 0x80 {
            return self.0.push(low_seven(value));
        }
        while value >= 0x80 {
            self.0.push(low_seven(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_seven(value));
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    /// A number that is left out where it is 0.
    pub(super) fn uint(&mut self, field: u64, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.chosen_uint(field, value);
        }
    }

    /// A number that was chosen.
    pub(super) fn chosen_uint(&mut self, field: u64, value: u64) {
        self.head(field, VARINT, value);
    }

    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        self.key(field, FIXED_64);
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u64, value: u32) {
        self.key(field, FIXED_32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// An id, whose length is known where it is written.
    #[inline(always)]
    pub(super) fn id<const LEN: usize>(&mut self, field: u64, id: [u8; LEN]) {
        self.open(field, LEN);
        self.raw(&id);
    }

    /// Bytes or text, left out where they are empty.
    pub(super) fn bytes(&mut self, field: u64, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.chosen_bytes(field, value);
        }
    }

    /// Bytes or text that were chosen, or one of several.
    pub(super) fn chosen_bytes(&mut self, field: u64, value: &[u8]) {
        self.head(field, LENGTH, value.len() as u64);
        self.raw(value);
    }

    /// Text in several parts, left out where all are empty.
    pub(super) fn text(&mut self, field: u64, parts: &[&str]) {
        let length = parts.iter().map(|part| part.len()).sum();
        if length > 0 {
            self.open(field, length);
            parts.iter().for_each(|part| self.raw(part.as_bytes()));
        }
    }

    /// A `KeyValue` with text. Inlined, because most keys are constants.
    #[inline(always)]
    pub(super) fn pair(&mut self, field: u64, key: &[u8], text: &[u8]) {
        // What is too long for that is not short as a whole either.
        if self.open_short_pair(field, key, text.len() + 2) {
            self.raw(&[TEXT, low_seven(text.len() as u64)]);
            return self.raw(text);
        }
        self.open_pair(field, key, field_length(1, text.len()));
        self.chosen_bytes(1, text);
    }

    /// A `KeyValue` with a number.
    #[inline(always)]
    pub(super) fn count(&mut self, field: u64, key: &[u8], number: u64) {
        let value = 1 + varint_length(number);
        if !self.open_short_pair(field, key, value) {
            self.open_pair(field, key, value);
        }
        self.chosen_uint(3, number);
    }

    /// Begins a `KeyValue` whose value will take `value` bytes, if each of the numbers in it is one byte, as a rule; says
    /// whether it has.
    #[inline(always)]
    fn open_short_pair(&mut self, field: u64, key: &[u8], value: usize) -> bool {
        let whole = key.len() + value + 4;
        if field >= 0x10 || whole >= 0x80 || key.is_empty() {
            return false;
        }
        let [whole, key_length, value] = [whole, key.len(), value].map(|length| low_seven(length as u64));
        self.0.reserve(usize::from(whole) + 2);
        self.raw(&[low_seven(field << 3 | LENGTH), whole, KEY, key_length]);
        self.raw(key);
        self.raw(&[VALUE, value]);
        true
    }

    /// Begins a `KeyValue` whose value will take `value` bytes: all of its lengths are known before it is written.
    #[inline(never)]
    fn open_pair(&mut self, field: u64, key: &[u8], value: usize) {
        self.open(field, bytes_length(1, key) + field_length(2, value));
        self.bytes(1, key);
        self.open(2, value);
    }

    /// A message within this one, of less than 128 bytes, as a rule.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        self.message_behind::<1>(field, write);
    }

    /// The same for one of more.
    pub(super) fn long_message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        self.message_behind::<2>(field, write);
    }

    /// What takes another length than `ROOM` is moved when that is known.
    fn message_behind<const ROOM: usize>(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let at = self.0.len();
        self.raw(&[0; ROOM]);
        write(self);
        let length = self.0.len() - at - ROOM;
        let mut place = at;
        let mut left = length as u64;
        self.make_room(at, ROOM, length);
        while left >= 0x80 {
            self.put(place, low_seven(left) | 0x80);
            (place, left) = (place + 1, left >> 7);
        }
        self.put(place, low_seven(left));
    }

    /// Moves the last `length` bytes to where they begin behind their length, which is at `at` and has `room`.
    fn make_room(&mut self, at: usize, room: usize, length: usize) {
        let (begin, end) = (at + room, at + room + length);
        let moved = at + varint_length(length as u64);
        if moved != begin {
            self.0.resize(end.max(moved + length), 0);
            self.0.copy_within(begin..end, moved);
            self.0.truncate(moved + length);
        }
    }

    fn put(&mut self, place: usize, byte: u8) {
        if let Some(place) = self.0.get_mut(place) {
            *place = byte;
        }
    }
}

/// How many bytes a field takes whose value is a message of `length`.
pub(super) fn field_length(field: u64, length: usize) -> usize {
    varint_length(field << 3 | LENGTH) + varint_length(length as u64) + length
}

/// The same for bytes, which are left out where they are empty.
fn bytes_length(field: u64, value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { field_length(field, value.len()) }
}

fn varint_length(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    bits.max(1).div_ceil(7) as usize
}

const fn low_seven(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn bytes(write: impl FnOnce(&mut Message<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut Message::behind(&mut bytes));
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_official_types_write(
            text in ".{0,300}",
            key in ".{0,200}",
            number in any::<i64>(),
            (time, flags, dropped) in (1_u64.., 1_u32.., any::<u32>()),
        ) {
            let value = |value| Some(AnyValue { value: Some(value) });
            let attribute = |value| KeyValue { key: key.clone(), value, ..KeyValue::default() };
            let attributes =
                vec![attribute(value(Value::StringValue(text.clone()))), attribute(value(Value::IntValue(number)))];
            let span = Span {
                name: format!("{key}{text}"),
                start_time_unix_nano: time,
                attributes,
                dropped_attributes_count: dropped,
                flags,
                ..Span::default()
            };
            let written = bytes(|written| {
                written.text(5, &[&key, "", &text]);
                written.fixed64(7, time);
                written.pair(9, key.as_bytes(), text.as_bytes());
                written.count(9, key.as_bytes(), number.cast_unsigned());
                written.uint(10, dropped);
                written.fixed32(16, flags);
            });
            prop_assert_eq!(&written, &span.encode_to_vec());
            // As a message, however much room its length was given before it was known.
            for length in [written.len(), text.len().min(written.len())] {
                let expected = bytes(|expected| expected.chosen_bytes(2, &written[..length]));
                let short = bytes(|short| short.message(2, |message| message.raw(&written[..length])));
                let long = bytes(|long| long.long_message(2, |message| message.raw(&written[..length])));
                prop_assert_eq!((&short, &long), (&expected, &expected));
            }
        }
    }
}
