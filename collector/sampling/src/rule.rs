//! A policy, ready to be asked.
//!
//! In: a policy as it was written. Out: whether it wants a trace. What it remembers lies in the sampler's memory.
//! Left out on purpose: which policy decides, which is the sampler's business.

use crate::predicate::{Asked, SpanBits, bit_of, number_of};
use crate::sampler::TraceFacts;
use crate::settings::{Composite, Latency, Policy, PolicyType, Probabilistic};
use crate::state::{Bucket, Memory, Rare, Second};

/// Randomness has 56 bits (W3C Trace Context Level 2, OpenTelemetry "Probability Sampling").
const RANDOM_BITS: u32 = 56;

#[derive(Debug)]
pub(crate) enum Rule {
    Always,
    Never,
    Errors,
    Slow,
    /// Milliseconds, both ends included.
    Latency {
        least: u64,
        most: u64,
    },
    /// Some span has one of these bits.
    AnyBit(u64),
    /// No span has this bit.
    NoBit(u64),
    /// Randomness reaches this threshold.
    Share {
        threshold: u64,
        salt: Option<u64>,
    },
    Spans {
        least: u32,
        most: u32,
    },
    SpanRate(usize),
    ByteRate(usize),
    Rare(usize),
    And(Vec<Rule>),
    Not(Box<Rule>),
    Composite {
        second: usize,
        total: u64,
        parts: Vec<(Rule, u64)>,
    },
}

impl Rule {
    /// What `policy` says, its memory being added to `memory`. A policy that lacks its section wants nothing;
    /// [`crate::SamplingSettings::check`] reports it.
    pub(crate) fn of(policy: &Policy, all: &[Asked<'_>], memory: &mut Memory) -> Self {
        Self::read(policy, all, memory).unwrap_or(Self::Never)
    }

    fn read(policy: &Policy, all: &[Asked<'_>], memory: &mut Memory) -> Option<Self> {
        let bit = |asked: Asked<'_>, invert: bool| {
            let bit = 1 << number_of(all, &asked)?;
            Some(if invert {
                Self::NoBit(bit)
            } else {
                Self::AnyBit(bit)
            })
        };
        match policy.kind {
            PolicyType::AlwaysSample => Some(Self::Always),
            PolicyType::Errors => Some(Self::Errors),
            PolicyType::Slow => Some(Self::Slow),
            PolicyType::OttlCondition => None,
            PolicyType::RareEdges => {
                let rare = policy.rare_edges.clone().unwrap_or_default();
                let per = u64::try_from(rare.per.get().as_nanos()).unwrap_or(u64::MAX);
                memory.rare.push(Rare::new(rare.min_traces, per));
                Some(Self::Rare(memory.rare.len() - 1))
            }
            PolicyType::Latency => policy.latency.as_ref().map(Self::latency),
            PolicyType::Probabilistic => policy.probabilistic.as_ref().map(Self::share),
            PolicyType::NumericAttribute => {
                let number = policy.numeric_attribute.as_ref()?;
                bit(Asked::Number(number), number.invert_match)
            }
            PolicyType::StringAttribute => {
                let text = policy.string_attribute.as_ref()?;
                bit(Asked::Text(text), text.invert_match)
            }
            PolicyType::BooleanAttribute => {
                let flag = policy.boolean_attribute.as_ref()?;
                bit(Asked::Truth(flag), flag.invert_match)
            }
            PolicyType::TraceState => bit(Asked::State(policy.trace_state.as_ref()?), false),
            PolicyType::StatusCode => {
                let codes = &policy.status_code.as_ref()?.status_codes;
                Some(Self::AnyBit(
                    codes.iter().fold(0, |bits, code| bits | bit_of(*code)),
                ))
            }
            PolicyType::RateLimiting => {
                let rate = policy.rate_limiting.as_ref()?;
                Some(Self::SpanRate(
                    memory.bucket(rate.spans_per_second, rate.burst_capacity),
                ))
            }
            PolicyType::BytesLimiting => {
                let rate = policy.bytes_limiting.as_ref()?;
                Some(Self::ByteRate(
                    memory.bucket(rate.bytes_per_second, rate.burst_capacity),
                ))
            }
            PolicyType::SpanCount => {
                let count = policy.span_count.as_ref()?;
                let most = if count.max_spans == 0 {
                    u32::MAX
                } else {
                    count.max_spans
                };
                Some(Self::Spans {
                    least: count.min_spans,
                    most,
                })
            }
            PolicyType::And => Some(Self::all(&policy.and.as_ref()?.and_sub_policy, all, memory)),
            PolicyType::Drop => Some(Self::all(&policy.drop.as_ref()?.drop_sub_policy, all, memory)),
            PolicyType::Not => {
                let inner = &policy.not.as_ref()?.not_sub_policy;
                Some(Self::Not(Box::new(Self::of(inner, all, memory))))
            }
            PolicyType::Composite => Some(Self::composite(policy.composite.as_ref()?, all, memory)),
        }
    }

    fn all(policies: &[Policy], all: &[Asked<'_>], memory: &mut Memory) -> Self {
        if policies.is_empty() {
            return Self::Never;
        }
        Self::And(
            policies
                .iter()
                .map(|policy| Self::of(policy, all, memory))
                .collect(),
        )
    }

    fn latency(latency: &Latency) -> Self {
        let bounded = latency.upper_threshold_ms != 0;
        Self::Latency {
            least: latency.threshold_ms.saturating_add(u64::from(bounded)),
            most: if bounded {
                latency.upper_threshold_ms
            } else {
                u64::MAX
            },
        }
    }

    fn share(share: &Probabilistic) -> Self {
        let salt = Some(share.hash_salt.as_bytes()).filter(|salt| !salt.is_empty());
        let rejected = 1.0 - (share.sampling_percentage / 100.0).clamp(0.0, 1.0);
        let all = 1u64 << RANDOM_BITS;
        Self::Share {
            threshold: (rejected * all as f64).round() as u64,
            salt: salt.map(fnv),
        }
    }

    fn composite(composite: &Composite, all: &[Asked<'_>], memory: &mut Memory) -> Self {
        let total = composite.max_total_spans_per_second;
        let percent = |name: &str| {
            let mut shares = composite.rate_allocation.iter();
            shares
                .find(|share| share.policy == name)
                .map(|share| share.percent)
        };
        let order = &composite.policy_order;
        let named: u64 = order
            .iter()
            .filter_map(|name| percent(name))
            .fold(0, u64::saturating_add);
        let unnamed = order.iter().filter(|name| percent(name).is_none()).count() as u64;
        let share = |percent: u64| (u128::from(total) * u128::from(percent) / 100) as u64;
        let rest = total.saturating_sub(share(named.min(100))) / unnamed.max(1);
        let mut parts = Vec::new();
        for name in order {
            let found = composite
                .composite_sub_policy
                .iter()
                .find(|policy| policy.name == *name);
            let rule = found.map_or(Self::Never, |policy| Self::of(policy, all, memory));
            parts.push((
                rule,
                percent(name).map_or(rest, |percent| share(percent.min(100))),
            ));
        }
        memory.seconds.push(Second::new(parts.len()));
        Self::Composite {
            second: memory.seconds.len() - 1,
            total,
            parts,
        }
    }

    /// True where the policy wants the trace. What it spends for that is spent even if somebody else refuses the trace.
    pub(crate) fn wants(&self, trace: &TraceFacts<'_>, memory: &mut Memory, now: u64) -> bool {
        let SpanBits(bits) = trace.bits;
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Errors => trace.errors,
            Self::Slow => trace.slow,
            Self::Latency { least, most } => (*least..=*most).contains(&(trace.duration_nanos / 1_000_000)),
            Self::AnyBit(wanted) => bits & wanted != 0,
            Self::NoBit(unwanted) => bits & unwanted == 0,
            Self::Share { threshold, salt } => randomness(trace, *salt) >= *threshold,
            Self::Spans { least, most } => (*least..=*most).contains(&trace.spans),
            Self::SpanRate(at) => memory.take(*at, u64::from(trace.spans), now),
            Self::ByteRate(at) => memory.take(*at, trace.bytes, now),
            Self::Rare(at) => {
                let rare = memory.rare.get_mut(*at);
                rare.is_some_and(|rare| rare.wants(trace.edges, now))
            }
            Self::And(rules) => rules.iter().all(|rule| rule.wants(trace, memory, now)),
            Self::Not(rule) => !rule.wants(trace, memory, now),
            Self::Composite { second, total, parts } => {
                let wanted = parts.iter().position(|(rule, _)| rule.wants(trace, memory, now));
                let Some((part, (_, share))) = wanted.and_then(|part| Some((part, parts.get(part)?))) else {
                    return false;
                };
                let second = memory.seconds.get_mut(*second);
                second.is_some_and(|second| second.take(part, trace.spans.into(), *share, *total, now))
            }
        }
    }
}

impl Memory {
    fn bucket(&mut self, rate: u64, burst: Option<u64>) -> usize {
        self.buckets.push(Bucket::new(rate, burst));
        self.buckets.len() - 1
    }

    fn take(&mut self, bucket: usize, amount: u64, now: u64) -> bool {
        let bucket = self.buckets.get_mut(bucket);
        bucket.is_some_and(|bucket| bucket.take(amount, 0.0, now))
    }
}

/// 56 bits that are the same wherever the trace is judged.
fn randomness(trace: &TraceFacts<'_>, salt: Option<u64>) -> u64 {
    let mask = (1 << RANDOM_BITS) - 1;
    let id = u128::from_be_bytes(trace.trace_id);
    match salt {
        None => trace.randomness.unwrap_or(id as u64) & mask,
        Some(salt) => mix((id >> 64) as u64 ^ mix(id as u64 ^ salt)) & mask,
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Every bit of the number reaches every bit of the result (Vigna's splitmix64).
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
