//! HTTP/1.1 connections to one service.
//!
//! In: requests. Out: their responses, each with the connection that it comes on, to be given back at its end.
//! Left out on purpose: more than one service, which `hyper_util`'s pool is for. It looks an authority up for each request
//! and starts a task for each response, which together cost more than all that the agent adds to a request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use http::Uri;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};

use super::{Connector, IDLE, MAX_HEADERS};
use crate::BoxError;
use crate::expect::RequestBody;

/// Connections to the service at `upstream`.
pub(crate) struct Http1Channel {
    connector: Connector,
    upstream: Uri,
    resting: Arc<Resting>,
}

/// A connection that a response comes on. Dropped, it is closed once the response has ended.
pub(crate) struct Lent {
    sender: SendRequest<RequestBody>,
    resting: Arc<Resting>,
}

/// Connections on which nothing is under way, or soon nothing will be.
#[derive(Default)]
struct Resting {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// With the time since when; the longest first.
    senders: VecDeque<(Instant, SendRequest<RequestBody>)>,
    /// A task looks for those that have rested too long.
    swept: bool,
}

impl Http1Channel {
    pub(crate) fn new(connector: Connector, upstream: Uri) -> Self {
        Self {
            connector,
            upstream,
            resting: Arc::default(),
        }
    }

    /// Sends `request`, whose target is a path.
    ///
    /// # Errors
    /// No connection, or one that ended before a response. What was sent is never sent again; what a connection that was
    /// just closing has seen nothing of is.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(hyper::Response<Incoming>, Lent), BoxError> {
        loop {
            let rested = self.resting.take(Instant::now());
            let again = rested.is_some();
            let mut sender = match rested {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let resting = self.resting.clone();
                    return Ok((response, Lent { sender, resting }));
                }
                Err(mut error) => match error.take_message().filter(|_| again) {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, BoxError> {
        let io = self.connector.clone().link(self.upstream.clone()).await?;
        let mut builder = Builder::new();
        let handshake = builder
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .handshake(io);
        let (sender, connection) = handshake.await?;
        tokio::spawn(async move {
            // Whatever ends the connection is told to the request on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

impl Lent {
    /// Gives the connection back, for its response has ended.
    pub(crate) fn rest(self) {
        let mut list = self.resting.lock();
        list.senders.push_back((Instant::now(), self.sender));
        if !std::mem::replace(&mut list.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.resting)));
        }
    }
}

impl Resting {
    /// The connection that rested last. One that still sends a request's body, whose response came early, is not ready.
    fn take(&self, now: Instant) -> Option<SendRequest<RequestBody>> {
        let mut list = self.lock();
        list.forget(now);
        let at = list.senders.iter().rposition(|(_, sender)| sender.is_ready())?;
        Some(list.senders.remove(at)?.1)
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Closes what has rested too long.
    fn forget(&mut self, now: Instant) {
        let too_long = |since: Instant| now.saturating_duration_since(since) >= IDLE;
        while self.senders.front().is_some_and(|(since, _)| too_long(*since)) {
            self.senders.pop_front();
        }
    }
}

/// Looks after resting connections for as long as there are any.
async fn sweep(resting: Weak<Resting>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(resting) = resting.upgrade() else {
            return;
        };
        let mut list = resting.lock();
        list.forget(Instant::now());
        if list.senders.is_empty() {
            list.swept = false;
            return;
        }
    }
}
