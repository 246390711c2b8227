//! Why something failed, as X-Ray has it: exceptions that name each other.

use std::sync::Arc;

use opentelemetry_sdk::trace::SpanData;

use super::json::{Hex, Object, key};
use super::subsegment::Known;
use super::{LONGEST, cut};
use crate::telemetry::observe::{Fault, PanicReport, RequestRecord, frames};

/// The most causes of one subsegment.
const MOST_EXCEPTIONS: usize = 16;

/// Why a request failed: the error's chain, or the panic.
pub(super) struct Failure<'a> {
    /// The request's own id, of which those of the exceptions are made.
    own: [u8; 8],
    why: Why<'a>,
    /// Where. It belongs to the outermost error: where it became ours.
    stack: Arc<[frames::Frame]>,
}

enum Why<'a> {
    Panic(&'a PanicReport),
    Fault(&'a Fault),
}

impl<'a> Failure<'a> {
    pub(super) fn of(record: &'a RequestRecord) -> Option<Self> {
        let own = record.identity().span_id.to_bytes();
        if let Some(panic) = &record.panic {
            let stack = panic.backtrace.as_ref().map(|stack| frames::resolve(stack)).unwrap_or_default();
            return Some(Self { own, why: Why::Panic(panic), stack });
        }
        let fault = record.fault.as_ref()?;
        Some(Self { own, why: Why::Fault(fault), stack: frames::resolve(fault.backtrace()) })
    }

    pub(super) fn write(&self, with_stack: bool, object: &mut Object<'_>) {
        let stack = if with_stack { &self.stack[..] } else { &[] };
        let id = |at| exception_id(self.own, 0x9e37_79b9_7f4a_7c15, at);
        let panicked = |panic: &PanicReport, out: &mut Vec<u8>| {
            let mut exception = begin(out, id(0), "panic", &panic.message);
            write_stack(stack, &mut exception);
            exception.close();
        };
        write(object, |cause| {
            match &self.why {
                Why::Panic(panic) => cause.array(key!("exceptions"), [*panic], panicked),
                Why::Fault(fault) => {
                    let last = fault.causes().len() - 1;
                    cause.array(key!("exceptions"), fault.causes().iter().enumerate(), |(at, cause), out| {
                        let mut exception = begin(out, id(at), cause.class, &cause.message);
                        exception.field(key!("cause"), (at < last).then(|| id(at + 1)));
                        if at == 0 {
                            write_stack(stack, &mut exception);
                        }
                        exception.close();
                    })
                }
            };
        });
    }
}

/// The exceptions that a span's events tell of.
pub(super) fn of_events(span: &SpanData, object: &mut Object<'_>) {
    let own = span.span_context.span_id().to_bytes();
    let mut events =
        span.events.iter().filter(|event| event.name == "exception").take(MOST_EXCEPTIONS).peekable();
    if events.peek().is_none() {
        return;
    }
    write(object, |cause| {
        cause.array(key!("exceptions"), events.enumerate(), |(at, event), out| {
            let known = Known::of(&event.attributes);
            let text = |value: Option<&opentelemetry::Value>| {
                value.map(|value| value.as_str().into_owned()).unwrap_or_default()
            };
            let (class, message) = (text(known.exception_type), text(known.exception_message));
            begin(out, exception_id(own, 0xc2b2_ae3d_27d4_eb4f, at), &class, &message).close();
        });
    });
}

fn write(object: &mut Object<'_>, exceptions: impl FnOnce(&mut Object<'_>)) {
    let here = std::env::current_dir().map(|here| here.display().to_string()).unwrap_or_default();
    object.object(key!("cause"), |cause| {
        cause.field(key!("working_directory"), cut(&here, LONGEST));
        exceptions(cause);
    });
}

fn begin<'a>(out: &'a mut Vec<u8>, id: Hex<8>, class: &str, message: &str) -> Object<'a> {
    let mut exception = Object::open(out);
    exception
        .field(key!("id"), id)
        .field(key!("type"), cut(class, LONGEST))
        .field(key!("message"), cut(message, LONGEST));
    exception
}

/// An id for the exception at this place of a chain, the same whoever asks. `apart` is an odd number of high entropy,
/// which keeps neighbours apart.
fn exception_id(own: [u8; 8], apart: u64, at: usize) -> Hex<8> {
    let id = u64::from_be_bytes(own) ^ apart.wrapping_mul(at as u64 + 1);
    Hex(id.to_be_bytes())
}

fn write_stack(stack: &[frames::Frame], exception: &mut Object<'_>) {
    exception.array(key!("stack"), stack, |frame, out| {
        Object::open(out)
            .field(key!("path"), frame.file.as_deref().map(|file| cut(file, LONGEST)))
            .field(key!("line"), frame.line.map(u64::from))
            .field(key!("label"), cut(&frame.function, LONGEST))
            .close();
    });
}
