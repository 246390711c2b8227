//! The layer that every backend has: it enlists a view in each request's exchange, and steps aside.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use super::exchange::Exchange;
use super::view::View;

/// What a backend does when a request comes in.
pub trait Enlist: Clone {
    /// Decides what must be decided before the handler runs, and adds the backend's view.
    fn enlist(&self, exchange: &Exchange, views: &mut Views);

    /// Whether there is anybody to enlist.
    fn is_on(&self) -> bool {
        true
    }
}

/// Room for as many views as there are backends.
const USUAL: usize = 5;

/// The views that are enlisted in an exchange.
#[expect(missing_debug_implementations, reason = "views need not be Debug")]
pub struct Views {
    pub(super) all: Vec<Box<dyn View>>,
    /// Whether the exchange is nobody's to view.
    excluded: bool,
}

impl Views {
    fn of(exchange: &Exchange) -> Self {
        Self { all: Vec::with_capacity(USUAL), excluded: !exchange.is_viewed() }
    }

    /// Adds a view, which is told when the exchange is over. An excluded exchange has none.
    pub fn add(&mut self, view: impl View) {
        if !self.excluded {
            self.all.push(Box::new(view));
        }
    }

    /// Adds a view that counts: it is told of excluded exchanges too.
    pub fn add_counter(&mut self, view: impl View) {
        self.all.push(Box::new(view));
    }
}

/// A backend that may be off. `tower`'s `option_layer` would put a future around the request's for each.
impl<E: Enlist> Enlist for Option<E> {
    fn enlist(&self, exchange: &Exchange, views: &mut Views) {
        if let Some(backend) = self {
            backend.enlist(exchange, views);
        }
    }

    fn is_on(&self) -> bool {
        self.as_ref().is_some_and(E::is_on)
    }
}

/// One backend after the other.
impl<E: Enlist, F: Enlist> Enlist for (E, F) {
    fn enlist(&self, exchange: &Exchange, views: &mut Views) {
        self.0.enlist(exchange, views);
        self.1.enlist(exchange, views);
    }

    fn is_on(&self) -> bool {
        self.0.is_on() || self.1.is_on()
    }
}

impl<E: Enlist> Enlist for Arc<E> {
    fn enlist(&self, exchange: &Exchange, views: &mut Views) {
        E::enlist(self, exchange, views);
    }

    fn is_on(&self) -> bool {
        E::is_on(self)
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

    /// This layer around `inner`, as one.
    pub fn around<F>(self, inner: EnlistLayer<F>) -> EnlistLayer<(E, F)> {
        EnlistLayer((self.0, inner.0))
    }

    /// The same, of which a copy costs little however many backends it is made of: axum makes one for each request.
    pub fn shared(self) -> EnlistLayer<Arc<E>> {
        EnlistLayer(Arc::new(self.0))
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
            let mut views = Views::of(exchange);
            self.backend.enlist(exchange, &mut views);
            exchange.enlist(views);
        }
        self.inner.call(request)
    }
}
