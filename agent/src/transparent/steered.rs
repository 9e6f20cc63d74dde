//! The requests of a redirected connection.
//!
//! In: requests as a service gets them, and where their connection was going. Out: the same through the proxies of the workload
//! that they are of, to exactly there.
//! Left out on purpose: what the proxies do with a request, see `outbound.rs` and `inbound.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;

use super::Transparent;
use super::replay::Trial;
use crate::BoxError;
use crate::body::ProxyBody;
use crate::connect::{Connector, Http2Channel, PooledClient};
use crate::expect::RequestBody;
use crate::inbound::{Inbound, target};
use crate::outbound::Outbound;
use crate::reload::Current;
use crate::serve::Handler;
use crate::telemetry::Redirected;

/// A workload's proxy in one direction.
#[derive(Clone)]
pub(crate) enum Way {
    /// For its calls.
    Out(Arc<Outbound>),
    /// For requests to it.
    In(Arc<Inbound>),
}

/// The requests of one connection.
pub(crate) struct Steered {
    pub(super) current: Arc<Current<Transparent>>,
    /// Whose the connection was when it began.
    pub(super) way: Way,
    pub(super) caller: IpAddr,
    pub(super) destination: IpAddr,
    /// Where its requests go; where it is absent they say that themselves, to a proxy that they know of.
    pub(super) onward: Option<Onward>,
    pub(super) trial: Arc<Trial>,
}

/// Where the requests of a connection go, whatever host they name.
pub(crate) struct Onward {
    to: SocketAddr,
    authority: Authority,
    /// A pool of its own, where connections onward must not be shared.
    http1: Option<PooledClient>,
    /// HTTP/2 is one connection onward for one of a caller, as without the agent.
    http2: Http2Channel,
}

impl Onward {
    pub(crate) fn new(to: SocketAddr, connector: Connector, own_pool: bool) -> Self {
        // The text of an address with its port is always an authority.
        let authority =
            Authority::try_from(to.to_string()).unwrap_or_else(|_| Authority::from_static("unknown"));
        let base = target(&Scheme::HTTP, authority.clone(), None);
        Self {
            to,
            http2: Http2Channel::new(connector.clone(), base),
            http1: own_pool.then(|| connector.pooled(false)),
            authority,
        }
    }

    /// The address that requests go to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.to
    }

    /// That address as an authority.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The target that names a request, from what it says itself: the connection's address where it says nothing.
    pub(crate) fn named(&self, said: Option<Authority>, path: Option<PathAndQuery>) -> Uri {
        let with_port = said.and_then(|said| {
            if said.port().is_some() || self.to.port() == 80 {
                return Some(said);
            }
            Authority::try_from(format!("{}:{}", said.host(), self.to.port())).ok()
        });
        let authority = with_port.unwrap_or_else(|| self.authority.clone());
        target(&Scheme::HTTP, authority, path)
    }

    /// Points a request here. Its `Host`, on HTTP/2 its authority, stays what the caller `said`.
    pub(crate) fn readdress(&self, head: &mut Parts, said: Option<Authority>) {
        let path = head.uri.path_and_query().cloned();
        let said = said.filter(|_| head.version == Version::HTTP_2);
        head.uri = target(
            &Scheme::HTTP,
            said.unwrap_or_else(|| self.authority.clone()),
            path,
        );
    }

    /// Sends `request`, which has the authority that its version needs: this one's for HTTP/1, its own for HTTP/2.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
        shared: &PooledClient,
    ) -> Result<Response<Incoming>, BoxError> {
        if request.version() == Version::HTTP_2 {
            return self.http2.send(request).await;
        }
        Ok(self.http1.as_ref().unwrap_or(shared).request(request).await?)
    }
}

impl Handler for Steered {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ProxyBody> {
        let now = self.current.get();
        if self.trial.pass() {
            now.count(Redirected::of(request.version()));
        }
        // A workload that is gone from the table keeps its open connections.
        let way = now.way(self.caller, self.destination);
        match (way.unwrap_or_else(|| self.way.clone()), &self.onward) {
            (Way::Out(outbound), Some(onward)) => outbound.steered(request, onward).await,
            (Way::In(inbound), Some(onward)) => inbound.steered(request, peer, onward).await,
            (Way::Out(outbound), None) => outbound.handle(request, peer).await,
            (Way::In(inbound), None) => inbound.handle(request, peer).await,
        }
    }

    fn admission(&self) -> Option<Arc<crate::limits::Admission>> {
        Some(self.current.get().admission.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TlsSide;
    use crate::tls::Origin;

    fn onward(to: &str) -> Onward {
        let metrics = Arc::new(crate::telemetry::Metrics::new().expect("metrics"));
        let tls = Origin::new(None, TlsSide::Outbound, &metrics).expect("no certificates");
        let connector = Connector::new(Arc::new([]), Arc::new(tls));
        Onward::new(to.parse().expect("an address"), connector, false)
    }

    #[test]
    fn a_request_is_named_by_its_host_and_by_its_address_where_it_names_none() {
        for (to, said, expected) in [
            ("10.0.0.5:8080", Some("shop:8080"), "http://shop:8080/"),
            ("10.0.0.5:8080", Some("shop"), "http://shop:8080/"),
            ("10.0.0.5:80", Some("shop"), "http://shop/"),
            ("10.0.0.5:80", Some("shop:1"), "http://shop:1/"),
            ("10.0.0.5:80", None, "http://10.0.0.5:80/"),
            ("[fd00::5]:81", Some("[fd00::5]"), "http://[fd00::5]:81/"),
        ] {
            let onward = onward(to);
            let said = said.map(|said| said.parse().expect("an authority"));
            assert_eq!(onward.named(said, None).to_string(), expected);
        }
    }
}
