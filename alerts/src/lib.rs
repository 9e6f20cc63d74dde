//! Alerts that name the culprit of a latency degradation, from the dependency map.
//!
//! In: the map and settings. Out: Prometheus rules, promtool tests for them, an Alertmanager configuration and a
//! runbook page for each alert, as paths and texts; the same as resources of the Prometheus operator; and [`merge`],
//! which puts the routes into somebody else's configuration. Pure: the same map and settings give the same bytes.
//! Left out on purpose: burn rates of failed requests.
//!
//! In the profile `live` the rule file does not depend on the map: topology, owners and reach are series of the collector, so nothing has to
//! be reloaded when services come and go. It reads these series (see [`map::catalogue`]):
//!
//! - the counters `tracemap_judged_total`, `tracemap_own_slow_total`, `tracemap_total_slow_total` and the two
//!   `…_expected_total`, and the same of failures. What has no calling span (edges from `user` and `unknown`) must not be judged:
//!   it would count as healthy. Edges from broker destinations are judged by the time that messages lay in the queue.
//! - `tracemap_critical_path_excess_seconds_total` and `tracemap_waited_seconds_total`: what users owe to a culprit.
//! - the info series of reach, entry points, owners and nodes, joined through `max by`, so that several collectors
//!   are one.
//!
//! In the profile `static` the topology is written into the rules, which read the series of a service graph alone.

mod alertmanager;
mod annotations;
mod faults;
mod inputs;
mod kubernetes;
mod merge;
mod onset;
mod planted;
mod prometheus;
mod promtool;
pub mod recorded;
mod rules;
mod runbooks;
mod settings;
mod templates;
mod topology;

use std::collections::BTreeMap;

use map::Map;

pub use alertmanager::{Unreachable, unreachable_owners};
pub use kubernetes::{ALERTMANAGER_CONFIG_PATH, PROMETHEUS_RULE_PATH};
pub use merge::{MergeError, PREFIX, merge};
pub use settings::{
    AlertSettings, KubernetesSettings, NotifySettings, Profile, ReceiverSettings, SlackSettings,
    StaticSettings, TicketHours,
};
pub use templates::TEMPLATES_PATH;

/// Where the rule file lies, below the output directory.
pub const RULES_PATH: &str = "alerts/rules/tracemap-latency.yaml";
/// Where the rules about failures lie, below the output directory. Not in the profile `static`.
pub const ERROR_RULES_PATH: &str = "alerts/rules/tracemap-errors.yaml";
/// Where the rules about stated objectives lie, below the output directory. Not in the profile `static`.
pub const BURN_RULES_PATH: &str = "alerts/rules/tracemap-burn.yaml";
/// Where the rules about tracemap itself lie, below the output directory. Not in the profile `static`.
pub const HEALTH_RULES_PATH: &str = "alerts/rules/tracemap-health.yaml";
/// Where the rule test lies. `promtool test rules` finds the rules from there.
pub const RULE_TEST_PATH: &str = "alerts/tests/tracemap-latency.test.yaml";
/// Where the Alertmanager configuration lies.
pub const ALERTMANAGER_PATH: &str = "alerts/alertmanager.yaml";

/// All files with their texts, by path below the output directory.
///
/// In the profile `live` only the rule tests, the Alertmanager routes and the runbooks depend on the map. Kubernetes'
/// resources are among them where the settings ask for them.
pub fn generate(map: &Map, settings: &AlertSettings) -> BTreeMap<String, String> {
    let topology = topology::Topology::new(map);
    let mut files = match settings.profile {
        Profile::Live => live_files(&topology, settings),
        Profile::Static => static_files(&topology, settings),
    };
    files.extend([
        (ALERTMANAGER_PATH.to_owned(), alertmanager::file(map, settings)),
        (TEMPLATES_PATH.to_owned(), templates::FILE.to_owned()),
    ]);
    if let Some(kubernetes) = &settings.notify.kubernetes {
        let rules = kubernetes::prometheus_rule(rule_groups(&topology, settings), kubernetes);
        let routes = kubernetes::alertmanager_config(map, settings, kubernetes);
        files.insert(PROMETHEUS_RULE_PATH.to_owned(), rules);
        files.insert(ALERTMANAGER_CONFIG_PATH.to_owned(), routes);
    }
    let runbooks = runbooks::pages(map);
    files.extend(runbooks.map(|(alert, page)| (format!("alerts/runbooks/{alert}.md"), page)));
    files
}

/// Rules and rule tests over the collector's series.
fn live_files(topology: &topology::Topology<'_>, settings: &AlertSettings) -> BTreeMap<String, String> {
    let mut files = planted::files(topology, settings);
    files.extend([
        (RULES_PATH.to_owned(), rule_file(settings)),
        (ERROR_RULES_PATH.to_owned(), error_file(settings)),
        (BURN_RULES_PATH.to_owned(), burn_file(settings)),
        (HEALTH_RULES_PATH.to_owned(), health_file(settings)),
        (RULE_TEST_PATH.to_owned(), promtool::node_file(topology, settings)),
    ]);
    files
}

/// Rules and the rule test over the series of a service graph.
fn static_files(topology: &topology::Topology<'_>, settings: &AlertSettings) -> BTreeMap<String, String> {
    let comment = rules::fixed::comment(topology, settings);
    let groups = rules::fixed::groups(topology, settings);
    let test = rules::fixed::planted::file(topology, settings);
    BTreeMap::from([
        (
            RULES_PATH.to_owned(),
            prometheus::to_yaml(&comment, &prometheus::RuleFile { groups }),
        ),
        (RULE_TEST_PATH.to_owned(), test),
    ])
}

fn rule_file(settings: &AlertSettings) -> String {
    let comment = "Latency degradation, charged to its culprit. Generated by tracemap; the same whatever the topology.\n\
        `alerts/tests` holds this file to faults planted in the map, with `promtool test rules`.";
    let groups = vec![rules::group(&rules::LATENCY, settings)];
    prometheus::to_yaml(comment, &prometheus::RuleFile { groups })
}

fn error_file(settings: &AlertSettings) -> String {
    let comment =
        "Failures, charged to their culprit. Generated by tracemap; the same whatever the topology.";
    let groups = vec![rules::group(&rules::ERRORS, settings)];
    prometheus::to_yaml(comment, &prometheus::RuleFile { groups })
}

fn burn_file(settings: &AlertSettings) -> String {
    let comment = "How fast the budgets of stated objectives are spent. Generated by tracemap; the same whatever the topology.\n\
        It reads what `tracemap-latency.yaml` records of culprits: load both.";
    let groups = vec![rules::burn::group(settings)];
    prometheus::to_yaml(comment, &prometheus::RuleFile { groups })
}

fn health_file(settings: &AlertSettings) -> String {
    let comment = "What tracemap itself loses, turns away or has stopped doing. Generated by tracemap; the same whatever the topology.";
    let groups = vec![rules::health::group(settings)];
    prometheus::to_yaml(comment, &prometheus::RuleFile { groups })
}

/// Every group of rules, for resources.
fn rule_groups(topology: &topology::Topology<'_>, settings: &AlertSettings) -> Vec<prometheus::Group> {
    match settings.profile {
        Profile::Live => vec![
            rules::group(&rules::LATENCY, settings),
            rules::group(&rules::ERRORS, settings),
            rules::burn::group(settings),
            rules::health::group(settings),
        ],
        Profile::Static => rules::fixed::groups(topology, settings),
    }
}
