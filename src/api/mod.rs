//! The HTTP face: what the frontend calls, in the form it expects.
//!
//! The frontend is not ours to change. It takes any status but exactly 200 for a failure, wants lists as top-level
//! arrays, and reads a 422 as a bare array of codes. Everything else that goes wrong is an [`Error`], which is JSON.
//!
//! The layers here keep to that form where no handler is reached. From the outside in: [`CorsLayer`],
//! [`TimeoutLayer`], [`LimitsLayer`]. They go on with `Router::layer`, after all routes, where `MatchedPath` is
//! known.

mod activities;
mod cors;
mod error;
mod extract;
mod health;
mod json;
mod limits;
mod messages;
mod test_routes;
mod timeout;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

pub use self::cors::{Cors, CorsFuture, CorsLayer, Origins};
pub use self::error::{Error, Result, method_not_allowed, not_found, panicked};
pub(crate) use self::limits::read_body;
pub use self::limits::{Limits, LimitsFuture, LimitsLayer};
pub use self::timeout::{RequestTimeout, Timeout, TimeoutFuture, TimeoutLayer};
use crate::activities::Store;

/// What can be chosen about the routes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether to serve the routes that fail on purpose: `/rollbar/test`, `/test/raise`, `/api/test/raise` and
    /// `/test/panic`.
    pub test_routes: bool,
}

/// Every route there is.
///
/// A router merged in later brings its own answer to a wrong method; [`method_not_allowed`] is ours.
pub fn routes<S: Store>(store: Arc<S>, options: &Options) -> Router {
    let routes = Router::new()
        .route("/api/activities", post(activities::create::<S>))
        .route("/api/activities/home", get(activities::home::<S>))
        .route("/api/activities/notifications", get(activities::notifications))
        .route("/api/activities/search", get(activities::search::<S>))
        .route("/api/activities/@{handle}", get(activities::user::<S>))
        .route("/api/activities/{uuid}", get(activities::show::<S>))
        .route("/api/activities/{uuid}/reply", post(activities::reply::<S>))
        .route("/api/message_groups", get(messages::groups))
        .route("/api/messages", post(messages::send::<S>))
        .route("/api/messages/@{handle}", get(messages::list::<S>))
        .route("/api/messages/{handle}", get(messages::list_encoded::<S>))
        .route("/api/health-check", get(health::check));
    let routes = if options.test_routes {
        routes
            .route("/rollbar/test", get(test_routes::message))
            .route("/test/raise", get(test_routes::raise))
            .route("/api/test/raise", get(test_routes::raise))
            .route("/test/panic", get(test_routes::panic))
    } else {
        routes
    };
    routes.method_not_allowed_fallback(method_not_allowed).fallback(not_found).with_state(store)
}

/// `handler` on GET, and so on HEAD, and OPTIONS as every route has it.
pub(crate) fn get<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(
    handler: H,
) -> MethodRouter<S> {
    routing::get(handler).options(options)
}

/// `handler` on POST.
pub(crate) fn post<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(
    handler: H,
) -> MethodRouter<S> {
    routing::post(handler).options(options)
}

/// OPTIONS is answered by [`CorsLayer`]; it is in the table so that `Allow` names it.
async fn options() {}
