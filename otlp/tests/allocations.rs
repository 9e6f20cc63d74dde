//! The view allocates nothing, whatever the request looks like.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use otlp::view;
use prost::Message as _;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn attributes() -> Vec<KeyValue> {
    let text = |text: &str| AnyValue {
        value: Some(Value::StringValue(text.to_owned())),
    };
    vec![
        attribute("service.name", Value::StringValue("käse".to_owned())),
        attribute("http.response.status_code", Value::IntValue(-200)),
        attribute(
            "list",
            Value::ArrayValue(ArrayValue {
                values: vec![text("a"), text("b")],
            }),
        ),
    ]
}

fn request() -> Vec<u8> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /cart".to_owned(),
        attributes: attributes(),
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: attributes(),
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: vec![3; 16],
            attributes: attributes(),
            ..Link::default()
        }],
        status: Some(Status {
            message: "refused".to_owned(),
            code: 2,
        }),
        ..Span::default()
    };
    let scope = InstrumentationScope {
        name: "test".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: vec![span; 50],
        schema_url: "https://a".to_owned(),
    };
    let resource = Some(Resource {
        attributes: attributes(),
        ..Resource::default()
    });
    let resource_spans = ResourceSpans {
        resource,
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans; 3],
    }
    .encode_to_vec()
}

/// Reads all there is to read; returns the number of values.
fn read(body: &[u8]) -> usize {
    let mut values = 0;
    let visited = view::for_each_span(body, |resource, scope, span| {
        values += resource.attributes().count() + span.attributes().count() + scope.name.len();
        values += resource.raw_parts().count() + scope.raw_parts().count();
        values += span.links().map(|link| link.attributes().count()).sum::<usize>();
    });
    values + usize::from(visited.is_err())
}

#[test]
fn reading_a_request_allocates_nothing() {
    let body = request();
    let mut values = 0;
    let measured = allocation_counter::measure(|| values = read(&body));
    assert_eq!(values, 150 * (3 + 3 + 4 + 2 + 3));
    assert_eq!(measured.count_total, 0);
}

#[test]
fn reading_a_resource_in_two_pieces_after_its_spans_allocates_nothing() {
    let whole = request();
    let first = ExportTraceServiceRequest::decode(&whole[..])
        .expect("our own encoding")
        .resource_spans
        .remove(0);
    let resource = ResourceSpans {
        resource: first.resource.clone(),
        ..ResourceSpans::default()
    }
    .encode_to_vec();
    let odd = [first.encode_to_vec(), resource].concat();
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(odd.len() as u64, &mut body);
    body.extend(odd);
    let mut values = 0;
    let measured = allocation_counter::measure(|| values = read(&body));
    assert_eq!(values, 50 * (6 + 3 + 4 + 3 + 3));
    assert_eq!(measured.count_total, 0);
}

#[test]
fn refusing_a_request_allocates_nothing() {
    let mut body = request();
    body.pop();
    let mut values = 0;
    let measured = allocation_counter::measure(|| values = read(&body));
    assert_eq!((values, measured.count_total), (1, 0));
}
