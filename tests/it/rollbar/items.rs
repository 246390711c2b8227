//! Items as Rollbar gets them.

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::observe::InCurrentExchange as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{item_of, routes, serve, stop};
use crate::caller::Caller;
use crate::stand_in::rollbar::Rollbar;

/// The item that a request makes, with what differs from run to run replaced: only after it has been looked at.
async fn item(path: &str) -> String {
    let stand_in = Rollbar::start();
    let own = Router::new().route("/spawns", on_get(spawns)).route("/bare", on_get(bare));
    let app = serve(routes().merge(own), &stand_in, &[("RUST_LOG", "info,it::observed=off")]).await;
    let mut caller = Caller::connect(app.address).await;
    let reply = caller.ask("GET", path, &[("user-agent", "curl/8"), ("x-request-id", "r-1")], "").await;
    let (trace_id, span_id, _) = reply.trace();
    drop(caller);
    let address = app.address.to_string();
    stop(app).await;
    stand_in.assert_clean();
    let mut data = item_of(&stand_in.items(), &trace_id);
    if reply.status.is_server_error() && !reply.body.is_empty() {
        assert_eq!(reply.json()["error_id"], data["uuid"]);
    }
    data["uuid"] = "<uuid>".into();
    for (pointer, is_so) in [
        ("/timestamp", Value::is_u64 as fn(&Value) -> bool),
        ("/custom/occurred_at", Value::is_string),
        ("/custom/duration_ms", Value::is_f64),
        ("/server/host", Value::is_string),
    ] {
        let value = data.pointer_mut(pointer).unwrap();
        assert!(is_so(value), "{pointer}: {value}");
        *value = "<some>".into();
    }
    assert_eq!(data["server"]["pid"], std::process::id());
    data["server"]["pid"] = "<pid>".into();
    if let Some(id) = data["custom"].get_mut("event_id") {
        *id = "<event>".into();
    }
    for entry in data["body"]["telemetry"].as_array_mut().unwrap() {
        entry["timestamp_ms"] = "<some>".into();
    }
    thin(&mut data["body"]);
    let (epoch, random) = trace_id.split_at(8);
    let text = serde_json::to_string_pretty(&data).unwrap();
    text.replace(&trace_id, "<trace>")
        .replace(&format!("1-{epoch}-{random}"), "<xray trace>")
        .replace(&span_id, "<span>")
        .replace(&address, "<address>")
}

/// Leaves of each stack what the test is about: the innermost call of all, which must be ours, and its line unsaid.
fn thin(body: &mut Value) {
    let single = body.get_mut("trace").into_iter().collect::<Vec<_>>();
    let mut all = single;
    if all.is_empty() {
        all = body.get_mut("trace_chain").and_then(Value::as_array_mut).into_iter().flatten().collect();
    }
    for trace in all {
        if let Some(description) = trace["exception"].get_mut("description") {
            let (place, _column) = description.as_str().unwrap().rsplit_once(':').unwrap();
            let (place, _line) = place.rsplit_once(':').unwrap();
            *description = place.into();
        }
        let frames = trace["frames"].as_array_mut().unwrap();
        if let Some(mut last) = frames.pop() {
            assert!(!frames.is_empty() && last["lineno"].is_u64(), "{last} {frames:?}");
            last["lineno"] = "<line>".into();
            *frames = vec![json!("…"), last];
        }
    }
}

/// Goes well, but what it has begun does not.
async fn spawns() -> &'static str {
    let mut tasks = JoinSet::new();
    let work = async { tracing::error!(attempt = 3, "the mail could not be sent") };
    tasks.spawn(work.in_current_exchange());
    tasks.join_all().await;
    "done"
}

async fn bare() -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

#[tokio::test]
async fn a_message() {
    insta::assert_snapshot!(item("/rollbar/test").await, @r#"
    {
      "attributes": [
        {
          "key": "trace_id",
          "value": "<trace>"
        },
        {
          "key": "span_id",
          "value": "<span>"
        }
      ],
      "body": {
        "message": {
          "body": "Hello World!"
        },
        "telemetry": [
          {
            "body": {
              "message": "Hello World!"
            },
            "level": "warning",
            "source": "server",
            "timestamp_ms": "<some>",
            "type": "log"
          }
        ]
      },
      "code_version": "5eed",
      "context": "GET /rollbar/test",
      "custom": {
        "duration_ms": "<some>",
        "event_id": "<event>",
        "occurred_at": "<some>",
        "outcome": "completed",
        "request_id": "r-1",
        "service": "cruddur-backend",
        "status": 200,
        "target": "cruddur::api::test_routes",
        "xray_trace_id": "<xray trace>"
      },
      "environment": "development",
      "fingerprint": "98c9e70b414afc7d1f28b52397037b0c25632c3e",
      "framework": "axum",
      "language": "rust",
      "level": "warning",
      "notifier": {
        "name": "cruddur",
        "version": "0.1.0"
      },
      "platform": "linux",
      "request": {
        "GET": {},
        "headers": {
          "host": "localhost",
          "user-agent": "curl/8",
          "x-request-id": "r-1"
        },
        "method": "GET",
        "query_string": "",
        "url": "http://localhost/rollbar/test",
        "user_ip": "127.0.0.0"
      },
      "server": {
        "code_version": "5eed",
        "host": "<some>",
        "pid": "<pid>",
        "root": "src"
      },
      "timestamp": "<some>",
      "title": "Hello World!",
      "uuid": "<uuid>"
    }
    "#);
}

#[tokio::test]
async fn an_error_with_a_chain_of_three() {
    insta::assert_snapshot!(item("/test/raise?chain=1").await, @r#"
    {
      "attributes": [
        {
          "key": "trace_id",
          "value": "<trace>"
        },
        {
          "key": "span_id",
          "value": "<span>"
        }
      ],
      "body": {
        "telemetry": [],
        "trace_chain": [
          {
            "exception": {
              "class": "cruddur::api::test_routes::FeedUnavailable",
              "message": "the feed is unavailable"
            },
            "frames": [
              "…",
              {
                "filename": "src/api/test_routes.rs",
                "lineno": "<line>",
                "method": "cruddur::api::test_routes::raise::{{closure}}"
              }
            ]
          },
          {
            "exception": {
              "class": "dyn Error",
              "message": "page 1 cannot be read"
            },
            "frames": []
          },
          {
            "exception": {
              "class": "std::io::error::Error",
              "message": "connection refused"
            },
            "frames": []
          }
        ]
      },
      "code_version": "5eed",
      "context": "GET /test/raise",
      "custom": {
        "duration_ms": "<some>",
        "occurred_at": "<some>",
        "outcome": "failed",
        "request_id": "r-1",
        "service": "cruddur-backend",
        "status": 500,
        "xray_trace_id": "<xray trace>"
      },
      "environment": "development",
      "fingerprint": "df4a28bca1a608830c14952022d2f3b2fa2194c5",
      "framework": "axum",
      "language": "rust",
      "level": "error",
      "notifier": {
        "name": "cruddur",
        "version": "0.1.0"
      },
      "platform": "linux",
      "request": {
        "GET": {
          "chain": "1"
        },
        "headers": {
          "host": "localhost",
          "user-agent": "curl/8",
          "x-request-id": "r-1"
        },
        "method": "GET",
        "query_string": "chain=1",
        "url": "http://localhost/test/raise?chain=1",
        "user_ip": "127.0.0.0"
      },
      "server": {
        "code_version": "5eed",
        "host": "<some>",
        "pid": "<pid>",
        "root": "src"
      },
      "timestamp": "<some>",
      "title": "cruddur::api::test_routes::FeedUnavailable: the feed is unavailable",
      "uuid": "<uuid>"
    }
    "#);
}

#[tokio::test]
async fn a_panic() {
    insta::assert_snapshot!(item("/test/panic").await, @r#"
    {
      "attributes": [
        {
          "key": "trace_id",
          "value": "<trace>"
        },
        {
          "key": "span_id",
          "value": "<span>"
        }
      ],
      "body": {
        "telemetry": [],
        "trace": {
          "exception": {
            "class": "panic",
            "description": "panicked at src/api/test_routes.rs",
            "message": "a panic that was asked for"
          },
          "frames": [
            "…",
            {
              "filename": "src/api/test_routes.rs",
              "lineno": "<line>",
              "method": "cruddur::api::test_routes::panic::{{closure}}"
            }
          ]
        }
      },
      "code_version": "5eed",
      "context": "GET /test/panic",
      "custom": {
        "duration_ms": "<some>",
        "occurred_at": "<some>",
        "outcome": "panicked",
        "request_id": "r-1",
        "service": "cruddur-backend",
        "status": 500,
        "xray_trace_id": "<xray trace>"
      },
      "environment": "development",
      "fingerprint": "dd792c0463ba3762da6f72e5042c9049c4b20cdf",
      "framework": "axum",
      "language": "rust",
      "level": "critical",
      "notifier": {
        "name": "cruddur",
        "version": "0.1.0"
      },
      "platform": "linux",
      "request": {
        "GET": {},
        "headers": {
          "host": "localhost",
          "user-agent": "curl/8",
          "x-request-id": "r-1"
        },
        "method": "GET",
        "query_string": "",
        "url": "http://localhost/test/panic",
        "user_ip": "127.0.0.0"
      },
      "server": {
        "code_version": "5eed",
        "host": "<some>",
        "pid": "<pid>",
        "root": "src"
      },
      "timestamp": "<some>",
      "title": "panic: a panic that was asked for",
      "uuid": "<uuid>"
    }
    "#);
}

#[tokio::test]
async fn a_5xx_without_an_error() {
    insta::assert_snapshot!(item("/bare?token=hunter2&page=2").await, @r#"
    {
      "attributes": [
        {
          "key": "trace_id",
          "value": "<trace>"
        },
        {
          "key": "span_id",
          "value": "<span>"
        }
      ],
      "body": {
        "message": {
          "body": "GET /bare: 503 Service Unavailable"
        },
        "telemetry": []
      },
      "code_version": "5eed",
      "context": "GET /bare",
      "custom": {
        "duration_ms": "<some>",
        "occurred_at": "<some>",
        "outcome": "completed",
        "request_id": "r-1",
        "service": "cruddur-backend",
        "status": 503,
        "xray_trace_id": "<xray trace>"
      },
      "environment": "development",
      "fingerprint": "e8b429d4b44f7d5a9bbcaa0de77f3c7255ae1c2a",
      "framework": "axum",
      "language": "rust",
      "level": "error",
      "notifier": {
        "name": "cruddur",
        "version": "0.1.0"
      },
      "platform": "linux",
      "request": {
        "GET": {
          "page": "2",
          "token": "REDACTED"
        },
        "headers": {
          "host": "localhost",
          "user-agent": "curl/8",
          "x-request-id": "r-1"
        },
        "method": "GET",
        "query_string": "token=REDACTED&page=2",
        "url": "http://localhost/bare?token=REDACTED&page=2",
        "user_ip": "127.0.0.0"
      },
      "server": {
        "code_version": "5eed",
        "host": "<some>",
        "pid": "<pid>",
        "root": "src"
      },
      "timestamp": "<some>",
      "title": "GET /bare: 503 Service Unavailable",
      "uuid": "<uuid>"
    }
    "#);
}

#[tokio::test]
async fn an_error_inside_a_spawned_task() {
    insta::assert_snapshot!(item("/spawns").await, @r#"
    {
      "attributes": [
        {
          "key": "trace_id",
          "value": "<trace>"
        },
        {
          "key": "span_id",
          "value": "<span>"
        }
      ],
      "body": {
        "message": {
          "body": "the mail could not be sent"
        },
        "telemetry": [
          {
            "body": {
              "attempt": 3,
              "message": "the mail could not be sent"
            },
            "level": "error",
            "source": "server",
            "timestamp_ms": "<some>",
            "type": "log"
          }
        ]
      },
      "code_version": "5eed",
      "context": "GET /spawns",
      "custom": {
        "duration_ms": "<some>",
        "event_id": "<event>",
        "fields": {
          "attempt": 3
        },
        "occurred_at": "<some>",
        "outcome": "completed",
        "request_id": "r-1",
        "service": "cruddur-backend",
        "status": 200,
        "target": "it::rollbar::items",
        "xray_trace_id": "<xray trace>"
      },
      "environment": "development",
      "fingerprint": "5676a97ac80c3fc14bedc3e1709ae41a10694561",
      "framework": "axum",
      "language": "rust",
      "level": "error",
      "notifier": {
        "name": "cruddur",
        "version": "0.1.0"
      },
      "platform": "linux",
      "request": {
        "GET": {},
        "headers": {
          "host": "localhost",
          "user-agent": "curl/8",
          "x-request-id": "r-1"
        },
        "method": "GET",
        "query_string": "",
        "url": "http://localhost/spawns",
        "user_ip": "127.0.0.0"
      },
      "server": {
        "code_version": "5eed",
        "host": "<some>",
        "pid": "<pid>",
        "root": "src"
      },
      "timestamp": "<some>",
      "title": "the mail could not be sent",
      "uuid": "<uuid>"
    }
    "#);
}
