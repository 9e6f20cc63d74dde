//! What is wrong with policies that the types allow.
//!
//! In: settings. Out: every problem at once, each with its key.
//! Left out on purpose: keys and types, which the `config` crate has checked before.

use std::collections::BTreeSet;

use config::Finding;

use crate::predicate::{MAX_CONDITIONS, Predicates};
use crate::settings::{Composite, Policy, PolicyType, SamplingSettings};

/// Policies within policies deeper than this help nobody.
const MAX_DEPTH: usize = 8;

impl SamplingSettings {
    /// Everything that the types allow and good sense does not. `path` is the key of these settings.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let mut check = Check::default();
        if self.policies.is_empty() {
            check.say(
                format!("{path}.policies"),
                "`policies` is empty, so that nothing would be kept",
                "leave it out for the defaults, or write one of type `always_sample`",
            );
        }
        if self.max_spans_per_second == Some(0) {
            check.say(
                format!("{path}.max_spans_per_second"),
                "`max_spans_per_second` is 0, so that nothing would be kept",
                "leave it out for no limit",
            );
        }
        check.policies(&self.policies, &format!("{path}.policies"), 0);
        let conditions = Predicates::count(&self.policies);
        if conditions > MAX_CONDITIONS {
            check.say(
                format!("{path}.policies"),
                &format!("`policies` has {conditions} different conditions on attributes and `tracestate`"),
                &format!("at most {MAX_CONDITIONS} are possible: join values of one key into one condition"),
            );
        }
        check.found
    }
}

#[derive(Default)]
struct Check {
    found: Vec<Finding>,
}

impl Check {
    fn say(&mut self, path: String, message: &str, hint: &str) {
        self.found.push(Finding {
            path,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        });
    }

    fn policies(&mut self, policies: &[Policy], path: &str, depth: usize) {
        let mut names = BTreeSet::new();
        for (i, policy) in policies.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if policy.name.is_empty() || !names.insert(policy.name.as_str()) {
                let message = format!("`name` is `{}`, which is empty or taken", policy.name);
                self.say(
                    format!("{path}.name"),
                    &message,
                    "give each policy a name of its own",
                );
            }
            self.policy(policy, &path, depth);
        }
    }

    fn policy(&mut self, policy: &Policy, path: &str, depth: usize) {
        let kind = policy.kind;
        if kind == PolicyType::OttlCondition || policy.ottl_condition.is_some() {
            self.say(
                format!("{path}.type"),
                "`type` is `ottl_condition`, but there is no OTTL here",
                "write the condition as `string_attribute`, `numeric_attribute`, `boolean_attribute` or `status_code`, joined by `and` and `not`",
            );
            return;
        }
        if depth > 0 && matches!(kind, PolicyType::Drop | PolicyType::Composite) {
            let message = format!("`type` is `{}` within another policy", kind.as_str());
            self.say(
                format!("{path}.type"),
                &message,
                "such a policy stands in `policies` itself",
            );
        }
        if depth > MAX_DEPTH {
            let message = format!("policies stand more than {MAX_DEPTH} deep in each other");
            self.say(path.to_owned(), &message, "say it with fewer");
            return;
        }
        self.sections(policy, path);
        self.values(policy, path);
        self.below(policy, path, depth);
    }

    /// Exactly the section of its type, if that has one.
    fn sections(&mut self, policy: &Policy, path: &str) {
        let sections = [
            (PolicyType::Latency, policy.latency.is_some()),
            (PolicyType::NumericAttribute, policy.numeric_attribute.is_some()),
            (PolicyType::Probabilistic, policy.probabilistic.is_some()),
            (PolicyType::StatusCode, policy.status_code.is_some()),
            (PolicyType::StringAttribute, policy.string_attribute.is_some()),
            (PolicyType::BooleanAttribute, policy.boolean_attribute.is_some()),
            (PolicyType::TraceState, policy.trace_state.is_some()),
            (PolicyType::RateLimiting, policy.rate_limiting.is_some()),
            (PolicyType::BytesLimiting, policy.bytes_limiting.is_some()),
            (PolicyType::SpanCount, policy.span_count.is_some()),
            (PolicyType::And, policy.and.is_some()),
            (PolicyType::Not, policy.not.is_some()),
            (PolicyType::Drop, policy.drop.is_some()),
            (PolicyType::Composite, policy.composite.is_some()),
            (PolicyType::RareEdges, policy.rare_edges.is_some()),
        ];
        for (kind, written) in sections {
            let name = kind.as_str();
            if written && kind != policy.kind {
                let message = format!("section `{name}` in a policy of type `{}`", policy.kind.as_str());
                let hint = format!("write `type: {name}`, or take the section out");
                self.say(format!("{path}.{name}"), &message, &hint);
            }
            if !written && kind == policy.kind && kind != PolicyType::RareEdges {
                let message = format!("section `{name}` is missing in a policy of that type");
                let hint = format!("write `{name}: {{…}}` beside `type`");
                self.say(format!("{path}.{name}"), &message, &hint);
            }
        }
    }

    fn values(&mut self, policy: &Policy, path: &str) {
        if let Some(latency) = &policy.latency {
            let (low, high) = (latency.threshold_ms, latency.upper_threshold_ms);
            if high != 0 && high <= low {
                let message = format!("`upper_threshold_ms` is {high} at a `threshold_ms` of {low}");
                let at = format!("{path}.latency.upper_threshold_ms");
                self.say(at, &message, "write more than that, or leave it out for no bound");
            }
        }
        if let Some(number) = &policy.numeric_attribute {
            self.key(&number.key, &format!("{path}.numeric_attribute"));
            let empty = number.min_value > number.max_value && number.max_value.is_some();
            if empty || number.min_value.or(number.max_value).is_none() {
                let message = "`min_value` and `max_value` leave no range, or none that ends";
                let at = format!("{path}.numeric_attribute.min_value");
                self.say(at, message, "write at least one, and the smaller as `min_value`");
            }
        }
        if let Some(share) = &policy.probabilistic {
            let percent = share.sampling_percentage;
            if !(0.0..=100.0).contains(&percent) {
                let message = format!("`sampling_percentage` is {percent}");
                let at = format!("{path}.probabilistic.sampling_percentage");
                self.say(
                    at,
                    &message,
                    "write a number from 0 to 100, such as 10 for a tenth",
                );
            }
        }
        if let Some(codes) = policy
            .status_code
            .as_ref()
            .filter(|codes| codes.status_codes.is_empty())
        {
            let _ = codes;
            let at = format!("{path}.status_code.status_codes");
            self.say(at, "`status_codes` is empty", "write such as `[ERROR]`");
        }
        if let Some(text) = &policy.string_attribute {
            let at = format!("{path}.string_attribute");
            self.key(&text.key, &at);
            self.some(&text.values, &at);
            if text.enabled_regex_matching {
                self.patterns(&text.values, &at);
            }
        }
        if let Some(flag) = &policy.boolean_attribute {
            self.key(&flag.key, &format!("{path}.boolean_attribute"));
        }
        if let Some(state) = &policy.trace_state {
            let at = format!("{path}.trace_state");
            self.key(&state.key, &at);
            self.some(&state.values, &at);
        }
        self.rates(policy, path);
        if let Some(count) = &policy.span_count
            && count.max_spans != 0
            && count.max_spans < count.min_spans
        {
            let message = format!(
                "`max_spans` is {} at a `min_spans` of {}",
                count.max_spans, count.min_spans
            );
            let at = format!("{path}.span_count.max_spans");
            self.say(at, &message, "write at least that, or leave it out for no bound");
        }
        if let Some(rare) = &policy.rare_edges
            && (rare.min_traces == 0 || rare.per.get().is_zero())
        {
            let message = format!("`min_traces` is {} per {}", rare.min_traces, rare.per);
            self.say(
                format!("{path}.rare_edges"),
                &message,
                "write such as `min_traces: 5` and `per: 10m`",
            );
        }
    }

    fn rates(&mut self, policy: &Policy, path: &str) {
        let spans = policy.rate_limiting.as_ref();
        let bytes = policy.bytes_limiting.as_ref();
        for (at, rate, burst) in [
            (
                "rate_limiting.spans_per_second",
                spans.map(|s| s.spans_per_second),
                spans.and_then(|s| s.burst_capacity),
            ),
            (
                "bytes_limiting.bytes_per_second",
                bytes.map(|b| b.bytes_per_second),
                bytes.and_then(|b| b.burst_capacity),
            ),
        ] {
            if rate == Some(0) || burst == Some(0) {
                let message = "a rate or burst of 0 lets nothing pass";
                self.say(
                    format!("{path}.{at}"),
                    message,
                    "write more than 0, or leave the policy out",
                );
            }
        }
    }

    fn key(&mut self, key: &str, path: &str) {
        if key.is_empty() {
            self.say(
                format!("{path}.key"),
                "`key` is empty",
                "write the attribute's name, such as `http.route`",
            );
        }
    }

    fn some(&mut self, values: &[String], path: &str) {
        if values.is_empty() {
            self.say(
                format!("{path}.values"),
                "`values` is empty",
                "write at least one",
            );
        }
    }

    fn patterns(&mut self, values: &[String], path: &str) {
        for (i, value) in values.iter().enumerate() {
            if let Err(error) = regex::Regex::new(value) {
                let reason = error.to_string();
                let reason = reason
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                let message = format!("`values[{i}]` is `{value}`, which is no regular expression: {reason}");
                self.say(
                    format!("{path}.values[{i}]"),
                    &message,
                    "write such as `^/health`",
                );
            }
        }
    }

    fn below(&mut self, policy: &Policy, path: &str, depth: usize) {
        let lists = [
            (
                "and.and_sub_policy",
                policy.and.as_ref().map(|and| &and.and_sub_policy),
            ),
            (
                "drop.drop_sub_policy",
                policy.drop.as_ref().map(|drop| &drop.drop_sub_policy),
            ),
            (
                "composite.composite_sub_policy",
                policy.composite.as_ref().map(|c| &c.composite_sub_policy),
            ),
        ];
        for (key, list) in lists {
            let Some(list) = list else { continue };
            let path = format!("{path}.{key}");
            if list.is_empty() {
                self.say(path.clone(), "there is no policy in it", "write at least one");
            }
            self.policies(list, &path, depth + 1);
        }
        if let Some(not) = &policy.not {
            self.policy(
                &not.not_sub_policy,
                &format!("{path}.not.not_sub_policy"),
                depth + 1,
            );
        }
        if let Some(composite) = &policy.composite {
            self.composite(composite, &format!("{path}.composite"));
        }
    }

    fn composite(&mut self, composite: &Composite, path: &str) {
        let names: BTreeSet<&str> = composite
            .composite_sub_policy
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        let order: BTreeSet<&str> = composite.policy_order.iter().map(String::as_str).collect();
        if composite.max_total_spans_per_second == 0 {
            let at = format!("{path}.max_total_spans_per_second");
            self.say(at, "`max_total_spans_per_second` is 0", "write more than 0");
        }
        if names != order || order.len() != composite.policy_order.len() {
            let names: Vec<&str> = names.iter().copied().collect();
            let message = format!("`policy_order` is not each of `{}` once", names.join("`, `"));
            self.say(
                format!("{path}.policy_order"),
                &message,
                "name every policy of the composite once",
            );
        }
        let mut sum = 0u64;
        for (i, share) in composite.rate_allocation.iter().enumerate() {
            sum = sum.saturating_add(share.percent);
            if !names.contains(share.policy.as_str()) {
                let message = format!(
                    "`policy` is `{}`, which the composite does not have",
                    share.policy
                );
                self.say(
                    format!("{path}.rate_allocation[{i}].policy"),
                    &message,
                    "write a name of `policy_order`",
                );
            }
        }
        if sum > 100 {
            let message = format!("the shares in `rate_allocation` add up to {sum} %");
            self.say(
                format!("{path}.rate_allocation"),
                &message,
                "write at most 100 % together",
            );
        }
    }
}
