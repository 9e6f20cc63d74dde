//! The reverse proxy in front of a service.
//!
//! In: requests for the service, HTTP/1.1 or HTTP/2 without TLS. Out: the same requests at the service, with context and
//! correlation id, and one SERVER span for each.
//! Left out on purpose: routing, retries, time limits and TLS. The sidecar adds context and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use otlp::Kind;
use tokio::sync::watch;

use crate::BoxError;
use crate::access_log::Line;
use crate::body::ProxyBody;
use crate::config::{EdgeMode, Trust};
use crate::connect::{Connector, Http2Channel, PooledClient};
use crate::exchange::{Beginning, Exchange, Opening};
use crate::expect::{self, RequestBody};
use crate::forward::{self, Pending};
use crate::hop;
use crate::place::{self, Arriving};
use crate::semconv;
use crate::serve::Handler;
use crate::telemetry::{Direction, NotCarried, Outcome};
use crate::trace::RandomIds;
use crate::workload::{Shared, Workload};

/// One inbound listener's way to its service.
pub(crate) struct Inbound {
    workload: Arc<Workload>,
    upstream: Authority,
    trust: Trust,
    http1: PooledClient,
    http2: Http2Channel,
    stop: watch::Receiver<bool>,
}

impl Inbound {
    pub(crate) fn new(
        workload: Arc<Workload>,
        upstream: Authority,
        trust: Trust,
        connector: Connector,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let base = target(upstream.clone(), None);
        let http2 = Http2Channel::new(connector.clone(), base);
        Self {
            workload,
            upstream,
            trust,
            http1: connector.pooled(false),
            http2,
            stop,
        }
    }

    fn open(&self, request: Request<Incoming>, peer: SocketAddr) -> (Request<RequestBody>, Pending) {
        let (mut head, body) = request.into_parts();
        let shared = &self.workload.shared;
        let extracted = shared.extract(Direction::Inbound, self.trust, &head);
        let found = place::inbound(&self.workload, &extracted, &mut RandomIds);
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
        self.readdress(&mut head);
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
        let mut attributes = semconv::server(head, peer);
        if let Some(route) = route {
            semconv::push(&mut attributes, "http.route", route.to_owned());
        }
        if let Some(correlation) = correlation {
            semconv::push(&mut attributes, semconv::CORRELATION_ID, correlation);
        }
        Opening {
            kind: Kind::Server,
            name: semconv::name(head, route),
            attributes,
        }
    }

    /// Points the request to the service. Its `Host`, on HTTP/2 its authority, stays what the caller wrote.
    fn readdress(&self, head: &mut http::request::Parts) {
        let path = head.uri.path_and_query().cloned();
        if head.version == Version::HTTP_2 {
            let asked = semconv::authority(&head.uri, &head.headers);
            head.uri = target(asked.unwrap_or_else(|| self.upstream.clone()), path);
        } else {
            head.version = Version::HTTP_11;
            head.uri = target(self.upstream.clone(), path);
        }
    }

    async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, BoxError> {
        if request.version() == Version::HTTP_2 {
            return self.http2.send(request).await;
        }
        Ok(self.http1.request(request).await?)
    }
}

impl Handler for Inbound {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ProxyBody> {
        if request.method() == Method::CONNECT {
            self.workload
                .shared
                .metrics
                .request(Direction::Inbound, Outcome::Refused);
            let line = "tracemap-agent: this address leads to one service and takes no `CONNECT`\n";
            return forward::text(StatusCode::BAD_REQUEST, line);
        }
        let (request, pending) = self.open(request, peer);
        let result = self.send(request).await;
        pending.answer(result)
    }
}

/// `http://authority/path`.
fn target(authority: Authority, path: Option<PathAndQuery>) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    // All three parts are there, which is all that is asked of them.
    Uri::from_parts(parts).unwrap_or_default()
}
