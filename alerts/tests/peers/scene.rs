//! Scenes for hand-written rule tests: a map, what becomes slow in it, and which alerts must fire when.
//!
//! In: calls, counts and alerts as short text. Out: a rule test that promtool has run against the generated rules.
//! The fault lasts from minute 10 to minute 30. What a scene does not speak of is healthy: every service and every
//! edge with a calling span has 60 judged requests in 30 seconds, of which 3 are expected to be slow and 3 are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use map::catalogue as names;

use super::{generated, map_of, run, written};

/// Samples until the fault begins; a sample every 30 seconds.
const HEALTHY: u32 = 20;
/// Samples while the fault lasts.
const FAULTY: u32 = 40;
/// Samples after the fault.
const RECOVERED: u32 = 40;
/// Requests of an entity between two samples.
const REQUESTS: f64 = 60.0;
/// The usual expected share.
const EXPECTED_SHARE: f64 = 0.05;

/// Requests between two samples before and after the fault, and during it.
type Rates = (f64, f64);

/// A map with its counters, and what is expected of it.
pub(crate) struct Scene {
    info: BTreeMap<String, String>,
    counters: BTreeMap<(String, &'static str), Rates>,
    extra: Vec<(String, String)>,
    checks: Vec<String>,
    alerts: Vec<String>,
    collectors: u32,
    rules: &'static str,
}

impl Scene {
    /// A scene of calls such as `user->web web->cart cart~>cart-db`; `~>` leads to a database.
    pub(crate) fn of(calls: &str) -> Self {
        let mut edges = String::new();
        for call in calls.split_whitespace() {
            let (client, server, kind) = match (call.split_once("->"), call.split_once("~>")) {
                (Some((client, server)), _) => (client, server, ""),
                (None, Some((client, server))) => (client, server, ", connection_type: database"),
                (None, None) => panic!("`{call}` is no call"),
            };
            let _ = writeln!(edges, "- {{client: {client}, server: {server}{kind}}}");
        }
        let map = map_of(&format!(
            "edges:\n{edges}services: {{gw: {{team: front, tier: 1}}, basic: {{team: rail, tier: 2}}}}"
        ));
        let mut scene = Self {
            info: BTreeMap::new(),
            counters: BTreeMap::new(),
            extra: Vec::new(),
            checks: Vec::new(),
            alerts: Vec::new(),
            collectors: 1,
            rules: "../rules/tracemap-latency.yaml",
        };
        scene.describe(&map);
        scene
    }

    fn describe(&mut self, map: &map::Map) {
        for pair in map::reach::reach(map, usize::MAX).0 {
            let labels = format!(
                "id=\"{}\",culprit=\"{}\",hops=\"{}\"",
                pair.id, pair.culprit, pair.hops
            );
            self.info
                .insert(format!("{}{{{labels}", names::REACH_INFO), String::new());
        }
        for id in map.entry_points() {
            self.info
                .insert(format!("{}{{id=\"{id}\"", names::ENTRYPOINT_INFO), String::new());
        }
        for (id, node) in &map.nodes {
            let owner = map.owner(id);
            let labels = format!("id=\"{id}\",team=\"{}\",tier=\"{}\"", owner.team, owner.tier);
            self.info
                .insert(format!("{}{{{labels}", names::OWNER_INFO), String::new());
            self.info.insert(
                format!("{}{{id=\"{id}\",kind=\"{}\"", names::NODE_INFO, node.kind),
                String::new(),
            );
            if node.kind == map::NodeKind::Service {
                self.healthy(id.as_str());
            }
        }
        for key in map
            .edges
            .keys()
            .filter(|key| map.kind(&key.client) == map::NodeKind::Service)
        {
            self.healthy(&map.edge_id(key));
        }
    }

    fn healthy(&mut self, id: &str) {
        let slow = REQUESTS * EXPECTED_SHARE;
        self.counters
            .insert((id.to_owned(), names::JUDGED), (REQUESTS, REQUESTS));
        self.counters
            .insert((id.to_owned(), names::OWN_SLOW), (slow, slow));
        self.counters
            .insert((id.to_owned(), names::OWN_SLOW_EXPECTED), (slow, slow));
        self.counters
            .insert((id.to_owned(), names::TOTAL_SLOW), (slow, slow));
        self.counters
            .insert((id.to_owned(), names::TOTAL_SLOW_EXPECTED), (slow, slow));
    }

    /// Requests of an entity between two samples, before and during the fault; as many are slow as expected.
    pub(crate) fn judged(mut self, id: &str, rates: Rates) -> Self {
        let slow = (rates.0 * EXPECTED_SHARE, rates.1 * EXPECTED_SHARE);
        for counter in [
            names::OWN_SLOW,
            names::OWN_SLOW_EXPECTED,
            names::TOTAL_SLOW,
            names::TOTAL_SLOW_EXPECTED,
        ] {
            self = self.count(counter, id, slow);
        }
        self.count(names::JUDGED, id, rates)
    }

    /// Requests whose own time is slow.
    pub(crate) fn own_slow(self, id: &str, rates: Rates) -> Self {
        self.count(names::OWN_SLOW, id, rates)
    }

    /// Requests whose total time is slow.
    pub(crate) fn total_slow(self, id: &str, rates: Rates) -> Self {
        self.count(names::TOTAL_SLOW, id, rates)
    }

    /// Any counter of an entity.
    pub(crate) fn count(mut self, counter: &'static str, id: &str, rates: Rates) -> Self {
        self.counters.insert((id.to_owned(), counter), rates);
        self
    }

    /// A series as it stands.
    pub(crate) fn series(mut self, series: &str, values: &str) -> Self {
        self.extra.push((series.to_owned(), values.to_owned()));
        self
    }

    /// Leaves out the info series that begin so.
    pub(crate) fn without(mut self, prefix: &str) -> Self {
        let before = self.info.len();
        self.info.retain(|series, _| !series.starts_with(prefix));
        assert!(self.info.len() < before, "no info series begins with {prefix}");
        self
    }

    /// The rules about failures are loaded as well.
    pub(crate) fn with_errors(mut self) -> Self {
        self.rules = "../rules/tracemap-latency.yaml, ../rules/tracemap-errors.yaml";
        self
    }

    /// So many collectors say the same of the map; each has counted its share of the requests.
    pub(crate) fn collectors(mut self, count: u32) -> Self {
        self.collectors = count;
        self
    }

    /// The alerts that fire at a time, whatever their names, each as `LatencyDegraded culprit=basic team=rail`.
    pub(crate) fn fires(self, at: &str, alerts: &[&str]) -> Self {
        self.expect(at, "ALERTS{alertstate=\"firing\"}", alerts)
    }

    /// The alerts that page at a time; symptoms and tickets may fire beside them.
    pub(crate) fn pages(self, at: &str, alerts: &[&str]) -> Self {
        self.expect(at, "ALERTS{alertstate=\"firing\",severity=\"page\"}", alerts)
    }

    /// An expression that finds nothing at a time.
    pub(crate) fn expect_nothing(self, at: &str, expr: &str) -> Self {
        self.expect(at, expr, &[])
    }

    fn expect(mut self, at: &str, expr: &str, alerts: &[&str]) -> Self {
        let samples: Vec<String> = alerts
            .iter()
            .map(|alert| format!("{{labels: '{}', value: 1}}", full(alert)))
            .collect();
        let samples = samples.join(", ");
        self.checks.push(format!(
            "  - {{expr: '{expr}', eval_time: {at}, exp_samples: [{samples}]}}"
        ));
        self
    }

    /// How many alerts of a name fire at a time, whatever their labels.
    pub(crate) fn counts(mut self, at: &str, alert: &str, count: u32) -> Self {
        let expr = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        self.checks.push(format!(
            "  - {{expr: '{expr}', eval_time: {at}, exp_samples: [{{value: {count}}}]}}"
        ));
        self
    }

    /// An alert with everything it says.
    pub(crate) fn annotated(mut self, at: &str, alert: &str, annotations: &[(&str, &str)]) -> Self {
        let name = alert.split(' ').next().unwrap_or_default();
        let labels = full(alert).replace(
            &format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\","),
            "{",
        );
        let labels = labels.replace("=\"", ": \"");
        let said: Vec<String> = annotations
            .iter()
            .map(|(key, text)| format!("{key}: \"{text}\""))
            .collect();
        let said = said.join(", ");
        self.alerts.push(format!(
            "  - {{alertname: {name}, eval_time: {at}, exp_alerts: [{{exp_labels: {labels}, exp_annotations: {{{said}}}}}]}}"
        ));
        self
    }

    /// Has promtool run the scene.
    pub(crate) fn run(self) {
        Self::run_text(self.text());
    }

    /// The same, and once more with failures in place of slow requests: they are charged by the same rules.
    pub(crate) fn run_for_both_signals(self) {
        let text = self.text();
        let of_failures = [
            ("tracemap-latency.yaml", "tracemap-errors.yaml"),
            (names::OWN_SLOW_EXPECTED, names::OWN_FAILED_EXPECTED),
            (names::TOTAL_SLOW_EXPECTED, names::JUDGED_FAILED_EXPECTED),
            (names::OWN_SLOW, names::OWN_FAILED),
            (names::TOTAL_SLOW, names::JUDGED_FAILED),
            ("\"Latency", "\"Errors"),
        ];
        let failing = of_failures
            .iter()
            .fold(text.clone(), |text, (slow, failed)| text.replace(slow, failed));
        Self::run_text(text);
        Self::run_text(failing);
    }

    fn run_text(text: String) {
        let mut files = generated(super::SHOP);
        files.insert("alerts/tests/scene.test.yaml".to_owned(), text);
        let dir = written(&files);
        let said = run(
            "promtool",
            dir.path(),
            &["test", "rules", "alerts/tests/scene.test.yaml"],
        );
        assert!(said.is_ok(), "{}", said.unwrap_err());
    }

    fn text(&self) -> String {
        let mut text = format!(
            "rule_files: [{}]\nevaluation_interval: 30s\ntests:\n- interval: 30s\n  input_series:\n",
            self.rules
        );
        let mut say = |series: &str, values: &str| {
            let _ = writeln!(text, "  - {{series: '{series}', values: '{values}'}}");
        };
        let samples = HEALTHY + FAULTY + RECOVERED;
        for instance in 0..self.collectors {
            for series in self.info.keys() {
                say(
                    &format!("{series},instance=\"{instance}\"}}"),
                    &format!("1x{samples}"),
                );
            }
            for ((id, counter), rates) in &self.counters {
                let labels = match id.split_once("->") {
                    Some((client, server)) => {
                        format!("kind=\"edge\",client=\"{client}\",server=\"{server}\"")
                    }
                    None => "kind=\"service\"".to_owned(),
                };
                let series = format!("{counter}{{id=\"{id}\",{labels},instance=\"{instance}\"}}");
                say(&series, &rising(*rates, f64::from(self.collectors)));
            }
        }
        for (series, values) in &self.extra {
            say(series, values);
        }
        for (key, checks) in [
            ("promql_expr_test", &self.checks),
            ("alert_rule_test", &self.alerts),
        ] {
            if !checks.is_empty() {
                let _ = writeln!(text, "  {key}:\n{}", checks.join("\n"));
            }
        }
        text
    }
}

fn rising((healthy, faulty): Rates, parts: f64) -> String {
    let (healthy, faulty) = (healthy / parts, faulty / parts);
    let fault = healthy * f64::from(HEALTHY);
    let recovery = fault + faulty * f64::from(FAULTY);
    format!(
        "0+{healthy}x{HEALTHY} {}+{faulty}x{} {}+{healthy}x{}",
        fault + faulty,
        FAULTY - 1,
        recovery + healthy,
        RECOVERED - 1
    )
}

/// An alert with the labels that follow from its name.
fn full(alert: &str) -> String {
    let (name, labels) = alert.split_once(' ').unwrap_or((alert, ""));
    let (severity, role) = match name {
        "LatencyDegraded" | "ErrorsDegraded" => ("page", "culprit"),
        "LatencyDegradedNoUserImpact" => ("ticket", "culprit"),
        "LatencyDegradedByDependency" => ("info", "symptom"),
        "LatencyUnexplained" => ("ticket", "unexplained"),
        "LatencyBaselineMissing" => ("info", "meta"),
        "LatencyNewNormal" => ("ticket", "new_normal"),
        _ => panic!("`{name}` is no alert"),
    };
    let mut text =
        format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\",severity=\"{severity}\",role=\"{role}\"");
    for (label, value) in labels
        .split_whitespace()
        .filter_map(|label| label.split_once('='))
    {
        let _ = write!(text, ",{label}=\"{value}\"");
    }
    text + "}"
}
