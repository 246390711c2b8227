//! What receivers over TCP have in common.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Serves connections on a thread of its own, so that it answers while a test is busy; it ends when this is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stopped: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves each connection of `listener` with `serve`.
    pub(super) fn start<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let stopped = CancellationToken::new();
        let until = stopped.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(until.run_until_cancelled_owned(accept(listener, serve)));
        });
        Self { address, stopped, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.cancel();
        if let Some(thread) = self.thread.take() {
            // It has panicked where a test has failed already.
            thread.join().ok();
        }
    }
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream));
        while connections.try_join_next().is_some() {}
    }
}
