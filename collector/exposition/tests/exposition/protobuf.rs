//! The protobuf scrape, read by messages declared a second time.

use exposition::{Counts, Encoder as _, Exemplar, Histogram, Native, ProtobufEncoder, Sample};
use map::catalogue as names;
use prost::Message as _;

use crate::messages::client::{BucketSpan, LabelPair, MetricFamily, Timestamp};
use crate::messages::client::{Histogram as HistogramMessage, Metric};
use crate::scene::family;

fn families(encoder: ProtobufEncoder) -> Vec<MetricFamily> {
    let bytes = encoder.finish();
    let mut rest = bytes.as_slice();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut rest).expect("a delimited message");
        assert!(!family.metric.is_empty(), "{} has no series", family.name);
        found.push(family);
    }
    found
}

fn exemplar(value: f64) -> Exemplar {
    Exemplar {
        trace_id: [0x5A; 16],
        value,
        unix_ms: 1_700_000_000_250,
    }
}

fn histogram<'a>(counts: Counts<'a>, whole: bool, exemplars: &'a [Option<Exemplar>]) -> Histogram<'a> {
    Histogram {
        bounds: &[0.5, 1.0],
        counts: &[1.0, 2.5, 4.0],
        sum: 9.25,
        native: Some(Native {
            scale: 2,
            offset: -3,
            counts,
            zero: 1.0,
            whole,
        }),
        exemplars,
        created_ms: Some(-1),
    }
}

fn decoded(histogram: &Histogram<'_>) -> HistogramMessage {
    let mut out = ProtobufEncoder::default();
    out.family(family(names::OWN_SECONDS));
    out.histogram(&[], histogram);
    let [family] = families(out).try_into().expect("one family");
    let [metric]: [Metric; 1] = family.metric.try_into().expect("one series");
    metric.histogram.expect("a histogram")
}

#[test]
fn counters_and_gauges_carry_labels_exemplars_and_their_beginning() {
    let mut out = ProtobufEncoder::default();
    out.sample(&[], 1.0.into());
    out.family(family(names::COLLECTOR_SPANS));
    out.family(family(names::REQUESTS));
    let requests = Sample {
        value: 12.5,
        created_ms: Some(1_600_000_000_500),
        exemplar: Some(exemplar(3.0)),
    };
    out.sample(&[("id", "käse"), ("kind", "service")], requests);
    out.family(family(names::COLLECTOR_TABLE_BYTES));
    out.sample(&[], requests);
    let [requests, bytes] = families(out)
        .try_into()
        .expect("a family without series is not written");

    assert_eq!((requests.name.as_str(), requests.kind), (names::REQUESTS, 0));
    assert_eq!(requests.help, family(names::REQUESTS).help);
    let pair = |name: &str, value: &str| LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(
        requests.metric[0].label,
        [pair("id", "käse"), pair("kind", "service")]
    );
    let counter = requests.metric[0].counter.clone().expect("a counter");
    let (seconds, nanos) = (1_600_000_000, 500_000_000);
    assert_eq!(
        (counter.value, counter.created_timestamp),
        (12.5, Some(Timestamp { seconds, nanos }))
    );
    let told = counter.exemplar.expect("an exemplar");
    assert_eq!(
        (told.label, told.value),
        (vec![pair("trace_id", &"5a".repeat(16))], 3.0)
    );
    let (seconds, nanos) = (1_700_000_000, 250_000_000);
    assert_eq!(told.timestamp, Some(Timestamp { seconds, nanos }));

    assert_eq!(
        (bytes.name.as_str(), bytes.kind),
        (names::COLLECTOR_TABLE_BYTES, 1)
    );
    assert_eq!(bytes.metric[0].gauge.map(|gauge| gauge.value), Some(12.5));
}

#[test]
fn a_weighted_histogram_has_fractions_in_classic_and_native_buckets() {
    let exemplars = [None, Some(exemplar(0.75))];
    let told = decoded(&histogram(
        Counts::Weighted(&[0.5, 2.0, 0.0, 0.0, 0.0, 4.25]),
        false,
        &exemplars,
    ));
    assert_eq!(
        (told.sample_count, told.sample_count_float, told.sample_sum),
        (8, Some(7.75), 9.25)
    );
    let buckets = told
        .bucket
        .iter()
        .map(|b| (b.upper_bound, b.cumulative_count, b.cumulative_count_float));
    let expected = [
        (0.5, Some(1), None),
        (1.0, Some(4), Some(3.5)),
        (f64::INFINITY, Some(8), Some(7.5)),
    ];
    assert_eq!(buckets.collect::<Vec<_>>(), expected);
    let with_exemplar: Vec<bool> = told
        .bucket
        .iter()
        .map(|bucket| bucket.exemplar.is_some())
        .collect();
    assert_eq!(with_exemplar, [false, true, false]);
    assert_eq!((told.schema, told.zero_count_float), (Some(2), Some(1.0)));
    assert_eq!(told.zero_threshold.to_bits(), 2.0_f64.powi(-128).to_bits());
    let span = |offset, length| BucketSpan { offset, length };
    assert_eq!(told.positive_span, [span(-2, 2), span(3, 1)]);
    assert_eq!(
        (told.positive_count, told.positive_delta),
        (vec![0.5, 2.0, 4.25], vec![])
    );
    let (seconds, nanos) = (-1, 999_000_000);
    assert_eq!(told.created_timestamp, Some(Timestamp { seconds, nanos }));
}

#[test]
fn a_histogram_of_whole_numbers_has_deltas() {
    for counts in [
        Counts::Unweighted(&[2, 5, 5, 1]),
        Counts::Weighted(&[2.0, 5.0, 5.0, 1.0]),
    ] {
        let told = decoded(&histogram(counts, true, &[]));
        assert_eq!((told.sample_count, told.sample_count_float), (14, None));
        assert_eq!((told.zero_count, told.zero_count_float), (1, None));
        assert_eq!(
            (told.positive_delta, told.positive_count),
            (vec![2, 3, 0, -4], vec![])
        );
    }
}

#[test]
fn fractions_that_are_called_whole_are_written_as_fractions() {
    let told = decoded(&histogram(Counts::Weighted(&[0.25]), true, &[]));
    assert_eq!(
        (told.sample_count_float, told.positive_count),
        (Some(1.25), vec![0.25])
    );
    assert_eq!(told.positive_delta, Vec::<i64>::new());
}

#[test]
fn a_scale_without_a_schema_leaves_the_classic_buckets() {
    for scale in [-5, 9, i32::MIN, i32::MAX] {
        let mut histogram = histogram(Counts::Unweighted(&[1]), true, &[]);
        histogram.native = histogram.native.map(|native| Native { scale, ..native });
        let told = decoded(&histogram);
        assert_eq!((told.schema, told.zero_threshold), (None, 0.0), "scale {scale}");
        assert_eq!(
            (told.bucket.len(), told.sample_count_float),
            (3, Some(7.5)),
            "scale {scale}"
        );
    }
}

#[test]
fn an_empty_native_histogram_is_still_one() {
    let told = decoded(&histogram(Counts::Unweighted(&[]), true, &[]));
    assert!(
        told.zero_threshold > 0.0 && told.positive_span.is_empty(),
        "{told:?}"
    );
}
