//! Remote write: series pushed to a receiver, such as Prometheus, Mimir, Thanos or the OpenTelemetry Collector.
//!
//! In: a scrape every interval, told to a [`Batch`]. Out: requests of remote write 2.0, or 1.0 where the receiver knows
//! no other; series that ended get a stale marker. [`Sender`] queues, retries and counts.
//! Left out on purpose: TLS (as in the span exporter; a proxy on the same host adds it), sharding (one connection
//! carries what one collector counts), a queue on disk, and stale markers at shutdown: a restart continues the series.
//! Source: Prometheus, "Remote-Write 1.0" and "Remote-Write 2.0" (rc.4) specifications.

mod batch;
mod body;
mod post;
mod retry;
mod sender;
mod settings;
mod stats;
mod symbols;
mod v1;
mod v2;

pub use batch::Batch;
pub use body::Dialect;
pub use sender::{NotDelivered, OutOfOrder, Sender};
pub use settings::{
    Headers, RemoteWriteError, RemoteWriteHistograms, RemoteWriteSettings, RemoteWriteTls, RemoteWriteVersion,
};
pub use stats::{DropReason, RemoteWriteStats, StatsReader};
