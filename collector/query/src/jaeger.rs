//! Jaeger's query API over HTTP: the JSON of its user interface and of Grafana's data source, and `api_v3`.
//!
//! In: `GET` requests. Out: services, operations, traces and the dependency graph.
//! Left out on purpose: gRPC, archiving, and metrics of services, which Prometheus has. Jaeger itself removed some of
//! the older endpoints in 2026; Grafana still asks for them.
//!
//! Source: jaeger v2 `cmd/jaeger/internal/extension/jaegerquery/internal`.

mod legacy;
mod traces;
mod v3;

use axum::Router;
use otlp::Kind;
use store::{Condition, Field, Filter, Literal, Op, Scope, Search, TimeRange};

use crate::api::{Api, Failure, Limits};
use crate::loose;
use crate::params::Params;
use crate::traceql::kind_named;

/// All routes, to be nested where the data source points, as `/jaeger`.
pub fn router(api: Api) -> Router {
    legacy::router(api.clone()).merge(v3::router(api))
}

/// A search as both versions ask for it. The conditions hold on one span.
struct Asked {
    service: Option<String>,
    operation: Option<String>,
    tags: Vec<(String, String)>,
    /// Nanoseconds, of the span.
    min_duration: Option<u64>,
    /// Nanoseconds, of the span.
    max_duration: Option<u64>,
    range: TimeRange,
    limit: usize,
}

impl Asked {
    fn search(self, limits: &Limits) -> Result<Search, Failure> {
        if let (Some(min), Some(max)) = (self.min_duration, self.max_duration)
            && min > max
        {
            let message = "the least duration must not be longer than the greatest";
            return Err(Failure::BadRequest(message.to_owned()));
        }
        let service = self.service.map(|service| {
            let (scope, key) = (Some(Scope::Resource), "service.name".to_owned());
            loose::string(Field::Attribute { scope, key }, &service)
        });
        let operation = self
            .operation
            .map(|operation| loose::string(Field::Name, &operation));
        let least = self.min_duration.map(|nanos| duration(Op::Ge, nanos));
        let greatest = self.max_duration.map(|nanos| duration(Op::Le, nanos));
        let tags = self.tags.iter().map(|(key, text)| loose::jaeger_tag(key, text));
        let all = service.into_iter().chain(operation).chain(least).chain(greatest);
        let conditions: Vec<_> = all.chain(tags).collect();
        Ok(Search {
            filter: if conditions.is_empty() {
                Filter::All
            } else {
                Filter::Spans(Condition::And(conditions))
            },
            range: self.range,
            limit: self.limit,
            spans_per_trace: 0,
            max_bytes_examined: limits.examined_bytes,
            ..Search::default()
        })
    }
}

fn duration(op: Op, nanos: u64) -> Condition {
    Condition::Compare {
        field: Field::Duration,
        op,
        value: Literal::Duration(nanos),
    }
}

/// The pairs of a JSON object whose values are texts, numbers or truth values.
fn json_tags(name: &str, text: &str) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |what: &str| {
        let example = "{\"http.method\":\"GET\"}";
        Failure::BadRequest(format!(
            "parameter `{name}` {what}: write a JSON object such as `{example}`"
        ))
    };
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| wrong(&format!("is no JSON object ({error})")))?;
    if object.len() > crate::traceql::MAX_TERMS {
        return Err(wrong("holds too many tags"));
    }
    let pairs = object.into_iter().map(|(key, value)| match value {
        serde_json::Value::String(text) => Ok((key, text)),
        serde_json::Value::Number(number) => Ok((key, number.to_string())),
        serde_json::Value::Bool(bool) => Ok((key, bool.to_string())),
        _ => Err(wrong(&format!("has no single value for `{key}`"))),
    });
    pairs.collect()
}

/// The kind that a parameter names.
fn kind(name: &str) -> Result<Kind, Failure> {
    kind_named(name).ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        Failure::BadRequest(format!(
            "parameter `spanKind` is `{shown}` but must be `server`, `client`, `producer`, `consumer`, `internal` or \
             `unspecified`"
        ))
    })
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, Failure> {
    let missing = || Failure::BadRequest(format!("parameter `{name}` is required"));
    params.text(name).ok_or_else(missing)
}
