//! Counts of agents from anywhere: no metrics request makes the collector panic, and sums stay sums.
//!
//! In: the fields of points, or the bytes of a request. Out: a panic where reading, counting, saving or restoring does,
//! or where a total is below 0 or no number.
//! Left out on purpose: protobuf itself, which prost reads.

#![no_main]

use arbitrary::Arbitrary;
use collector::edge_counts::{self, METRIC};
use collector::ledger::{self, Ledger, LedgerSettings, MapBudget};
use collector::names;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics, metric::Data,
};
use prost::Message as _;

const IDS: [&str; 6] = ["web", "cart", "user", "unknown", "", "prod/shop/db"];
const CONNECTIONS: [&str; 4] = ["", "database", "messaging_system", "virtual_node"];

#[derive(Debug, Arbitrary)]
struct Point {
    ends: (u8, u8),
    connection: Option<u8>,
    failed: Option<bool>,
    count: u64,
    sum: Option<f64>,
    scale: i32,
    zero: u64,
    buckets: Option<(i32, Vec<u64>)>,
    times: (u64, u64),
    now: u64,
}

#[derive(Debug, Arbitrary)]
enum Case<'a> {
    Bytes(&'a [u8]),
    Points(Vec<Point>),
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn point(point: &Point) -> ExponentialHistogramDataPoint {
    let text = |text: &str| Value::StringValue(text.to_owned());
    let id = |n: u8| text(IDS[usize::from(n) % IDS.len()]);
    let connection = point
        .connection
        .map(|n| CONNECTIONS[usize::from(n) % CONNECTIONS.len()]);
    let mut attributes = vec![
        pair("tracemap.client", id(point.ends.0)),
        pair("tracemap.server", id(point.ends.1)),
    ];
    attributes.extend(connection.map(|name| pair("tracemap.connection_type", text(name))));
    attributes.extend(
        point
            .failed
            .map(|failed| pair("tracemap.failed", Value::BoolValue(failed))),
    );
    ExponentialHistogramDataPoint {
        attributes,
        count: point.count,
        sum: point.sum,
        scale: point.scale,
        zero_count: point.zero,
        positive: point.buckets.as_ref().map(|(offset, counts)| Buckets {
            offset: *offset,
            bucket_counts: counts.clone(),
        }),
        start_time_unix_nano: point.times.0,
        time_unix_nano: point.times.1,
        ..ExponentialHistogramDataPoint::default()
    }
}

fn request(points: &[Point]) -> ExportMetricsServiceRequest {
    let histogram = ExponentialHistogram {
        data_points: points.iter().map(point).collect(),
        aggregation_temporality: AggregationTemporality::Delta.into(),
    };
    let metric = Metric {
        name: METRIC.to_owned(),
        data: Some(Data::ExponentialHistogram(histogram)),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn settings() -> LedgerSettings {
    LedgerSettings::new(
        baseline::Settings::default(),
        MapBudget::default(),
        map::Services::new(),
    )
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    let (request, times) = match &case {
        Case::Bytes(bytes) => match ExportMetricsServiceRequest::decode(*bytes) {
            Ok(request) => (request, Vec::new()),
            Err(_) => return,
        },
        Case::Points(points) => (request(points), points.iter().map(|point| point.now).collect()),
    };
    let counted = edge_counts::read(&request);
    if let Case::Points(points) = &case {
        assert_eq!(counted.edges.len() as u64 + counted.rejected, points.len() as u64);
    }
    let mut ledger = Ledger::new(settings());
    let times = times.into_iter().chain(std::iter::repeat(0));
    for (counts, now) in counted.edges.iter().zip(times) {
        ledger.count_edge(counts, now);
    }
    let map = ledger.map();
    for edge in map.edges.values() {
        let stats = &edge.stats;
        assert!(stats.requests.is_finite() && stats.requests >= 0.0);
        assert!((0.0..=stats.requests).contains(&stats.failed));
        stats.client.quantile(0.95);
        stats.client.edge(0.95);
        stats.client.buckets().for_each(drop);
    }
    let again = Ledger::restore(settings(), &ledger.save()).expect("what we wrote is readable");
    assert_eq!(again.map(), map);
});
