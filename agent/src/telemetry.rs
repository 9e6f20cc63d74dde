//! The agent's own numbers, for `/metrics`.
//!
//! In: one call for each thing that happened, with a reason from a closed list. Out: the Prometheus text format.
//! Left out on purpose: labels with anything from outside in them: hosts, paths, ids.

use map::catalogue as names;
use prometheus::{Encoder as _, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

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
        ClientDisconnected => "client_disconnected", Refused => "refused", Loop => "loop", Tunnel => "tunnel",
    }
    SpanOutcome { Sent => "sent", Dropped => "dropped", Unsampled => "unsampled" }
    DropReason { NoEndpoint => "no_endpoint", QueueFull => "queue_full", Shutdown => "shutdown" }
    Method { Context => "context", Id => "id", None => "none" }
    NotCarried {
        HeadersFull => "headers_full", TooManyInFlight => "too_many_in_flight",
        CorrelationAmbiguous => "correlation_id_ambiguous",
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
    buffered: IntGauge,
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
            buffered,
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
            self.context_skipped.with_label_values(&[skip.reason()]).inc();
        }
    }

    /// Counts one context that did not travel on.
    pub fn not_carried(&self, reason: NotCarried) {
        self.context_skipped.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts the evidence for one outbound request's parent.
    pub fn correlation(&self, method: Method) {
        self.correlation.with_label_values(&[method.as_str()]).inc();
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
    pub(crate) fn relayed(&self, transport: &'static str, outcome: &'static str) {
        self.relay.with_label_values(&[transport, outcome]).inc();
    }

    /// Says how much waits for the collector, in bytes.
    pub fn set_buffered(&self, bytes: u64) {
        self.buffered.set(i64::try_from(bytes).unwrap_or(i64::MAX));
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
