//! What the agent says of messages on `/metrics`.
//!
//! In: what became of each. Out: series by protocol.
//! Left out on purpose: destinations, which have no bound; spans tell of them.

use map::catalogue as names;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::splice::{NotUnderstood, Skip};
use crate::config::QueueProtocol;

/// Series about messages.
#[derive(Debug, Clone)]
pub(crate) struct QueueMetrics {
    messages: IntCounterVec,
    skipped: IntCounterVec,
}

/// Counters of one protocol's messages, found once for a connection and not for each of its messages.
#[derive(Debug, Clone)]
pub(super) struct MessageCounters {
    sent: ByEnd,
    received: ByEnd,
}

/// One for each end.
#[derive(Debug, Clone)]
struct ByEnd {
    ok: IntCounter,
    failed: IntCounter,
    open: IntCounter,
}

/// Where a message is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Sent,
    Received,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Ok,
    Failed,
    /// Its connection ended first.
    Open,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

impl Became {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Open => "open",
        }
    }
}

impl Skip {
    fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NoHeaders => "no_headers",
            Self::UnknownFrame => "unknown_frame",
            Self::Compression => "compression",
            Self::NotHeld => "not_held",
        }
    }
}

impl NotUnderstood {
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Encrypted => "encrypted",
        }
    }
}

impl QueueMetrics {
    /// # Errors
    /// The library refuses a name, or has it twice.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name| {
            let series = names::find(name);
            let (help, labels) = series.map_or(("", [].as_slice()), |series| (series.help, series.labels));
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            messages: counter(names::AGENT_QUEUE_MESSAGES)?,
            skipped: counter(names::AGENT_QUEUE_SKIPPED)?,
        })
    }

    /// What counts the messages of `protocol`.
    pub(super) fn counters(&self, protocol: QueueProtocol) -> MessageCounters {
        let counter = |way: Way, became: Became| {
            let labels = [protocol.as_str(), way.as_str(), became.as_str()];
            self.messages.with_label_values(&labels)
        };
        let by_end = |way| ByEnd {
            ok: counter(way, Became::Ok),
            failed: counter(way, Became::Failed),
            open: counter(way, Became::Open),
        };
        MessageCounters {
            sent: by_end(Way::Sent),
            received: by_end(Way::Received),
        }
    }

    pub(super) fn skipped(&self, protocol: QueueProtocol, why: Skip) {
        self.skipped
            .with_label_values(&[protocol.as_str(), why.as_str()])
            .inc();
    }

    pub(super) fn not_understood(&self, protocol: QueueProtocol, why: NotUnderstood) {
        self.skipped
            .with_label_values(&[protocol.as_str(), why.as_str()])
            .inc();
    }
}

impl MessageCounters {
    /// Counts so many messages that ended alike.
    pub(super) fn count(&self, way: Way, became: Became, messages: usize) {
        let by_end = match way {
            Way::Sent => &self.sent,
            Way::Received => &self.received,
        };
        let counter = match became {
            Became::Ok => &by_end.ok,
            Became::Failed => &by_end.failed,
            Became::Open => &by_end.open,
        };
        counter.inc_by(messages as u64);
    }
}
