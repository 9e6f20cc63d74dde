//! What an exporter needs to know.
//!
//! In: values. Out: [`ExportSettings`], checked by [`endpoint`].
//! Left out on purpose: the names of configuration keys, which stand with the part that is configured.

use std::path::PathBuf;
use std::time::Duration;

use journal::{Durability, Overflow};
use tonic::transport::Endpoint;

/// What the exporter needs to know.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The collector: `http://host:port`.
    pub endpoint: String,
    /// Most bytes held in memory for the collector, in flight ones included; beyond it spans are refused. Default
    /// 64 MiB, which at 550 bytes a span is about two minutes of 1,000 spans a second. More than 4 GiB is 4 GiB.
    /// With [`ExportSettings::disk`] it bounds what waits to be written, and again what the disk did not take.
    pub max_buffer_bytes: usize,
    /// Bytes from which a batch is sent at once. Default 512 KiB. A single larger request is sent as it is.
    pub max_batch_bytes: usize,
    /// Longest time that spans wait for their batch to fill. Default 500 ms; `0s` sends each request by itself.
    pub max_delay: Duration,
    /// Batches under way at a time. Default 4; at least 1. Retries count as under way.
    pub max_in_flight: usize,
    /// How long the collector may take to answer before the batch is sent again. Default 10 s.
    pub request_timeout: Duration,
    /// How requests are compressed. Default zstd; a collector that does not know it gets plain requests.
    pub compression: Compression,
    /// Keeps what is taken on disk until the collector has answered for it. Default none: in memory.
    pub disk: Option<DiskSettings>,
    /// What the requests carry. Default traces.
    pub signal: ExportSignal,
    /// Names this exporter in batch ids, unique among all that send to the collector and new on every start, as
    /// the sequence starts again: `node-7/1718000000`. Visible ASCII.
    pub instance: String,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4317".to_owned(),
            max_buffer_bytes: 64 << 20,
            max_batch_bytes: 512 << 10,
            max_delay: Duration::from_millis(500),
            max_in_flight: 4,
            request_timeout: Duration::from_secs(10),
            compression: Compression::Zstd,
            disk: None,
            signal: ExportSignal::Traces,
            instance: String::new(),
        }
    }
}

/// How requests to the collector are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: for a collector on the same machine.
    None,
    /// What every OTLP receiver knows.
    Gzip,
    /// Smaller and cheaper than gzip.
    #[default]
    Zstd,
}

/// A buffer on disk.
#[derive(Debug, Clone)]
pub struct DiskSettings {
    /// A directory of its own, made where it is not there. One exporter at a time can have it.
    pub path: PathBuf,
    /// Bytes that may lie there, at least [`DiskSettings::LEAST_BYTES`]; the cursor takes 64 KiB more. Space is given
    /// back in whole segments, of a sixteenth of this.
    pub max_bytes: u64,
    /// What happens at that bound.
    pub overflow: Overflow,
    /// What taken means: [`Durability::Write`] outlives the process, [`Durability::Sync`] loss of power.
    pub durability: Durability,
}

impl DiskSettings {
    /// The least [`DiskSettings::max_bytes`]: four segments of 4 KiB.
    pub const LEAST_BYTES: u64 = 16 << 10;
}

/// What the requests of an exporter carry, and so which service of the collector gets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ExportSignal {
    /// `ExportTraceServiceRequest`.
    #[default]
    Traces,
    /// `ExportMetricsServiceRequest`. What is counted in spans is then counted in requests.
    Metrics,
    /// `ExportLogsServiceRequest`. What is counted in spans is then counted in requests.
    Logs,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ExportSettingsError {
    /// Not an address of a collector.
    #[error("`endpoint` is `{endpoint}`, but it must be `http://host:port`, such as `http://127.0.0.1:4317`")]
    Endpoint {
        /// The value as written.
        endpoint: String,
    },
    /// Not a value for gRPC metadata.
    #[error("`instance` is `{instance}`, but it must be visible ASCII and not empty")]
    Instance {
        /// The value as written.
        instance: String,
    },
    /// Too little for segments.
    #[error("`max_bytes` of the buffer on disk is {bytes}, but must be at least {least}", least = DiskSettings::LEAST_BYTES)]
    MaxBytes {
        /// As given.
        bytes: u64,
    },
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn endpoint(settings: &ExportSettings) -> Result<Endpoint, ExportSettingsError> {
    let instance = &settings.instance;
    if instance.is_empty() || !instance.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ExportSettingsError::Instance {
            instance: instance.clone(),
        });
    }
    if let Some(disk) = &settings.disk
        && disk.max_bytes < DiskSettings::LEAST_BYTES
    {
        return Err(ExportSettingsError::MaxBytes {
            bytes: disk.max_bytes,
        });
    }
    let refused = || ExportSettingsError::Endpoint {
        endpoint: settings.endpoint.clone(),
    };
    let uri: http::Uri = settings.endpoint.parse().map_err(|_| refused())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(refused());
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(endpoint_text: &str, instance: &str) -> String {
        let settings = ExportSettings {
            endpoint: endpoint_text.to_owned(),
            instance: instance.to_owned(),
            ..ExportSettings::default()
        };
        endpoint(&settings)
            .map(drop)
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn an_endpoint_without_http_is_refused_as_it_was_written() {
        let expected = "`endpoint` is `https://collector:4317`, but it must be `http://host:port`, such as \
                        `http://127.0.0.1:4317`";
        assert_eq!(refusal("https://collector:4317", "a"), expected);
        for bad in ["", "collector:4317", "/v1/traces", "http://"] {
            assert!(!refusal(bad, "a").is_empty(), "`{bad}` was taken");
        }
        assert_eq!(refusal("http://collector:4317", "a"), "");
    }

    #[test]
    fn an_instance_that_no_metadata_value_can_hold_is_refused() {
        for bad in ["", "two words", "käse", "a\nb"] {
            assert!(
                refusal("http://collector:4317", bad).starts_with("`instance`"),
                "`{bad}` was taken"
            );
        }
    }
}
