//! Settings of the plan, as the operator writes them.
//!
//! In: the `plan` part of `generate`. Out: [`PlanSettings`], and what is wrong with it.
//! Left out on purpose: what people pin; that stands with the service, in `services:`.

use std::collections::BTreeMap;

use config::{ByteSize, Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What tracing may cost, and what must be kept whatever it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSettings {
    /// What all spans together may cost. Default: no bound, and everything is traced but for what people pin.
    pub budget: Budget,
    /// What the spans of one team's services may cost besides, by the team of `services:`. Default: none.
    pub teams: BTreeMap<String, Budget>,
    /// Traces that are kept of each edge an hour, and of its failures; all, where there are fewer. Default 20. Failures yield to the
    /// budget first, then everything alike.
    pub min_traces: u32,
    /// Requests of each operation that alerts must be able to judge in five minutes; all, where there are fewer. Default 60.
    pub min_judged: u32,
    /// What a span costs, in bytes before compression, where nobody has measured it. Default 700, as the spans of SDKs are in the mean. A
    /// collector measures its own.
    pub span_bytes: ByteSize,
    /// What a span costs agent and collector together, in microseconds of CPU. Default 30, about twice what they take on our machine
    /// (`docs/proofs/engine.md`).
    pub span_cpu_micros: f64,
    /// An edge that was first seen so recently weighs more. Default `24h`.
    pub new_for: HumanDuration,
    /// Calls of one visit from which on a leaf counts as chatty and is only counted where it gets no spans. Default 8.
    pub chatty_calls: f64,
    /// How often a collector looks at the plan again. Default `15s`. Agents ask as often as `agent.plan.interval` says.
    pub interval: HumanDuration,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            teams: BTreeMap::new(),
            min_traces: 20,
            min_judged: 60,
            span_bytes: ByteSize(700),
            span_cpu_micros: 30.0,
            new_for: HumanDuration::from_secs(24 * 3600),
            chatty_calls: 8.0,
            interval: HumanDuration::from_secs(15),
        }
    }
}

/// What spans may cost; the tightest of those that are stated counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Spans a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans_per_second: Option<f64>,
    /// Bytes of spans a day before compression, for example `10GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<ByteSize>,
    /// Share of one CPU core that agents and collector together may take for spans, for example `0.05`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;

impl Budget {
    /// Spans a second; infinite where nothing is stated.
    pub fn spans_per_second(&self, settings: &PlanSettings, span_bytes: f64) -> f64 {
        let bytes = self
            .bytes_per_day
            .map(|bytes| bytes.0 as f64 / DAY / span_bytes.max(1.0));
        let cpu = self.cpu.map(|cores| cores * 1e6 / settings.span_cpu_micros);
        [self.spans_per_second, bytes, cpu]
            .into_iter()
            .flatten()
            .fold(f64::INFINITY, f64::min)
    }

    /// What is stated, in words.
    pub fn in_words(&self) -> String {
        let spans = self.spans_per_second.map(|spans| format!("{spans} spans/s"));
        let bytes = self.bytes_per_day.map(|bytes| format!("{bytes} a day"));
        let cpu = self.cpu.map(|cores| format!("{cores} CPU"));
        let stated: Vec<String> = [spans, bytes, cpu].into_iter().flatten().collect();
        if stated.is_empty() {
            "no bound".to_owned()
        } else {
            stated.join(", ")
        }
    }
}

/// What no plan can fulfil, whatever the map. Keys are below `prefix`.
pub fn problems(settings: &PlanSettings, prefix: &str) -> Vec<Finding> {
    let mut found = budget_problems(&settings.budget, &format!("{prefix}.budget"));
    let system = settings
        .budget
        .spans_per_second(settings, settings.span_bytes.0 as f64);
    for (team, budget) in &settings.teams {
        let path = format!("{prefix}.teams.{team}");
        found.extend(budget_problems(budget, &path));
        let of_team = budget.spans_per_second(settings, settings.span_bytes.0 as f64);
        if of_team.is_finite() && of_team > system {
            found.push(Finding {
                path,
                message: format!(
                    "the budget of team `{team}`, {of_team:.1} spans/s, is above that of the whole system, {system:.1} spans/s"
                ),
                hint: Some("lower it, or raise `budget`".to_owned()),
            });
        }
    }
    let above_zero = [
        ("span_cpu_micros", settings.span_cpu_micros),
        ("chatty_calls", settings.chatty_calls),
        ("span_bytes", settings.span_bytes.0 as f64),
    ];
    for (key, value) in above_zero {
        if !(value > 0.0 && value.is_finite()) {
            found.push(Finding {
                path: format!("{prefix}.{key}"),
                message: format!("`{key}` is {value}, but it must be above 0"),
                hint: None,
            });
        }
    }
    if settings.interval.get() < std::time::Duration::from_secs(1) {
        found.push(Finding {
            path: format!("{prefix}.interval"),
            message: format!(
                "`interval` is `{}`, but it must be at least `1s`",
                settings.interval
            ),
            hint: None,
        });
    }
    found
}

fn budget_problems(budget: &Budget, path: &str) -> Vec<Finding> {
    let stated = [
        ("spans_per_second", budget.spans_per_second),
        ("bytes_per_day", budget.bytes_per_day.map(|bytes| bytes.0 as f64)),
        ("cpu", budget.cpu),
    ];
    let wrong = stated
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .filter(|(_, value)| !(*value > 0.0 && value.is_finite()));
    let finding = |(key, value): (&str, f64)| Finding {
        path: format!("{path}.{key}"),
        message: format!("`{key}` is {value}, but nothing can be traced for that"),
        hint: Some("write a number above 0, or take it out for no bound".to_owned()),
    };
    wrong.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_budget_counts() {
        let settings = PlanSettings::default();
        let budget = Budget {
            spans_per_second: Some(1_000.0),
            bytes_per_day: Some(ByteSize(700 * 86_400 * 50)),
            cpu: Some(0.03),
        };
        assert!((budget.spans_per_second(&settings, 700.0) - 50.0).abs() < 1e-9);
        let budget = Budget {
            bytes_per_day: None,
            ..budget
        };
        assert!((budget.spans_per_second(&settings, 700.0) - 1_000.0).abs() < 1e-9);
        assert!(Budget::default().spans_per_second(&settings, 700.0).is_infinite());
    }

    #[test]
    fn a_budget_that_no_plan_can_keep_is_refused_with_its_key() {
        let mut settings = PlanSettings::default();
        settings.budget.spans_per_second = Some(0.0);
        settings.budget.cpu = Some(-1.0);
        let of_team = Budget {
            spans_per_second: Some(f64::NAN),
            ..Budget::default()
        };
        settings.teams.insert("shop".to_owned(), of_team);
        settings.chatty_calls = 0.0;
        let found: Vec<String> = problems(&settings, "generate.plan")
            .into_iter()
            .map(|f| f.path)
            .collect();
        assert_eq!(
            found,
            [
                "generate.plan.budget.spans_per_second",
                "generate.plan.budget.cpu",
                "generate.plan.teams.shop.spans_per_second",
                "generate.plan.chatty_calls"
            ]
        );
        let mut settings = PlanSettings::default();
        settings.budget.spans_per_second = Some(10.0);
        let of_team = Budget {
            spans_per_second: Some(20.0),
            ..Budget::default()
        };
        settings.teams.insert("shop".to_owned(), of_team);
        let found = problems(&settings, "generate.plan");
        assert!(
            found[0].message.contains("above that of the whole system"),
            "{found:?}"
        );
    }
}
