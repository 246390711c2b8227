//! What the frontend calls and what it gets, row by row.

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::TestApp;

const VERY_FUN: &str = "68f126b0-1ceb-4a33-88be-d90fa7109eee";
const PRUNE_JUICE: &str = "66e12864-8c26-4c3a-9658-95a10f8fea67";
const SIMPLE_TAILOR: &str = "248959df-3079-4947-b847-9e0892d1bab4";
const NO_HONOR: &str = "26e12864-1c26-5c3a-9658-97a10f8fea67";

/// Takes every time out of `value`, after it was found to be in the one form that the frontend understands, and
/// puts its distance from now in its place.
fn relative(mut value: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(visit),
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name.ends_with("_at") {
                        *field = json!(age(field.as_str().unwrap()))
                    } else {
                        visit(field)
                    }
                }
            }
            _ => {}
        }
    }
    visit(&mut value);
    value
}

fn age(text: &str) -> String {
    let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000+00:00", "{text}");
    assert!(text.ends_with("+00:00"));
    let distance = text.parse::<DateTime<Utc>>().unwrap() - Utc::now();
    let minutes = (distance + TimeDelta::seconds(30)).num_seconds().div_euclid(60);
    match (minutes % (24 * 60), minutes % 60) {
        _ if minutes == 0 => "now".to_owned(),
        (0, _) => format!("{:+}d", minutes / 24 / 60),
        (_, 0) => format!("{:+}h", minutes / 60),
        _ => panic!("{text} is {minutes} min away"),
    }
}

fn no_honor() -> Value {
    json!({
        "uuid": NO_HONOR, "reply_to_activity_uuid": VERY_FUN, "handle": "Worf",
        "message": "This post has no honor!", "likes_count": 0, "replies_count": 0, "reposts_count": 0,
        "created_at": "-2d",
    })
}

fn very_fun() -> Value {
    json!({
        "uuid": VERY_FUN, "handle": "Andrew Brown", "message": "Cloud is very fun!",
        "created_at": "-2d", "expires_at": "+5d", "likes_count": 5, "replies_count": 1, "reposts_count": 0,
        "replies": [no_honor()],
    })
}

fn prune_juice() -> Value {
    json!({
        "uuid": PRUNE_JUICE, "handle": "Worf", "message": "I am out of prune juice",
        "created_at": "-7d", "expires_at": "+9d", "likes_count": 0, "replies_count": 0, "reposts_count": 0,
        "likes": 0, "replies": [],
    })
}

fn simple_tailor() -> Value {
    json!({
        "uuid": SIMPLE_TAILOR, "handle": "Garek", "message": "My dear doctor, I am just simple tailor",
        "created_at": "-1h", "expires_at": "+12h", "likes_count": 0, "replies_count": 0, "reposts_count": 0,
        "likes": 0, "replies": [],
    })
}

#[tokio::test]
async fn client_sees_the_home_feed() {
    let app = TestApp::start().await;
    let feed = app.get("/api/activities/home").await.ok();
    assert_eq!(relative(feed), json!([very_fun(), prune_juice(), simple_tailor()]));
}

#[tokio::test]
async fn client_sees_one_notification() {
    let app = TestApp::start().await;
    let notifications = app.get("/api/activities/notifications").await.ok();
    assert_eq!(
        relative(notifications),
        json!([{
            "uuid": VERY_FUN, "handle": "coco", "message": "I am white unicorn",
            "created_at": "-2d", "expires_at": "+5d", "likes_count": 5, "replies_count": 1, "reposts_count": 0,
            "replies": [no_honor()],
        }])
    );
}

#[tokio::test]
async fn client_sees_any_users_page() {
    let app = TestApp::start().await;
    for handle in
        ["@andrewbrown", "@two%20words", "@%F0%9F%96%96", "%40encoded", "@%40twice", "@a%2Fb", "@reply"]
    {
        let page = app.get(&format!("/api/activities/{handle}")).await.ok();
        assert_eq!(
            relative(page),
            json!([{
                "uuid": SIMPLE_TAILOR, "handle": "Andrew Brown", "message": "Cloud is fun!",
                "created_at": "-1d", "expires_at": "+31d", "likes_count": 0, "replies_count": 0,
                "reposts_count": 0, "replies": [],
            }]),
            "{handle}"
        );
    }
}

#[tokio::test]
async fn client_sees_a_blank_handle_refused() {
    let app = TestApp::start().await;
    for path in ["/api/activities/@", "/api/activities/%40"] {
        app.get(path).await.assert_invalid("blank_user_handle");
    }
}

#[tokio::test]
async fn client_sees_one_crud_as_an_array_of_one() {
    let app = TestApp::start().await;
    for (uuid, crud) in [
        (VERY_FUN, very_fun()),
        (PRUNE_JUICE, prune_juice()),
        (SIMPLE_TAILOR, simple_tailor()),
        (NO_HONOR, very_fun()),
    ] {
        let shown = app.get(&format!("/api/activities/{uuid}")).await.ok();
        assert_eq!(relative(shown), json!([crud]), "{uuid}");
    }
}

#[tokio::test]
async fn client_sees_an_unknown_crud_as_not_found() {
    let app = TestApp::start().await;
    for uuid in ["4b1d0b9c-0000-4000-8000-000000000000", "homer", "1", "68f126b01ceb4a3388bed90fa7109eee"] {
        app.get(&format!("/api/activities/{uuid}")).await.assert_error(404, "not_found");
    }
}

#[tokio::test]
async fn client_sees_what_a_search_finds() {
    let app = TestApp::start().await;
    let found = app.get("/api/activities/search?term=cloud").await.ok();
    assert_eq!(relative(found), json!([very_fun()]));
    let found = app.get("/api/activities/search?term=prune+JUICE").await.ok();
    assert_eq!(relative(found), json!([prune_juice()]));
    assert_eq!(app.get("/api/activities/search?term=tribble").await.ok(), json!([]));
}

#[tokio::test]
async fn client_sees_a_search_for_nothing_refused() {
    let app = TestApp::start().await;
    for query in ["", "?", "?term", "?term=", "?other=x"] {
        app.get(&format!("/api/activities/search{query}")).await.assert_invalid("search_term_blank");
    }
}

#[tokio::test]
async fn client_sees_what_it_posted() {
    let app = TestApp::start().await;
    for (ttl, expires) in [
        ("30-days", "+30d"),
        ("7-days", "+7d"),
        ("3-days", "+3d"),
        ("1-day", "+1d"),
        ("12-hours", "+12h"),
        ("3-hours", "+3h"),
        ("1-hour", "+1h"),
    ] {
        let created = app.post("/api/activities", &json!({"message": "Hé, \"🖖\"", "ttl": ttl})).await.ok();
        let uuid = created["uuid"].as_str().unwrap().to_owned();
        assert_eq!(
            relative(created.clone()),
            json!({
                "uuid": uuid, "display_name": "Andrew Brown", "handle": "andrewbrown", "message": "Hé, \"🖖\"",
                "created_at": "now", "expires_at": expires, "likes_count": 0, "replies_count": 0,
                "reposts_count": 0, "replies": [],
            }),
            "{ttl}"
        );
        assert_eq!(app.get("/api/activities/home").await.ok()[0], created);
        assert_eq!(app.get("/api/activities/@andrewbrown").await.ok()[0], created);
        assert_eq!(app.get(&format!("/api/activities/{uuid}")).await.ok(), json!([created]));
    }
}

#[tokio::test]
async fn client_sees_a_bad_crud_refused() {
    let app = TestApp::start().await;
    let long = "🖖".repeat(281);
    for (body, code) in [
        (json!({}), "message_blank"),
        (json!({"message": null, "ttl": null}), "message_blank"),
        (json!({"message": "", "ttl": "1-day"}), "message_blank"),
        (json!({"message": long, "ttl": "1-day"}), "message_exceed_max_chars"),
        (json!({"message": long}), "message_exceed_max_chars"),
        (json!({"message": "x"}), "ttl_blank"),
        (json!({"message": "x", "ttl": null}), "ttl_blank"),
        (json!({"message": "x", "ttl": ""}), "ttl_blank"),
        (json!({"message": "x", "ttl": "2-days"}), "ttl_blank"),
    ] {
        app.post("/api/activities", &body).await.assert_invalid(code);
    }
    assert_eq!(app.get("/api/activities/home").await.ok().as_array().unwrap().len(), 3, "nothing was kept");
}

#[tokio::test]
async fn client_sees_length_counted_in_code_points() {
    let app = TestApp::start().await;
    let crud = "🖖".repeat(280);
    assert_eq!(
        app.post("/api/activities", &json!({"message": crud, "ttl": "1-day"})).await.ok()["message"],
        crud
    );
    let message = "🖖".repeat(1024);
    let reply = app.post(&format!("/api/activities/{VERY_FUN}/reply"), &json!({"message": message})).await;
    assert_eq!(reply.ok()["message"], message);
    let body = json!({"message": message, "user_receiver_handle": "worf"});
    assert_eq!(app.post("/api/messages", &body).await.ok()["message"], message);
}

#[tokio::test]
async fn client_sees_its_reply_under_the_crud() {
    let app = TestApp::start().await;
    let path = format!("/api/activities/{VERY_FUN}/reply");
    let reply = app.post(&path, &json!({"activity_uuid": VERY_FUN, "message": "It has!"})).await.ok();
    let uuid = reply["uuid"].as_str().unwrap();
    assert_eq!(
        relative(reply.clone()),
        json!({
            "uuid": uuid, "display_name": "Andrew Brown", "handle": "andrewbrown", "message": "It has!",
            "created_at": "now", "reply_to_activity_uuid": VERY_FUN,
        })
    );
    for path in ["/api/activities/home".to_owned(), format!("/api/activities/{uuid}")] {
        let crud = &app.get(&path).await.ok()[0];
        assert_eq!(crud["replies_count"], 2);
        assert_eq!(crud["replies"][1]["uuid"], reply["uuid"]);
        assert_eq!(crud["replies"][1]["replies_count"], 0);
    }
}

#[tokio::test]
async fn client_sees_a_bad_reply_refused() {
    let app = TestApp::start().await;
    let path = format!("/api/activities/{VERY_FUN}/reply");
    for body in [json!({}), json!({"message": null}), json!({"message": ""})] {
        app.post(&path, &body).await.assert_invalid("message_blank");
    }
    let long = json!({"message": "a".repeat(1025)});
    app.post(&path, &long).await.assert_invalid("message_exceed_max_chars");
    app.post("/api/activities/home/reply", &json!({"message": "x"})).await.assert_error(404, "not_found");
}

#[tokio::test]
async fn client_sees_two_message_groups() {
    let app = TestApp::start().await;
    let groups = app.get("/api/message_groups").await.ok();
    assert_eq!(
        relative(groups),
        json!([
            {"uuid": "24b95582-9e7b-4e0a-9ad1-639773ab7552", "display_name": "Andrew Brown",
             "handle": "andrewbrown", "created_at": "now"},
            {"uuid": "417c360e-c4e6-4fce-873b-d2d71469b4ac", "display_name": "Worf",
             "handle": "worf", "created_at": "now"},
        ])
    );
}

#[tokio::test]
async fn client_sees_the_messages_of_a_conversation() {
    let app = TestApp::start().await;
    for path in ["/api/messages/@worf", "/api/messages/%40worf", "/api/messages/@two%20words"] {
        let messages = app.get(path).await.ok();
        assert_eq!(
            relative(messages),
            json!([
                {"uuid": "4e81c06a-db0f-4281-b4cc-98208537772a", "display_name": "Andrew Brown",
                 "handle": "andrewbrown", "message": "Cloud is fun!", "created_at": "now"},
                {"uuid": PRUNE_JUICE, "display_name": "Andrew Brown",
                 "handle": "andrewbrown", "message": "This platform is great!", "created_at": "now"},
            ])
        );
    }
    for path in ["/api/messages/worf", "/api/messages/@", "/api/messages/%40", "/api/messages/"] {
        app.get(path).await.assert_error(404, "not_found");
    }
}

#[tokio::test]
async fn client_sees_the_message_it_sent() {
    let app = TestApp::start().await;
    for to in ["worf", "@worf"] {
        let sent =
            app.post("/api/messages", &json!({"message": "Qapla'", "user_receiver_handle": to})).await.ok();
        assert_eq!(
            relative(sent.clone()),
            json!({
                "uuid": sent["uuid"], "display_name": "Andrew Brown", "handle": "andrewbrown",
                "message": "Qapla'", "created_at": "now",
            })
        );
        let thread = app.get("/api/messages/@worf").await.ok();
        assert_eq!(thread.as_array().unwrap().last(), Some(&sent));
    }
    assert_eq!(app.get("/api/messages/@worf").await.ok().as_array().unwrap().len(), 4);
    assert_eq!(app.get("/api/messages/@data").await.ok().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn client_sees_a_bad_message_refused() {
    let app = TestApp::start().await;
    for (body, code) in [
        (json!({"message": "x"}), "user_reciever_handle_blank"),
        (json!({"message": "x", "user_receiver_handle": null}), "user_reciever_handle_blank"),
        (json!({"message": "x", "user_receiver_handle": ""}), "user_reciever_handle_blank"),
        (json!({"user_receiver_handle": "worf"}), "message_blank"),
        (json!({"message": null, "user_receiver_handle": "worf"}), "message_blank"),
        (json!({}), "message_blank"),
        (json!({"message": "a".repeat(1025), "user_receiver_handle": "worf"}), "message_exceed_max_chars"),
    ] {
        app.post("/api/messages", &body).await.assert_invalid(code);
    }
}

#[tokio::test]
async fn client_sees_the_health_check() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/api/health-check").await.ok(), json!({"success": true, "ver": 1}));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = TestApp::start().await;
    for path in [
        "/api/activities/home",
        "/api/activities/notifications",
        "/api/activities/@worf",
        &format!("/api/activities/{VERY_FUN}"),
        "/api/activities/search?term=cloud",
        "/api/message_groups",
        "/api/messages/@worf",
        "/api/health-check",
        "/rollbar/test",
        "/api/activities/@",
        "/nowhere",
    ] {
        let (head, get) = (app.send("HEAD", path, &[], b"").await, app.get(path).await);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.body, "", "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
    }
    assert_eq!(app.send("HEAD", "/api/activities/home", &[], b"").await.status, StatusCode::OK);
}

#[tokio::test]
async fn client_sees_how_the_backends_do() {
    let app = TestApp::start().await;
    app.get("/api/activities/home").await.ok();
    let mut health = app.get("/health").await.ok();
    assert!(health["uptime_seconds"].take().is_u64());
    let terminal = health["backends"]["terminal"]["items"].take();
    let item = |name: &str| terminal[name].as_u64().unwrap();
    // The ledger's names, and its one equation.
    let known: u64 = ["delivered", "sampled_out", "suppressed", "queued", "spooled"].map(item).iter().sum();
    let dropped: u64 = terminal["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(item("created"), known + dropped, "{terminal}");
    assert!(item("created") > 0, "{terminal}");
    assert_eq!(
        health,
        json!({
            "service": "cruddur-backend", "version": env!("CARGO_PKG_VERSION"), "environment": "development",
            "uptime_seconds": null,
            "backends": {"terminal": {"state": "writing to standard output", "items": null}},
        })
    );
}

#[tokio::test]
async fn client_sees_its_own_trace_in_the_answer() {
    let app = TestApp::start().await;
    let headers = [("traceparent", "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01")];
    for (path, status) in [("/api/activities/home", 200), ("/nowhere", 404), ("/test/panic", 500)] {
        // The harness holds every answer to it that headers and body name the same trace.
        let answer = app.send("GET", path, &headers, b"").await;
        assert_eq!((answer.status.as_u16(), answer.trace_id()), (status, "4efaaf4d1e8720b39541901950019ee5"));
    }
}
