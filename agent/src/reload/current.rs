//! What stands behind a listener, replaced while it is in use.
//!
//! In: a handler for each configuration in its turn. Out: each request at the handler that is current when it begins.
//! Left out on purpose: waiting. A request keeps the handler that it began with to its end, and whoever replaces one does
//! not wait for that.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::ProxyBody;
use crate::limits::Admission;
use crate::serve::Handler;

/// The handler of the configuration in force.
pub(crate) struct Current<H>(ArcSwap<H>);

impl<H> Current<H> {
    pub(crate) fn new(handler: Arc<H>) -> Self {
        Self(ArcSwap::new(handler))
    }

    /// For one request, or one connection that no handler of requests sees.
    pub(crate) fn get(&self) -> Arc<H> {
        self.0.load_full()
    }

    /// Requests that begin from now on are `handler`'s.
    pub(crate) fn set(&self, handler: Arc<H>) {
        self.0.store(handler);
    }
}

impl<H: Handler> Handler for Current<H> {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<ProxyBody>> + Send {
        self.get().handle(request, peer)
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        self.get().admission()
    }
}
