//! The profile `static` beside its own past: faults that last, few requests, two slow nodes at once, a slow edge.
//!
//! In: calls before and during a fault. Out: whom the generated rules page, as promtool evaluates them.
//! Left out on purpose: one fault at one node, which the generated tests plant.

mod peers;

use std::fmt::Write as _;

use alerts::{AlertSettings, Profile, RULES_PATH};
use peers::{map_of, run, written};

/// Samples, of 30 s, before the fault: as long as `static.learn` here, and a window.
const HEALTHY: usize = 40;
const SETTINGS: &str = "{static: {learn: 10m, history: 30m}}";
const MAP: &str = "edges: [{client: user, server: web}, {client: web, server: a}, {client: web, server: b}]";

/// Calls of an edge: requests between two samples, and milliseconds of client and server before the fault and during it.
struct Calls {
    ends: [&'static str; 2],
    requests: usize,
    client: [usize; 2],
    server: [usize; 2],
}

impl Calls {
    fn series(&self, slow: usize) -> String {
        let ([client, server], mut text) = (self.ends, String::new());
        for (side, milliseconds) in [("client", self.client), ("server", self.server)] {
            let name = format!("traces_service_graph_request_{side}_seconds");
            let labels = format!("{{client=\"{client}\",server=\"{server}\"}}");
            let rise = |phase: usize| (self.requests * milliseconds[phase]) as f64 / 1000.0;
            let begins = rise(0) * HEALTHY as f64;
            let all = HEALTHY + slow;
            let _ = write!(
                text,
                "  - series: '{name}_count{labels}'\n    values: '0+{}x{all}'\n  \
                 - series: '{name}_sum{labels}'\n    values: '0+{}x{HEALTHY} {}+{}x{}'\n",
                self.requests,
                rise(0),
                begins + rise(1),
                rise(1),
                slow - 1
            );
        }
        text
    }
}

/// Whom the rules page at these samples after the fault began.
fn check(settings: &str, calls: &[Calls], slow: usize, expected: &[(usize, &[&str])]) {
    check_map(MAP, settings, calls, slow, expected);
}

fn check_map(map: &str, settings: &str, calls: &[Calls], slow: usize, expected: &[(usize, &[&str])]) {
    let settings: AlertSettings = config::load("test.yaml", settings, []).expect("settings");
    let settings = AlertSettings {
        profile: Profile::Static,
        ..settings
    };
    let dir = written(&alerts::generate(&map_of(map), &settings));
    let series: String = calls.iter().map(|calls| calls.series(slow)).collect();
    let mut test = format!(
        "rule_files: [{RULES_PATH}]\nevaluation_interval: 30s\ntests:\n- interval: 30s\n  input_series:\n{series}  \
         promql_expr_test:\n"
    );
    for (at, culprits) in expected {
        let seconds = (HEALTHY + at) * 30;
        let samples: Vec<String> = culprits
            .iter()
            .map(|culprit| format!("{{labels: '{{culprit=\"{culprit}\"}}', value: 1}}"))
            .collect();
        let _ = writeln!(
            test,
            "  - expr: max by (culprit) (ALERTS{{alertstate=\"firing\",severity=\"page\"}})\n    \
             eval_time: {seconds}s\n    exp_samples: [{}]",
            samples.join(", ")
        );
    }
    std::fs::write(dir.path().join("past.test.yaml"), test).expect("a file");
    if let Err(told) = run("promtool", dir.path(), &["test", "rules", "past.test.yaml"]) {
        panic!("{told}");
    }
}

/// `web` waits for both; each is its own time and what it waits for.
fn calls(requests: [usize; 3], a: [usize; 2], b: [usize; 2]) -> [Calls; 3] {
    let [to_web, to_a, to_b] = requests;
    let mean = |phase: usize| 20 + (to_a * (a[phase] + 2) + to_b * (b[phase] + 2)) / to_web;
    let edge = |ends, requests, server: [usize; 2]| Calls {
        ends,
        requests,
        client: server.map(|milliseconds| milliseconds + 2),
        server,
    };
    [
        edge(["user", "web"], to_web, [mean(0), mean(1)]),
        edge(["web", "a"], to_a, a),
        edge(["web", "b"], to_b, b),
    ]
}

#[test]
fn a_fault_that_lasts_keeps_its_page_and_a_shift_that_stays_is_learned() {
    let slow = calls([60, 60, 60], [20, 500], [20, 20]);
    // Half an hour of history, of which ten minutes must be there, lasts for twenty; `keep_firing_for` is five more.
    check(
        SETTINGS,
        &slow,
        110,
        &[(0, &[]), (2, &["a"]), (38, &["a"]), (54, &[]), (110, &[])],
    );
}

#[test]
fn a_slow_node_that_few_requests_use_is_no_page_beside_the_one_that_slows_the_entry_point() {
    let both = calls([60, 60, 3], [20, 500], [20, 900]);
    check(SETTINGS, &both, 12, &[(12, &["a"])]);
    let alone = calls([60, 60, 3], [20, 20], [20, 900]);
    check(SETTINGS, &alone, 12, &[(12, &["b"])]);
}

#[test]
fn fewer_requests_than_can_convict_are_no_evidence() {
    let rare = calls([1, 1, 1], [20, 2000], [20, 20]);
    check(
        "{window: 3m, static: {learn: 10m, history: 30m}}",
        &rare,
        12,
        &[(12, &[])],
    );
    check(SETTINGS, &rare, 12, &[(12, &["a"])]);
}

#[test]
fn time_that_is_lost_between_two_services_is_charged_to_one_of_them() {
    let mut edge = calls([60, 60, 60], [20, 20], [20, 20]);
    edge[1].client[1] += 400;
    edge[0].server[1] += 400;
    edge[0].client[1] += 400;
    check(SETTINGS, &edge, 12, &[(0, &[]), (2, &["a"]), (12, &["a"])]);
}

#[test]
fn what_is_stated_is_judged_by_before_there_is_a_past_and_instead_of_it() {
    let stated = format!(
        "{MAP}\nservices: {{a: {{usual: {{own: 20ms}}}}, web: {{usual: {{own: 20ms, total: 64ms}}}}}}"
    );
    let unlearned = "{static: {learn: 1d, history: 2d}}";
    let slow = calls([60, 60, 60], [20, 500], [20, 20]);
    check(unlearned, &slow, 12, &[(12, &[])]);
    check_map(
        &stated,
        unlearned,
        &slow,
        12,
        &[(0, &[]), (2, &["a"]), (12, &["a"])],
    );
    // Slow from the first request on, which a past alone would take for usual.
    let always = calls([60, 60, 60], [500, 500], [20, 20]);
    check(SETTINGS, &always, 12, &[(12, &[])]);
    check_map(&stated, SETTINGS, &always, 12, &[(0, &["a"]), (12, &["a"])]);
}
