//! The section `agent.propagation`, and whom the listeners trust.
//!
//! In: the keys of the section. Out: [`PropagationConfig`] and [`Trust`], typed, with every default in place.
//! Left out on purpose: what the formats look like; that is the crate `propagation`.

use propagation::{Format, PropagatorConfig, keys};
use schemars::JsonSchema;
use serde::Deserialize;

/// Which context formats are read and written, and which headers carry the correlation id.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PropagationConfig {
    /// Formats that are read, in order: the first that names a valid trace wins. Another trace in a later one becomes a
    /// link of the span and is counted. Default `[tracecontext, grpc-trace-bin, b3, b3multi, datadog, jaeger, xray, gcp,
    /// sw8]`, which is all of them; each costs nothing where its headers are not there.
    pub extract: Vec<ContextFormat>,
    /// Formats that are written. Default `[tracecontext]`. Any of `extract` but `sw8`, whose ids are free text.
    pub inject: Vec<ContextFormat>,
    /// Whether the formats that a request came in are written as well. Default `true`.
    pub mirror: bool,
    /// Headers that may hold the correlation id: all are read, the first one is written.
    /// Default `[x-correlation-id, x-request-id]`; an empty list neither reads nor writes one.
    pub correlation_headers: Vec<String>,
    /// Headers whose UUID (version 4) becomes the trace id where no format names a trace: services that pass on nothing
    /// but such an id then share one trace. The digit in which Envoy notes why it traces is read over. Default `[]`.
    /// Name one such as `x-request-id` only where every request gets an id of its own: an id that outlives its request
    /// joins unrelated requests in one trace.
    pub trace_id_headers: Vec<String>,
    /// What happens to requests that are signed for AWS (Signature Version 4, in `Authorization` or in the query).
    /// Default `leave`.
    pub signed_requests: SignedRequests,
}

/// What happens to a request whose headers are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignedRequests {
    /// It passes with the headers it came with, counted as `signed`. Its span is made all the same.
    #[default]
    Leave,
    /// Context is added where the signature covers none of its headers. Such a request is still valid, but some
    /// services that take it refuse headers they do not know.
    Add,
}

/// A format of trace context, named as in `OTEL_PROPAGATORS` where it has a name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ContextFormat {
    /// W3C `traceparent` and `tracestate`.
    #[serde(rename = "tracecontext")]
    TraceContext,
    /// `OpenCensus`' binary `grpc-trace-bin`.
    #[serde(rename = "grpc-trace-bin")]
    GrpcTraceBin,
    /// Zipkin's single `b3` header.
    #[serde(rename = "b3")]
    B3,
    /// Zipkin's `x-b3-…` headers.
    #[serde(rename = "b3multi")]
    B3Multi,
    /// Datadog's `x-datadog-…` headers.
    #[serde(rename = "datadog")]
    Datadog,
    /// Jaeger's `uber-trace-id`; baggage in `uberctx-…` is read.
    #[serde(rename = "jaeger")]
    Jaeger,
    /// AWS X-Ray's `X-Amzn-Trace-Id`.
    #[serde(rename = "xray")]
    XRay,
    /// Google's `X-Cloud-Trace-Context`.
    #[serde(rename = "gcp")]
    Gcp,
    /// Apache `SkyWalking`'s `sw8`: read, never written. Gives a link, attributes, and a correlation id where none came.
    #[serde(rename = "sw8")]
    Sw8,
}

/// Whether the callers of a listener are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Their traces go on.
    #[default]
    Continue,
    /// Each request begins a trace, linked to the span its caller names. Baggage passes. For callers whose sampling and
    /// span counts must not become ours, such as partners.
    Link,
    /// Each request begins a trace, and trace context and baggage in every known format are removed from it. For the
    /// open internet. The correlation id stays with any trust: support asks callers for it.
    Ignore,
}

impl Default for PropagationConfig {
    fn default() -> Self {
        Self {
            extract: Format::ALL.into_iter().map(ContextFormat::from).collect(),
            inject: vec![ContextFormat::TraceContext],
            mirror: true,
            correlation_headers: vec![keys::CORRELATION_ID.to_owned(), keys::REQUEST_ID.to_owned()],
            trace_id_headers: Vec::new(),
            signed_requests: SignedRequests::default(),
        }
    }
}

impl PropagationConfig {
    pub(crate) fn for_propagator(&self) -> PropagatorConfig {
        PropagatorConfig {
            extract: self.extract.iter().copied().map(Format::from).collect(),
            inject: self.inject.iter().copied().map(Format::from).collect(),
            mirror: self.mirror,
            correlation_keys: self.correlation_headers.clone(),
            trace_id_keys: self.trace_id_headers.clone(),
        }
    }
}

macro_rules! same_formats {
    ($($name:ident),+ $(,)?) => {
        impl From<ContextFormat> for Format {
            fn from(format: ContextFormat) -> Self {
                match format { $(ContextFormat::$name => Self::$name),+ }
            }
        }

        impl From<Format> for ContextFormat {
            fn from(format: Format) -> Self {
                match format { $(Format::$name => Self::$name),+ }
            }
        }
    };
}

same_formats!(
    TraceContext,
    GrpcTraceBin,
    B3,
    B3Multi,
    Datadog,
    Jaeger,
    XRay,
    Gcp,
    Sw8
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_one_name_in_configuration_and_in_counters() {
        for format in Format::ALL {
            let yaml = format!("{{ f: {} }}", format.name());
            let written = ::config::load::<File>("f.yaml", &yaml, []).expect("a format").f;
            assert_eq!(Format::from(written), format);
        }
    }

    #[derive(Deserialize, JsonSchema)]
    struct File {
        f: ContextFormat,
    }
}
