//! The section `sampling` of the collector: what the trace store keeps.
//!
//! In: YAML, by way of the `config` crate. Out: policies as they were written; [`SamplingSettings::check`] says what is
//! wrong with them. Source of names and fields: OpenTelemetry Collector contrib, `processor/tailsamplingprocessor`.
//! Left out on purpose: `decision_wait`, `num_traces` and caches. A trace is judged when the trace table closes it.

use config::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the trace store keeps. Map and metrics see every trace before, whatever stands here.
///
/// A trace is kept by the first of `policies` that wants it, unless one of type `drop` refuses it; policies after that
/// are not asked, so they spend nothing of their rates. This differs from the OpenTelemetry processor, which asks all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    /// In the order in which they are asked. Default: `errors`, `slow`, `rare_edges`, and 10 % of the rest: what one
    /// looks for at night, an example of each edge, and enough of the usual to compare with.
    pub policies: Vec<Policy>,
    /// At most this many spans a second are kept, whatever the policies say. Default: no limit, as the store forgets by
    /// age and bytes. Near the limit the policies that stand lower make way for those above.
    pub max_spans_per_second: Option<u64>,
    /// Keeps traces that are linked to a kept one, such as the consumer's behind a queue. Default true.
    pub keep_linked: bool,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        let policy = |kind: PolicyType| Policy::new(kind.as_str(), kind);
        Self {
            policies: vec![
                policy(PolicyType::Errors),
                policy(PolicyType::Slow),
                policy(PolicyType::RareEdges),
                Policy {
                    probabilistic: Some(Probabilistic {
                        sampling_percentage: 10.0,
                        hash_salt: String::new(),
                    }),
                    ..policy(PolicyType::Probabilistic)
                },
            ],
            max_spans_per_second: None,
            keep_linked: true,
        }
    }
}

impl SamplingSettings {
    /// Keeps every trace: what `tracemap up` takes on a laptop.
    pub fn keep_all() -> Self {
        Self {
            policies: vec![Policy::new("all", PolicyType::AlwaysSample)],
            ..Self::default()
        }
    }
}

/// One policy. Beside `name` and `type` it has the section that is named like its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What the policy is called in metrics; each name once.
    pub name: String,
    /// What it looks at.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// For type `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// For type `numeric_attribute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numeric_attribute: Option<NumericAttribute>,
    /// For type `probabilistic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilistic: Option<Probabilistic>,
    /// For type `status_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<StatusCodes>,
    /// For type `string_attribute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_attribute: Option<StringAttribute>,
    /// For type `boolean_attribute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boolean_attribute: Option<BooleanAttribute>,
    /// For type `trace_state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<TraceState>,
    /// For type `rate_limiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limiting: Option<RateLimiting>,
    /// For type `bytes_limiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_limiting: Option<BytesLimiting>,
    /// For type `span_count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_count: Option<SpanCount>,
    /// For type `and`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub and: Option<AndSettings>,
    /// For type `not`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<NotSettings>,
    /// For type `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<DropSettings>,
    /// For type `composite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composite: Option<Composite>,
    /// For type `rare_edges`; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare_edges: Option<RareEdges>,
    /// Refused: there is no OTTL here. It is known so that a pasted configuration gets a useful answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ottl_condition: Option<serde_json::Value>,
}

impl Policy {
    /// A policy without a section.
    pub fn new(name: &str, kind: PolicyType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            latency: None,
            numeric_attribute: None,
            probabilistic: None,
            status_code: None,
            string_attribute: None,
            boolean_attribute: None,
            trace_state: None,
            rate_limiting: None,
            bytes_limiting: None,
            span_count: None,
            and: None,
            not: None,
            drop: None,
            composite: None,
            rare_edges: None,
            ottl_condition: None,
        }
    }
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyType {
    /// Every trace.
    AlwaysSample,
    /// Traces with an error in any span. Ours.
    Errors,
    /// Traces with a request whose own or total time exceeded the learned edge of its operation. Ours.
    Slow,
    /// So many traces for each edge, and for each edge's failures, in each window. Ours.
    RareEdges,
    /// Traces that took long from the first start to the last end.
    Latency,
    /// Traces with a number in a range, in a span or its resource.
    NumericAttribute,
    /// A share of all traces, by trace id.
    Probabilistic,
    /// Traces with a span of one of these statuses.
    StatusCode,
    /// Traces with one of these texts, in a span or its resource.
    StringAttribute,
    /// Traces with this truth value, in a span or its resource.
    BooleanAttribute,
    /// Traces with a member of `tracestate` that has one of these values.
    TraceState,
    /// As many spans a second as allowed.
    RateLimiting,
    /// As many bytes a second as allowed.
    BytesLimiting,
    /// Traces with so many spans.
    SpanCount,
    /// What all of its policies want.
    And,
    /// What its policy does not want.
    Not,
    /// Refuses what all of its policies want, whoever else wants it.
    Drop,
    /// Several policies that share a rate.
    Composite,
    /// Refused, see there.
    OttlCondition,
}

impl PolicyType {
    /// The name as it is written, which is that of its section too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlwaysSample => "always_sample",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::RareEdges => "rare_edges",
            Self::Latency => "latency",
            Self::NumericAttribute => "numeric_attribute",
            Self::Probabilistic => "probabilistic",
            Self::StatusCode => "status_code",
            Self::StringAttribute => "string_attribute",
            Self::BooleanAttribute => "boolean_attribute",
            Self::TraceState => "trace_state",
            Self::RateLimiting => "rate_limiting",
            Self::BytesLimiting => "bytes_limiting",
            Self::SpanCount => "span_count",
            Self::And => "and",
            Self::Not => "not",
            Self::Drop => "drop",
            Self::Composite => "composite",
            Self::OttlCondition => "ottl_condition",
        }
    }
}

/// Traces that took at least `threshold_ms`; with an upper bound more than that, and at most `upper_threshold_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Milliseconds from the first start to the last end.
    pub threshold_ms: u64,
    /// Default 0, no bound.
    #[serde(default)]
    pub upper_threshold_ms: u64,
}

/// Traces where an integer or a floating-point attribute lies in a range, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumericAttribute {
    /// The attribute.
    pub key: String,
    /// Default: no lower end.
    #[serde(default)]
    pub min_value: Option<i64>,
    /// Default: no upper end.
    #[serde(default)]
    pub max_value: Option<i64>,
    /// Traces where no span and no resource has such a value. Default false. It only wants them; to refuse the others
    /// write a policy of type `drop`.
    #[serde(default)]
    pub invert_match: bool,
}

/// A share of all traces. The same trace id gives the same answer everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probabilistic {
    /// From 0 to 100.
    pub sampling_percentage: f64,
    /// Default none: then the 56 random bits of W3C Trace Context Level 2 decide, or `rv` in `tracestate`, and a trace
    /// that is kept at 1 % is kept at 10 % too, by every sampler that follows OpenTelemetry. With a salt it is another choice.
    #[serde(default)]
    pub hash_salt: String,
}

/// Traces with a span of one of these statuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusCodes {
    /// `ERROR`, `OK`, `UNSET`.
    pub status_codes: Vec<Status>,
}

/// Status of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It failed.
    Error,
    /// Somebody said that it is well.
    Ok,
    /// Nobody said anything.
    Unset,
}

/// Traces where a text attribute has one of these values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StringAttribute {
    /// The attribute.
    pub key: String,
    /// The values, or regular expressions that match anywhere in the value.
    pub values: Vec<String>,
    /// Default false.
    #[serde(default)]
    pub enabled_regex_matching: bool,
    /// Accepted and not needed: matching takes linear time and keeps no cache.
    #[serde(default)]
    pub cache_max_size: u64,
    /// Traces where no span and no resource has such a value. Default false. It only wants them; to refuse the others
    /// write a policy of type `drop`.
    #[serde(default)]
    pub invert_match: bool,
}

/// Traces where an attribute is this truth value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BooleanAttribute {
    /// The attribute.
    pub key: String,
    /// The value.
    pub value: bool,
    /// Traces where no span and no resource has that value. Default false.
    #[serde(default)]
    pub invert_match: bool,
}

/// Traces where a span's `tracestate` has a member with one of these values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceState {
    /// The member's key.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Spans a second, by a token bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimiting {
    /// The lasting rate.
    pub spans_per_second: u64,
    /// Spans at once after a pause. Default twice the rate. A trace with more spans never passes.
    #[serde(default)]
    pub burst_capacity: Option<u64>,
}

/// Bytes of spans a second, by a token bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BytesLimiting {
    /// The lasting rate.
    pub bytes_per_second: u64,
    /// Bytes at once after a pause. Default twice the rate. A larger trace never passes.
    #[serde(default)]
    pub burst_capacity: Option<u64>,
}

/// Traces with so many spans, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanCount {
    /// Default 0.
    #[serde(default)]
    pub min_spans: u32,
    /// Default 0, no bound.
    #[serde(default)]
    pub max_spans: u32,
}

/// What all of these want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AndSettings {
    /// Asked in this order, up to the first that does not want the trace.
    pub and_sub_policy: Vec<Policy>,
}

/// What this one does not want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotSettings {
    /// The policy.
    pub not_sub_policy: Box<Policy>,
}

/// Refuses what all of these want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropSettings {
    /// Asked in this order, up to the first that does not want the trace.
    pub drop_sub_policy: Vec<Policy>,
}

/// Policies that share a rate. The first in `policy_order` that wants a trace decides, by what is left of its own share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Composite {
    /// Spans in any one second of the clock, for all together.
    pub max_total_spans_per_second: u64,
    /// The names of all policies below, in the order in which they are asked.
    pub policy_order: Vec<String>,
    /// The policies.
    pub composite_sub_policy: Vec<Policy>,
    /// Shares of the total. Policies that are not named divide what is left equally.
    #[serde(default)]
    pub rate_allocation: Vec<RateAllocation>,
}

/// A share of a composite's rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateAllocation {
    /// The name of a policy of the composite.
    pub policy: String,
    /// From 0 to 100.
    pub percent: u64,
}

/// The first traces of each edge in each window, and of its failures apart, so that no call is without an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RareEdges {
    /// How many. Default 5. Traces that other policies kept count.
    pub min_traces: u32,
    /// The window. Default `10m`; windows begin at full multiples of it.
    pub per: HumanDuration,
}

impl Default for RareEdges {
    fn default() -> Self {
        Self {
            min_traces: 5,
            per: HumanDuration::from_secs(600),
        }
    }
}
