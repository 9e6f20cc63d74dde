//! Where clients find brokers that they are told of.
//!
//! In: the address of a broker, as one broker of its cluster names it. Out: a listener of the agent's own for it, which lasts
//! as long as the first one's.
//! Left out on purpose: brokers that vanish. They may come back, and there are few.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tracing::warn;

use super::{Accepting, Queue, accept, broker};

/// Brokers of one cluster that get a listener; clusters are smaller.
const MAX_BROKERS: usize = 512;

/// The ways of one listener.
pub(super) struct Ways {
    accepting: Accepting,
    /// Threads of connections end with these; listeners must not.
    runtime: Handle,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The port for each `host:port`.
    ports: HashMap<(String, u16), u16>,
    /// Looked for in vain.
    failed: bool,
}

impl Ways {
    /// Needs the runtime that accepts.
    pub(super) fn new(accepting: Accepting) -> Arc<Self> {
        Arc::new(Self {
            accepting,
            runtime: Handle::current(),
            known: Mutex::default(),
        })
    }

    /// Where a client that came to `here` finds the broker at `host:port`. `None` where it cannot be led through the agent.
    pub(super) fn to(
        self: &Arc<Self>,
        queue: &Queue,
        host: &str,
        port: u16,
        here: SocketAddr,
    ) -> Option<(String, u16)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        let ports = &known.ports;
        let port = match ports.get(&key) {
            Some(port) => *port,
            None if host == queue.broker.address
                && port == queue.broker.port
                && !ports.values().any(|p| *p == here.port()) =>
            {
                known.ports.insert(key, here.port());
                here.port()
            }
            None if known.ports.len() >= MAX_BROKERS => return None,
            None => {
                let listening = self.listen(queue, host, port, here.ip());
                match listening {
                    Ok(port) => {
                        known.ports.insert(key, port);
                        port
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut known.failed, true) {
                            warn!(%error, %host, port, "no listener for this broker: clients go there without the agent");
                        }
                        return None;
                    }
                }
            }
        };
        Some((here.ip().to_string(), port))
    }

    fn listen(self: &Arc<Self>, queue: &Queue, host: &str, port: u16, here: IpAddr) -> std::io::Result<u16> {
        let unusable = || std::io::Error::other("its address is no host");
        let named = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let broker = broker(&named).ok_or_else(unusable)?;
        let listener = match queue.broker_ports {
            None => std::net::TcpListener::bind((here, 0)),
            Some(first) => {
                let free = |port| std::net::TcpListener::bind((here, port)).ok();
                let last = first.saturating_add(MAX_BROKERS as u16);
                let free = (first..=last).find_map(free);
                free.ok_or_else(|| std::io::Error::other("none of `broker_ports` is free"))
            }
        }?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let _inside = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        self.runtime.spawn(accept(
            listener.into(),
            self.accepting.clone(),
            Some(broker),
            self.clone(),
        ));
        Ok(port)
    }
}
