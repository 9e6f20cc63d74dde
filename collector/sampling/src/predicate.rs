//! Conditions on attributes, asked once per attribute while spans are read.
//!
//! In: policies. Out: numbered conditions, and for every span the bits of those that it meets. The bits of a trace are
//! its spans' bits together, so no span has to be read again when the trace is judged.
//! Left out on purpose: lists within attributes, which no policy looks at.

use std::collections::BTreeSet;

use otlp::view::{StatusCode, Value};
use regex::RegexSet;

use crate::settings::{BooleanAttribute, NumericAttribute, Policy, Status, StringAttribute, TraceState};

/// The most conditions on attributes and `tracestate` that all policies may have together.
pub const MAX_CONDITIONS: usize = 61;

/// The conditions that a span, a resource or a trace meets. `|` joins them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SpanBits(pub u64);

impl SpanBits {
    /// Notes a span's status.
    pub fn note_status(&mut self, status: StatusCode) {
        self.0 |= bit_of(match status {
            StatusCode::Error => Status::Error,
            StatusCode::Ok => Status::Ok,
            StatusCode::Unset => Status::Unset,
        });
    }
}

impl std::ops::BitOr for SpanBits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for SpanBits {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The bit of a status, above those of the conditions.
pub(crate) fn bit_of(status: Status) -> u64 {
    match status {
        Status::Unset => 1 << 61,
        Status::Ok => 1 << 62,
        Status::Error => 1 << 63,
    }
}

/// The conditions of all policies.
#[derive(Clone, Debug, Default)]
pub struct Predicates {
    conditions: Vec<Condition>,
    attributes: Keys,
    states: Vec<(String, Vec<u8>)>,
}

/// Keys that some condition looks at, with the numbers of those.
#[derive(Clone, Debug, Default)]
struct Keys {
    /// By length and last byte: whether a key can be one of ours at all.
    filter: [u64; 4],
    keys: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Condition {
    Text(BTreeSet<String>),
    Pattern(RegexSet),
    Number(i64, i64),
    Truth(bool),
}

/// What tells one condition from another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    Text(&'a StringAttribute),
    Number(&'a NumericAttribute),
    Truth(&'a BooleanAttribute),
    State(&'a TraceState),
}

impl Asked<'_> {
    /// True where both are met by the same attributes; whether a match is inverted is the rule's business.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                (&a.key, &a.values, a.enabled_regex_matching) == (&b.key, &b.values, b.enabled_regex_matching)
            }
            (Self::Number(a), Self::Number(b)) => {
                (&a.key, a.min_value, a.max_value) == (&b.key, b.min_value, b.max_value)
            }
            (Self::Truth(a), Self::Truth(b)) => (&a.key, a.value) == (&b.key, b.value),
            (Self::State(a), Self::State(b)) => a == b,
            _ => false,
        }
    }
}

/// All conditions of `policies` and those within, each once, in the order of their first occurrence.
pub(crate) fn asked(policies: &[Policy]) -> Vec<Asked<'_>> {
    let mut all = Vec::new();
    collect(policies, &mut all);
    let mut distinct: Vec<Asked<'_>> = Vec::new();
    for asked in all {
        if !distinct.iter().any(|seen| seen.is(&asked)) {
            distinct.push(asked);
        }
    }
    distinct
}

fn collect<'a>(policies: &'a [Policy], all: &mut Vec<Asked<'a>>) {
    for policy in policies {
        all.extend(policy.string_attribute.as_ref().map(Asked::Text));
        all.extend(policy.numeric_attribute.as_ref().map(Asked::Number));
        all.extend(policy.boolean_attribute.as_ref().map(Asked::Truth));
        all.extend(policy.trace_state.as_ref().map(Asked::State));
        let and = policy.and.as_ref().map(|and| and.and_sub_policy.as_slice());
        let drop = policy.drop.as_ref().map(|drop| drop.drop_sub_policy.as_slice());
        let composite = policy
            .composite
            .as_ref()
            .map(|c| c.composite_sub_policy.as_slice());
        let not = policy
            .not
            .as_ref()
            .map(|not| std::slice::from_ref(&*not.not_sub_policy));
        for list in [and, drop, composite, not].into_iter().flatten() {
            collect(list, all);
        }
    }
}

/// The number of a condition among `all`.
pub(crate) fn number_of(all: &[Asked<'_>], asked: &Asked<'_>) -> Option<u8> {
    let at = all.iter().position(|seen| seen.is(asked))?;
    (at < MAX_CONDITIONS).then_some(at as u8)
}

impl Predicates {
    /// The conditions of `policies` and of those within. Conditions beyond [`MAX_CONDITIONS`] and patterns that are none
    /// are never met; [`crate::SamplingSettings::check`] reports both.
    pub fn compile(policies: &[Policy]) -> Self {
        let mut predicates = Self::default();
        for (number, asked) in asked(policies).iter().take(MAX_CONDITIONS).enumerate() {
            predicates.add(number as u8, asked);
        }
        predicates
    }

    /// How many different conditions there are.
    pub fn count(policies: &[Policy]) -> usize {
        asked(policies).len()
    }

    /// True where no attribute is of interest, so that none need be read.
    pub fn is_empty(&self) -> bool {
        self.attributes.keys.is_empty()
    }

    /// True where `tracestate` is of interest.
    pub fn wants_trace_state(&self) -> bool {
        !self.states.is_empty()
    }

    /// Notes which conditions an attribute of a span or of its resource meets.
    #[inline]
    pub fn note(&self, bits: &mut SpanBits, key: &str, value: Value<'_>) {
        if self.attributes.may_have(key) {
            self.note_known(bits, key, value);
        }
    }

    /// Notes which conditions a span's `tracestate` meets.
    pub fn note_trace_state(&self, bits: &mut SpanBits, trace_state: &str) {
        for (key, value) in trace_state
            .split(',')
            .filter_map(|member| member.trim().split_once('='))
        {
            for (_, numbers) in self.states.iter().filter(|(wanted, _)| wanted == key) {
                self.note_numbers(bits, numbers, Value::Str(value));
            }
        }
    }

    fn note_known(&self, bits: &mut SpanBits, key: &str, value: Value<'_>) {
        for (_, numbers) in self.attributes.keys.iter().filter(|(wanted, _)| wanted == key) {
            self.note_numbers(bits, numbers, value);
        }
    }

    fn note_numbers(&self, bits: &mut SpanBits, numbers: &[u8], value: Value<'_>) {
        for &number in numbers {
            let condition = self.conditions.get(usize::from(number));
            if condition.is_some_and(|condition| condition.is_met(value)) {
                bits.0 |= 1 << number;
            }
        }
    }

    fn add(&mut self, number: u8, asked: &Asked<'_>) {
        let condition = match asked {
            Asked::Text(text) if text.enabled_regex_matching => {
                Condition::Pattern(RegexSet::new(&text.values).unwrap_or_default())
            }
            Asked::Text(text) => Condition::Text(text.values.iter().cloned().collect()),
            Asked::Number(number) => Condition::Number(
                number.min_value.unwrap_or(i64::MIN),
                number.max_value.unwrap_or(i64::MAX),
            ),
            Asked::Truth(flag) => Condition::Truth(flag.value),
            Asked::State(state) => Condition::Text(state.values.iter().cloned().collect()),
        };
        self.conditions.push(condition);
        let (keys, key) = match asked {
            Asked::Text(text) => (&mut self.attributes.keys, &text.key),
            Asked::Number(number) => (&mut self.attributes.keys, &number.key),
            Asked::Truth(flag) => (&mut self.attributes.keys, &flag.key),
            Asked::State(state) => (&mut self.states, &state.key),
        };
        match keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, numbers)) => numbers.push(number),
            None => keys.push((key.clone(), vec![number])),
        }
        if !matches!(asked, Asked::State(_)) {
            self.attributes.admit(key);
        }
    }
}

impl Keys {
    #[inline]
    fn may_have(&self, key: &str) -> bool {
        let (word, bit) = place(key);
        self.filter.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn admit(&mut self, key: &str) {
        let (word, bit) = place(key);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= 1 << bit;
        }
    }
}

#[inline]
fn place(key: &str) -> (usize, u32) {
    let last = key.as_bytes().last().copied().unwrap_or(0);
    let mixed = last.wrapping_add((key.len() as u8).wrapping_mul(37));
    (usize::from(mixed >> 6), u32::from(mixed & 63))
}

impl Condition {
    fn is_met(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(wanted), Value::Str(text)) => wanted.contains(text),
            (Self::Pattern(patterns), Value::Str(text)) => patterns.is_match(text),
            (Self::Number(min, max), Value::Int(number)) => (*min..=*max).contains(&number),
            (Self::Number(min, max), Value::Double(number)) => (*min as f64..=*max as f64).contains(&number),
            (Self::Truth(wanted), Value::Bool(truth)) => *wanted == truth,
            _ => false,
        }
    }
}
