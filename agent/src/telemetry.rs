//! The agent's own numbers, for `/metrics`.
//!
//! In: one call for each thing that happened, with a reason from a closed list. Out: the Prometheus text format.
//! Left out on purpose: labels with anything from outside in them: hosts, paths, ids. Peers are one exception, on one
//! series, bounded by `agent.edges.max_peers`.

use map::catalogue as names;
use otlp::tls::{Handshake, Reload};
use prometheus::{Encoder as _, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::export_counts::ExportSeries;
use crate::governor::Cap;

/// Which way a request went, seen from the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the service.
    Inbound,
    /// From the service.
    Outbound,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered below 400.
    Success,
    /// Answered 400 to 499.
    ClientError,
    /// Answered 500 or more.
    ServerError,
    /// The other side could not be reached.
    Unreachable,
    /// The other side broke off.
    UpstreamClosed,
    /// Whoever asked went away before the end.
    ClientDisconnected,
    /// Not a request for a proxy; answered 400.
    Refused,
    /// It would have come back to the agent for ever; answered 508.
    Loop,
    /// It would have gone where no call may go; answered 403.
    Denied,
    /// `CONNECT`: bytes passed unseen.
    Tunnel,
}

/// Where a request's trace context came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The request carried it in this format.
    Format(propagation::Format),
    /// It carried none.
    None,
}

/// What finally became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanOutcome {
    /// The collector took them.
    Sent,
    /// See the reasons.
    Dropped,
    /// The caller had decided not to record the trace, so none was made.
    Unsampled,
    /// The edge's mode asks for none.
    Quiet,
}

/// Why the agent itself dropped spans; the exporter's reasons stand beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// No collector is configured.
    NoEndpoint,
    /// Spans ended faster than they were encoded.
    QueueFull,
    /// They ended after the agent had.
    Shutdown,
}

/// The evidence for the parent of an outbound request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It carried a context.
    Context,
    /// It carried the correlation id of exactly one request in flight.
    Id,
    /// It carried nothing, and exactly one request was in flight.
    Exclusive,
    /// None: a new trace.
    None,
}

/// Reasons beyond [`propagation::Skipped`] for which context did not travel on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCarried {
    /// The header map would not take more.
    HeadersFull,
    /// Too many requests in flight to remember this one.
    TooManyInFlight,
    /// Several requests in flight have the correlation id.
    CorrelationAmbiguous,
    /// The request's headers are signed.
    Signed,
    /// Baggage or our edge hint, to a host outside.
    UntrustedPeer,
}

/// What became of the context on one edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextResult {
    /// The request carried it.
    Carried,
    /// The call did not carry it, and other evidence found it.
    Restored,
    /// The call did not carry it, although a request was in flight.
    Lost,
    /// There was none to carry.
    Absent,
    /// The request carried it, and another trace in another format.
    Conflicting,
    /// What the request carried was not to be believed.
    Invalid,
}

/// Under which far side a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountOutcome {
    /// Its own.
    Counted,
    /// The one of all peers beyond the bound.
    Overflow,
}

/// What became of a report of edge counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The collector took it.
    Sent,
    /// The collector refused it for good, or the agent stopped before.
    Dropped,
}

/// What became of a line of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOutcome {
    /// It was written.
    Written,
    /// Lines came too fast, or could not be written.
    Dropped,
}

/// Why the agent cut a caller's connection, or took none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What came is no HTTP.
    Malformed,
    /// More headers than any server takes.
    HeadersTooLarge,
    /// The headers did not come in time.
    HeaderTimeout,
    /// No request came for long.
    IdleTimeout,
    /// It was idle longest when there was no room for another.
    TooManyConnections,
    /// The system gave no connection, most likely for want of files.
    AcceptFailed,
    /// Streams were opened and reset, or the like, more than any client does.
    Http2Flood,
}

/// What became of a question for the share of new traces to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollOutcome {
    /// The answer is in use.
    Applied,
    /// There was none that could be used.
    Failed,
}

/// With whom TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSide {
    /// Callers of a service.
    Inbound,
    /// The service itself.
    Upstream,
    /// Whom a service calls.
    Outbound,
    /// The collector.
    Export,
    /// The API server of Kubernetes.
    Kubernetes,
    /// SDKs that send OTLP.
    Otlp,
    /// Readers of the agent's own metrics.
    Admin,
    /// SDKs that ask what to sample.
    Sampling,
}

/// What became of a connection that was redirected to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirected {
    /// HTTP/1.1, with spans.
    Http1,
    /// HTTP/2, with spans.
    Http2,
    /// TLS, which passes as it is.
    Tls,
    /// A request for a proxy that it was going to, which passes as it is.
    ToProxy,
    /// The far side spoke first, so it passes as it is.
    ServerFirst,
    /// Its port is never looked at.
    BlindPort,
    /// It is something else, and passes as it is.
    Other,
    /// It began like HTTP, and passes as it is.
    NotUnderstood,
    /// It is of no known workload, and passes as it is.
    UnknownWorkload,
    /// It is of no known workload and may not pass.
    NotAllowed,
    /// It would come back for ever.
    Loop,
    /// The system does not know where it was going.
    NoDestination,
    /// Where it was going cannot be reached.
    Unreachable,
    /// The caller left without a word.
    Gone,
}

impl Redirected {
    /// A connection whose first request was understood.
    pub fn of(version: http::Version) -> Self {
        if version == http::Version::HTTP_2 {
            Self::Http2
        } else {
            Self::Http1
        }
    }
}

macro_rules! labels {
    ($($type:ident { $($variant:ident => $text:literal),+ $(,)? })+) => {
        $(impl $type {
            /// The value of its label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        })+
    };
}

labels! {
    Direction { Inbound => "inbound", Outbound => "outbound" }
    Outcome {
        Success => "success", ClientError => "client_error", ServerError => "server_error",
        Unreachable => "unreachable", UpstreamClosed => "upstream_closed",
        ClientDisconnected => "client_disconnected", Refused => "refused", Loop => "loop", Denied => "denied",
        Tunnel => "tunnel",
    }
    SpanOutcome { Sent => "sent", Dropped => "dropped", Unsampled => "unsampled", Quiet => "quiet" }
    DropReason { NoEndpoint => "no_endpoint", QueueFull => "queue_full", Shutdown => "shutdown" }
    TlsSide {
        Inbound => "inbound", Upstream => "upstream", Outbound => "outbound", Export => "export",
        Kubernetes => "kubernetes",
        Otlp => "otlp",
        Admin => "admin",
        Sampling => "sampling",
    }
    Method { Context => "context", Id => "id", Exclusive => "exclusive", None => "none" }
    ContextResult {
        Carried => "carried", Restored => "restored", Lost => "lost", Absent => "absent",
        Conflicting => "conflicting", Invalid => "invalid",
    }
    CountOutcome { Counted => "counted", Overflow => "overflow" }
    ReportOutcome { Sent => "sent", Dropped => "dropped" }
    PollOutcome { Applied => "applied", Failed => "failed" }
    Cut {
        Malformed => "malformed", HeadersTooLarge => "headers_too_large", HeaderTimeout => "header_timeout",
        IdleTimeout => "idle_timeout", TooManyConnections => "too_many_connections",
        AcceptFailed => "accept_failed", Http2Flood => "http2_flood",
    }
    LineOutcome { Written => "written", Dropped => "dropped" }
    Redirected {
        Http1 => "http1", Http2 => "http2", Tls => "tls", ToProxy => "to_proxy", ServerFirst => "server_first",
        BlindPort => "blind_port", Other => "other", NotUnderstood => "not_understood",
        UnknownWorkload => "unknown_workload", NotAllowed => "not_allowed", Loop => "loop",
        NoDestination => "no_destination", Unreachable => "unreachable", Gone => "gone",
    }
    NotCarried {
        HeadersFull => "headers_full", TooManyInFlight => "too_many_in_flight",
        CorrelationAmbiguous => "correlation_id_ambiguous", Signed => "signed", UntrustedPeer => "untrusted_peer",
    }
}

impl Source {
    /// The value of its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Format(format) => format.name(),
            Self::None => "none",
        }
    }
}

/// Every series of the agent, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    spans: IntCounterVec,
    spans_dropped: IntCounterVec,
    context: IntCounterVec,
    context_skipped: IntCounterVec,
    correlation: IntCounterVec,
    relay: IntCounterVec,
    pub(crate) export: ExportSeries,
    buffered: IntGauge,
    edge_context: IntCounterVec,
    edge_requests: IntCounterVec,
    edge_reports: IntCounterVec,
    access_lines: IntCounterVec,
    exclusive_audited: IntCounterVec,
    exclusive_off: IntCounterVec,
    exclusive_enabled: IntGaugeVec,
    restarted: IntCounterVec,
    tls_handshakes: IntCounterVec,
    tls_reloads: IntCounterVec,
    denied: IntCounterVec,
    token_reloads: IntCounterVec,
    remote_sampling: IntCounterVec,
    connections: IntGauge,
    connections_cut: IntCounterVec,
    redirected: IntCounterVec,
}

/// What the catalogue says of a series.
///
/// # Panics
/// Where it holds no such series: what nobody documented must not leave the house.
fn described(name: &str) -> &'static names::Series {
    names::find(name).expect("every exported series is in the catalogue")
}

impl Metrics {
    /// # Errors
    /// The library refuses a name, or has it twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name| {
            let series = described(name);
            let counter = IntCounterVec::new(Opts::new(name, series.help), series.labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let buffered = IntGauge::new(
            names::AGENT_BUFFERED_BYTES,
            described(names::AGENT_BUFFERED_BYTES).help,
        )?;
        registry.register(Box::new(buffered.clone()))?;
        let connections = IntGauge::new(names::AGENT_CONNECTIONS, described(names::AGENT_CONNECTIONS).help)?;
        registry.register(Box::new(connections.clone()))?;
        let enabled = described(names::AGENT_EXCLUSIVE_ENABLED);
        let exclusive_enabled = IntGaugeVec::new(
            Opts::new(names::AGENT_EXCLUSIVE_ENABLED, enabled.help),
            enabled.labels,
        )?;
        registry.register(Box::new(exclusive_enabled.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            requests: counter(names::AGENT_REQUESTS)?,
            spans: counter(names::AGENT_SPANS)?,
            spans_dropped: counter(names::AGENT_SPANS_DROPPED)?,
            context: counter(names::AGENT_CONTEXT)?,
            context_skipped: counter(names::AGENT_CONTEXT_SKIPPED)?,
            correlation: counter(names::AGENT_CORRELATION)?,
            relay: counter(names::AGENT_RELAY)?,
            export: ExportSeries::new(&registry)?,
            buffered,
            edge_context: counter(names::AGENT_EDGE_CONTEXT)?,
            edge_requests: counter(names::AGENT_EDGE_REQUESTS)?,
            edge_reports: counter(names::AGENT_EDGE_REPORTS)?,
            access_lines: counter(names::AGENT_ACCESS_LINES)?,
            exclusive_audited: counter(names::AGENT_EXCLUSIVE_AUDITED)?,
            exclusive_off: counter(names::AGENT_EXCLUSIVE_OFF)?,
            exclusive_enabled,
            restarted: counter(names::AGENT_RESTARTED)?,
            remote_sampling: counter(names::AGENT_REMOTE_SAMPLING)?,
            tls_handshakes: counter(names::AGENT_TLS_HANDSHAKES)?,
            tls_reloads: counter(names::AGENT_TLS_RELOADS)?,
            denied: counter(names::AGENT_DENIED)?,
            token_reloads: counter(names::AGENT_TOKEN_RELOADS)?,
            connections,
            connections_cut: counter(names::AGENT_CONNECTIONS_CUT)?,
            redirected: counter(names::AGENT_REDIRECTED)?,
            registry,
        })
    }

    /// Counts one request that ended.
    pub fn request(&self, direction: Direction, outcome: Outcome) {
        self.requests
            .with_label_values(&[direction.as_str(), outcome.as_str()])
            .inc();
    }

    /// Counts where one request's context came from.
    pub fn context(&self, direction: Direction, source: Source) {
        self.context
            .with_label_values(&[direction.as_str(), source.as_str()])
            .inc();
    }

    /// Counts everything that was not believed of one request.
    pub fn skipped(&self, skipped: &[propagation::Skipped]) {
        for skip in skipped {
            self.context_skipped
                .with_label_values(&[skip.format(), skip.reason()])
                .inc();
        }
    }

    /// Counts one context that did not travel on.
    pub fn not_carried(&self, reason: NotCarried) {
        self.not_carried_by(reason, 1);
    }

    /// Counts the contexts of so many messages that did not travel on.
    pub(crate) fn not_carried_by(&self, reason: NotCarried, messages: u64) {
        self.context_skipped
            .with_label_values(&[Source::None.as_str(), reason.as_str()])
            .inc_by(messages);
    }

    /// Counts one trace that was not continued, for its caller is not believed.
    pub fn not_believed(&self, format: propagation::Format) {
        self.context_skipped
            .with_label_values(&[format.name(), "untrusted_caller"])
            .inc();
    }

    /// Counts the evidence for the parent of one outbound request, or of so many messages.
    pub(crate) fn correlation(&self, method: Method, times: u64) {
        self.correlation
            .with_label_values(&[method.as_str()])
            .inc_by(times);
    }

    /// Counts spans that were not made or that reached the collector.
    pub fn spans(&self, outcome: SpanOutcome, spans: u64) {
        self.spans.with_label_values(&[outcome.as_str()]).inc_by(spans);
    }

    /// Counts spans that the agent dropped.
    pub fn dropped(&self, reason: DropReason, spans: u64) {
        self.dropped_because(reason.as_str(), spans);
    }

    /// Counts dropped spans by a reason of the exporter's own closed list.
    pub(crate) fn dropped_because(&self, reason: &'static str, spans: u64) {
        self.spans_dropped.with_label_values(&[reason]).inc_by(spans);
        self.spans(SpanOutcome::Dropped, spans);
    }

    /// Counts one request of an SDK, by the words of the intake's closed lists.
    pub(crate) fn relayed(&self, signal: &'static str, transport: &'static str, outcome: &'static str) {
        self.relay.with_label_values(&[signal, transport, outcome]).inc();
    }

    /// Says how much waits for the collector, in bytes.
    pub fn set_buffered(&self, bytes: u64) {
        self.buffered.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts what became of one connection that was redirected to the agent.
    pub fn redirected(&self, direction: Direction, what: Redirected) {
        self.redirected
            .with_label_values(&[direction.as_str(), what.as_str()])
            .inc();
    }

    /// Counts what became of the context of one request, or of so many messages, on their edge; `peer` must be one of a bounded
    /// number.
    pub(crate) fn edge_context(
        &self,
        (direction, peer): (Direction, &str),
        (format, result): (Source, ContextResult),
        times: u64,
    ) {
        let labels = [direction.as_str(), peer, format.as_str(), result.as_str()];
        self.edge_context.with_label_values(&labels).inc_by(times);
    }

    /// Counts one request that was counted for its edge.
    pub fn edge_request(&self, outcome: CountOutcome) {
        self.edge_requests.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts reports of edge counts.
    pub fn edge_reports(&self, outcome: ReportOutcome, reports: u64) {
        self.edge_reports
            .with_label_values(&[outcome.as_str()])
            .inc_by(reports);
    }

    /// Counts one line of the access log.
    pub fn access_line(&self, outcome: LineOutcome) {
        self.access_lines(outcome, 1);
    }

    /// Counts lines of the access log.
    pub fn access_lines(&self, outcome: LineOutcome, lines: u64) {
        self.access_lines
            .with_label_values(&[outcome.as_str()])
            .inc_by(lines);
    }

    /// Counts one answer of the exclusive rule that exact evidence agreed with, or not.
    pub(crate) fn exclusive_audited(&self, service: &str, agreed: bool) {
        let result = if agreed { "agreed" } else { "disagreed" };
        self.exclusive_audited.with_label_values(&[service, result]).inc();
    }

    /// Counts that a workload's exclusive rule was switched off.
    pub(crate) fn exclusive_switched_off(&self, service: &str) {
        self.exclusive_off.with_label_values(&[service]).inc();
    }

    /// Says whether a workload's exclusive rule is in use.
    pub(crate) fn exclusive_enabled(&self, service: &str, enabled: bool) {
        self.exclusive_enabled
            .with_label_values(&[service])
            .set(enabled.into());
    }

    /// Counts a call that began a trace of its own because its parent had gathered enough.
    pub(crate) fn restarted(&self, cap: Cap) {
        self.restarted.with_label_values(&[cap.as_str()]).inc();
    }

    /// Counts one question for the share of new traces to record.
    pub fn remote_sampling(&self, outcome: PollOutcome) {
        self.remote_sampling.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Where parts with series of their own register them.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says that callers' connections came or went.
    pub(crate) fn connections(&self, change: i64) {
        self.connections.add(change);
    }

    /// Counts one connection that was cut, or not taken.
    pub(crate) fn connection_cut(&self, why: Cut) {
        self.connections_cut.with_label_values(&[why.as_str()]).inc();
    }

    /// Counts one handshake.
    pub(crate) fn tls_handshake(&self, side: TlsSide, outcome: Handshake) {
        let labels = [side.as_str(), outcome.as_str()];
        self.tls_handshakes.with_label_values(&labels).inc();
    }

    /// Counts one change of certificates or keys.
    pub(crate) fn tls_reload(&self, side: TlsSide, outcome: Reload) {
        let labels = [side.as_str(), outcome.as_str()];
        self.tls_reloads.with_label_values(&labels).inc();
    }

    /// Counts one request that was not answered because of who asked.
    pub(crate) fn denied(&self, listener: &str, reason: &str) {
        self.denied.with_label_values(&[listener, reason]).inc();
    }

    /// Counts one change of tokens.
    pub(crate) fn token_reload(&self, listener: &str, outcome: Reload) {
        let labels = [listener, outcome.as_str()];
        self.token_reloads.with_label_values(&labels).inc();
    }

    /// All series in the Prometheus text format.
    ///
    /// # Errors
    /// The library cannot encode a family; no family of ours is so.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
