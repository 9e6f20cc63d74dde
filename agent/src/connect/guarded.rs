//! Addresses that no call may go to, whatever name leads there.
//!
//! In: names, and the networks that are forbidden. Out: the addresses of a name that are not, or an error that names one that is.
//! It is asked before anything is sent: who may not go somewhere must not learn either who listens there. A name is looked up
//! once, for the connection that is then made.
//! Left out on purpose: names; what a name means is up to whoever runs its zone.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::BoxError;
use crate::config::Network;

/// The address is none that a call may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address that calls may go to: `agent.outbound.deny` names those")]
pub(crate) struct DeniedError(IpAddr);

/// The system's names, without addresses that are denied.
#[derive(Clone)]
pub(super) struct Guarded {
    names: GaiResolver,
    deny: Arc<[Network]>,
}

impl Guarded {
    pub(super) fn new(deny: Arc<[Network]>) -> Self {
        Self {
            names: GaiResolver::new(),
            deny,
        }
    }

    /// Asks of an address that is written in place of a name, which nobody looks up.
    pub(super) fn check(&self, uri: &Uri) -> Result<(), DeniedError> {
        let host = uri.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host).parse() {
            Ok(address) if self.denies(address) => Err(DeniedError(address)),
            _ => Ok(()),
        }
    }

    fn denies(&self, address: IpAddr) -> bool {
        self.deny.iter().any(|network| network.contains(address))
    }
}

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.names.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (looking, guard) = (self.names.call(name), self.clone());
        Box::pin(async move {
            let found: Vec<SocketAddr> = looking.await?.collect();
            let allowed: Vec<_> = found
                .iter()
                .filter(|there| !guard.denies(there.ip()))
                .copied()
                .collect();
            match found.first() {
                Some(denied) if allowed.is_empty() => Err(DeniedError(denied.ip()).into()),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}
