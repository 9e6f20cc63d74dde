//! The reverse proxy in front of a service.
//!
//! In: requests for the service, HTTP/1.1 or HTTP/2. Out: the same requests at the service, with context and
//! correlation id, and one SERVER span for each.
//! Left out on purpose: routing, retries and time limits. The sidecar adds context and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use otlp::Kind;
use tokio::sync::watch;

use crate::BoxError;
use crate::access_log::Line;
use crate::body::ProxyBody;
use crate::config::{EdgeMode, InboundConfig, Trust};
use crate::connect::{Connector, Http1Channel, Http2Channel, Lent, PooledClient};
use crate::exchange::{Beginning, Exchange, Opening};
use crate::expect::{self, RequestBody};
use crate::forward::{self, Pending};
use crate::hop;
use crate::limits::Admission;
use crate::place::{self, Arriving};
use crate::semconv;
use crate::serve::Handler;
use crate::telemetry::{Direction, NotCarried, Outcome};
use crate::trace::RandomIds;
use crate::transparent::Onward;
use crate::workers::PerWorker;
use crate::workload::{Shared, Workload};

/// One inbound listener's way to its service.
pub(crate) struct Inbound {
    workload: Arc<Workload>,
    /// What callers speak: `https` where the listener has TLS.
    scheme: Scheme,
    upstream_scheme: Scheme,
    upstream: Authority,
    trust: Trust,
    http1: PerWorker<Http1Channel>,
    /// For connections that were going to other ports of the service.
    pool: PerWorker<PooledClient>,
    http2: PerWorker<Http2Channel>,
    stop: watch::Receiver<bool>,
}

/// Where a service listens, and how it is reached.
pub(crate) struct Upstream {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) connector: Connector,
}

impl Inbound {
    pub(crate) fn new(
        workload: Arc<Workload>,
        upstream: Upstream,
        way: &InboundConfig,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let Upstream {
            scheme: upstream_scheme,
            authority: upstream,
            connector,
        } = upstream;
        let base = target(&upstream_scheme, upstream.clone(), None);
        let workers = workload.shared.workers.clone();
        Self {
            workload,
            scheme: if way.tls.is_some() {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            upstream_scheme,
            upstream,
            trust: way.trust,
            http1: workers.each(|| Http1Channel::new(connector.clone(), base.clone())),
            pool: workers.each(|| connector.clone().pooled(false)),
            http2: workers.each(|| Http2Channel::new(connector.clone(), base.clone())),
            stop,
        }
    }

    fn open(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        upstream: &Authority,
    ) -> (Request<RequestBody>, Pending) {
        let (mut head, body) = request.into_parts();
        let shared = &self.workload.shared;
        let extracted = shared.extract(Direction::Inbound, self.trust, &head);
        let operation = || semconv::name(&head, self.workload.routes.find(head.uri.path()));
        let found = place::inbound(&self.workload, &extracted, operation, &mut RandomIds);
        let correlation = shared.correlation_attribute(&found.correlation);
        let beginning = Beginning {
            direction: Direction::Inbound,
            joined: &found.joined,
            span: found.telling.span,
            links: Vec::new(),
            grpc: semconv::is_grpc(&head),
            edge: None,
            line: self.line(&head, &found, correlation.as_ref()),
        };
        let opening = || self.opening(&head, peer, correlation);
        let mut exchange = Exchange::begin(&self.workload, beginning, opening);
        let Arriving {
            onward, correlation, ..
        } = found;
        let live = self
            .workload
            .live
            .enter(onward.context.clone(), correlation.clone());
        if live.is_none() {
            shared.metrics.not_carried(NotCarried::TooManyInFlight);
        }
        exchange.keep(live);
        let upgrade = hop::strip(&mut head.headers);
        if !shared.is_left(&head) {
            Shared::forget(&mut head.headers, self.trust);
            shared.inject(&mut head.headers, &onward, &correlation, &extracted);
        }
        let version = head.version;
        self.readdress(&mut head, upstream);
        let asks_upgrade = upgrade.is_some() && head.version == Version::HTTP_11;
        if head.version == Version::HTTP_11 {
            hop::restore_http1(&mut head.headers, upgrade);
        }
        let mut request = Request::from_parts(head, body);
        let upgrade = asks_upgrade.then(|| hyper::upgrade::on(&mut request));
        let (request, expectation) = expect::hold_back(request);
        (
            request,
            Pending {
                exchange,
                expectation,
                upgrade,
                version,
                lent: None,
                stop: self.stop.clone(),
            },
        )
    }

    fn line(
        &self,
        head: &http::request::Parts,
        found: &Arriving,
        correlation: Option<&String>,
    ) -> Option<Box<Line>> {
        (found.telling.mode == EdgeMode::Log).then(|| {
            let ends = (found.caller.as_str(), self.workload.node.as_ref());
            let line = Line::of(head, &found.joined.context, found.telling.parent, ends);
            Box::new(Line {
                direction: Direction::Inbound.as_str(),
                correlation_id: correlation.cloned(),
                route: self.workload.routes.find(head.uri.path()).map(str::to_owned),
                ..line
            })
        })
    }

    fn opening(&self, head: &http::request::Parts, peer: SocketAddr, correlation: Option<String>) -> Opening {
        let route = self.workload.routes.find(head.uri.path());
        let mut attributes = semconv::server(head, peer, &self.scheme);
        if let Some(route) = route {
            attributes.push("http.route", route);
        }
        if let Some(correlation) = correlation {
            attributes.push(semconv::CORRELATION_ID, &correlation);
        }
        Opening {
            kind: Kind::Server,
            name: semconv::name(head, route),
            attributes,
        }
    }

    /// Points the request to the service. Its `Host`, on HTTP/2 its authority, stays what the caller wrote.
    fn readdress(&self, head: &mut http::request::Parts, upstream: &Authority) {
        let path = head.uri.path_and_query().cloned();
        if head.version == Version::HTTP_2 {
            let asked = semconv::authority(&head.uri, &head.headers);
            let authority = asked.unwrap_or_else(|| upstream.clone());
            head.uri = target(&self.upstream_scheme, authority, path);
        } else {
            head.version = Version::HTTP_11;
            // A target with an authority is the host, whatever `Host` says (RFC 9112, section 3.2.2).
            if let Some(host) = head.uri.authority().and_then(host) {
                head.headers.remove(HOST);
                let _ = head.headers.try_insert(HOST, host);
            }
            head.uri = target(&self.upstream_scheme, upstream.clone(), path);
        }
    }

    async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Option<Lent>), BoxError> {
        if request.version() == Version::HTTP_2 {
            return Ok((self.http2.here().send(request).await?, None));
        }
        as_origin(&mut request, &self.upstream);
        let (response, lent) = self.http1.here().send(request).await?;
        Ok((response, Some(lent)))
    }

    /// Why the request cannot go on, counted.
    fn refused(&self, request: &Request<Incoming>) -> Option<Response<ProxyBody>> {
        let (status, line) = if request.method() == Method::CONNECT {
            let line = "tracemap-agent: this address leads to one service and takes no `CONNECT`\n";
            (StatusCode::BAD_REQUEST, line)
        } else if !hop::framing_is_known(request.headers()) {
            (StatusCode::NOT_IMPLEMENTED, forward::UNKNOWN_CODING)
        } else {
            return None;
        };
        let metrics = &self.workload.shared.metrics;
        metrics.request(Direction::Inbound, Outcome::Refused);
        Some(forward::text(status, line))
    }

    /// Answers a request of a redirected connection, from where that was going.
    pub(crate) async fn steered(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        onward: &Onward,
    ) -> Response<ProxyBody> {
        if let Some(refusal) = self.refused(&request) {
            return refusal;
        }
        let (request, pending) = self.open(request, peer, onward.authority());
        let result = onward.send(request, self.pool.here()).await;
        pending.answer(result)
    }
}

impl Handler for Inbound {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ProxyBody> {
        if let Some(refusal) = self.refused(&request) {
            return refusal;
        }
        let (request, mut pending) = self.open(request, peer, &self.upstream);
        let result = self.send(request).await;
        let result = result.map(|(response, lent)| {
            pending.lent = lent;
            response
        });
        pending.answer(result)
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        Some(self.workload.shared.admission.clone())
    }
}

/// `authority` as `Host` has it, without `user:password@`.
fn host(authority: &Authority) -> Option<HeaderValue> {
    let bare = authority.as_str().rsplit('@').next()?;
    HeaderValue::from_str(bare).ok()
}

/// Writes a request for an HTTP/1.1 connection to `upstream`: its target is the path, and it has a `Host`.
fn as_origin(request: &mut Request<RequestBody>, upstream: &Authority) {
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(upstream.as_str())
    {
        let _ = request.headers_mut().try_insert(HOST, host);
    }
    let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
}

/// `scheme://authority/path`.
pub(crate) fn target(scheme: &Scheme, authority: Authority, path: Option<PathAndQuery>) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority);
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // All three parts are there, which is all that is asked of them.
    Uri::from_parts(parts).unwrap_or_default()
}
