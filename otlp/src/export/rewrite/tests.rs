//! What the rules change, seen by an independent decoder, and that they change nothing else.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::view;

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn request(resource: Vec<KeyValue>, span: Span) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "scope".to_owned(),
        attributes: vec![text("scope.secret", "s")],
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: resource,
        ..Resource::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![span],
                schema_url: "https://schema".to_owned(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn span(attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /secret".to_owned(),
        attributes,
        dropped_attributes_count: 2,
        ..Span::default()
    }
}

fn applied(rules: &Rules, request: &ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let out = rules.apply(request.encode_to_vec().into());
    assert_eq!(view::validate(&out), Ok(view::SpanCount(1)));
    ExportTraceServiceRequest::decode(out).expect("well-formed")
}

fn first_span(request: &ExportTraceServiceRequest) -> &Span {
    &request.resource_spans[0].scope_spans[0].spans[0]
}

#[test]
fn a_redacted_key_keeps_its_place_and_loses_its_value_wherever_it_stands() {
    let secret = |key: &str| pair(key, Value::IntValue(7));
    let map = Value::KvlistValue(KeyValueList {
        values: vec![secret("user.id"), text("plain", "p")],
    });
    let nested = Value::ArrayValue(ArrayValue {
        values: vec![AnyValue { value: Some(map) }],
    });
    let mut span = span(vec![text("a", "b"), secret("user.id"), pair("list", nested)]);
    span.events = vec![Event {
        attributes: vec![secret("user.id")],
        ..Event::default()
    }];
    span.links = vec![Link {
        attributes: vec![secret("user.id")],
        ..Link::default()
    }];
    let rules = Rules {
        redact: vec!["user.*".to_owned(), "*.secret".to_owned()],
        ..Rules::default()
    };
    let before = request(vec![text("service.name", "cart"), secret("user.id")], span);
    let after = applied(&rules, &before);
    // The same by hand: what was 7 or `s` is redacted, all else stays.
    let mut bytes = format!("{before:?}").replace("IntValue(7)", "StringValue(\"[redacted]\")");
    bytes = bytes.replace("StringValue(\"s\")", "StringValue(\"[redacted]\")");
    assert_eq!(format!("{after:?}"), bytes);
    assert_eq!(bytes.matches("[redacted]").count(), 6);
}

#[test]
fn long_values_are_cut_between_characters() {
    let array = Value::ArrayValue(ArrayValue {
        values: vec![AnyValue {
            value: Some(Value::StringValue("12345678".to_owned())),
        }],
    });
    let attributes = vec![
        text("short", "12345"),
        text("long", "1234567"),
        text("wide", "1234\u{e9}"),
        pair("bytes", Value::BytesValue(vec![0xbf; 9])),
        pair("array", array),
    ];
    let rules = Rules {
        max_value_bytes: Some(5),
        ..Rules::default()
    };
    let after = applied(&rules, &request(Vec::new(), span(attributes)));
    let values: Vec<String> = first_span(&after)
        .attributes
        .iter()
        .map(|pair| format!("{:?}", pair.value))
        .collect();
    for (value, expected) in values.iter().zip([
        "\"12345\"",
        "\"12345\"",
        "\"1234\"",
        "[191, 191, 191, 191, 191]",
        "\"12345\"",
    ]) {
        assert!(value.contains(expected), "{value}");
    }
}

#[test]
fn attributes_beyond_the_limit_go_and_are_counted_with_those_that_went_before() {
    let attributes = ["a", "b", "c", "d"].map(|key| text(key, "x")).to_vec();
    let mut span = span(attributes.clone());
    span.events = vec![Event {
        attributes,
        name: "e".to_owned(),
        ..Event::default()
    }];
    let rules = Rules {
        max_attributes: Some(3),
        ..Rules::default()
    };
    let after = applied(
        &rules,
        &request(["r1", "r2", "r3", "r4"].map(|key| text(key, "x")).to_vec(), span),
    );
    let span = first_span(&after);
    let keys: Vec<&str> = span.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!((keys, span.dropped_attributes_count), (vec!["a", "b", "c"], 3));
    let event = &span.events[0];
    assert_eq!(
        (
            event.attributes.len(),
            event.dropped_attributes_count,
            event.name.as_str()
        ),
        (3, 1, "e")
    );
    let resource = after.resource_spans[0].resource.as_ref().expect("a resource");
    assert_eq!(resource.attributes.len(), 4, "a resource has no limit");
}

#[test]
fn a_resource_gets_what_it_lacks_and_keeps_what_it_has() {
    let rules = Rules {
        resource: ["k8s.pod.name", "k8s.node.name"]
            .map(|key| (key.to_owned(), format!("agent's {key}")))
            .into(),
        ..Rules::default()
    };
    let attributes_of = |request: &ExportTraceServiceRequest| {
        let resource = request.resource_spans[0].resource.clone().expect("a resource");
        resource.attributes
    };
    let own = text("k8s.pod.name", "sdk's");
    let after = applied(&rules, &request(vec![own.clone()], span(Vec::new())));
    assert_eq!(
        attributes_of(&after),
        [own, text("k8s.node.name", "agent's k8s.node.name")]
    );

    let mut bare = request(Vec::new(), span(Vec::new()));
    bare.resource_spans[0].resource = None;
    assert_eq!(attributes_of(&applied(&rules, &bare)).len(), 2);
    let twice = applied(&rules, &applied(&rules, &bare));
    assert_eq!(attributes_of(&twice).len(), 2, "a second agent adds nothing");
}

#[test]
fn a_request_that_no_rule_concerns_is_handed_on_as_it_lies() {
    let rules = Rules {
        redact: vec!["nothing.*".to_owned()],
        max_value_bytes: Some(1_000),
        max_attributes: Some(100),
        resource: vec![("a".to_owned(), "b".to_owned())],
        sender: None,
    };
    let body: Bytes = request(vec![text("a", "own")], span(vec![text("k", "v")]))
        .encode_to_vec()
        .into();
    let out = rules.apply(body.clone());
    assert_eq!(out.as_ptr(), body.as_ptr());
}

#[test]
fn a_star_stands_for_any_characters_and_nothing_else_does() {
    for (glob, text, is_match) in [
        ("user.id", "user.id", true),
        ("user.id", "user.ids", false),
        ("user.*", "user.", true),
        ("user.*", "users.x", false),
        ("*", "", true),
        ("*.secret", "a.b.secret", true),
        ("*.secret", "secret", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("ab*ba", "aba", false),
        ("", "", true),
        ("", "a", false),
        ("a.b", "axb", false),
    ] {
        assert_eq!(
            matches(glob.as_bytes(), text.as_bytes()),
            is_match,
            "{glob} on {text}"
        );
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let redact = proptest::collection::vec("[a-c*]{0,3}", 0..3);
    let resource = proptest::collection::vec(("[a-c]", "[a-c]"), 0..3);
    (
        redact,
        proptest::option::of(0..4_usize),
        proptest::option::of(0..3_usize),
        resource,
    )
        .prop_map(|(redact, max_value_bytes, max_attributes, resource)| Rules {
            redact,
            max_value_bytes,
            max_attributes,
            resource,
            sender: None,
        })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0..24_u8, 0..200), rules in rules()) {
        rules.apply(bytes.into());
    }

    #[test]
    fn whatever_the_rules_a_request_stays_one_and_keeps_to_them(
        keys in proptest::collection::vec(("[a-c]{1,2}", "[a-zé]{0,6}"), 0..6),
        rules in rules(),
    ) {
        let attributes: Vec<_> = keys.iter().map(|(key, value)| text(key, value)).collect();
        let body: Bytes = request(attributes.clone(), span(attributes)).encode_to_vec().into();
        let once = rules.apply(body);
        prop_assert_eq!(view::validate(&once), Ok(view::SpanCount(1)));
        let decoded = ExportTraceServiceRequest::decode(once).expect("well-formed");
        let longest = rules.max_value_bytes.unwrap_or(usize::MAX);
        for pair in &first_span(&decoded).attributes {
            let Some(Value::StringValue(value)) = pair.value.clone().and_then(|value| value.value) else {
                panic!("all are text");
            };
            let redacted = rules.redact.iter().any(|glob| matches(glob.as_bytes(), pair.key.as_bytes()));
            let kept = if redacted { value == REDACTED } else { value.len() <= longest };
            prop_assert!(kept);
        }
        prop_assert!(first_span(&decoded).attributes.len() <= rules.max_attributes.unwrap_or(usize::MAX));
    }
}

fn from_pod(resource: Vec<KeyValue>) -> Vec<String> {
    let known = [
        "k8s.pod.uid=u1",
        "k8s.pod.name=cart-1",
        "k8s.node.name=of the pod",
    ];
    let known = known.map(|pair| pair.split_once('=').expect("a pair"));
    let known = known.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let sender = Sender::new(
        known.to_vec(),
        Some("cart".to_owned()),
        &["k8s.pod.uid", "k8s.pod.name"],
    );
    let rules = Rules {
        resource: vec![("k8s.node.name".to_owned(), "of all".to_owned())],
        ..Rules::default()
    };
    let out = applied(
        &rules.for_sender(Arc::new(sender)),
        &request(resource, span(Vec::new())),
    );
    assert_eq!(out.resource_spans[0].schema_url, "");
    let resource = out.resource_spans[0].resource.clone().expect("one");
    let said = resource.attributes.into_iter().map(|pair| {
        let value = pair.value.and_then(|value| value.value);
        match value {
            Some(Value::StringValue(value)) => format!("{}={value}", pair.key),
            other => format!("{}={other:?}", pair.key),
        }
    });
    said.collect()
}

#[test]
fn a_sender_says_what_its_resource_does_not_say_itself() {
    let of_pod = [
        "k8s.pod.uid=u1",
        "k8s.pod.name=cart-1",
        "k8s.node.name=of the pod",
    ];
    let with = |first: &[&str], last: &[&str]| {
        let all = first.iter().chain(&of_pod).chain(last);
        all.map(|&pair| pair.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(from_pod(Vec::new()), with(&[], &["service.name=cart"]));
    assert_eq!(
        from_pod(vec![text("a", "1"), text("service.name", "unknown_service:java")]),
        with(&["a=1"], &["service.name=cart"])
    );
    assert_eq!(
        from_pod(vec![text("service.name", "")]),
        with(&[], &["service.name=cart"])
    );
    assert_eq!(
        from_pod(vec![text("service.name", "basket")]),
        with(&["service.name=basket"], &[])
    );
    assert_eq!(
        from_pod(vec![text("k8s.pod.uid", "u1"), text("service.name", "basket")]),
        [
            "k8s.pod.uid=u1",
            "service.name=basket",
            "k8s.pod.name=cart-1",
            "k8s.node.name=of the pod"
        ]
    );
}

#[test]
fn what_a_sender_passes_on_of_another_is_not_called_its_own() {
    assert_eq!(
        from_pod(vec![text("k8s.pod.name", "web-7")]),
        ["k8s.pod.name=web-7", "k8s.node.name=of all"]
    );
}
