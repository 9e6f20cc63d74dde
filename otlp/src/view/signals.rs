//! Metrics and logs requests, for those who pass them on: are they well-formed, and how much is in them.
//!
//! In: bytes from anywhere. Out: how many data points or log records they hold, or the first fault.
//! Left out on purpose: reading values. Whoever reads metrics decodes them.
//! Source: the definitions that opentelemetry-proto 0.33 was generated from: `collector/{metrics,logs}/v1`, `metrics/v1`, `logs/v1`.

use super::Malformed;
use super::schema::{
    ANY_VALUE,
    Expect::{Bytes, Fixed32, Fixed64, Message, PackedFixed64, PackedVarint, Text, Unknown, Varint},
    KEY_VALUE, RESOURCE, SCOPE, Schema, check_message, schema,
};
use crate::wire::{MAX_DEPTH, Reader};

/// Checks all of `body`, an `ExportMetricsServiceRequest`, and counts its data points.
///
/// # Errors
/// [`Malformed`] where prost would refuse `body`.
pub fn validate_metrics(body: &[u8]) -> Result<u64, Malformed> {
    counted(&METRICS_REQUEST, body)
}

/// Checks all of `body`, an `ExportLogsServiceRequest`, and counts its log records.
///
/// # Errors
/// [`Malformed`] where prost would refuse `body`.
pub fn validate_logs(body: &[u8]) -> Result<u64, Malformed> {
    counted(&LOGS_REQUEST, body)
}

fn counted(request: &'static Schema, body: &[u8]) -> Result<u64, Malformed> {
    let mut items = 0;
    check_message(request, Reader::new(body), MAX_DEPTH, &mut items)?;
    Ok(items)
}

type Fields = &'static [(&'static str, super::schema::Expect)];

/// A message that is counted.
const fn item(name: &'static str, fields: Fields) -> Schema {
    Schema {
        name,
        counted: true,
        fields,
    }
}

static LOGS_REQUEST: Schema = schema(
    "ExportLogsServiceRequest",
    &[("resource_logs", Message(&RESOURCE_LOGS))],
);
static RESOURCE_LOGS: Schema = schema(
    "ResourceLogs",
    &[
        ("resource", Message(&RESOURCE)),
        ("scope_logs", Message(&SCOPE_LOGS)),
        ("schema_url", Text),
    ],
);
static SCOPE_LOGS: Schema = schema(
    "ScopeLogs",
    &[
        ("scope", Message(&SCOPE)),
        ("log_records", Message(&LOG_RECORD)),
        ("schema_url", Text),
    ],
);
static LOG_RECORD: Schema = item(
    "LogRecord",
    &[
        ("time_unix_nano", Fixed64),
        ("severity_number", Varint),
        ("severity_text", Text),
        ("reserved", Unknown),
        ("body", Message(&ANY_VALUE)),
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
        ("flags", Fixed32),
        ("trace_id", Bytes),
        ("span_id", Bytes),
        ("observed_time_unix_nano", Fixed64),
        ("event_name", Text),
    ],
);

static METRICS_REQUEST: Schema = schema(
    "ExportMetricsServiceRequest",
    &[("resource_metrics", Message(&RESOURCE_METRICS))],
);
static RESOURCE_METRICS: Schema = schema(
    "ResourceMetrics",
    &[
        ("resource", Message(&RESOURCE)),
        ("scope_metrics", Message(&SCOPE_METRICS)),
        ("schema_url", Text),
    ],
);
static SCOPE_METRICS: Schema = schema(
    "ScopeMetrics",
    &[
        ("scope", Message(&SCOPE)),
        ("metrics", Message(&METRIC)),
        ("schema_url", Text),
    ],
);
static METRIC: Schema = schema(
    "Metric",
    &[
        ("name", Text),
        ("description", Text),
        ("unit", Text),
        ("reserved", Unknown),
        ("gauge", Message(&GAUGE)),
        ("reserved", Unknown),
        ("sum", Message(&SUM)),
        ("reserved", Unknown),
        ("histogram", Message(&HISTOGRAM)),
        ("exponential_histogram", Message(&EXPONENTIAL_HISTOGRAM)),
        ("summary", Message(&SUMMARY)),
        ("metadata", Message(&KEY_VALUE)),
    ],
);
static GAUGE: Schema = schema("Gauge", &[("data_points", Message(&NUMBER_POINT))]);
static SUM: Schema = schema(
    "Sum",
    &[
        ("data_points", Message(&NUMBER_POINT)),
        ("aggregation_temporality", Varint),
        ("is_monotonic", Varint),
    ],
);
static HISTOGRAM: Schema = schema(
    "Histogram",
    &[
        ("data_points", Message(&HISTOGRAM_POINT)),
        ("aggregation_temporality", Varint),
    ],
);
static EXPONENTIAL_HISTOGRAM: Schema = schema(
    "ExponentialHistogram",
    &[
        ("data_points", Message(&EXPONENTIAL_POINT)),
        ("aggregation_temporality", Varint),
    ],
);
static SUMMARY: Schema = schema("Summary", &[("data_points", Message(&SUMMARY_POINT))]);
static NUMBER_POINT: Schema = item(
    "NumberDataPoint",
    &[
        ("reserved", Unknown),
        ("start_time_unix_nano", Fixed64),
        ("time_unix_nano", Fixed64),
        ("as_double", Fixed64),
        ("exemplars", Message(&EXEMPLAR)),
        ("as_int", Fixed64),
        ("attributes", Message(&KEY_VALUE)),
        ("flags", Varint),
    ],
);
static HISTOGRAM_POINT: Schema = item(
    "HistogramDataPoint",
    &[
        ("reserved", Unknown),
        ("start_time_unix_nano", Fixed64),
        ("time_unix_nano", Fixed64),
        ("count", Fixed64),
        ("sum", Fixed64),
        ("bucket_counts", PackedFixed64),
        ("explicit_bounds", PackedFixed64),
        ("exemplars", Message(&EXEMPLAR)),
        ("attributes", Message(&KEY_VALUE)),
        ("flags", Varint),
        ("min", Fixed64),
        ("max", Fixed64),
    ],
);
static EXPONENTIAL_POINT: Schema = item(
    "ExponentialHistogramDataPoint",
    &[
        ("attributes", Message(&KEY_VALUE)),
        ("start_time_unix_nano", Fixed64),
        ("time_unix_nano", Fixed64),
        ("count", Fixed64),
        ("sum", Fixed64),
        ("scale", Varint),
        ("zero_count", Fixed64),
        ("positive", Message(&BUCKETS)),
        ("negative", Message(&BUCKETS)),
        ("flags", Varint),
        ("exemplars", Message(&EXEMPLAR)),
        ("min", Fixed64),
        ("max", Fixed64),
        ("zero_threshold", Fixed64),
    ],
);
static BUCKETS: Schema = schema("Buckets", &[("offset", Varint), ("bucket_counts", PackedVarint)]);
static SUMMARY_POINT: Schema = item(
    "SummaryDataPoint",
    &[
        ("reserved", Unknown),
        ("start_time_unix_nano", Fixed64),
        ("time_unix_nano", Fixed64),
        ("count", Fixed64),
        ("sum", Fixed64),
        ("quantile_values", Message(&VALUE_AT_QUANTILE)),
        ("attributes", Message(&KEY_VALUE)),
        ("flags", Varint),
    ],
);
static VALUE_AT_QUANTILE: Schema = schema("ValueAtQuantile", &[("quantile", Fixed64), ("value", Fixed64)]);
static EXEMPLAR: Schema = schema(
    "Exemplar",
    &[
        ("reserved", Unknown),
        ("time_unix_nano", Fixed64),
        ("as_double", Fixed64),
        ("span_id", Bytes),
        ("trace_id", Bytes),
        ("as_int", Fixed64),
        ("filtered_attributes", Message(&KEY_VALUE)),
    ],
);

#[cfg(test)]
#[path = "signals/tests.rs"]
mod tests;
