//! The open HTTP/2 connections to one service, and how many streams each still takes.
//!
//! In: connections as they are made. Out: one with a free stream, and that stream's place until it is given back.
//! Left out on purpose: making connections, and streams that wait; who finds no place makes another connection.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::client::conn::http2::SendRequest;

use crate::expect::RequestBody;

/// As many as HTTP/2 recommends to allow; the service says soon how many it does (RFC 9113, section 6.5.2).
const BEFORE_SETTINGS: usize = 100;

/// Connections with room for more streams, and without.
pub(crate) struct Streams {
    open: Mutex<Vec<Open>>,
    /// Streams that the service takes on one connection, as far as it has said so.
    most: Arc<AtomicUsize>,
}

struct Open {
    sender: SendRequest<RequestBody>,
    used: Arc<AtomicUsize>,
}

/// A stream's place on its connection, until the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    _place: Arc<Place>,
}

#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            most: Arc::new(AtomicUsize::new(BEFORE_SETTINGS)),
        }
    }
}

impl Streams {
    /// How many streams a connection takes at once; whoever drives one keeps it up to date.
    pub(crate) fn most(&self) -> Arc<AtomicUsize> {
        self.most.clone()
    }

    /// A connection with a free stream, which is taken.
    pub(crate) fn find(&self) -> Option<(SendRequest<RequestBody>, Stream)> {
        let mut open = self.lock();
        open.retain(|open| !open.sender.is_closed());
        let most = self.most.load(Relaxed);
        let free = open.iter().find(|open| open.used.load(Relaxed) < most)?;
        Some(free.take())
    }

    /// Adds a new connection and takes its first stream.
    pub(crate) fn add(&self, sender: SendRequest<RequestBody>) -> (SendRequest<RequestBody>, Stream) {
        let added = Open {
            sender,
            used: Arc::default(),
        };
        let first = added.take();
        self.lock().push(added);
        first
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn take(&self) -> (SendRequest<RequestBody>, Stream) {
        self.used.fetch_add(1, Relaxed);
        let place = Arc::new(Place(self.used.clone()));
        (self.sender.clone(), Stream { _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
