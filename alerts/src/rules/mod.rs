//! The rules, each in a file of its own, in the order in which Prometheus evaluates them.
//!
//! In: settings. Out: one rule group, the same whatever the topology, and that of stated objectives ([`burn`]). What is
//! about culprits stands in one group, because the
//! rules of a group are evaluated one after another at one time: each sees what those above it have just recorded.
//! Left out on purpose: what to slow requests; the collector judges each against its own operation. Requests without a
//! baseline are in none of the inputs, so they vote neither way.

mod baseline_missing;
pub(crate) mod burn;
mod culprit_evidence;
mod culprit_explained;
mod culprit_owner;
mod culprit_score;
mod culprit_slows;
mod degraded;
mod degraded_by_dependency;
mod degraded_no_user_impact;
mod edge_charged;
mod edge_suspect;
mod evidence;
mod expected_share;
mod judged;
mod ladder;
mod own_degraded;
mod slow_share;
mod total_degraded;
mod unexplained;

use map::catalogue;

use crate::annotations;
use crate::prometheus::{Alert, Group, Pairs, Recording, Rule, dedent, indent};
use crate::settings::AlertSettings;

pub(crate) use degraded::NAME as PAGE;
pub(crate) use degraded_by_dependency::NAME as SYMPTOM;
pub(crate) use degraded_no_user_impact::NAME as NO_USER_IMPACT;

/// Name of the group, and of the file that holds it.
pub(crate) const GROUP: &str = "tracemap-latency";

/// Nodes that are never a culprit, and whose side of an edge has no own time, as a regular expression. An edge
/// without a caller's name matches as well.
const NOBODY: &str = "|user|unknown";

/// What a person who reads the alert has to know; its runbook is made of this.
pub(crate) struct Story {
    /// Name of the alert.
    pub(crate) name: &'static str,
    /// What it means when it fires.
    pub(crate) meaning: &'static str,
    /// Why it is worth the notification it causes.
    pub(crate) at_night: &'static str,
    /// What to look at, in order.
    pub(crate) first: &'static [&'static str],
    /// What ends it, and what keeps it from firing.
    pub(crate) silenced_by: &'static str,
}

/// Every alert's story, in the order of the rule files.
pub(crate) const STORIES: [&Story; 8] = [
    &degraded::STORY,
    &degraded_by_dependency::STORY,
    &degraded_no_user_impact::STORY,
    &unexplained::STORY,
    &baseline_missing::STORY,
    &burn::fast::STORY,
    &burn::by_culprit::STORY,
    &burn::slowly::STORY,
];

/// All rules with these settings.
pub(crate) fn group(settings: &AlertSettings) -> Group {
    let mut rules = vec![Rule::Recording(judged::rule(settings))];
    for measure in [&OWN, &TOTAL] {
        rules.push(Rule::Recording(slow_share::rule(measure, settings)));
        rules.push(Rule::Recording(expected_share::rule(measure, settings)));
        rules.push(Rule::Recording(evidence::rule(measure)));
    }
    rules.extend(
        [
            own_degraded::rule(settings),
            total_degraded::rule(settings),
            edge_suspect::rule(),
            culprit_explained::rule(),
            culprit_score::rule(settings),
            edge_charged::rule(),
            culprit_evidence::rule(settings),
            culprit_slows::rule(),
            culprit_owner::rule(),
        ]
        .map(Rule::Recording),
    );
    rules.extend(
        [
            degraded::rule(settings),
            degraded_by_dependency::rule(settings),
            degraded_no_user_impact::rule(settings),
            unexplained::rule(settings),
            baseline_missing::rule(settings),
        ]
        .map(Rule::Alert),
    );
    Group {
        name: GROUP,
        interval: settings.evaluation_interval.as_prometheus(),
        rules,
    }
}

/// One of the two times that a request is judged by, with its series.
struct Measure {
    slow: &'static str,
    slow_expected: &'static str,
    share: &'static str,
    expected: &'static str,
    evidence: &'static str,
    /// Which entities are judged by it.
    selector: &'static str,
}

/// Own time, of services and edges.
const OWN: Measure = Measure {
    slow: catalogue::OWN_SLOW,
    slow_expected: catalogue::OWN_SLOW_EXPECTED,
    share: catalogue::RECORDED_OWN_SHARE,
    expected: catalogue::RECORDED_OWN_EXPECTED,
    evidence: catalogue::RECORDED_OWN_EVIDENCE,
    selector: "",
};

/// Total time, of services only: that is where users and callers feel it, and an edge's total is two other times.
const TOTAL: Measure = Measure {
    slow: catalogue::TOTAL_SLOW,
    slow_expected: catalogue::TOTAL_SLOW_EXPECTED,
    share: catalogue::RECORDED_TOTAL_SHARE,
    expected: catalogue::RECORDED_TOTAL_EXPECTED,
    evidence: catalogue::RECORDED_TOTAL_EVIDENCE,
    selector: r#"{kind="service"}"#,
};

fn recording(record: &'static str, expr: &str) -> Recording {
    Recording {
        record,
        expr: dedent(expr),
    }
}

/// An alert without annotations and without `keep_firing_for`; `severity` decides where it goes, `role` what it is.
fn alert(name: &'static str, expr: &str, hold: config::HumanDuration, severity: &str, role: &str) -> Alert {
    let labels = Pairs::from([("severity", severity.to_owned()), ("role", role.to_owned())]);
    Alert {
        name,
        expr: dedent(expr),
        hold: hold.as_prometheus(),
        keep_firing_for: None,
        labels,
        annotations: Pairs::new(),
    }
}

/// Edges under the label `culprit` of the node at one of their ends, the label `client` or `server`. The label `side`
/// keeps the two ends of a node apart that calls itself.
fn at_end(edges: &str, end: &str, side: &str) -> String {
    let named = format!("label_replace(\n  {edges},\n  \"culprit\", \"$1\", \"{end}\", \"(.+)\"\n)");
    format!(
        "label_replace(\n{},\n  \"side\", \"{side}\", \"\", \"\"\n)",
        indent(&named)
    )
}

/// The entry points, joined so that several collectors count once.
fn entry_points() -> String {
    format!("max by (id) ({})", catalogue::ENTRYPOINT_INFO)
}
