//! No secret arrives, in whatever form.

use std::fmt::Write as _;

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::observe::Exchange;
use tokio::task::JoinSet;

use super::{serve, stop};
use crate::caller::Caller;
use crate::stand_in::rollbar::{Rollbar, TOKEN};

/// What must not arrive: passwords and tokens as they are, and things that are secret by their looks.
const SECRETS: [&str; 9] = [
    "hunter2hunter",
    "correct-horse-battery",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ3b3JmIn0.c2lnbmF0dXJl",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK4Y",
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "4111111111111111",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    TOKEN,
];

#[derive(Debug, thiserror::Error)]
#[error("no connection to postgres://admin:{0}@db:5432/cruddur, password={0}: {0}")]
struct Refused(&'static str, #[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("{{\"api_key\":\"{0}\",\"authorization\":\"Bearer {0}\"}} and https://u:{0}@h/?token={0}")]
struct Inner(&'static str);

/// Shows a secret wherever application code could. What is said outright (`{0}` alone) must look like one.
fn shows(secret: &'static str) -> Router {
    let looks = !["hunter2hunter", "correct-horse-battery"].contains(&secret);
    let shown = move || async move {
        let exchange = Exchange::current().unwrap();
        exchange.set_attribute("app.password", secret);
        exchange.set_attribute("app.url", format!("https://u:{secret}@host/"));
        if looks {
            exchange.set_user(secret);
            exchange.set_attribute("app.note", format!("it is {secret}!"));
            tracing::info!(seen = secret, "looked at {secret}");
        }
        tracing::info!(token = secret, "login with password: {secret}");
        tracing::error!(headers = format!("Cookie: session={secret}"), "secret={secret} is wrong");
        if looks {
            return cruddur::api::Result::<()>::Err(Refused(secret, Inner(secret)).into());
        }
        Err(OnlyNamed(secret).into())
    };
    let panics = move || async move {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { panic!("credential = {secret}, https://{secret}@host/") });
        tasks.join_next().await;
        assert!(tasks.is_empty() && secret.is_empty(), "password={secret}");
    };
    Router::new().route("/shows", on_get(shown)).route("/panics", on_get(panics))
}

/// A secret that only its key tells.
#[derive(Debug, thiserror::Error)]
#[error("no connection to postgres://admin:{0}@db:5432/cruddur, password={0}")]
struct OnlyNamed(&'static str);

/// The ways in which a text is written in others.
fn encodings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let all = |format: fn(&mut String, u8)| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            format(&mut text, *byte);
            text
        })
    };
    let hex = all(|text, byte| write!(text, "{byte:02x}").unwrap());
    let percent = all(|text, byte| write!(text, "%{byte:02X}").unwrap());
    let some_percent = secret.replace('/', "%2F").replace('=', "%3D").replace('+', "%2B");
    let escaped = secret.replace('/', "\\/");
    let mut all = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        percent.to_lowercase(),
        percent,
        some_percent,
        escaped,
    ];
    // Within other text it begins at any of three places of base64; what depends on its neighbours is left out.
    for skipped in 0..3 {
        let padded = [&b"xx"[..skipped], bytes].concat();
        let text = base64(&padded[..padded.len() / 3 * 3]);
        all.push(text.chars().skip(if skipped == 0 { 0 } else { 4 }).collect());
    }
    all
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks_exact(3).flat_map(|three| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63]))
    });
    digits.collect()
}

#[tokio::test]
async fn no_planted_secret_arrives_plain_or_encoded() {
    for secret in SECRETS {
        let stand_in = Rollbar::start();
        let app = serve(shows(secret), &stand_in, &[("ROLLBAR_ITEMS_PER_MINUTE", "6000")]).await;
        let terminal = app.terminal.clone();
        let basic = format!("Basic {}", base64(format!("admin:{secret}...").as_bytes()));
        let (bearer, cookie) = (format!("Bearer {secret}"), format!("session={secret}"));
        let (referer, agent) =
            (format!("https://u:{secret}@h/a?token={secret}"), format!("curl/8 token={secret}"));
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let headers = [
            ("authorization", &*basic),
            ("proxy-authorization", &bearer),
            ("cookie", &cookie),
            ("x-api-key", secret),
            ("x-rollbar-access-token", secret),
            ("referer", &referer),
            ("user-agent", &agent),
            ("x-request-id", &cookie),
            ("traceparent", &cookie),
        ];
        for path in ["/shows", "/panics"] {
            for query in [
                format!("?token={secret}&pass%77ord={percent}&%61pi_key={percent}"),
                format!("?next=https%3A%2F%2Fu%3A{percent}%40h%2F&x=password%3D{percent}"),
            ] {
                let mut caller = Caller::connect(app.address).await;
                caller.ask("GET", &format!("{path}{query}"), &headers, "").await;
            }
        }
        let health = serde_json::to_string(&app.telemetry.health()).unwrap();
        stop(app).await;
        stand_in.assert_clean();
        let posts = stand_in.posts();
        assert!(posts.len() >= 4, "{secret}: {}", posts.len());
        for encoded in encodings(secret) {
            for post in &posts {
                // The one place for the token is the header, which is masked here.
                let text = post.text.replacen(&format!("\"x-rollbar-access-token\": \"{TOKEN}\""), "", 1);
                assert!(!text.contains(&encoded), "{secret} as {encoded}: {text}");
            }
            assert!(!health.contains(&encoded));
        }
        if secret == TOKEN {
            // What handlers print is theirs; what we say of ourselves has no token in it.
            let own: Vec<_> = terminal
                .text()
                .lines()
                .filter(|line| line.contains("Rollbar at"))
                .map(str::to_owned)
                .collect();
            assert!(own.iter().all(|line| !line.contains(TOKEN)), "{own:?}");
        }
    }
}
