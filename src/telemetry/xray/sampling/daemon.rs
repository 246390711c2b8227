//! The daemon's TCP side: it signs what it is asked, and passes it on to AWS.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use serde_json::json;

use super::CentralRules;
use super::central::{Report, Targets};
use crate::telemetry::delivery::{chain, excerpt};

/// From connecting to the last byte of an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// An account has some dozens of rules; whoever answers with more than this is not the daemon.
const LARGEST: usize = 1 << 20;
/// AWS says why it refuses in a sentence or two; so many characters are shown.
const EXCERPT: usize = 200;
/// Pages of rules; AWS has one.
const MOST_PAGES: usize = 16;

/// Why there is no answer, or none that could be used. Reads well after "the daemon".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Nobody listens, the name is not known, or it takes too long.
    #[error("does not answer: {0}")]
    NoAnswer(String),
    /// The daemon cannot reach AWS (502), AWS refuses, or this is not the daemon (404).
    #[error("answers {status}{excerpt}")]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// What it says, in brackets behind a blank, if it says anything.
        excerpt: String,
    },
    /// The answer is larger than 1 MiB, or has no end of pages.
    #[error("answers at too great length")]
    Endless,
    /// The answer is not the API's.
    #[error("answers what is not X-Ray's JSON: {0}")]
    NotJson(#[from] serde_json::Error),
}

impl From<reqwest::Error> for DaemonError {
    /// The outermost error alone rarely says what happened.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        Self::NoAnswer(if error.is_timeout() { "it takes too long".to_owned() } else { chain(&error) })
    }
}

/// The two calls of X-Ray's API that sampling needs.
pub(super) trait Api: Send + Sync + 'static {
    /// Calls `operation` with a JSON body; the answer is the body of a 200.
    fn call(
        &self,
        operation: &str,
        body: String,
    ) -> impl Future<Output = Result<Vec<u8>, DaemonError>> + Send;

    /// All rules of the account.
    fn rules(&self) -> impl Future<Output = Result<CentralRules, DaemonError>> + Send {
        async {
            let (mut rules, mut body) = (CentralRules::default(), "{}".to_owned());
            for _ in 0..MOST_PAGES {
                let page = self.call("GetSamplingRules", body).await?;
                let Some(token) = rules.add_page(&page)? else { return Ok(rules) };
                body = json!({"NextToken": token}).to_string();
            }
            Err(DaemonError::Endless)
        }
    }

    /// Reports, and learns what to do next.
    fn targets(&self, report: &Report<'_>) -> impl Future<Output = Result<Targets, DaemonError>> + Send {
        let body = serde_json::to_string(report);
        async { Ok(Targets::parse(&self.call("SamplingTargets", body?).await?)?) }
    }
}

/// The daemon at an address.
pub(super) struct Daemon {
    client: reqwest::Client,
    base: String,
}

impl Daemon {
    /// `address` is a host, by name or number, and a port.
    pub(super) fn new(address: &str) -> Result<Self, DaemonError> {
        Self::patient(address, PATIENCE)
    }

    fn patient(address: &str, patience: Duration) -> Result<Self, DaemonError> {
        let client = reqwest::Client::builder()
            .timeout(patience)
            // It is on this machine or next to it.
            .no_proxy()
            .redirect(Policy::none())
            // One call in ten seconds: a kept connection would be one to where the daemon used to be.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { client, base: format!("http://{address}/") })
    }
}

impl Api for Daemon {
    async fn call(&self, operation: &str, body: String) -> Result<Vec<u8>, DaemonError> {
        let request = self.client.post(format!("{}{operation}", self.base));
        let mut response = request.header(CONTENT_TYPE, "application/json").body(body).send().await?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > LARGEST {
                return Err(DaemonError::Endless);
            }
            answer.extend_from_slice(&chunk);
        }
        match response.status() {
            StatusCode::OK => Ok(answer),
            status => {
                let excerpt = excerpt(&String::from_utf8_lossy(&answer), EXCERPT);
                Err(DaemonError::Refused { status, excerpt })
            }
        }
    }
}

/// Fetches the central rules once, from the daemon at `address` (host and port), within 3 seconds a page.
///
/// # Errors
/// What the daemon does instead of answering.
pub async fn fetch_rules(address: &str) -> Result<CentralRules, DaemonError> {
    Daemon::new(address)?.rules().await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    /// Answers one connection after another as told, and keeps what it was asked. It ends when it is dropped.
    struct StandIn {
        address: String,
        asked: Arc<Mutex<Vec<String>>>,
        _task: JoinSet<()>,
    }

    impl StandIn {
        async fn start(answers: Vec<Vec<u8>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let asked = Arc::<Mutex<Vec<String>>>::default();
            let (kept, mut task) = (Arc::clone(&asked), JoinSet::new());
            task.spawn(async move {
                for answer in answers {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = Vec::new();
                    // All bodies here end with a brace, and no head has one.
                    while !request.ends_with(b"}") {
                        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                    }
                    kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                    // A client that has read enough may be gone.
                    stream.write_all(&answer).await.ok();
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                }
            });
            Self { address, asked, _task: task }
        }
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    async fn refusal(answers: Vec<Vec<u8>>) -> String {
        let daemon = StandIn::start(answers).await;
        fetch_rules(&daemon.address).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn pages_are_asked_for_one_after_another() {
        let pages = [r#"{"SamplingRuleRecords": [], "NextToken": "a\"b"}"#, r#"{"SamplingRuleRecords": []}"#];
        let daemon = StandIn::start(pages.map(|page| answer("200 OK", page)).to_vec()).await;
        assert!(fetch_rules(&daemon.address).await.unwrap().is_empty());
        let asked = daemon.asked.lock().unwrap();
        let [first, second] = &asked[..] else { panic!("two requests: {asked:?}") };
        assert!(first.starts_with("POST /GetSamplingRules HTTP/1.1\r\n"), "{first}");
        assert!(first.contains("\r\ncontent-type: application/json\r\n"), "{first}");
        assert!(first.ends_with("\r\n\r\n{}"), "{first}");
        assert!(second.ends_with("\r\n\r\n{\"NextToken\":\"a\\\"b\"}"), "{second}");
    }

    #[tokio::test]
    async fn any_other_answer_is_named() {
        for (answers, said) in [
            (answer("502 Bad Gateway", ""), "answers 502 Bad Gateway"),
            (
                answer("403 Forbidden", "{\"message\":\n \"no\"}"),
                "answers 403 Forbidden (it said: {\"message\": \"no\"})",
            ),
            (answer("404 Not Found", "gone"), "answers 404 Not Found (it said: gone)"),
            (answer("301 Moved\r\nlocation: http://127.0.0.1:1/", ""), "answers 301 Moved Permanently"),
            (answer("200 OK", &"x".repeat(LARGEST + 1)), "answers at too great length"),
        ] {
            assert_eq!(refusal(vec![answers]).await, said);
        }
        let said = refusal(vec![answer("200 OK", "<html>")]).await;
        assert!(said.starts_with("answers what is not X-Ray's JSON: expected value"), "{said}");
    }

    #[tokio::test]
    async fn pages_without_end_are_given_up() {
        let page = answer("200 OK", r#"{"NextToken": "again"}"#);
        assert_eq!(refusal(vec![page; MOST_PAGES]).await, "answers at too great length");
    }

    #[tokio::test]
    async fn nobody_listening_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let said = fetch_rules(&address).await.unwrap_err().to_string();
        assert!(said.starts_with("does not answer: ") && said.contains("refused"), "{said}");
    }

    #[tokio::test]
    async fn silence_is_no_answer() {
        let silent = StandIn::start(vec![Vec::new()]).await;
        let daemon = Daemon::patient(&silent.address, Duration::from_millis(50)).unwrap();
        assert_eq!(daemon.rules().await.unwrap_err().to_string(), "does not answer: it takes too long");
    }
}
