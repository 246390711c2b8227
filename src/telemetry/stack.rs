//! The tower layers, top to bottom on one screen.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::IntoResponse;
use axum::routing::Route;
use http::Extensions;
use tower::{Layer, Service, ServiceBuilder};

use super::Telemetry;

/// Observes every request that `routes` and their fallbacks answer, through the layers of `edge` (CORS, limits
/// and the like), whose answers are observed as well.
///
/// The layers are put around the routes and not around the router, because only there is it known which route
/// has matched; all in one stack, because each stack costs a request a box.
pub fn observed<L>(routes: Router, edge: L, telemetry: &Telemetry) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: Service<Request, Response = axum::response::Response, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request>>::Response: IntoResponse,
    <L::Service as Service<Request>>::Future: Send + 'static,
{
    routes.layer(
        ServiceBuilder::new()
            // Opens the exchange, signs the answer, closes the exchange when the body has ended.
            .layer(telemetry.observe_layer())
            // Each backend that is on enlists its view, and steps aside; in one, for each request has its own copy of
            // every layer.
            .layer(
                telemetry
                    .otlp_layer()
                    .around(telemetry.xray_layer())
                    .around(telemetry.cloudwatch_layer())
                    .around(telemetry.rollbar_layer())
                    .around(telemetry.terminal_layer())
                    .shared(),
            )
            // What the application wants around its handlers.
            .layer(edge),
    )
}

/// The template of the route that matched, as axum knows it.
pub(super) fn matched_route(extensions: &Extensions) -> Option<&str> {
    extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}
