//! One request on its way through the agent, from its head to the end of its response.
//!
//! In: what happens to the request. Out: one span, where the trace is recorded, and one count, however it ends.
//! Left out on purpose: the bodies' content, and what happens on a connection after its upgrade.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, StatusCode};
use otlp::encode::{Attribute, SpanRecord};
use otlp::{Kind, StatusCode as SpanStatus};

use crate::correlation::LiveGuard;
use crate::pipeline::Resource;
use crate::semconv;
use crate::telemetry::{Direction, Outcome, SpanOutcome};
use crate::trace::Joined;
use crate::workload::Shared;

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
    /// The way leads back to the agent.
    Loop,
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
            Self::Loop => "loop",
            Self::UpstreamClosed => "upstream_closed",
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::ClientDisconnected => Outcome::ClientDisconnected,
            Self::Loop => Outcome::Loop,
            Self::UpstreamClosed => Outcome::UpstreamClosed,
            Self::ConnectionRefused | Self::NameNotResolved | Self::ConnectTimeout | Self::ConnectFailed => {
                Outcome::Unreachable
            }
        }
    }
}

/// A request in flight. Dropped before its end, it ends as [`Failure::ClientDisconnected`]: hyper drops what nobody
/// waits for any more.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    direction: Direction,
    status: Option<StatusCode>,
    span: Option<OpenSpan>,
    live: Option<LiveGuard>,
    ended: bool,
}

struct OpenSpan {
    record: SpanRecord,
    resource: Arc<Resource>,
    started: Instant,
    grpc: bool,
    grpc_status: Option<u8>,
}

/// What a span says from its start.
pub(crate) struct Opening {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) grpc: bool,
}

impl Exchange {
    /// Begins now. `opening` is asked only where the trace is recorded.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        direction: Direction,
        resource: &Arc<Resource>,
        joined: &Joined,
        opening: impl FnOnce() -> Opening,
    ) -> Self {
        let span = joined
            .recorded
            .then(|| OpenSpan::new(resource.clone(), joined, opening()));
        Self {
            shared,
            direction,
            status: None,
            span,
            live: None,
            ended: false,
        }
    }

    /// Keeps an inbound request among those in flight until the end.
    pub(crate) fn keep(&mut self, live: Option<LiveGuard>) {
        self.live = live;
    }

    /// Adds attributes that are known only now.
    pub(crate) fn add(&mut self, add: impl FnOnce(&mut Vec<Attribute>)) {
        if let Some(span) = &mut self.span {
            add(&mut span.record.attributes);
        }
    }

    /// The response's head is there.
    pub(crate) fn response(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.add(|out| semconv::push(out, "http.response.status_code", i64::from(status.as_u16())));
        self.trailers(headers);
    }

    /// The agent answers in the other side's stead; only a SERVER span says with which status, as its own caller sees it.
    pub(crate) fn answered_ourselves(&mut self, status: StatusCode) {
        let server = self
            .span
            .as_ref()
            .is_some_and(|span| span.record.kind == Kind::Server);
        self.add(|out| {
            if server {
                semconv::push(out, "http.response.status_code", i64::from(status.as_u16()));
            }
        });
    }

    /// The response's trailers are there.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        let code = trailers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(span) = self.span.as_mut().filter(|span| span.grpc) {
            span.grpc_status = code.or(span.grpc_status);
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
        match self.span.take() {
            Some(span) => {
                let resource = span.resource.clone();
                self.shared
                    .spans
                    .push(resource, span.finish(self.status, result.err()));
            }
            None => self.shared.metrics.spans(SpanOutcome::Unsampled, 1),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Err(Failure::ClientDisconnected));
    }
}

impl OpenSpan {
    fn new(resource: Arc<Resource>, joined: &Joined, opening: Opening) -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let record = SpanRecord {
            trace_id: *joined.context.trace_id.as_bytes(),
            span_id: *joined.context.span_id.as_bytes(),
            parent_span_id: joined.parent.map(|id| *id.as_bytes()),
            trace_state: joined.context.trace_state.as_str().to_owned(),
            name: opening.name,
            kind: opening.kind,
            start_unix_nano: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            end_unix_nano: 0,
            flags: joined.span_flags(),
            status: SpanStatus::Unset,
            status_message: String::new(),
            attributes: opening.attributes,
            links: Vec::new(),
        };
        Self {
            record,
            resource,
            started: Instant::now(),
            grpc: opening.grpc,
            grpc_status: None,
        }
    }

    fn finish(self, status: Option<StatusCode>, failure: Option<Failure>) -> SpanRecord {
        let mut record = self.record;
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        record.end_unix_nano = record.start_unix_nano.saturating_add(elapsed);
        let grpc = self
            .grpc_status
            .map(|code| (code, semconv::grpc_status_name(code).unwrap_or("UNKNOWN")));
        if let Some((_, name)) = grpc {
            semconv::push(&mut record.attributes, "rpc.response.status_code", name);
        }
        let by_status = status.filter(|status| semconv::is_error(record.kind, *status));
        let by_grpc = grpc.filter(|(code, _)| semconv::is_grpc_error(record.kind, *code));
        let error = match (failure, by_grpc, by_status) {
            (Some(failure), ..) => failure.as_str().into(),
            (None, Some((_, name)), _) => name.into(),
            (None, None, Some(status)) => status.as_u16().to_string().into(),
            (None, None, None) => return record,
        };
        record.status = SpanStatus::Error;
        record.attributes.push((
            semconv::ERROR_TYPE.into(),
            otlp::encode::AttributeValue::Str(error),
        ));
        record
    }
}
