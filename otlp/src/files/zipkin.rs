//! Zipkin v2 JSON to OTLP.
//!
//! In: an array of spans, an array of arrays of spans (one a trace), or one span. Out: requests, one or more
//! for each array that holds spans. Spans are grouped by service. Halves of a call that share one span id
//! keep it, and the parent each has: pairing them is the map's.
//! Left out on purpose: `debug` and `shared`, which say nothing that id and kind do not.
//!
//! Source: Zipkin API v2 (`zipkin2-api.yaml`).

use std::fmt;

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span as OtlpSpan, span},
};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::Error as _};
use serde_json::{Map, Value as Json};

use super::Request;
use super::group::Groups;
use super::ids::{Micros, PaddedId};
use super::split::split;
use super::tags::{ErrorTag, Tags, attribute, span_kind, typed};
use crate::json::{JsonError, Lenient, decode};

/// The requests of one document.
pub(super) fn requests(text: &[u8]) -> Result<Vec<Request>, JsonError> {
    Ok(match decode::<Entry<2>>(text)? {
        Entry::Span(span) => split(resource_spans(vec![*span])),
        Entry::List(requests) => requests,
    })
}

/// A span, or what a list became as soon as it was read; lists nest at most `DEPTH` deep.
enum Entry<const DEPTH: u8> {
    Span(Box<Span>),
    List(Vec<Request>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a span")]
struct Span {
    trace_id: Lenient<PaddedId<16>>,
    id: Lenient<PaddedId<8>>,
    parent_id: Option<Lenient<PaddedId<8>>>,
    kind: Option<String>,
    name: Option<String>,
    timestamp: Option<Lenient<Micros>>,
    duration: Option<Lenient<Micros>>,
    local_endpoint: Option<Endpoint>,
    remote_endpoint: Option<Endpoint>,
    annotations: Option<Vec<Annotation>>,
    tags: Option<Map<String, Json>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", expecting = "an endpoint")]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<Lenient<u32>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an annotation")]
struct Annotation {
    timestamp: Option<Lenient<Micros>>,
    value: Option<String>,
}

impl<'de, const DEPTH: u8> Deserialize<'de> for Entry<DEPTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor::<DEPTH>)
    }
}

struct EntryVisitor<const DEPTH: u8>;

impl<'de, const DEPTH: u8> Visitor<'de> for EntryVisitor<DEPTH> {
    type Value = Entry<DEPTH>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span or a list of spans")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Span::deserialize(MapAccessDeserializer::new(map)).map(|span| Entry::Span(Box::new(span)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        match DEPTH {
            2 => read_list::<1, A>(list).map(Entry::List),
            1 => read_list::<0, A>(list).map(Entry::List),
            _ => Err(A::Error::custom("lists of spans nest at most twice")),
        }
    }
}

fn read_list<'de, const DEPTH: u8, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<Request>, A::Error> {
    let (mut spans, mut requests) = (Vec::new(), Vec::new());
    while let Some(entry) = list.next_element::<Entry<DEPTH>>()? {
        match entry {
            Entry::Span(span) => spans.push(*span),
            Entry::List(inner) => requests.extend(inner),
        }
    }
    requests.extend(split(resource_spans(spans)));
    Ok(requests)
}

/// No service name is no `service.name`: an empty one would look like a service.
fn resource_spans(spans: Vec<Span>) -> Vec<ResourceSpans> {
    let mut groups = Groups::new();
    for mut span in spans {
        let service = span
            .local_endpoint
            .as_mut()
            .and_then(|local| local.service_name.take());
        let (tags, span) = otlp(span);
        groups.add(
            service.filter(|name| !name.is_empty()),
            resource,
            tags.scope,
            span,
        );
    }
    groups.finish()
}

#[expect(clippy::ref_option, reason = "the key of the group as it is")]
fn resource(service: &Option<String>) -> Resource {
    let name = service
        .clone()
        .map(|name| attribute("service.name", Value::StringValue(name)));
    Resource {
        attributes: name.into_iter().collect(),
        ..Resource::default()
    }
}

fn otlp(json: Span) -> (Tags, OtlpSpan) {
    let mut tags = Tags::new(ErrorTag::WhenPresent);
    tags.kind = json.kind.as_deref().and_then(span_kind).unwrap_or(tags.kind);
    for (key, value) in json
        .tags
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
    {
        tags.add(key, typed("", value));
    }
    add_endpoint(
        &mut tags,
        json.local_endpoint,
        "network.local.address",
        "network.local.port",
    );
    add_endpoint(
        &mut tags,
        json.remote_endpoint,
        "network.peer.address",
        "network.peer.port",
    );
    let start = json.timestamp.unwrap_or_default().0;
    let span = OtlpSpan {
        trace_id: json.trace_id.0.into_vec(),
        span_id: json.id.0.into_vec(),
        parent_span_id: json
            .parent_id
            .filter(|id| !id.0.is_zero())
            .map(|id| id.0.into_vec())
            .unwrap_or_default(),
        trace_state: std::mem::take(&mut tags.trace_state),
        name: json.name.unwrap_or_default(),
        kind: tags.kind.into(),
        start_time_unix_nano: start.nanos(),
        end_time_unix_nano: start.nanos_after(json.duration.unwrap_or_default().0),
        status: tags.status(),
        attributes: std::mem::take(&mut tags.attributes),
        events: json
            .annotations
            .into_iter()
            .flatten()
            .map(Annotation::event)
            .collect(),
        ..OtlpSpan::default()
    };
    (tags, span)
}

/// The name that is left is the far side's: the near side's became the resource.
fn add_endpoint(tags: &mut Tags, endpoint: Option<Endpoint>, address: &str, port: &str) {
    let Endpoint {
        service_name,
        ipv4,
        ipv6,
        port: number,
    } = endpoint.unwrap_or_default();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Value::StringValue);
    let number = number
        .filter(|port| port.0 > 0)
        .map(|port| Value::IntValue(port.0.into()));
    let address = (address, text(ipv4).or(text(ipv6)));
    for (key, value) in [("peer.service", text(service_name)), address, (port, number)] {
        if let Some(value) = value {
            tags.add_if_absent(key, value);
        }
    }
}

impl Annotation {
    fn event(self) -> span::Event {
        span::Event {
            time_unix_nano: self.timestamp.unwrap_or_default().0.nanos(),
            name: self.value.unwrap_or_default(),
            ..span::Event::default()
        }
    }
}
