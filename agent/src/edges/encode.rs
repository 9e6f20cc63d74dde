//! A window of edge counts as OTLP.
//!
//! In: a [`Window`]. Out: the bytes of an `ExportMetricsServiceRequest` with the metric [`METRIC`].
//! Left out on purpose: minimum and maximum, which the histogram does not keep.
//! Source: OTLP metrics, "`ExponentialHistogram`"; the attributes are those that the collector documents for this metric.

use bytes::Bytes;
use map::Histogram;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::{Edge, Window};

/// The metric's name.
pub(crate) const METRIC: &str = "tracemap.edge.client.duration";
const CLIENT: &str = "tracemap.client";
const SERVER: &str = "tracemap.server";
const FAILED: &str = "tracemap.failed";
const SCOPE: &str = "tracemap-agent";

/// The request of `window`: a point per edge and outcome, in the order of edges.
pub(crate) fn request(window: &Window) -> Bytes {
    let mut edges: Vec<_> = window.edges.iter().collect();
    edges.sort_unstable_by_key(|(edge, _)| *edge);
    let outcomes = edges
        .into_iter()
        .flat_map(|(edge, of)| [(edge, false, &of.succeeded), (edge, true, &of.failed)]);
    let data_points = outcomes
        .filter(|(_, _, histogram)| !histogram.is_empty())
        .map(|(edge, failed, histogram)| point(window, edge, failed, histogram))
        .collect();
    let histogram = ExponentialHistogram {
        data_points,
        aggregation_temporality: AggregationTemporality::Delta.into(),
    };
    let metric = Metric {
        name: METRIC.to_owned(),
        description: "Time that outbound requests took, by edge.".to_owned(),
        unit: "s".to_owned(),
        data: Some(Data::ExponentialHistogram(histogram)),
        ..Metric::default()
    };
    let scope_metrics = ScopeMetrics {
        scope: Some(InstrumentationScope {
            name: SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        }),
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    let resource = Resource {
        attributes: vec![text("service.name", SCOPE)],
        ..Resource::default()
    };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource_metrics],
    }
    .encode_to_vec()
    .into()
}

fn point(window: &Window, edge: &Edge, failed: bool, histogram: &Histogram) -> ExponentialHistogramDataPoint {
    let mut attributes = vec![text(CLIENT, &edge.client)];
    if edge.is_overflow() {
        attributes.push(text(SERVER, &edge.address));
    } else {
        attributes.push(text("server.address", &edge.address));
        attributes.push(attribute("server.port", Value::IntValue(edge.port.into())));
    }
    attributes.push(attribute(FAILED, Value::BoolValue(failed)));
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: window.start_unix_nano,
        time_unix_nano: window.end_unix_nano,
        count: histogram.count(),
        sum: Some(histogram.sum()),
        scale: histogram.scale(),
        zero_count: histogram.zero(),
        positive: Some(Buckets {
            offset: histogram.offset(),
            bucket_counts: histogram.counts().to_vec(),
        }),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
