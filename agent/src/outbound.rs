//! The forward proxy for a service's own calls.
//!
//! In: requests with an absolute `http://` or `https://` target, and `CONNECT`. Out: the same requests at their target, with context and
//! correlation id where evidence finds them, and one CLIENT span for each; tunnels for what is encrypted.
//! Left out on purpose: guesses by likelihood, answers to `Proxy-Authorization`, and spans of what passes in tunnels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpInfo;
use otlp::Kind;
use propagation::EdgeClass;
use tokio::sync::watch;

use crate::BoxError;
use crate::access_log::Line;
use crate::body::ProxyBody;
use crate::config::{EdgeMode, Network, Trust};
use crate::connect::{self, Connector, PooledClient};
use crate::edges::Edge;
use crate::exchange::{Beginning, Exchange, Failure, Opening};
use crate::expect::{self, RequestBody};
use crate::forward::{self, Pending};
use crate::hop;
use crate::limits::Admission;
use crate::peer::Peer;
use crate::place::{self, Leaving};
use crate::semconv;
use crate::serve::Handler;
use crate::telemetry::{Direction, Outcome};
use crate::trace::RandomIds;
use crate::transparent::Onward;
use crate::tunnel;
use crate::workers::PerWorker;
use crate::workload::Workload;

/// One workload's way to the rest of the world.
pub(crate) struct Outbound {
    workload: Arc<Workload>,
    connector: Connector,
    http1: PerWorker<PooledClient>,
    http2: PerWorker<PooledClient>,
    /// Who may call; everybody where nobody is named.
    allow: Vec<Network>,
    stop: watch::Receiver<bool>,
}

const NOT_FOR_A_PROXY: &str = "tracemap-agent: this address is a forward proxy: ask it for an absolute `http://` or `https://` target or for `CONNECT`\n";

const NOT_FOR_YOU: &str = "tracemap-agent: this address may not call through this proxy: `agent.outbound.allow` names those that may\n";

impl Outbound {
    pub(crate) fn new(workload: Arc<Workload>, connector: Connector, stop: watch::Receiver<bool>) -> Self {
        let pools = |http2| workload.shared.workers.each(|| connector.clone().pooled(http2));
        let (http1, http2) = (pools(false), pools(true));
        Self {
            workload,
            connector,
            http1,
            http2,
            allow: Vec::new(),
            stop,
        }
    }

    /// The same for these callers alone, or for everybody where nobody is named.
    pub(crate) fn allowing(self, allow: Vec<Network>) -> Self {
        Self { allow, ..self }
    }

    fn allows(&self, caller: SocketAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(caller.ip()))
    }

    /// `onward` is where the connection was going that the request came on, where it was redirected.
    fn open(&self, request: Request<Incoming>, onward: Option<&Onward>) -> (Request<RequestBody>, Pending) {
        let (mut head, body) = request.into_parts();
        let said = onward.and_then(|_| semconv::authority(&head.uri, &head.headers));
        if let Some(onward) = onward {
            head.uri = onward.named(said.clone(), head.uri.path_and_query().cloned());
        }
        let shared = &self.workload.shared;
        let extracted = shared.extract(Direction::Outbound, Trust::Continue, &head);
        let peer = Peer::of_target(&head.uri).unwrap_or_default();
        let now = (Instant::now(), || semconv::name(&head, None));
        let mut found = place::outbound(
            &self.workload,
            &extracted,
            (&peer, EdgeClass::Http),
            now,
            &mut RandomIds,
        );
        let correlation = shared.correlation_attribute(&found.correlation);
        let beginning = Beginning {
            direction: Direction::Outbound,
            joined: &found.joined,
            span: found.telling.span,
            links: std::mem::take(&mut found.links),
            grpc: semconv::is_grpc(&head),
            line: self.line(&head, &found, &peer, correlation.as_ref()),
            edge: Some(Edge::to(self.workload.node.clone(), peer)),
        };
        let opening = || opening(&head, &found, correlation);
        let exchange = Exchange::begin(&self.workload, beginning, opening);
        let upgrade = hop::strip(&mut head.headers);
        if !shared.is_left(&head) {
            shared.inject(&mut head.headers, &found.joined, &found.correlation, &extracted);
            self.workload.conceal(&mut head);
        }
        let version = head.version;
        let asks_upgrade = upgrade.is_some() && version != Version::HTTP_2;
        if version != Version::HTTP_2 {
            head.version = Version::HTTP_11;
            hop::restore_http1(&mut head.headers, upgrade);
        }
        if let Some(onward) = onward {
            onward.readdress(&mut head, said);
        } else {
            // The target's authority is the host, whatever `Host` says (RFC 9112, section 3.2.2).
            head.headers.remove(HOST);
            head.uri = without_credentials(head.uri);
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
        found: &Leaving,
        peer: &Peer,
        correlation: Option<&String>,
    ) -> Option<Box<Line>> {
        (found.telling.mode == EdgeMode::Log).then(|| {
            let ends = (self.workload.node.as_ref(), peer.authority.as_str());
            let line = Line::of(head, &found.joined.context, found.telling.parent, ends);
            Box::new(Line {
                direction: Direction::Outbound.as_str(),
                correlation_id: correlation.cloned(),
                ..line
            })
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<ProxyBody> {
        let (request, mut pending) = self.open(request, None);
        let client = if request.version() == Version::HTTP_2 {
            &self.http2
        } else {
            &self.http1
        };
        let result = client.here().request(request).await.map_err(BoxError::from);
        let peer = result
            .as_ref()
            .ok()
            .and_then(|response| response.extensions().get::<HttpInfo>());
        if let Some(peer) = peer.map(HttpInfo::remote_addr) {
            pending.exchange.add(|out| semconv::network_peer(out, peer));
        }
        pending.answer(result)
    }

    /// Answers a request of a redirected connection, from where that was going.
    pub(crate) async fn steered(&self, request: Request<Incoming>, onward: &Onward) -> Response<ProxyBody> {
        if request.method() == Method::CONNECT {
            return self.refuse();
        }
        if !hop::framing_is_known(request.headers()) {
            self.count(Outcome::Refused);
            return forward::text(StatusCode::NOT_IMPLEMENTED, forward::UNKNOWN_CODING);
        }
        let (request, mut pending) = self.open(request, Some(onward));
        let result = onward.send(request, self.http1.here()).await;
        if result.is_ok() {
            pending
                .exchange
                .add(|out| semconv::network_peer(out, onward.address()));
        }
        pending.answer(result)
    }

    async fn tunnel(&self, mut request: Request<Incoming>) -> Response<ProxyBody> {
        let Some(target) = request.uri().authority().filter(|target| target.port().is_some()) else {
            return self.refuse();
        };
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(target.clone())
            .path_and_query("/")
            .build();
        let Ok(uri) = uri else { return self.refuse() };
        match self.connector.clone().connect(uri).await {
            Ok(far) => {
                self.count(Outcome::Tunnel);
                let caller = hyper::upgrade::on(&mut request);
                tokio::spawn(tunnel::connect(caller, far.into_inner(), self.stop.clone()));
                Response::new(ProxyBody::text(""))
            }
            Err(error) => {
                let failure = connect::failure(error.as_ref());
                self.count(match failure {
                    Failure::Loop | Failure::Denied => failure.outcome(),
                    _ => Outcome::Unreachable,
                });
                let reason = forward::chain(error.as_ref());
                forward::text(
                    forward::status_of(failure),
                    &format!("tracemap-agent: no tunnel: {reason}\n"),
                )
            }
        }
    }

    fn refuse(&self) -> Response<ProxyBody> {
        self.count(Outcome::Refused);
        forward::text(StatusCode::BAD_REQUEST, NOT_FOR_A_PROXY)
    }

    fn count(&self, outcome: Outcome) {
        self.workload.shared.metrics.request(Direction::Outbound, outcome);
    }
}

impl Handler for Outbound {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, caller: SocketAddr) -> Response<ProxyBody> {
        if !self.allows(caller) {
            self.count(Outcome::Refused);
            return forward::text(StatusCode::FORBIDDEN, NOT_FOR_YOU);
        }
        if request.method() == Method::CONNECT {
            return self.tunnel(request).await;
        }
        if !hop::framing_is_known(request.headers()) {
            self.count(Outcome::Refused);
            return forward::text(StatusCode::NOT_IMPLEMENTED, forward::UNKNOWN_CODING);
        }
        let scheme = request.uri().scheme();
        let known = scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS);
        let absolute = known && request.uri().authority().is_some();
        if absolute {
            self.forward(request).await
        } else {
            self.refuse()
        }
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        Some(self.workload.shared.admission.clone())
    }
}

fn opening(head: &http::request::Parts, found: &Leaving, correlation: Option<String>) -> Opening {
    let mut attributes = semconv::client(head);
    attributes.push(semconv::CORRELATION_METHOD, found.method.as_str());
    if let Some(confidence) = found.confidence {
        attributes.push(semconv::CORRELATION_CONFIDENCE, confidence);
    }
    if let Some(correlation) = correlation {
        attributes.push(semconv::CORRELATION_ID, &correlation);
    }
    Opening {
        kind: Kind::Client,
        name: semconv::name(head, None),
        attributes,
    }
}

/// `uri` without `user:password@`: that is for whoever made the request to send as `Authorization`.
fn without_credentials(uri: Uri) -> Uri {
    let bare = |authority: &Authority| Authority::try_from(authority.as_str().rsplit_once('@')?.1).ok();
    let Some(bare) = uri.authority().and_then(bare) else {
        return uri;
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(bare);
    Uri::from_parts(parts).unwrap_or(uri)
}
