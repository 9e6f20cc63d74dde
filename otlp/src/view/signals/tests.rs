//! The check of metrics and logs against prost, on whole requests and on damaged ones.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::json::{logs_request_to_protobuf, metrics_request_to_protobuf};

const RESOURCE: &str = r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]}"#;

/// Every kind of metric and every field of it, with six data points.
fn metrics() -> Vec<u8> {
    let exemplars = r#""exemplars":[{"timeUnixNano":"3","asInt":"-4","spanId":"eee19b7ec3c1b174",
        "traceId":"5b8efff798038103d269b633813fc60c",
        "filteredAttributes":[{"key":"k","value":{"arrayValue":{"values":[{"intValue":1}]}}}]}]"#;
    let point = r#""startTimeUnixNano":"1","timeUnixNano":"2","flags":1,"attributes":[{"key":"a","value":{"boolValue":true}}]"#;
    let text = format!(
        r#"{{"resourceMetrics":[{{{RESOURCE},"schemaUrl":"s","scopeMetrics":[{{"scope":{{"name":"n"}},"metrics":[
        {{"name":"g","unit":"s","description":"d","gauge":{{"dataPoints":[{{{point},"asDouble":1.5,{exemplars}}},{{{point},"asInt":-7}}]}}}},
        {{"name":"s","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{{point},"asInt":"9"}}]}}}},
        {{"name":"h","histogram":{{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","dataPoints":[{{{point},"count":3,
            "sum":0.5,"min":0,"max":"Infinity","bucketCounts":["1",2,300],"explicitBounds":[0.1,5],{exemplars}}}]}}}},
        {{"name":"e","metadata":[{{"key":"m"}}],"exponentialHistogram":{{"aggregationTemporality":1,"dataPoints":[{{{point},
            "count":3,"sum":2,"scale":-2,"zeroCount":1,"zeroThreshold":0.01,"min":1,"max":2,
            "positive":{{"offset":-3,"bucketCounts":[1,700]}},"negative":{{"offset":4,"bucketCounts":["5"]}},{exemplars}}}]}}}},
        {{"name":"q","summary":{{"dataPoints":[{{{point},"count":"2","sum":9,"quantileValues":[{{"quantile":0.5,"value":4}}]}}]}}}}
        ]}}]}}]}}"#
    );
    metrics_request_to_protobuf(text.as_bytes())
        .expect("metrics")
        .to_vec()
}

fn logs() -> Vec<u8> {
    let text = format!(
        r#"{{"resourceLogs":[{{{RESOURCE},"schemaUrl":"s","scopeLogs":[{{"scope":{{"name":"n","version":"1"}},"logRecords":[
        {{"timeUnixNano":"1","observedTimeUnixNano":2,"severityNumber":"SEVERITY_NUMBER_WARN","severityText":"WARN",
          "body":{{"kvlistValue":{{"values":[{{"key":"k","value":{{"bytesValue":"AAE="}}}}]}}}},"flags":1,"eventName":"e",
          "attributes":[{{"key":"a","value":{{"doubleValue":0.5}}}}],"droppedAttributesCount":3,
          "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}},{{"body":{{"stringValue":"x"}}}}]}}]}}]}}"#
    );
    logs_request_to_protobuf(text.as_bytes()).expect("logs").to_vec()
}

#[test]
fn whole_requests_are_well_formed_and_their_points_and_records_are_counted() {
    assert_eq!(validate_metrics(&metrics()), Ok(6));
    assert_eq!(validate_logs(&logs()), Ok(2));
    assert_eq!((validate_metrics(b""), validate_logs(b"")), (Ok(0), Ok(0)));
}

#[test]
fn a_fault_is_named_with_its_field() {
    // ResourceLogs, ScopeLogs, LogRecord with a `severity_text` that is no text.
    let body = b"\x0a\x07\x12\x05\x12\x03\x1a\x01\xff";
    let malformed = validate_logs(body).expect_err("no text");
    assert_eq!(
        (malformed.message, malformed.field, malformed.offset),
        ("LogRecord", Some("severity_text"), 8)
    );
    // Seven bytes are no list of 64-bit numbers.
    let body = b"\x0a\x11\x12\x0f\x12\x0d\x4a\x0b\x0a\x09\x32\x07\x01\x02\x03\x04\x05\x06\x07";
    let malformed = validate_metrics(body).expect_err("no list");
    assert_eq!(
        (malformed.message, malformed.field),
        ("HistogramDataPoint", Some("bucket_counts"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_requests_are_refused_exactly_where_prost_refuses_them(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        for (mut body, is_metrics) in [(metrics(), true), (logs(), false)] {
            let place = at.index(body.len());
            body[place] = byte;
            if cuts {
                body.truncate(cut.index(body.len()));
            }
            let (ours, theirs) = if is_metrics {
                (validate_metrics(&body).is_ok(), ExportMetricsServiceRequest::decode(&body[..]).is_ok())
            } else {
                (validate_logs(&body).is_ok(), ExportLogsServiceRequest::decode(&body[..]).is_ok())
            };
            prop_assert_eq!(ours, theirs, "{:02x?}", body);
        }
    }
}
