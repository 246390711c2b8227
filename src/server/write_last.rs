//! Writing after everything that is ready has been handled.
//!
//! Where many clients ask at once, each kind of work is done for all of them before the next kind: their requests are read
//! and handled, then their answers are written, all by one of their tasks, or sooner by whoever fills the room for them.
//! That is less work than one client after the other, for the processor keeps at hand what it did last, and whoever reads
//! the answers on another core is not woken for each.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::yield_now;

/// The longest answer, in bytes, that is kept to be written with others: to copy a longer one costs more than it saves.
const MOST: usize = 16 * 1024;
/// How much, in bytes, a thread keeps before it is written, whoever has yet to have a turn.
const FULL: usize = 24 * 1024;

/// A connection whose first write after a read lets every task go first that can.
#[derive(Debug)]
pub(super) struct WriteLast {
    reader: OwnedReadHalf,
    out: Arc<Out>,
    /// The task that `out` knows.
    task: Option<Waker>,
    has_read: bool,
    /// What this connection's task is to write when it has its next turn.
    leads: Option<Lead>,
}

/// Where a connection's answers leave.
#[derive(Debug)]
struct Out {
    /// Whether an answer is in a round, and nothing else may leave before it.
    is_kept: AtomicBool,
    /// Whether something of such an answer is left to the connection's task.
    is_left: AtomicBool,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    stream: OwnedWriteHalf,
    /// What the socket did not take of an answer that was kept.
    rest: Vec<u8>,
    failed: Option<io::Error>,
    /// The connection's task, to be woken where it must go on itself.
    task: Option<Waker>,
    /// Whether it waits for what is kept to leave.
    waits: bool,
}

/// Answers that are written together.
#[derive(Debug, Default)]
struct Round {
    /// All of them, one after the other.
    bytes: Vec<u8>,
    /// Whose each is, and where it ends.
    answers: Vec<(Arc<Out>, usize)>,
    /// Whether a task has undertaken to write them.
    is_led: bool,
}

/// The obligation to write a round.
#[derive(Debug)]
struct Lead {
    round: Arc<Mutex<Round>>,
    /// Whether the other tasks have had their turn.
    has_yielded: bool,
}

thread_local! {
    static ROUND: RefCell<Arc<Mutex<Round>>> = RefCell::default();
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WriteLast {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (reader, stream) = stream.into_split();
        let writer = Writer { stream, rest: Vec::new(), failed: None, task: None, waits: false };
        let out = Out {
            is_kept: AtomicBool::new(false),
            is_left: AtomicBool::new(false),
            writer: Mutex::new(writer),
        };
        Self { reader, out: Arc::new(out), task: None, has_read: false, leads: None }
    }

    /// Writes the round that this connection leads, once the others have had their turn.
    fn poll_lead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(lead) = &mut self.leads {
            if !mem::replace(&mut lead.has_yielded, true) {
                // Once polled, the runtime knows whom to wake, and needs the future no more.
                ready!(pin!(yield_now()).poll(cx));
            }
            self.leads = None;
        }
        Poll::Ready(())
    }

    /// Keeps an answer for the thread's round. `None` if it is to be written at once.
    fn keep(&mut self, from: &[IoSlice<'_>], cx: &Context<'_>) -> Option<usize> {
        let len = from.iter().map(|part| part.len()).sum();
        if !mem::take(&mut self.has_read) || len > MOST || self.out.is_busy() {
            return None;
        }
        self.remember(cx);
        ROUND.with_borrow(|shared| {
            let mut round = lock(shared);
            from.iter().for_each(|part| round.bytes.extend_from_slice(part));
            let end = round.bytes.len();
            self.out.is_kept.store(true, Ordering::Release);
            round.answers.push((Arc::clone(&self.out), end));
            let is_led = mem::replace(&mut round.is_led, true);
            let is_full = end >= FULL;
            drop(round);
            if is_full {
                write_all(shared);
            } else if !is_led {
                self.leads = Some(Lead { round: Arc::clone(shared), has_yielded: false });
            }
            Some(len)
        })
    }

    fn remember(&mut self, cx: &Context<'_>) {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            lock(&self.out.writer).task = Some(cx.waker().clone());
        }
    }

    /// Ready when nothing is left of what was kept.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_busy() {
            return Poll::Ready(Ok(()));
        }
        self.remember(cx);
        let mut writer = lock(&self.out.writer);
        if self.out.is_kept.load(Ordering::Acquire) {
            writer.waits = true;
            return Poll::Pending;
        }
        let left = ready!(writer.poll_left(cx));
        self.out.is_left.store(false, Ordering::Release);
        Poll::Ready(left)
    }
}

impl Out {
    fn is_busy(&self) -> bool {
        self.is_kept.load(Ordering::Acquire) || self.is_left.load(Ordering::Acquire)
    }

    /// Writes an answer that was kept; what the socket does not take is left to the connection's task.
    fn write_kept(&self, answer: &[u8]) {
        let mut writer = lock(&self.writer);
        let is_left = !writer.write_kept(answer);
        self.is_left.store(is_left, Ordering::Release);
        self.is_kept.store(false, Ordering::Release);
        if mem::take(&mut writer.waits) || is_left {
            let task = writer.task.clone();
            drop(writer);
            task.into_iter().for_each(Waker::wake);
        }
    }
}

impl Writer {
    /// Whether nothing is left.
    fn write_kept(&mut self, mut answer: &[u8]) -> bool {
        while !answer.is_empty() {
            match self.stream.try_write(answer) {
                Ok(taken) => answer = &answer[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.rest.extend_from_slice(answer);
                    return false;
                }
                Err(error) => {
                    self.failed = Some(error);
                    return false;
                }
            }
        }
        true
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        while !self.rest.is_empty() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))?;
            self.rest.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        write_all(&self.round);
    }
}

/// Writes what is in a round.
fn write_all(shared: &Mutex<Round>) {
    let Round { mut bytes, mut answers, .. } = mem::take(&mut *lock(shared));
    let mut begin = 0;
    for (out, end) in answers.drain(..) {
        out.write_kept(&bytes[begin..end]);
        begin = end;
    }
    bytes.clear();
    let mut round = lock(shared);
    if round.answers.is_empty() {
        (round.bytes, round.answers) = (bytes, answers);
    }
}

impl AsyncRead for WriteLast {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.reader).poll_read(cx, into);
        self.has_read |= read.is_ready();
        read
    }
}

impl AsyncWrite for WriteLast {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(from)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_lead(cx));
        if let Some(kept) = self.keep(from, cx) {
            return Poll::Ready(Ok(kept));
        }
        ready!(self.poll_left(cx))?;
        Pin::new(&mut lock(&self.out.writer).stream).poll_write_vectored(cx, from)
    }

    /// Ready although an answer is kept, for it leaves by itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_lead(cx));
        if self.out.is_left.load(Ordering::Acquire) { self.poll_left(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_lead(cx));
        ready!(self.poll_left(cx))?;
        Pin::new(&mut lock(&self.out.writer).stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    type Write = Poll<io::Result<usize>>;

    /// A connection and its client, who has asked something that has been read.
    async fn asked() -> (WriteLast, net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut connection = WriteLast::new(listener.accept().await.unwrap().0);
        client.write_all(b"?").unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'?');
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (connection, client)
    }

    fn now() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn write(connection: &mut WriteLast, answer: &[u8]) -> Write {
        Pin::new(connection).poll_write(&mut now(), answer)
    }

    fn flush(connection: &mut WriteLast) -> Poll<io::Result<()>> {
        Pin::new(connection).poll_flush(&mut now())
    }

    fn is_written(write: &Write, len: usize) -> bool {
        matches!(write, Poll::Ready(Ok(written)) if *written == len)
    }

    fn has_nothing(client: &mut net::TcpStream) -> bool {
        client.set_nonblocking(true).unwrap();
        let read = client.read(&mut [0]);
        client.set_nonblocking(false).unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn read(client: &mut net::TcpStream, len: usize) -> String {
        let mut bytes = vec![0; len];
        client.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn the_first_to_answer_writes_for_all_once_the_others_had_their_turn() {
        let [mut first, mut second, mut third] = [asked().await, asked().await, asked().await];
        for (answer, (connection, _)) in
            ["one", "two", "three"].into_iter().zip([&mut first, &mut second, &mut third])
        {
            assert!(is_written(&write(connection, answer.as_bytes()), answer.len()));
        }
        assert!(flush(&mut second.0).is_ready() && flush(&mut third.0).is_ready(), "they need not wait");
        assert!(flush(&mut first.0).is_pending());
        assert!([&mut first, &mut second, &mut third].into_iter().all(|(_, client)| has_nothing(client)));
        assert!(flush(&mut first.0).is_ready());
        assert_eq!(
            [read(&mut first.1, 3), read(&mut second.1, 3), read(&mut third.1, 5)],
            ["one", "two", "three"]
        );
    }

    #[tokio::test]
    async fn whoever_leaves_before_its_turn_writes_at_once() {
        let [(mut leader, mut its), (mut other, mut others)] = [asked().await, asked().await];
        assert!(write(&mut leader, b"one").is_ready() && write(&mut other, b"two").is_ready());
        drop(other);
        drop(leader);
        assert_eq!([read(&mut its, 3), read(&mut others, 3)], ["one", "two"]);
    }

    #[tokio::test]
    async fn rounds_follow_one_another() {
        let (mut connection, mut client) = asked().await;
        for answer in ["one", "two"] {
            assert!(write(&mut connection, answer.as_bytes()).is_ready());
            assert!(flush(&mut connection).is_pending() && flush(&mut connection).is_ready());
            assert_eq!(read(&mut client, 3), answer);
            client.write_all(b"?").unwrap();
            connection.read_u8().await.unwrap();
        }
    }

    #[tokio::test]
    async fn only_the_first_write_after_a_read_is_kept_and_the_next_wait_for_it() {
        let (mut leader, _its) = asked().await;
        let (mut connection, mut client) = asked().await;
        assert!(write(&mut leader, b"!").is_ready());
        assert!(is_written(&write(&mut connection, b"head "), 5));
        assert!(write(&mut connection, b"body").is_pending());
        client.write_all(b"?").unwrap();
        connection.read_u8().await.unwrap();
        assert!(write(&mut connection, b"body").is_pending(), "whatever has been read meanwhile");
        assert!(has_nothing(&mut client));
        drop(leader);
        assert!(is_written(&write(&mut connection, b"body "), 5));
        assert!(is_written(&write(&mut connection, b"more"), 4));
        assert_eq!(read(&mut client, 14), "head body more");
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (mut leader, _its) = asked().await;
        let (mut connection, mut client) = asked().await;
        assert!(write(&mut leader, b"!").is_ready() && write(&mut connection, b"head ").is_ready());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            connection.write_all(b"body").await.unwrap();
            connection
        });
        tokio::task::yield_now().await;
        assert!(tasks.try_join_next().is_none());
        drop(leader);
        timeout(Duration::from_secs(10), tasks.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(read(&mut client, 9), "head body");
    }

    #[tokio::test]
    async fn a_long_answer_is_not_kept() {
        let (mut connection, mut client) = asked().await;
        let long = "!".repeat(MOST + 1);
        assert!(is_written(&write(&mut connection, long.as_bytes()), long.len()));
        assert_eq!(read(&mut client, long.len()), long);
    }

    #[tokio::test]
    async fn whoever_fills_a_round_writes_it() {
        let answer = "!".repeat(MOST);
        let [(mut leader, mut its), (mut other, mut others)] = [asked().await, asked().await];
        assert!(write(&mut leader, answer.as_bytes()).is_ready() && has_nothing(&mut its));
        assert!(write(&mut other, answer.as_bytes()).is_ready());
        assert_eq!([read(&mut its, MOST), read(&mut others, MOST)], [answer.as_str(); 2]);
        // Who began it finds it empty when its turn comes.
        assert!(flush(&mut leader).is_pending() && flush(&mut leader).is_ready());
        assert!(has_nothing(&mut its) && has_nothing(&mut others));
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_is_left_to_its_task() {
        let (mut connection, mut client) = asked().await;
        connection.has_read = false;
        let mut full = 0;
        while let Poll::Ready(written) = write(&mut connection, &[b'.'; 1 << 16]) {
            full += written.unwrap();
        }
        connection.has_read = true;
        assert!(write(&mut connection, b"kept").is_ready());
        assert!(flush(&mut connection).is_pending());
        assert!(flush(&mut connection).is_pending(), "the client takes nothing");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            connection.flush().await.unwrap();
            connection.write_all(b"!").await.unwrap();
            connection.shutdown().await.unwrap();
        });
        let reads = move || {
            let mut all = String::new();
            client.read_to_string(&mut all).map(|_| all)
        };
        let all = tokio::task::spawn_blocking(reads).await.unwrap().unwrap();
        tasks.join_all().await;
        assert_eq!(all.len(), full + 5);
        assert!(all.ends_with(".kept!"));
    }

    #[tokio::test]
    async fn the_end_comes_after_what_is_kept() {
        let [(mut leader, _its), (mut connection, mut client)] = [asked().await, asked().await];
        assert!(write(&mut leader, b"!").is_ready() && write(&mut connection, b"last").is_ready());
        let end = |connection: &mut WriteLast| Pin::new(connection).poll_shutdown(&mut now());
        assert!(end(&mut connection).is_pending());
        drop(leader);
        assert!(end(&mut connection).is_ready());
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "last");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_the_connections_task() {
        let (mut connection, client) = asked().await;
        connection.has_read = false;
        assert!(is_written(&write(&mut connection, b"unread"), 6));
        // With something unread its end is a reset.
        drop(client);
        connection.read_u8().await.unwrap_err();
        connection.has_read = true;
        assert!(is_written(&write(&mut connection, b"kept"), 4));
        assert!(flush(&mut connection).is_pending());
        assert!(matches!(flush(&mut connection), Poll::Ready(Err(_))));
    }
}
