//! Cruds as JSON, written in long pieces.
//!
//! The same bytes as serde would write, for a fraction of the work: serde escapes each key of each crud anew and hands
//! over a few bytes at a time, which costs a home page more than finding out what is on it (`benches/`).

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::model::{Activity, Reply};
use super::timestamp::{Timestamp, Written};

/// Appends `cruds` to `out` as the elements of an array.
pub(super) fn write(cruds: &[Activity], out: &mut Vec<u8>) {
    Writer { out, note: |_, _| {} }.list(cruds, Writer::activity);
}

/// Cruds whose times are relative to the moment they are read, as the elements of an array: written once, but for the
/// times.
pub(super) struct Template {
    json: Vec<u8>,
    /// Where times belong, and how many hours later than the moment they are.
    times: Vec<(usize, i64)>,
}

impl Template {
    /// Of what there is at the moment `now`, from which all times in it are whole hours away.
    pub(super) fn of(cruds: &[Activity], now: Timestamp) -> Self {
        let (mut json, mut times) = (Vec::new(), Vec::new());
        let note = |place, time: Timestamp| times.push((place, (time.time() - now.time()).num_hours()));
        Writer { out: &mut json, note }.list(cruds, Writer::activity);
        Self { json, times }
    }

    /// Appends what there is at the moment `now`.
    pub(super) fn write(&self, now: &Written, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.json);
        for &(place, hours) in &self.times {
            if let Some(place) = out.get_mut(begin + place..).and_then(<[u8]>::first_chunk_mut) {
                *place = now.later(hours);
            }
        }
    }
}

/// Appends to JSON; what a piece holds is for the caller to keep well-formed.
struct Writer<'a, N> {
    out: &'a mut Vec<u8>,
    /// Told where each time is written.
    note: N,
}

impl<N: FnMut(usize, Timestamp)> Writer<'_, N> {
    fn activity(&mut self, activity: &Activity) {
        let Activity { uuid, display_name, handle, message, created_at, expires_at, .. } = activity;
        let Activity { likes_count, replies_count, reposts_count, likes, replies, .. } = activity;
        self.raw(r#"{"uuid":"#).uuid(uuid);
        if let Some(name) = display_name {
            self.raw(r#","display_name":"#).text(name);
        }
        self.raw(r#","handle":"#).text(handle);
        self.raw(r#","message":"#).text(message);
        self.raw(r#","created_at":"#).time(*created_at);
        self.raw(r#","expires_at":"#).time(*expires_at);
        self.raw(r#","likes_count":"#).number(*likes_count);
        self.raw(r#","replies_count":"#).number(*replies_count);
        self.raw(r#","reposts_count":"#).number(*reposts_count);
        if let Some(likes) = likes {
            self.raw(r#","likes":"#).number(*likes);
        }
        self.raw(r#","replies":["#).list(replies, Writer::reply);
        self.raw("]}");
    }

    fn reply(&mut self, reply: &Reply) {
        let Reply { uuid, reply_to_activity_uuid, display_name, handle, message, .. } = reply;
        let Reply { likes_count, replies_count, reposts_count, created_at, .. } = reply;
        self.raw(r#"{"uuid":"#).uuid(uuid);
        self.raw(r#","reply_to_activity_uuid":"#).uuid(reply_to_activity_uuid);
        if let Some(name) = display_name {
            self.raw(r#","display_name":"#).text(name);
        }
        self.raw(r#","handle":"#).text(handle);
        self.raw(r#","message":"#).text(message);
        self.raw(r#","likes_count":"#).number(*likes_count);
        self.raw(r#","replies_count":"#).number(*replies_count);
        self.raw(r#","reposts_count":"#).number(*reposts_count);
        self.raw(r#","created_at":"#).time(*created_at);
        self.raw("}");
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.raw(",");
            }
            write(self, item);
        }
    }

    fn raw(&mut self, piece: &str) -> &mut Self {
        self.out.extend_from_slice(piece.as_bytes());
        self
    }

    fn text(&mut self, text: &str) {
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // Looking at all of them, come what may, goes by sixteen at once; stopping at the first goes one by one.
        if text.bytes().fold(true, |so_far, byte| so_far & plain(byte)) {
            self.raw("\"").raw(text).raw("\"");
        } else {
            // What is escaped is escaped as serde does it; writing to memory does not fail.
            serde_json::to_writer(&mut *self.out, text).ok();
        }
    }

    fn uuid(&mut self, uuid: &Uuid) {
        let mut digits = [0; Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut digits);
        self.raw("\"");
        // The array and not a part of it, whose length would not be known.
        self.out.extend_from_slice(&digits);
        self.raw("\"");
    }

    fn time(&mut self, time: Timestamp) {
        self.raw("\"");
        (self.note)(self.out.len(), time);
        self.out.extend_from_slice(time.written().bytes());
        self.raw("\"");
    }

    fn number(&mut self, mut number: u32) {
        // Most counts have one digit.
        if let Ok(digit @ ..=9) = u8::try_from(number) {
            return self.out.push(b'0' + digit);
        }
        let (mut digits, mut from) = ([0; 10], 10);
        loop {
            from -= 1;
            digits[from] = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[from..]);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::option;
    use proptest::prelude::*;

    use super::super::model::Text;
    use super::*;

    fn written(cruds: &[Activity]) -> String {
        let mut out = Vec::new();
        write(cruds, &mut out);
        format!("[{}]", String::from_utf8(out).unwrap())
    }

    prop_compose! {
        fn any_reply()(
            ids in any::<[u128; 2]>(),
            name in option::of(".*"),
            texts in [".*", ".*"],
            counts in any::<[u32; 3]>(),
            seconds in 0_i64..253_402_300_800,
        ) -> Reply {
            let [uuid, to] = ids.map(Uuid::from_u128);
            let [handle, message] = texts.map(Text::Owned);
            let [likes_count, replies_count, reposts_count] = counts;
            Reply {
                uuid,
                reply_to_activity_uuid: to,
                display_name: name.map(Text::Owned),
                handle,
                message,
                likes_count,
                replies_count,
                reposts_count,
                created_at: DateTime::from_timestamp(seconds, 0).unwrap().into(),
            }
        }
    }

    prop_compose! {
        fn any_activity()(
            replies in prop::collection::vec(any_reply(), 0..3),
            own in any_reply(),
            likes in option::of(any::<u32>()),
        ) -> Activity {
            Activity {
                uuid: own.uuid,
                display_name: own.display_name,
                handle: own.handle,
                message: own.message,
                created_at: own.created_at,
                expires_at: own.created_at.offset(TimeDelta::microseconds(1)),
                likes_count: own.likes_count,
                replies_count: own.replies_count,
                reposts_count: own.reposts_count,
                likes,
                replies,
            }
        }
    }

    proptest! {
        #[test]
        fn any_feed_is_what_serde_writes(feed in prop::collection::vec(any_activity(), 0..3)) {
            prop_assert_eq!(written(&feed), serde_json::to_string(&feed).unwrap());
        }
    }
}
