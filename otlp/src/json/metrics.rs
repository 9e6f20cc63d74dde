//! The OTLP metrics messages as their JSON mapping spells them, and their way into the protobuf messages.
//!
//! In: JSON through serde. Out: owned protobuf messages. Every field may be absent or `null`; where a metric or a point has
//! several of the values of which it may have one, the first in the order below counts.
//! Left out on purpose: judging them.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    self as metrics, exemplar, exponential_histogram_data_point, metric, number_data_point,
    summary_data_point,
};
use serde::Deserialize;

use super::message::{KeyValue, Resource, Scope, all, message, number};
use super::scalar::{Lenient, SpanId, Temporality, TraceId};

message!(Request { resource_metrics: Vec<ResourceMetrics> });
message!(ResourceMetrics {
    resource: Resource,
    scope_metrics: Vec<ScopeMetrics>,
    schema_url: String
});
message!(ScopeMetrics { scope: Scope, metrics: Vec<Metric>, schema_url: String });
message!(Metric {
    name: String,
    description: String,
    unit: String,
    metadata: Vec<KeyValue>,
    gauge: Gauge,
    sum: Sum,
    histogram: Histogram,
    exponential_histogram: ExponentialHistogram,
    summary: Summary,
});
message!(Gauge { data_points: Vec<NumberPoint> });
message!(Sum {
    data_points: Vec<NumberPoint>,
    aggregation_temporality: Lenient<Temporality>,
    is_monotonic: bool,
});
message!(Histogram { data_points: Vec<HistogramPoint>, aggregation_temporality: Lenient<Temporality> });
message!(ExponentialHistogram {
    data_points: Vec<ExponentialPoint>,
    aggregation_temporality: Lenient<Temporality>
});
message!(Summary { data_points: Vec<SummaryPoint> });
message!(NumberPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Lenient<u64>,
    time_unix_nano: Lenient<u64>,
    as_double: Lenient<f64>,
    as_int: Lenient<i64>,
    exemplars: Vec<Exemplar>,
    flags: Lenient<u32>,
});
message!(HistogramPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Lenient<u64>,
    time_unix_nano: Lenient<u64>,
    count: Lenient<u64>,
    sum: Lenient<f64>,
    bucket_counts: Vec<Lenient<u64>>,
    explicit_bounds: Vec<Lenient<f64>>,
    exemplars: Vec<Exemplar>,
    flags: Lenient<u32>,
    min: Lenient<f64>,
    max: Lenient<f64>,
});
message!(ExponentialPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Lenient<u64>,
    time_unix_nano: Lenient<u64>,
    count: Lenient<u64>,
    sum: Lenient<f64>,
    scale: Lenient<i32>,
    zero_count: Lenient<u64>,
    positive: Buckets,
    negative: Buckets,
    flags: Lenient<u32>,
    exemplars: Vec<Exemplar>,
    min: Lenient<f64>,
    max: Lenient<f64>,
    zero_threshold: Lenient<f64>,
});
message!(Buckets { offset: Lenient<i32>, bucket_counts: Vec<Lenient<u64>> });
message!(SummaryPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Lenient<u64>,
    time_unix_nano: Lenient<u64>,
    count: Lenient<u64>,
    sum: Lenient<f64>,
    quantile_values: Vec<ValueAtQuantile>,
    flags: Lenient<u32>,
});
message!(ValueAtQuantile {
    quantile: Lenient<f64>,
    value: Lenient<f64>
});
message!(Exemplar {
    filtered_attributes: Vec<KeyValue>,
    time_unix_nano: Lenient<u64>,
    as_double: Lenient<f64>,
    as_int: Lenient<i64>,
    span_id: Lenient<SpanId>,
    trace_id: Lenient<TraceId>,
});

impl From<Request> for ExportMetricsServiceRequest {
    fn from(json: Request) -> Self {
        Self {
            resource_metrics: all(json.resource_metrics),
        }
    }
}

impl From<ResourceMetrics> for metrics::ResourceMetrics {
    fn from(json: ResourceMetrics) -> Self {
        Self {
            resource: json.resource.map(Into::into),
            scope_metrics: all(json.scope_metrics),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<ScopeMetrics> for metrics::ScopeMetrics {
    fn from(json: ScopeMetrics) -> Self {
        Self {
            scope: json.scope.map(Into::into),
            metrics: all(json.metrics),
            schema_url: json.schema_url.unwrap_or_default(),
        }
    }
}

impl From<Metric> for metrics::Metric {
    fn from(json: Metric) -> Self {
        use metric::Data;
        let data = (json.gauge.map(|gauge| Data::Gauge(gauge.into())))
            .or(json.sum.map(|sum| Data::Sum(sum.into())))
            .or(json.histogram.map(|histogram| Data::Histogram(histogram.into())))
            .or(json
                .exponential_histogram
                .map(|histogram| Data::ExponentialHistogram(histogram.into())))
            .or(json.summary.map(|summary| Data::Summary(summary.into())));
        Self {
            name: json.name.unwrap_or_default(),
            description: json.description.unwrap_or_default(),
            unit: json.unit.unwrap_or_default(),
            metadata: all(json.metadata),
            data,
        }
    }
}

impl From<Gauge> for metrics::Gauge {
    fn from(json: Gauge) -> Self {
        Self {
            data_points: all(json.data_points),
        }
    }
}

impl From<Sum> for metrics::Sum {
    fn from(json: Sum) -> Self {
        Self {
            data_points: all(json.data_points),
            aggregation_temporality: number(json.aggregation_temporality).0,
            is_monotonic: json.is_monotonic.unwrap_or_default(),
        }
    }
}

impl From<Histogram> for metrics::Histogram {
    fn from(json: Histogram) -> Self {
        Self {
            data_points: all(json.data_points),
            aggregation_temporality: number(json.aggregation_temporality).0,
        }
    }
}

impl From<ExponentialHistogram> for metrics::ExponentialHistogram {
    fn from(json: ExponentialHistogram) -> Self {
        Self {
            data_points: all(json.data_points),
            aggregation_temporality: number(json.aggregation_temporality).0,
        }
    }
}

impl From<Summary> for metrics::Summary {
    fn from(json: Summary) -> Self {
        Self {
            data_points: all(json.data_points),
        }
    }
}

impl From<NumberPoint> for metrics::NumberDataPoint {
    fn from(json: NumberPoint) -> Self {
        use number_data_point::Value;
        let value = (json.as_double.map(|value| Value::AsDouble(value.0)))
            .or(json.as_int.map(|value| Value::AsInt(value.0)));
        Self {
            attributes: all(json.attributes),
            start_time_unix_nano: number(json.start_time_unix_nano),
            time_unix_nano: number(json.time_unix_nano),
            exemplars: all(json.exemplars),
            flags: number(json.flags),
            value,
        }
    }
}

impl From<HistogramPoint> for metrics::HistogramDataPoint {
    fn from(json: HistogramPoint) -> Self {
        Self {
            attributes: all(json.attributes),
            start_time_unix_nano: number(json.start_time_unix_nano),
            time_unix_nano: number(json.time_unix_nano),
            count: number(json.count),
            sum: json.sum.map(|sum| sum.0),
            bucket_counts: numbers(json.bucket_counts),
            explicit_bounds: numbers(json.explicit_bounds),
            exemplars: all(json.exemplars),
            flags: number(json.flags),
            min: json.min.map(|min| min.0),
            max: json.max.map(|max| max.0),
        }
    }
}

impl From<ExponentialPoint> for metrics::ExponentialHistogramDataPoint {
    fn from(json: ExponentialPoint) -> Self {
        Self {
            attributes: all(json.attributes),
            start_time_unix_nano: number(json.start_time_unix_nano),
            time_unix_nano: number(json.time_unix_nano),
            count: number(json.count),
            sum: json.sum.map(|sum| sum.0),
            scale: number(json.scale),
            zero_count: number(json.zero_count),
            positive: json.positive.map(Into::into),
            negative: json.negative.map(Into::into),
            flags: number(json.flags),
            exemplars: all(json.exemplars),
            min: json.min.map(|min| min.0),
            max: json.max.map(|max| max.0),
            zero_threshold: number(json.zero_threshold),
        }
    }
}

impl From<Buckets> for exponential_histogram_data_point::Buckets {
    fn from(json: Buckets) -> Self {
        Self {
            offset: number(json.offset),
            bucket_counts: numbers(json.bucket_counts),
        }
    }
}

impl From<SummaryPoint> for metrics::SummaryDataPoint {
    fn from(json: SummaryPoint) -> Self {
        Self {
            attributes: all(json.attributes),
            start_time_unix_nano: number(json.start_time_unix_nano),
            time_unix_nano: number(json.time_unix_nano),
            count: number(json.count),
            sum: number(json.sum),
            quantile_values: all(json.quantile_values),
            flags: number(json.flags),
        }
    }
}

impl From<ValueAtQuantile> for summary_data_point::ValueAtQuantile {
    fn from(json: ValueAtQuantile) -> Self {
        Self {
            quantile: number(json.quantile),
            value: number(json.value),
        }
    }
}

impl From<Exemplar> for metrics::Exemplar {
    fn from(json: Exemplar) -> Self {
        use exemplar::Value;
        let value = (json.as_double.map(|value| Value::AsDouble(value.0)))
            .or(json.as_int.map(|value| Value::AsInt(value.0)));
        Self {
            filtered_attributes: all(json.filtered_attributes),
            time_unix_nano: number(json.time_unix_nano),
            span_id: number(json.span_id).0,
            trace_id: number(json.trace_id).0,
            value,
        }
    }
}

fn numbers<T>(list: Option<Vec<Lenient<T>>>) -> Vec<T> {
    list.unwrap_or_default()
        .into_iter()
        .map(|value| value.0)
        .collect()
}
