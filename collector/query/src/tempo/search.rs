//! Tempo's search.
//!
//! In: the parameters of `/api/search`. Out: the store's search, and its answer as Grafana reads it.
//! Left out on purpose: nothing that Grafana sends.
//!
//! Source: tempo `pkg/tempopb/tempo.proto` (`SearchResponse`); grafana `pkg/tsdb/tempo/search.go`, which reads 64-bit
//! numbers only as strings and `durationMs`, `matched` and the counts only as 32-bit numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use store::{Condition, Filter, Found, Literal, Search, ServiceStats, SpanHit, TraceHit};

use super::logfmt;
use crate::api::{Failure, Limits};
use crate::params::Params;
use crate::render::{hex, not_finite};
use crate::{loose, traceql};

const DEFAULT_TRACES: usize = 20;
const DEFAULT_SPANS: usize = 3;
const SECOND: u64 = 1_000_000_000;

/// The search that the parameters ask for.
pub(super) fn read(
    params: &Params,
    limits: &Limits,
    node_condition: impl FnOnce(&str) -> Option<Condition>,
) -> Result<Search, Failure> {
    let search = Search {
        filter: traceql::or_node_condition(filter(params)?, node_condition),
        range: params.range(SECOND)?,
        min_duration: params.duration("minDuration")?,
        max_duration: params.duration("maxDuration")?,
        limit: params.count("limit", DEFAULT_TRACES, limits.traces)?,
        spans_per_trace: match params.number::<u64>("spss")? {
            // All of them, as in Tempo.
            Some(0) => limits.spans_per_trace,
            _ => params.count("spss", DEFAULT_SPANS, limits.spans_per_trace)?,
        },
        max_bytes_examined: limits.examined_bytes,
    };
    match (search.min_duration, search.max_duration) {
        (Some(min), Some(max)) if min > max => {
            let message = "`minDuration` must not be longer than `maxDuration`";
            Err(Failure::BadRequest(message.to_owned()))
        }
        _ => Ok(search),
    }
}

fn filter(params: &Params) -> Result<Filter, Failure> {
    if let Some(query) = params.text("q") {
        return traceql::parse(query).map_err(|error| Failure::BadRequest(error.to_string()));
    }
    let tags = logfmt::pairs(params.text("tags").unwrap_or_default())?;
    if tags.len() > traceql::MAX_TERMS {
        let message = format!("parameter `tags` may hold at most {} pairs", traceql::MAX_TERMS);
        return Err(Failure::BadRequest(message));
    }
    let spansets = tags
        .iter()
        .map(|(key, value)| Filter::Spans(loose::tempo_tag(key, value)));
    let all = spansets.reduce(|first, next| Filter::And(Box::new(first), Box::new(next)));
    Ok(all.unwrap_or(Filter::All))
}

#[derive(Serialize)]
pub(super) struct Answer<'a> {
    traces: Vec<Trace<'a>>,
    metrics: Metrics,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    #[serde(rename = "traceID")]
    id: String,
    root_service_name: &'a str,
    root_trace_name: &'a str,
    start_time_unix_nano: String,
    duration_ms: u32,
    /// The same as the first of `span_sets`; versions of Grafana read one or the other.
    span_set: SpanSet<'a>,
    span_sets: [SpanSet<'a>; 1],
    service_stats: BTreeMap<&'a str, Stats>,
}

#[derive(Clone, Serialize)]
struct SpanSet<'a> {
    spans: Vec<Span<'a>>,
    matched: u32,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    #[serde(rename = "spanID")]
    id: String,
    name: &'a str,
    start_time_unix_nano: String,
    duration_nanos: String,
    attributes: Vec<Attribute<'a>>,
}

#[derive(Clone, Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    span_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<u32>,
}

/// What the search cost. A search that stopped at its bound has one job, not completed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    inspected_traces: u32,
    inspected_bytes: String,
    completed_jobs: u32,
    total_jobs: u32,
}

/// What was found, in Tempo's form.
pub(super) fn answer(found: &Found) -> Answer<'_> {
    Answer {
        traces: found.traces.iter().map(trace).collect(),
        metrics: Metrics {
            inspected_traces: short(found.examined_traces),
            inspected_bytes: found.examined_bytes.to_string(),
            completed_jobs: u32::from(found.complete),
            total_jobs: 1,
        },
    }
}

fn trace(hit: &TraceHit) -> Trace<'_> {
    let spans = SpanSet {
        spans: hit.matched.iter().map(span).collect(),
        matched: short(hit.matched_total),
    };
    Trace {
        id: hex(&hit.trace_id),
        root_service_name: &hit.root_service,
        root_trace_name: &hit.root_name,
        start_time_unix_nano: hit.start_unix_nano.to_string(),
        duration_ms: short(hit.duration_nanos / 1_000_000),
        span_set: spans.clone(),
        span_sets: [spans],
        service_stats: hit.services.iter().map(stats).collect(),
    }
}

fn span(hit: &SpanHit) -> Span<'_> {
    let attributes = hit.attributes.iter();
    Span {
        id: hex(&hit.span_id),
        name: &hit.name,
        start_time_unix_nano: hit.start_unix_nano.to_string(),
        duration_nanos: hit.duration_nanos.to_string(),
        attributes: attributes
            .map(|(key, value)| Attribute {
                key,
                value: any_value(value),
            })
            .collect(),
    }
}

fn stats(service: &ServiceStats) -> (&str, Stats) {
    let errors = short(service.errors);
    let stats = Stats {
        span_count: short(service.spans),
        error_count: (errors != 0).then_some(errors),
    };
    (&service.name, stats)
}

fn any_value(value: &Literal) -> Value {
    match value {
        Literal::Int(int) => json!({ "intValue": int.to_string() }),
        // Grafana refuses the whole answer where `doubleValue` is no number.
        Literal::Float(float) => match not_finite(*float) {
            Some(name) => json!({ "stringValue": name }),
            None => json!({ "doubleValue": float }),
        },
        Literal::Bool(bool) => json!({ "boolValue": bool }),
        Literal::Str(_) | Literal::Duration(_) | Literal::Status(_) | Literal::Kind(_) => {
            json!({ "stringValue": value.to_string() })
        }
    }
}

fn short(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
