//! What an exporter needs to know.
//!
//! In: values. Out: [`ExportSettings`], checked by [`endpoint`].
//! Left out on purpose: the names of configuration keys, which stand with the part that is configured.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use journal::{Durability, Overflow};
use tonic::transport::Endpoint;

use super::headers::{ExportHeaders, HeaderError};
use crate::codec::{
    EXPORT_PATH, LOGS_EXPORT_PATH, LOGS_PATH, METRICS_EXPORT_PATH, METRICS_PATH, TRACES_PATH,
};
use crate::tls::ClientTls;

/// What the exporter needs to know.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The collector: `http://host:port`, or `https://host:port` with [`ExportSettings::tls`].
    /// With [`ExportProtocol::Http`] a path may follow, below which the signal's own is added (`/v1/traces`) unless it ends so.
    pub endpoint: String,
    /// How requests travel. Default gRPC.
    pub protocol: ExportProtocol,
    /// Sent with every request, beside the protocol's own. Default none.
    pub headers: ExportHeaders,
    /// How the collector is verified, and what it is shown. Default none: no TLS.
    pub tls: Option<ClientTls>,
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
    /// How long to wait before a disk that could not be opened is tried again. Default 10 s.
    pub disk_retry: Duration,
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
            protocol: ExportProtocol::Grpc,
            headers: ExportHeaders::default(),
            tls: None,
            max_buffer_bytes: 64 << 20,
            max_batch_bytes: 512 << 10,
            max_delay: Duration::from_millis(500),
            max_in_flight: 4,
            request_timeout: Duration::from_secs(10),
            compression: Compression::Zstd,
            disk: None,
            disk_retry: Duration::from_secs(10),
            signal: ExportSignal::Traces,
            instance: String::new(),
        }
    }
}

/// How requests travel to the collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExportProtocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
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
    /// `ExportMetricsServiceRequest`. What is counted in spans is then counted in whatever the caller counts.
    Metrics,
    /// `ExportLogsServiceRequest`. Likewise.
    Logs,
}

impl ExportSignal {
    pub(super) fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => EXPORT_PATH,
            Self::Metrics => METRICS_EXPORT_PATH,
            Self::Logs => LOGS_EXPORT_PATH,
        }
    }

    fn http_path(self) -> &'static str {
        match self {
            Self::Traces => TRACES_PATH,
            Self::Metrics => METRICS_PATH,
            Self::Logs => LOGS_PATH,
        }
    }
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
    /// A header that cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderError),
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

/// The collector's address, once all settings but the headers are known to work.
pub(super) fn checked(settings: &ExportSettings) -> Result<Uri, ExportSettingsError> {
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
    let uri: Uri = settings.endpoint.parse().map_err(|_| refused(settings))?;
    let is_right = match uri.scheme_str() {
        Some("http") => true,
        Some("https") => settings.tls.is_some(),
        _ => false,
    };
    if !is_right || uri.host().is_none_or(str::is_empty) {
        return Err(refused(settings));
    }
    Ok(uri)
}

fn refused(settings: &ExportSettings) -> ExportSettingsError {
    ExportSettingsError::Endpoint {
        endpoint: settings.endpoint.clone(),
    }
}

/// For gRPC.
pub(super) fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
}

/// For HTTP: where requests of the signal go.
pub(super) fn signal_uri(uri: &Uri, settings: &ExportSettings) -> Result<Uri, ExportSettingsError> {
    let (path, suffix) = (uri.path().trim_end_matches('/'), settings.signal.http_path());
    let path = if path.ends_with(suffix) {
        path.to_owned()
    } else {
        format!("{path}{suffix}")
    };
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).map_err(|_| refused(settings))
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
        checked(&settings)
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

    #[test]
    fn the_signals_path_follows_the_endpoints_unless_it_is_there_already() {
        let uri = |endpoint: &str, signal| {
            let settings = ExportSettings {
                endpoint: endpoint.to_owned(),
                instance: "a".to_owned(),
                protocol: ExportProtocol::Http,
                signal,
                ..ExportSettings::default()
            };
            let uri = checked(&settings).and_then(|uri| signal_uri(&uri, &settings));
            uri.map(|uri| uri.to_string()).unwrap_or_default()
        };
        let traces = |endpoint| uri(endpoint, ExportSignal::Traces);
        assert_eq!(traces("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(traces("http://c/otlp/"), "http://c/otlp/v1/traces");
        assert_eq!(
            traces("http://c/otlp/v1/traces?key=1"),
            "http://c/otlp/v1/traces?key=1"
        );
        assert_eq!(uri("http://c", ExportSignal::Logs), "http://c/v1/logs");
    }
}
