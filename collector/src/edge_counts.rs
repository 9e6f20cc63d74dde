//! What agents count of edges themselves, as OTLP metrics (DESIGN §2).
//!
//! In: an `ExportMetricsServiceRequest`. Out: [`EdgeCounts`] of every point of [`METRIC`], and how many points were not
//! understood.
//! Left out on purpose: every other metric; this collector takes none.
//!
//! Form: an exponential histogram of delta temporality in seconds, a point per edge and outcome, with the attributes
//! `tracemap.client` (a node id), `tracemap.server` (a node id; or in its place what a CLIENT span says of its far side,
//! such as `server.address` and `server.port`), `tracemap.connection_type` (as the label of that name, absent where the
//! ends tell it) and `tracemap.failed` (boolean).

use map::{ConnectionType, Histogram, NodeId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, metric::Data,
};

use crate::ledger::EdgeCounts;
use crate::names::{End, Share};
use crate::peer::{Attribute, Facts};

/// The metric's name.
pub const METRIC: &str = "tracemap.edge.client.duration";

/// What was read of a request.
#[derive(Debug, Default)]
pub struct Counted {
    /// One per point.
    pub edges: Vec<EdgeCounts>,
    /// Points of other metrics, and points that name no edge.
    pub rejected: u64,
}

/// Reads all points of a request.
pub fn read(request: &ExportMetricsServiceRequest, names: &Share) -> Counted {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics);
    let mut counted = Counted::default();
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        match &metric.data {
            Some(Data::ExponentialHistogram(histogram))
                if metric.name == METRIC
                    && histogram.aggregation_temporality() == AggregationTemporality::Delta =>
            {
                for point in &histogram.data_points {
                    match edge(point, names) {
                        Some(edge) => counted.edges.push(edge),
                        None => counted.rejected += 1,
                    }
                }
            }
            data => counted.rejected += points(data.as_ref()),
        }
    }
    counted
}

fn edge(point: &ExponentialHistogramDataPoint, names: &Share) -> Option<EdgeCounts> {
    let node = |key| text(&point.attributes, key).filter(|id| !id.is_empty());
    let client = node("tracemap.client")?;
    let server = match node("tracemap.server") {
        Some(id) => names.service(NodeId::from(id)),
        None => names.node(&far_side(&point.attributes)?),
    };
    let named = text(&point.attributes, "tracemap.connection_type");
    let connection = named.and_then(|named| {
        ConnectionType::ALL
            .into_iter()
            .find(|connection| connection.as_str() == named)
    });
    let failed = point.attributes.iter().any(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        attribute.key == "tracemap.failed" && value == Some(&Value::BoolValue(true))
    });
    let buckets = point.positive.as_ref();
    let client_seconds = Histogram::from_parts(
        point.scale,
        buckets.map_or(0, |buckets| buckets.offset),
        buckets.map_or(&[], |buckets| &buckets.bucket_counts),
        point.zero_count,
        point.sum.unwrap_or_default(),
    );
    Some(EdgeCounts {
        client: names.service(NodeId::from(client)),
        server,
        connection,
        requests: point.count,
        failed: if failed { point.count } else { 0 },
        client_seconds,
        start: point.start_time_unix_nano,
        end: point.time_unix_nano,
    })
}

/// Named as the far side of a CLIENT span with these attributes is.
fn far_side(attributes: &[KeyValue]) -> Option<End> {
    let mut facts = Facts::default();
    for KeyValue { key, value, .. } in attributes {
        let Some((attribute, rank)) = Attribute::of(key.as_bytes()) else {
            continue;
        };
        match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => facts.note_text(attribute, rank, text.as_bytes()),
            Some(Value::IntValue(number)) => facts.note_number(attribute, rank, *number),
            _ => {}
        }
    }
    facts.peer()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(crate::names::cut(text)),
        _ => None,
    }
}

fn points(data: Option<&Data>) -> u64 {
    let points = match data {
        None => 0,
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
    };
    points as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, Metric, ResourceMetrics, ScopeMetrics,
        exponential_histogram_data_point::Buckets,
    };

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn request(
        name: &str,
        temporality: AggregationTemporality,
        points: Vec<ExponentialHistogramDataPoint>,
    ) -> ExportMetricsServiceRequest {
        let histogram = ExponentialHistogram {
            data_points: points,
            aggregation_temporality: temporality.into(),
        };
        let metric = Metric {
            name: name.to_owned(),
            data: Some(Data::ExponentialHistogram(histogram)),
            ..Metric::default()
        };
        let scope_metrics = vec![ScopeMetrics {
            metrics: vec![metric],
            ..ScopeMetrics::default()
        }];
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics,
                ..ResourceMetrics::default()
            }],
        }
    }

    fn point(attributes: Vec<KeyValue>) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes,
            count: 3,
            sum: Some(3.5),
            scale: 0,
            zero_count: 1,
            positive: Some(Buckets {
                offset: 0,
                bucket_counts: vec![2],
            }),
            ..ExponentialHistogramDataPoint::default()
        }
    }

    fn ends() -> Vec<KeyValue> {
        let named = |key, id: &str| attribute(key, Value::StringValue(id.to_owned()));
        vec![named("tracemap.client", "web"), named("tracemap.server", "cart")]
    }

    #[test]
    fn a_point_that_names_an_edge_is_counted_with_its_latencies() {
        let failed = [ends(), vec![attribute("tracemap.failed", Value::BoolValue(true))]].concat();
        let delta = AggregationTemporality::Delta;
        let read = read(
            &request(METRIC, delta, vec![point(ends()), point(failed)]),
            &Share::whole(),
        );
        let told: Vec<_> = read
            .edges
            .iter()
            .map(|e| (e.client.id.as_str(), e.server.id.as_str(), e.requests, e.failed))
            .collect();
        assert_eq!(told, [("web", "cart", 3, 0), ("web", "cart", 3, 3)]);
        assert_eq!((read.edges[0].client_seconds.count(), read.rejected), (3, 0));
    }

    #[test]
    fn a_far_side_that_is_named_by_its_address_is_the_one_that_spans_name() {
        let attributes = vec![
            attribute("tracemap.client", Value::StringValue("web".to_owned())),
            attribute("server.address", Value::StringValue("cart.shop".to_owned())),
            attribute("server.port", Value::IntValue(8080)),
        ];
        let delta = AggregationTemporality::Delta;
        let read = read(&request(METRIC, delta, vec![point(attributes)]), &Share::whole());
        let server = read.edges[0].server.get();
        assert_eq!(
            (server.id.as_str(), server.address.as_deref()),
            ("cart.shop:8080", Some("cart.shop:8080"))
        );
    }

    #[test]
    fn what_names_no_edge_is_rejected_and_counted() {
        let delta = AggregationTemporality::Delta;
        let nameless = read(
            &request(METRIC, delta, vec![point(vec![]), point(ends())]),
            &Share::whole(),
        );
        assert_eq!((nameless.edges.len(), nameless.rejected), (1, 1));
        for foreign in [
            request("http.client.duration", delta, vec![point(ends()), point(ends())]),
            request(
                METRIC,
                AggregationTemporality::Cumulative,
                vec![point(ends()), point(ends())],
            ),
        ] {
            let read = read(&foreign, &Share::whole());
            assert_eq!((read.edges.len(), read.rejected), (0, 2));
        }
    }
}
