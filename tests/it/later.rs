//! Views are told when the thread that served the request has nothing else to do, and not much later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::Telemetry;
use cruddur::telemetry::observe::{self, Enlist, EnlistLayer, Exchange, RequestRecord, View, Views};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime;

use crate::observed::{Observed, PATIENCE, Told, get};

/// A backend that counts the ends that it is told of.
#[derive(Debug, Clone, Default)]
struct Count(Arc<(Mutex<usize>, Condvar)>);

impl Enlist for Count {
    fn enlist(&self, _: &Exchange, views: &mut Views) {
        views.add(CountView(self.clone()));
    }
}

struct CountView(Count);

impl View for CountView {
    fn on_close(&mut self, _: &Arc<RequestRecord>) {
        let (told, changed) = &*self.0.0;
        *told.lock().unwrap() += 1;
        changed.notify_all();
    }
}

impl Count {
    fn told(&self) -> usize {
        *self.0.0.lock().unwrap()
    }

    /// Keeps the thread from everything else until one has been told.
    fn block_until_told(&self) -> bool {
        let (told, changed) = &*self.0;
        let told = told.lock().unwrap();
        !changed.wait_timeout_while(told, PATIENCE, |told| *told == 0).unwrap().1.timed_out()
    }
}

/// Runs `test` on a thread that has times of leisure, as the binary's have.
fn at_leisure(test: impl Future<Output = ()>) {
    let mut runtime = runtime::Builder::new_current_thread();
    runtime.enable_all().on_thread_park(observe::on_thread_park).build().unwrap().block_on(test);
}

/// Sends all of the requests at once on one connection, so that the thread has no leisure between them.
async fn without_a_break(app: &Observed, paths: &[&str]) -> String {
    let (last, others) = paths.split_last().unwrap();
    let mut requests: String =
        others.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).collect();
    requests.push_str(&get(last));
    let mut stream = app.connect().await;
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers
}

/// Routes that say how many ends `count` has been told of.
fn counted(count: &Count) -> Router {
    let (told, waiting) = (count.clone(), count.clone());
    Router::new()
        .route("/empty", on_get(|| async {}))
        .route("/failing", on_get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/told", on_get(move || async move { format!("told={}", told.told()) }))
        .route("/wait", on_get(move || async move { format!("told={}", waiting.block_until_told()) }))
        .layer(EnlistLayer(count.clone()))
}

/// How many times of `rounds` a request has found that the view of the one before it had been told.
async fn told_before_the_next(first: &str, variables: &[(&str, &str)], rounds: usize) -> usize {
    let count = Count::default();
    let app = Observed::start_silent(counted(&count), variables).await;
    let mut found = 0;
    for round in 0..rounds {
        let answers = without_a_break(&app, &[first, "/told"]).await;
        found += usize::from(answers.ends_with(&format!("told={}", 2 * round + 1)));
    }
    let told = || async {
        while count.told() < 2 * rounds {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told()).await.expect("not all were told");
    found
}

#[test]
fn a_busy_thread_tells_no_view() {
    // Others, who look after all threads of this process, may be faster now and then.
    at_leisure(async { assert!(told_before_the_next("/empty", &[], 50).await < 10) });
}

#[test]
fn what_is_written_through_is_told_at_once() {
    at_leisure(async {
        assert_eq!(told_before_the_next("/empty", &[("SPOOL", "write-through")], 50).await, 50)
    });
}

#[test]
fn a_failure_is_told_at_once() {
    at_leisure(async { assert_eq!(told_before_the_next("/failing", &[], 50).await, 50) });
}

#[test]
fn a_thread_without_leisure_tells_all_the_same_when_many_have_ended() {
    at_leisure(async {
        let count = Count::default();
        let app = Observed::start_silent(counted(&count), &[]).await;
        let mut paths = vec!["/empty"; 16];
        paths.push("/told");
        let answers = without_a_break(&app, &paths).await;
        assert!(answers.ends_with("told=16"), "{answers}");
    });
}

#[test]
fn others_tell_what_a_blocked_thread_cannot() {
    at_leisure(async {
        let app = Observed::start_silent(counted(&Count::default()), &[]).await;
        let answers = without_a_break(&app, &["/empty", "/wait"]).await;
        assert!(answers.ends_with("told=true"), "{answers}");
    });
}

#[test]
fn a_straggler_comes_after_the_end_that_is_told_later() {
    at_leisure(async {
        let (slot, ended) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let (begun, end) = (Arc::clone(&slot), Arc::clone(&ended));
        let routes = Router::new()
            .route(
                "/begin",
                on_get(move || async move { *begun.lock().unwrap() = Some(tracing::info_span!("late")) }),
            )
            .route(
                "/end",
                on_get(move || async move {
                    end.fetch_add(usize::from(slot.lock().unwrap().take().is_some()), Ordering::Relaxed);
                }),
            );
        let mut app = Observed::start_silent(routes, &[]).await;
        without_a_break(&app, &["/begin", "/end"]).await;
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        let Told::Closed(first) = app.told().await else { panic!("a straggler came first") };
        assert_eq!(first.request().path, "/begin");
        let mut rest = [app.told().await, app.told().await].into_iter();
        let late = rest.find_map(|told| match told {
            Told::Straggler(record, span) => Some((record, span)),
            Told::Closed(_) => None,
        });
        let (record, span) = late.expect("the span is told");
        assert!(Arc::ptr_eq(&record, &first));
        assert_eq!(span.name, "late");
        app.finish().await;
    });
}

#[test]
fn what_has_ended_is_told_before_the_books_are_read() {
    at_leisure(async {
        let slot: Arc<OnceLock<Arc<Telemetry>>> = Arc::default();
        let telemetry = Arc::clone(&slot);
        let created = move || async move {
            format!("created={}", telemetry.get().unwrap().health()["terminal"].items.created)
        };
        let routes = Router::new().route("/empty", on_get(|| async {})).route("/books", on_get(created));
        let app = Observed::start_silent(routes, &[]).await;
        slot.set(Arc::clone(&app.telemetry)).unwrap();
        let answers = without_a_break(&app, &["/empty", "/books"]).await;
        assert!(answers.ends_with("created=1"), "{answers}");
    });
}
