//! The OTLP logs messages as their JSON mapping spells them, and their way into the protobuf messages.
//!
//! In: JSON through serde. Out: owned protobuf messages. Every field may be absent or `null`.
//! Left out on purpose: string-table references, which logs do not use.

use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1 as logs};
use serde::Deserialize;

use super::message::{AnyValue, KeyValue, Resource, Scope, all, message, number};
use super::scalar::{Lenient, Severity, SpanId, TraceId};

message!(Request { resource_logs: Vec<ResourceLogs> });
message!(ResourceLogs {
    resource: Resource,
    scope_logs: Vec<ScopeLogs>,
    schema_url: String
});
message!(ScopeLogs { scope: Scope, log_records: Vec<LogRecord>, schema_url: String });
message!(LogRecord {
    time_unix_nano: Lenient<u64>,
    observed_time_unix_nano: Lenient<u64>,
    severity_number: Lenient<Severity>,
    severity_text: String,
    body: AnyValue,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: Lenient<u32>,
    flags: Lenient<u32>,
    trace_id: Lenient<TraceId>,
    span_id: Lenient<SpanId>,
    event_name: String,
});

impl From<Request> for ExportLogsServiceRequest {
    fn from(json: Request) -> Self {
        Self {
            resource_logs: all(json.resource_logs),
        }
    }
}

impl From<ResourceLogs> for logs::ResourceLogs {
    fn from(json: ResourceLogs) -> Self {
        Self {
            resource: json.resource.map(Into::into),
            scope_logs: all(json.scope_logs),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<ScopeLogs> for logs::ScopeLogs {
    fn from(json: ScopeLogs) -> Self {
        Self {
            scope: json.scope.map(Into::into),
            log_records: all(json.log_records),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<LogRecord> for logs::LogRecord {
    fn from(json: LogRecord) -> Self {
        Self {
            time_unix_nano: number(json.time_unix_nano),
            observed_time_unix_nano: number(json.observed_time_unix_nano),
            severity_number: number(json.severity_number).0,
            severity_text: json.severity_text.unwrap_or_default(),
            body: json.body.map(Into::into),
            attributes: all(json.attributes),
            dropped_attributes_count: number(json.dropped_attributes_count),
            flags: number(json.flags),
            trace_id: number(json.trace_id).0,
            span_id: number(json.span_id).0,
            event_name: json.event_name.unwrap_or_default(),
        }
    }
}
