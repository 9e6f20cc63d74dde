//! Where the service under test makes its call to.
//!
//! In: requests to `…/conform/NUMBER`. Out: the headers of the first with each number.
//! Left out on purpose: everything else about the call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::body::ProxyBody;
use crate::forward::text;
use crate::serve::{Handler, Place, serve};

/// What the path of each call begins with.
const PATH: &str = "/conform/";

/// A listener that remembers calls until dropped.
pub(super) struct Callback {
    pub(super) address: SocketAddr,
    calls: Arc<Calls>,
    _stop: watch::Sender<bool>,
}

#[derive(Default)]
struct Calls(watch::Sender<HashMap<String, HeaderMap>>);

impl Callback {
    /// # Errors
    /// The address cannot be had.
    pub(super) async fn listen(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let calls = Arc::<Calls>::default();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(
            listener,
            calls.clone(),
            Place::Here,
            stopped,
            Duration::ZERO,
        ));
        Ok(Self {
            address,
            calls,
            _stop: stop,
        })
    }

    /// The path that a call with this number asks for.
    pub(super) fn path(number: &str) -> String {
        format!("{PATH}{number}")
    }

    /// The headers of the first call with this number, if it comes within `patience`.
    pub(super) async fn call(&self, number: &str, patience: Duration) -> Option<HeaderMap> {
        let mut calls = self.calls.0.subscribe();
        let came = calls.wait_for(|calls| calls.contains_key(number));
        let calls = tokio::time::timeout(patience, came).await.ok()?.ok()?;
        calls.get(number).cloned()
    }
}

impl Handler for Calls {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<ProxyBody> {
        let (head, _) = request.into_parts();
        let Some(number) = head.uri.path().strip_prefix(PATH) else {
            return text(StatusCode::NOT_FOUND, "this is no call of a service under test\n");
        };
        self.0.send_modify(|calls| {
            calls.entry(number.to_owned()).or_insert(head.headers);
        });
        text(StatusCode::OK, "arrived\n")
    }
}
