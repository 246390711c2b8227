//! From the response's head to the end of its body.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context as TraceContext;
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use super::facts::Ending;
use super::fault::Fault;
use super::panic::catch;
use super::record::Stage;

type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// A response body that closes its exchange where it ends: after the last byte, at an error, at a panic (which
    /// becomes an error, so that the connection is cut and not the process hurt), or when it is dropped.
    #[derive(Debug)]
    pub struct ObserveBody<B> {
        #[pin]
        inner: B,
        end: EndOfBody,
        context: TraceContext,
    }
}

/// Counts what the body yields, and closes the exchange exactly once.
#[derive(Default)]
pub(super) struct EndOfBody {
    /// `None` once it is closed.
    exchange: Option<Exchange>,
    bytes: u64,
    /// The whole body's length, where it is known. Whoever writes it out does not ask for more than that, not
    /// even whether there is more.
    length: Option<u64>,
}

impl fmt::Debug for EndOfBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndOfBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl EndOfBody {
    pub(super) fn new(exchange: Exchange, length: Option<u64>) -> Self {
        Self { exchange: Some(exchange), bytes: 0, length }
    }

    fn is_reached(&self) -> bool {
        self.length.is_some_and(|length| self.bytes >= length)
    }

    fn close(&mut self, ending: Ending) {
        if let Some(exchange) = self.exchange.take() {
            exchange.close(ending, self.bytes);
        }
    }
}

impl Drop for EndOfBody {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.cut_off(Stage::Body, self.bytes);
        }
    }
}

impl<B> ObserveBody<B> {
    pub(super) fn new(inner: B, end: EndOfBody, context: TraceContext) -> Self {
        Self { inner, end, context }
    }

    pub(super) fn unobserved(inner: B) -> Self {
        Self::new(inner, EndOfBody::default(), TraceContext::new())
    }
}

impl<B> Body for ObserveBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        // Given away, for mostly this is the last time, and to share it costs more.
        let attached = std::mem::take(this.context).attach();
        let polled = match catch(|| this.inner.as_mut().poll_frame(cx)) {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                this.end.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
                if this.end.is_reached() || frame.is_trailers() || this.inner.is_end_stream() {
                    this.end.close(Ending::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                let error = error.into();
                if let Some(exchange) = &this.end.exchange {
                    exchange.failed(Fault::capture_dyn(error.as_ref()));
                }
                this.end.close(Ending::Broken);
                Poll::Ready(Some(Err(error)))
            }
            Ok(Poll::Ready(None)) => {
                this.end.close(Ending::Complete);
                Poll::Ready(None)
            }
            Ok(Poll::Pending) => Poll::Pending,
            Err(report) => {
                let error = BodyPanicked(report.message.clone());
                if let Some(exchange) = &this.end.exchange {
                    exchange.panicked(report);
                }
                this.end.close(Ending::Broken);
                Poll::Ready(Some(Err(error.into())))
            }
        };
        if this.end.exchange.is_some() {
            *this.context = TraceContext::current();
        }
        drop(attached);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The stream of a response body panicked; the connection is cut short.
#[derive(Debug, thiserror::Error)]
#[error("the response body panicked: {0}")]
struct BodyPanicked(String);
