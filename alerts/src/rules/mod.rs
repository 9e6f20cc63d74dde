//! The rules, each in a file of its own, in the order in which Prometheus evaluates them.
//!
//! In: settings. Out: one rule group for latency and one for errors, the same whatever the topology, that of stated
//! objectives ([`burn`]) and that of tracemap itself ([`health`]). What is
//! about culprits stands in one group, because the
//! rules of a group are evaluated one after another at one time: each sees what those above it have just recorded.
//! Left out on purpose: what to slow requests; the collector judges each against its own operation. Requests without a
//! baseline are in none of the inputs, so they vote neither way.

mod bad_share;
mod baseline_missing;
pub(crate) mod burn;
mod culprit_evidence;
mod culprit_explained;
mod culprit_felt;
mod culprit_owner;
mod culprit_score;
mod culprit_slows;
mod degraded;
mod degraded_by_dependency;
mod degraded_no_user_impact;
mod edge_charged;
mod edge_suspect;
mod errors;
mod evidence;
mod expected_share;
pub(crate) mod fixed;
pub(crate) mod health;
mod judged;
mod ladder;
mod new_normal;
mod own_degraded;
mod own_over;
pub(crate) mod signal;
mod total_degraded;
mod unexplained;

use map::catalogue;

use crate::annotations;
use crate::prometheus::{Alert, Group, Pairs, Recording, Rule, dedent, indent};
use crate::settings::AlertSettings;

pub(crate) use signal::{ERRORS, LATENCY, Signal};

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
pub(crate) fn stories() -> impl Iterator<Item = &'static Story> {
    let health = health::ALL.iter().map(|health| &health.story);
    STORIES.into_iter().chain(health)
}

const STORIES: [&Story; 13] = [
    &degraded::STORY,
    &degraded_by_dependency::STORY,
    &degraded_no_user_impact::STORY,
    &unexplained::STORY,
    &baseline_missing::STORY,
    &new_normal::STORY,
    &errors::PAGE,
    &errors::SYMPTOM,
    &errors::NO_USER_IMPACT,
    &errors::UNEXPLAINED,
    &burn::fast::STORY,
    &burn::by_culprit::STORY,
    &burn::slowly::STORY,
];

/// All rules for a signal with these settings.
pub(crate) fn group(signal: &Signal, settings: &AlertSettings) -> Group {
    let mut recordings = vec![judged::rule(signal, settings)];
    for measure in [&signal.own, &signal.total] {
        recordings.extend([
            bad_share::rule(signal, measure, settings),
            expected_share::rule(signal, measure, settings),
            evidence::rule(signal, measure),
        ]);
    }
    recordings.extend([
        own_over::rule(signal, settings),
        own_degraded::rule(signal, settings),
        total_degraded::rule(signal, settings),
        edge_suspect::rule(signal),
        culprit_explained::rule(signal),
        culprit_score::rule(signal, settings),
        edge_charged::rule(signal),
        culprit_evidence::rule(signal, settings),
        culprit_slows::rule(signal),
    ]);
    recordings.extend(culprit_felt::rule(signal, settings));
    recordings.push(culprit_owner::rule(signal));
    let alerts = [
        degraded::rule(signal, settings),
        degraded_by_dependency::rule(signal, settings),
        degraded_no_user_impact::rule(signal, settings),
        unexplained::rule(signal, settings),
    ];
    // What no latency was learned of has no share of failures either, and one note is enough; a share of failures is no
    // normal that anybody would want.
    let of_baselines = [baseline_missing::rule(settings), new_normal::rule(settings)];
    let of_baselines = of_baselines.into_iter().filter(|_| signal.group == GROUP);
    let recordings = recordings.into_iter().map(Rule::Recording);
    Group {
        name: signal.group,
        interval: settings.evaluation_interval.as_prometheus(),
        rules: recordings
            .chain(alerts.into_iter().chain(of_baselines).map(Rule::Alert))
            .collect(),
    }
}

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

/// Culprits under their owners, those (`and`) or all but those (`unless`) that users wait for.
fn culprits(signal: &Signal, felt: &str, settings: &AlertSettings) -> String {
    let Signal {
        culprit,
        culprit_owner,
        ..
    } = signal;
    let waited_for = indent(&waited_for(signal, settings));
    let waited_for = waited_for.trim_start();
    format!(
        "(\n  {culprit}\n  {felt} on (culprit) {waited_for}\n)\n* on (culprit) group_left (team, tier) {culprit_owner}"
    )
}

/// Culprits that users wait for: an entry point is bad that waits for them; they are of some weight in its waiting; or they
/// keep messages waiting for a consumer that is an entry point of its own.
///
/// An entry point stays bad for a window, or a longer one, after its culprit is well again. What little somebody else is slow meanwhile is no reason
/// for it: only a culprit of some weight pages then.
fn waited_for(signal: &Signal, settings: &AlertSettings) -> String {
    let (entry_points, least) = (entry_points(), settings.min_user_delay);
    let window = ladder::aftermath(settings);
    let Signal {
        culprit,
        culprit_slows,
        edge_charged,
        ..
    } = signal;
    let slows = format!("{culprit_slows}\nand on (id) {entry_points}");
    let felt = signal.felt.map(|felt| {
        let edges = catalogue::EDGE_INFO;
        format!(
            "\nunless on (id) (\n  max_over_time({culprit_slows}[{window}])\n  \
             and on (culprit) max_over_time({felt}[{window}]) > {least}\n  unless on (culprit) {culprit}\n)\n\
             or on (culprit)\n{felt} > {least}\nor on (culprit)\n{edge_charged}\nand on (id) (\n  \
             max by (id, server) ({edges}{{connection_type=\"messaging_system\"}})\n  \
             and on (server) label_replace({entry_points}, \"server\", \"$1\", \"id\", \"(.+)\")\n)"
        )
    });
    format!("(\n{}\n)", indent(&(slows + &felt.unwrap_or_default())))
}

/// The entry points, joined so that several collectors count once.
fn entry_points() -> String {
    format!("max by (id) ({})", catalogue::ENTRYPOINT_INFO)
}
