//! A client that keeps its connection.

use std::net::SocketAddr;

use axum::body::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    _tasks: JoinSet<hyper::Result<()>>,
}

/// What came back, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        Self { sender, _tasks: tasks }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    /// The same, from a server that may be gone before it has answered.
    pub(crate) async fn try_get(&mut self, path: &str) -> hyper::Result<Reply> {
        self.sender.ready().await?;
        let request = Request::builder().uri(path).header("host", "localhost").body(Full::default()).unwrap();
        Reply::read(self.sender.send_request(request).await?).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        Reply::read(response).await.unwrap()
    }
}

impl Reply {
    async fn read(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    /// The ids and the flags of `traceresponse`.
    pub(crate) fn trace(&self) -> (String, String, String) {
        let value = self.headers["traceresponse"].to_str().unwrap();
        let [version, trace, span, flags] = value.split('-').collect::<Vec<_>>()[..] else {
            panic!("{value}");
        };
        assert_eq!(version, "00");
        (trace.to_owned(), span.to_owned(), flags.to_owned())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
