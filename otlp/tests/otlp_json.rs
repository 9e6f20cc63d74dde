//! OTLP/JSON as protobuf: every spelling that the specification allows and those that others write.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use otlp::json::{JsonError, trace_request_to_protobuf};
use prost::Message as _;

fn read(text: &str) -> Result<ExportTraceServiceRequest, JsonError> {
    let bytes = trace_request_to_protobuf(text.as_bytes())?;
    Ok(ExportTraceServiceRequest::decode(bytes).expect("what is written can be read"))
}

fn one_resource(text: &str) -> ResourceSpans {
    let mut resources = read(text).expect(text).resource_spans;
    assert_eq!(resources.len(), 1, "{text}");
    resources.remove(0)
}

fn request(span: &str) -> String {
    format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{span}]}}]}}]}}"#)
}

fn span(text: &str) -> Span {
    one_resource(&request(text)).scope_spans.remove(0).spans.remove(0)
}

fn value(json: &str) -> Option<AnyValue> {
    span(&format!(r#"{{"attributes": [{{"key": "k", "value": {json}}}]}}"#))
        .attributes
        .remove(0)
        .value
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(read(text).expect_err(text).to_string(), expected);
}

#[test]
fn every_field_of_the_specification_arrives() {
    let text = r#"{"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}], "droppedAttributesCount": 1,
                     "entityRefs": [{"type": "service", "idKeys": ["service.name"]}]},
        "schemaUrl": "r",
        "scopeSpans": [{"schemaUrl": "s", "scope": {"name": "n", "version": "v", "droppedAttributesCount": 2}, "spans": [{
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "eee19b7ec3c1b173",
            "traceState": "a=b", "flags": 257, "name": "add", "kind": 2,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000,
            "droppedAttributesCount": 3, "droppedEventsCount": 4, "droppedLinksCount": 5,
            "events": [{"timeUnixNano": "7", "name": "e", "droppedAttributesCount": 6}],
            "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "traceState": "c=d", "flags": 1}],
            "status": {"message": "no stock", "code": 2}}]}]}]}"#;
    let resource = one_resource(text);
    let head = resource.resource.expect("a resource");
    assert_eq!((head.attributes.len(), head.dropped_attributes_count), (1, 1));
    assert_eq!(
        head.entity_refs.first().map(|entity| entity.id_keys.clone()),
        Some(vec!["service.name".to_owned()])
    );
    let scope = resource.scope_spans.first().expect("a scope");
    assert_eq!(
        (resource.schema_url.as_str(), scope.schema_url.as_str()),
        ("r", "s")
    );
    let named = scope.scope.as_ref().expect("its name");
    assert_eq!(
        (
            named.name.as_str(),
            named.version.as_str(),
            named.dropped_attributes_count
        ),
        ("n", "v", 2)
    );

    let span = scope.spans.first().expect("a span");
    assert_eq!(
        span.trace_id,
        0x5b8e_fff7_9803_8103_d269_b633_813f_c60c_u128.to_be_bytes()
    );
    assert_eq!(span.span_id, 0xeee1_9b7e_c3c1_b174_u64.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xeee1_9b7e_c3c1_b173_u64.to_be_bytes());
    assert_eq!(
        (
            span.trace_state.as_str(),
            span.flags,
            span.name.as_str(),
            span.kind
        ),
        ("a=b", 257, "add", 2)
    );
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);
    assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_000);
    let dropped = (
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    );
    assert_eq!(dropped, (3, 4, 5));
    let event = span.events.first().expect("an event");
    assert_eq!(
        (
            event.time_unix_nano,
            event.name.as_str(),
            event.dropped_attributes_count
        ),
        (7, "e", 6)
    );
    let link = span.links.first().expect("a link");
    assert_eq!(
        (
            link.trace_id.len(),
            link.span_id.len(),
            link.trace_state.as_str(),
            link.flags
        ),
        (16, 8, "c=d", 1)
    );
    assert_eq!(
        span.status,
        Some(Status {
            message: "no stock".into(),
            code: 2
        })
    );
}

#[test]
fn an_attribute_may_have_any_type() {
    let check =
        |json: &str, expected: Value| assert_eq!(value(json).and_then(|value| value.value), Some(expected));
    let any = |value| AnyValue { value: Some(value) };
    check(r#"{"stringValue": ""}"#, Value::StringValue(String::new()));
    check(r#"{"boolValue": false}"#, Value::BoolValue(false));
    check(
        r#"{"intValue": "-9223372036854775808"}"#,
        Value::IntValue(i64::MIN),
    );
    check(r#"{"intValue": 7}"#, Value::IntValue(7));
    check(r#"{"doubleValue": 1}"#, Value::DoubleValue(1.0));
    check(
        r#"{"doubleValue": "-Infinity"}"#,
        Value::DoubleValue(f64::NEG_INFINITY),
    );
    check(r#"{"bytesValue": "-_8"}"#, Value::BytesValue(vec![0xfb, 0xff]));
    check(
        r#"{"bytesValue": "AAAwOQ=="}"#,
        Value::BytesValue(vec![0, 0, 0x30, 0x39]),
    );
    check(
        r#"{"arrayValue": {"values": [{"intValue": 1}, {}]}}"#,
        Value::ArrayValue(ArrayValue {
            values: vec![any(Value::IntValue(1)), AnyValue { value: None }],
        }),
    );
    check(
        r#"{"kvlistValue": {}}"#,
        Value::KvlistValue(KeyValueList { values: vec![] }),
    );
    assert_eq!(value("{}"), Some(AnyValue { value: None }));
    assert_eq!(value("null"), None);
}

#[test]
fn null_and_unknown_fields_are_absence() {
    assert_eq!(read("{}").expect("empty").resource_spans, []);
    assert_eq!(
        read(r#"{"resourceSpans": null, "resourceMetrics": [1]}"#)
            .expect("empty")
            .resource_spans,
        []
    );
    let text = r#"{"traceId": null, "kind": null, "startTimeUnixNano": null, "status": null, "events": null, "new": {"a": [1]}}"#;
    assert_eq!(span(text), Span::default());
}

#[test]
fn tempos_spellings_are_read() {
    let text = r#"{"traceId": "O6VWCcPN5JZJzXfR+dzZNg==", "spanId": "Sc130fnc2TY=", "parentSpanId": "", "kind": "SPAN_KIND_SERVER",
                   "status": {"code": "STATUS_CODE_ERROR"}}"#;
    let read_span = span(text);
    assert_eq!(
        read_span.trace_id,
        0x3ba5_5609_c3cd_e496_49cd_77d1_f9dc_d936_u128.to_be_bytes()
    );
    assert_eq!(read_span.span_id, 0x49cd_77d1_f9dc_d936_u64.to_be_bytes());
    assert_eq!(
        (read_span.kind, read_span.status.map(|status| status.code)),
        (2, Some(2))
    );
    for outer in [
        r#"{"batches": [{"scopeSpans": [{"spans": [{}]}]}]}"#,
        r#"{"trace": {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}}"#,
        r#"{"batches": [{"instrumentationLibrarySpans": [{"instrumentationLibrary": {"name": "n"}, "spans": [{}]}]}]}"#,
    ] {
        assert_eq!(
            one_resource(outer).scope_spans.remove(0).spans.len(),
            1,
            "{outer}"
        );
    }
}

#[test]
fn spans_under_both_names_of_the_scope_list_are_read_once() {
    let text = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}], "instrumentationLibrarySpans": [{"spans": [{}]}]}]}"#;
    assert_eq!(one_resource(text).scope_spans.len(), 1);
}

#[test]
fn an_id_of_another_length_is_for_the_reader_of_the_spans_to_reject() {
    assert_eq!(span(r#"{"traceId": "abcd"}"#).trace_id, [0xab, 0xcd]);
}

#[test]
fn an_error_names_the_place_and_what_would_be_right() {
    refused("", "line 1 column 0: EOF while parsing a value");
    refused("{} x", "line 1 column 4: trailing characters");
    refused(
        "[7]",
        "`[0]` at line 1 column 2: invalid type: integer `7`, expected an object",
    );
    refused(
        &request(r#"{"traceId": "xyz"}"#),
        "`resourceSpans[0].scopeSpans[0].spans[0].traceId` at line 1 column 63: \
         `xyz` is not a trace id: write 32 hexadecimal digits",
    );
    refused(
        &request(r#"{"kind": "SERVER"}"#),
        "`resourceSpans[0].scopeSpans[0].spans[0].kind` at line 1 column 63: \
         `SERVER` is not a span kind: write 0 to 5, or a name such as SPAN_KIND_SERVER",
    );
    refused(
        &request("\n{\"startTimeUnixNano\": -1}"),
        "`resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano` at line 2 column 24: \
         `-1` is not an unsigned 64-bit integer",
    );
    let error = read(&request("{\"flags\":\n true}")).expect_err("a boolean");
    assert_eq!(
        (error.path(), error.line()),
        ("resourceSpans[0].scopeSpans[0].spans[0].flags", 2)
    );
}

#[test]
fn the_deepest_value_that_is_read_can_be_read_as_protobuf() {
    let nested = |(open, close): (&str, &str), depth: usize| {
        let value = format!("{}{{\"intValue\": 1}}{}", open.repeat(depth), close.repeat(depth));
        request(&format!(
            r#"{{"events": [{{"attributes": [{{"key": "k", "value": {value}}}]}}]}}"#
        ))
    };
    for shape in [
        (r#"{"arrayValue": {"values": ["#, "]}}"),
        (r#"{"kvlistValue": {"values": [{"key": "k", "value": "#, "}]}}"),
    ] {
        let deepest = (1..100)
            .take_while(|&depth| read(&nested(shape, depth)).is_ok())
            .last();
        assert!(deepest.is_some_and(|depth| depth > 20), "{deepest:?}");
        let error = read(&nested(shape, 100)).expect_err("too deep").to_string();
        assert!(error.contains("recursion limit"), "{error}");
    }
}
