//! The layer that every backend has: it enlists a view in each request's exchange, and steps aside.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use super::exchange::Exchange;

/// What a backend does when a request comes in.
pub trait Enlist: Clone {
    /// Decides what must be decided before the handler runs, and enlists the backend's view.
    fn enlist(&self, exchange: &Exchange);

    /// Whether there is anybody to enlist.
    fn is_on(&self) -> bool {
        true
    }
}

/// A backend that may be off. `tower`'s `option_layer` would put a future around the request's for each.
impl<E: Enlist> Enlist for Option<E> {
    fn enlist(&self, exchange: &Exchange) {
        if let Some(backend) = self {
            backend.enlist(exchange);
        }
    }

    fn is_on(&self) -> bool {
        self.as_ref().is_some_and(E::is_on)
    }
}

/// A backend's layer. It adds no future, no body and no clock of its own to the request's.
#[derive(Debug, Clone)]
pub struct EnlistLayer<E>(pub E);

impl<E> EnlistLayer<E> {
    /// The layer of a backend that may be off.
    pub fn optional(layer: Option<Self>) -> EnlistLayer<Option<E>> {
        EnlistLayer(layer.map(|layer| layer.0))
    }
}

impl<S, E: Clone> Layer<S> for EnlistLayer<E> {
    type Service = Enlisting<S, E>;

    fn layer(&self, inner: S) -> Enlisting<S, E> {
        Enlisting { inner, backend: self.0.clone() }
    }
}

/// See [`EnlistLayer`].
#[derive(Debug, Clone)]
pub struct Enlisting<S, E> {
    inner: S,
    backend: E,
}

impl<S, E, B> Service<Request<B>> for Enlisting<S, E>
where
    S: Service<Request<B>>,
    E: Enlist,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        // There is none where the observer is not around this layer, and then there is nothing to view.
        if self.backend.is_on()
            && let Some(exchange) = request.extensions().get::<Exchange>()
        {
            self.backend.enlist(exchange);
        }
        self.inner.call(request)
    }
}
