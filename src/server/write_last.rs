//! Writing after everything that is ready has been handled.
//!
//! Where many clients ask at once, each kind of work is done for all of them before the next kind: their requests are read
//! and handled, then their answers are written. That is less work than one client after the other, for the processor
//! keeps at hand what it did last, and whoever reads the answers on another core is not woken for each.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// A stream whose first write after a read lets every task go first that can.
#[derive(Debug)]
pub(super) struct WriteLast<T> {
    stream: T,
    has_read: bool,
}

impl<T> WriteLast<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, has_read: false }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Once polled, the runtime knows whom to wake, and needs the future no more.
        if std::mem::take(&mut self.has_read) { pin!(yield_now()).poll(cx) } else { Poll::Ready(()) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteLast<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.has_read |= read.is_ready();
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteLast<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn all_that_is_ready_is_read_before_anything_is_written() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let (mut clients, mut served) = (Vec::new(), Vec::new());
        for number in [1, 2, 3] {
            let (mut client, stream) = duplex(64);
            client.write_all(b"?").await.unwrap();
            clients.push(client);
            let done = Arc::clone(&done);
            let note = move |what| done.lock().unwrap().push((what, number));
            served.push(async move {
                let mut stream = WriteLast::new(stream);
                assert_eq!(stream.read_u8().await.unwrap(), b'?');
                note("read");
                assert_eq!(stream.write_vectored(&[IoSlice::new(b"!!")]).await.unwrap(), 2);
                note("written");
            });
        }
        served.into_iter().collect::<JoinSet<_>>().join_all().await;
        let mut done = done.lock().unwrap().clone();
        // The runtime may wake them in any order.
        done[3..].sort_unstable();
        let each = |what| [1, 2, 3].map(|number| (what, number));
        assert_eq!(done, [each("read"), each("written")].concat());
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "!!");
        }
    }

    #[tokio::test]
    async fn only_the_first_write_after_a_read_waits() {
        let (mut client, stream) = duplex(64);
        client.write_all(b"??").await.unwrap();
        let mut stream = WriteLast::new(stream);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        for _ in 0..2 {
            stream.read_u8().await.unwrap();
            let mut write = || Pin::new(&mut stream).poll_write(cx, b"!").map(Result::unwrap);
            assert_eq!([write(), write(), write()], [Poll::Pending, Poll::Ready(1), Poll::Ready(1)]);
        }
    }
}
