//! The listeners of a running agent, from one configuration to the next.
//!
//! In: what is to stand behind each address now. Out: listeners that appeared accept, those that vanished are drained, and
//! those that stay go on with their connections under the new handler.
//! Left out on purpose: binding, see `bound.rs`, and accepting, see `serve.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use otlp::tls::Listening;
use tokio::sync::watch;

use super::current::Current;

/// A listener that accepts.
pub(crate) struct Door<H, F> {
    address: SocketAddr,
    /// What accepting depends on; where it changes, the next one accepts on the same socket.
    fixed: F,
    current: Arc<Current<H>>,
    stop: watch::Sender<bool>,
}

/// A listener as the configuration wants it.
pub(crate) struct Wanted<H, F> {
    pub(crate) listener: Listening,
    pub(crate) address: SocketAddr,
    pub(crate) handler: Arc<H>,
    pub(crate) fixed: F,
}

/// All listeners of one kind.
pub(crate) struct Doors<H, F>(Vec<Door<H, F>>);

impl<H, F> Default for Doors<H, F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<H, F: PartialEq> Doors<H, F> {
    /// From now on the listeners are those of `wanted`; `accept` begins to accept on one that was not.
    pub(crate) fn renew(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted<H, F>>,
        mut accept: impl FnMut(Listening, Arc<Current<H>>, &F, watch::Receiver<bool>),
    ) {
        let mut before = std::mem::take(&mut self.0);
        for Wanted {
            listener,
            address,
            handler,
            fixed,
        } in wanted
        {
            let same = |door: &Door<H, F>| door.address == address && door.fixed == fixed;
            if let Some(place) = before.iter().position(same) {
                let door = before.swap_remove(place);
                door.current.set(handler);
                self.0.push(door);
                continue;
            }
            let current = Arc::new(Current::new(handler));
            let (stop, stopping) = watch::channel(false);
            accept(listener, current.clone(), &fixed, stopping);
            self.0.push(Door {
                address,
                fixed,
                current,
                stop,
            });
        }
        for gone in before {
            gone.stop.send_replace(true);
        }
    }

    /// No more connections are taken.
    pub(crate) fn stop(&self) {
        for door in &self.0 {
            door.stop.send_replace(true);
        }
    }
}
