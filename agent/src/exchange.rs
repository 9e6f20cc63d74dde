//! One request on its way through the agent, from its head to the end of its response.
//!
//! In: what happens to the request. Out: one span or one line of the access log, where its edge's mode and its trace want
//! one, and its counts, however it ends.
//! Left out on purpose: the bodies' content, and what happens on a connection after its upgrade.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use otlp::encode::{Attributes, LinkRecord, SpanRecord};
use otlp::{Kind, StatusCode as SpanStatus};

use crate::access_log::Line;
use crate::correlation::LiveGuard;
use crate::edges::report::unix_nano;
use crate::edges::{Counted, Edge};
use crate::pipeline::Resource;
use crate::semconv;
use crate::telemetry::{CountOutcome, Direction, Outcome, SpanOutcome};
use crate::trace::Joined;
use crate::workload::{Shared, Workload};

/// Why a request had no good end; `error.type` of its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Whoever asked went away before the end of the response.
    ClientDisconnected,
    /// Nobody listens there.
    ConnectionRefused,
    /// The host's name has no address.
    NameNotResolved,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection was not made for another reason.
    ConnectFailed,
    /// The other side is not to be trusted, or does not speak TLS as we do.
    TlsFailed,
    /// The way leads back to the agent.
    Loop,
    /// The way leads to an address that calls may not go to.
    Denied,
    /// The other side closed the connection before the end of its response, or does not speak the protocol.
    UpstreamClosed,
}

impl Failure {
    /// The value of `error.type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientDisconnected => "client_disconnected",
            Self::ConnectionRefused => "connection_refused",
            Self::NameNotResolved => "name_not_resolved",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::Loop => "loop",
            Self::Denied => "denied",
            Self::UpstreamClosed => "upstream_closed",
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ClientDisconnected => Outcome::ClientDisconnected,
            Self::Loop => Outcome::Loop,
            Self::Denied => Outcome::Denied,
            Self::UpstreamClosed => Outcome::UpstreamClosed,
            Self::ConnectionRefused
            | Self::NameNotResolved
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::TlsFailed => Outcome::Unreachable,
        }
    }
}

/// A request in flight. Dropped before its end, it ends as [`Failure::ClientDisconnected`]: hyper drops what nobody
/// waits for any more.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    direction: Direction,
    started: Instant,
    status: Option<StatusCode>,
    /// The status that the agent answered with in the service's stead.
    answered: Option<StatusCode>,
    grpc: bool,
    grpc_status: Option<u8>,
    /// What becomes of the request where no span does.
    no_span: SpanOutcome,
    span: Option<OpenSpan>,
    line: Option<Box<Line>>,
    edge: Option<Edge>,
    live: Option<LiveGuard>,
    ended: bool,
}

/// A span that has begun.
pub(crate) struct OpenSpan {
    record: SpanRecord,
    resource: Arc<Resource>,
}

/// What an exchange begins with.
pub(crate) struct Beginning<'a> {
    pub(crate) direction: Direction,
    pub(crate) joined: &'a Joined,
    /// A span comes.
    pub(crate) span: bool,
    /// Links beyond those of `joined`.
    pub(crate) links: Vec<LinkRecord>,
    /// A gRPC call, whose status stands in its trailers.
    pub(crate) grpc: bool,
    /// The edge that it is counted for.
    pub(crate) edge: Option<Edge>,
    pub(crate) line: Option<Box<Line>>,
}

/// What a span says from its start.
pub(crate) struct Opening {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
}

impl Exchange {
    /// Begins now. `opening` is asked only where a span comes.
    pub(crate) fn begin(
        workload: &Workload,
        beginning: Beginning<'_>,
        opening: impl FnOnce() -> Opening,
    ) -> Self {
        let Beginning {
            direction,
            joined,
            links,
            grpc,
            edge,
            line,
            span,
        } = beginning;
        let span = span.then(|| OpenSpan::new(workload.resource.clone(), joined, links, opening()));
        Self {
            shared: workload.shared.clone(),
            direction,
            started: Instant::now(),
            status: None,
            answered: None,
            grpc,
            grpc_status: None,
            no_span: if joined.recorded {
                SpanOutcome::Quiet
            } else {
                SpanOutcome::Unsampled
            },
            span,
            line,
            edge,
            live: None,
            ended: false,
        }
    }

    /// Keeps an inbound request among those in flight until the end.
    pub(crate) fn keep(&mut self, live: Option<LiveGuard>) {
        self.live = live;
    }

    /// Adds attributes that are known only now.
    pub(crate) fn add(&mut self, add: impl FnOnce(&mut Attributes)) {
        if let Some(span) = &mut self.span {
            add(span.attributes());
        }
    }

    /// The response's head is there.
    pub(crate) fn response(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.add(|out| out.push("http.response.status_code", i64::from(status.as_u16())));
        self.trailers(headers);
    }

    /// The agent answers in the other side's stead; only a SERVER span says with which status, as its own caller sees it.
    pub(crate) fn answered_ourselves(&mut self, status: StatusCode) {
        if self.direction == Direction::Inbound {
            self.answered = Some(status);
            self.add(|out| out.push("http.response.status_code", i64::from(status.as_u16())));
        }
    }

    /// The response's trailers are there.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc {
            let code = trailers
                .get("grpc-status")
                .and_then(|value| value.to_str().ok()?.parse().ok());
            self.grpc_status = code.or(self.grpc_status);
        }
    }

    /// The end; later ones change nothing.
    pub(crate) fn end(&mut self, result: Result<(), Failure>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.live = None;
        let outcome = match (result, self.status) {
            (Err(failure), _) => failure.outcome(),
            (Ok(()), Some(status)) if status.is_server_error() => Outcome::ServerError,
            (Ok(()), Some(status)) if status.is_client_error() => Outcome::ClientError,
            (Ok(()), _) => Outcome::Success,
        };
        self.shared.metrics.request(self.direction, outcome);
        let elapsed = self.started.elapsed();
        let error = self.error(result.err());
        if let (Some(edge), Some(counts)) = (self.edge.take(), &self.shared.edges) {
            let counted = match counts.count(edge, error.is_some(), elapsed.as_secs_f64()) {
                Counted::Own => CountOutcome::Counted,
                Counted::Overflow => CountOutcome::Overflow,
            };
            self.shared.metrics.edge_request(counted);
        }
        if let (Some(line), Some(log)) = (self.line.take(), &self.shared.access_log) {
            let status = self.status.or(self.answered).map(|status| status.as_u16());
            log.ended(&line, status, elapsed.as_secs_f64(), error.as_deref());
        }
        let Some(mut span) = self.span.take() else {
            self.shared.metrics.spans(self.no_span, 1);
            return;
        };
        if let Some((_, name)) = self.grpc_status() {
            span.attributes().push("rpc.response.status_code", name);
        }
        span.end(elapsed, error.as_deref(), &self.shared);
    }

    /// `error.type`, where the request failed as its direction sees it.
    fn error(&self, failure: Option<Failure>) -> Option<Cow<'static, str>> {
        if let Some(failure) = failure {
            return Some(failure.as_str().into());
        }
        let kind = match self.direction {
            Direction::Inbound => Kind::Server,
            Direction::Outbound => Kind::Client,
        };
        let by_grpc = self
            .grpc_status()
            .filter(|(code, _)| semconv::is_grpc_error(kind, *code))
            .map(|(_, name)| name.into());
        by_grpc.or_else(|| {
            let status = self.status.filter(|status| semconv::is_error(kind, *status))?;
            Some(status.as_u16().to_string().into())
        })
    }

    fn grpc_status(&self) -> Option<(u8, &'static str)> {
        let code = self.grpc_status?;
        Some((code, semconv::grpc_status_name(code).unwrap_or("UNKNOWN")))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Err(Failure::ClientDisconnected));
    }
}

impl OpenSpan {
    /// Begins now.
    pub(crate) fn new(
        resource: Arc<Resource>,
        joined: &Joined,
        links: Vec<LinkRecord>,
        opening: Opening,
    ) -> Self {
        let record = SpanRecord {
            trace_id: *joined.context.trace_id.as_bytes(),
            span_id: *joined.context.span_id.as_bytes(),
            parent_span_id: joined.parent.map(|id| *id.as_bytes()),
            trace_state: joined.context.trace_state.as_str().to_owned(),
            name: opening.name,
            kind: opening.kind,
            start_unix_nano: unix_nano(),
            end_unix_nano: 0,
            flags: joined.span_flags(),
            status: SpanStatus::Unset,
            status_message: String::new(),
            attributes: joined.attributes(opening.attributes),
            links: joined.links().into_iter().chain(links).collect(),
        };
        Self { record, resource }
    }

    /// What it says so far.
    pub(crate) fn attributes(&mut self) -> &mut Attributes {
        &mut self.record.attributes
    }

    /// It turned out to be of another kind.
    pub(crate) fn is_of_kind(&mut self, kind: Kind) {
        self.record.kind = kind;
    }

    /// Ends it, `elapsed` after its beginning; it failed where there is an error.
    pub(crate) fn end(mut self, elapsed: Duration, error: Option<&str>, shared: &Shared) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.record.end_unix_nano = self.record.start_unix_nano.saturating_add(nanos);
        if let Some(error) = error {
            self.record.status = SpanStatus::Error;
            self.record.attributes.push(semconv::ERROR_TYPE, error);
        }
        shared.spans.push(self.resource, self.record);
    }
}
