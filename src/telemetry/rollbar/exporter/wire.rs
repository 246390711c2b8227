//! HTTP: one item, one POST.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Url;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};

use crate::telemetry::delivery::{BoxError, read_beginning};

/// The header that carries the token: bodies are logged, spooled and shown, headers are not.
const TOKEN: &str = "x-rollbar-access-token";
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// How long a post may take. Rollbar answers within a second, or not.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone)]
pub(in super::super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A way to Rollbar.
pub(in super::super) trait Wire: Send + Sync + 'static {
    /// Posts an item.
    fn post(&self, item: String) -> impl Future<Output = Result<Reply, BoxError>> + Send;
}

/// HTTP.
#[derive(Debug)]
pub(in super::super) struct Http {
    client: reqwest::Client,
    url: Url,
}

impl Http {
    pub(in super::super) fn new(endpoint: &Url, token: &SecretString) -> Result<Self, BoxError> {
        let mut token = HeaderValue::from_str(token.expose_secret())?;
        token.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, token);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(USER_AGENT)
            .timeout(TIMEOUT)
            // A redirected POST would be sent as a GET, or the token somewhere that it is not meant for.
            .redirect(Policy::none())
            .build()?;
        Ok(Self { client, url: endpoint.join("item/")? })
    }
}

impl Wire for Http {
    async fn post(&self, item: String) -> Result<Reply, BoxError> {
        let mut response = self.client.post(self.url.clone()).body(item).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        read_beginning(&mut response, &mut body).await?;
        Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}
