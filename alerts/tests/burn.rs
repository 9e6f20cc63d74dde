//! When a stated objective pages, when it is a ticket, and when it stays silent: series that promtool evaluates with the
//! generated rules.
//!
//! In: requests and good ones of a service each minute, and what must fire when. Out: what promtool says.
//! Left out on purpose: how an objective's good requests are counted; that is the collector's.

mod peers;

use std::fmt::Write as _;

use alerts::{AlertSettings, BURN_RULES_PATH};
use expect_test::expect_file;
use peers::{SHOP, generated, map_of, run, written};

const FAST: &str = r#"{alertname="LatencyBudgetBurnsFast",alertstate="firing",culprit="web",id="web",role="culprit",severity="page",team="web",tier="1"}"#;
const SLOWLY: &str = r#"{alertname="LatencyBudgetBurnsSlowly",alertstate="firing",culprit="web",id="web",role="culprit",severity="ticket",team="web",tier="1"}"#;

/// Counters of a service with a target of 99 %, and what is expected of them.
struct Scene {
    interval: &'static str,
    series: Vec<(String, String)>,
    checks: Vec<String>,
    /// Whether what the rules about culprits say is expected too.
    culprits: bool,
}

/// So many minutes, or other steps, with so many requests each, of which so many are late.
type Phase = (u32, f64, f64);

impl Scene {
    fn of(interval: &'static str) -> Self {
        let stated = |name: &str, value: &str, labels: &str| {
            (format!("{name}{{id=\"web\"{labels}}}"), value.to_owned())
        };
        let objective = ",latency=\"300ms\",window=\"30d\"";
        Self {
            interval,
            series: vec![
                stated("tracemap_objective_target", "0.99x9000", objective),
                stated("tracemap_owner_info", "1x9000", ",team=\"web\",tier=\"1\""),
            ],
            checks: Vec::new(),
            culprits: false,
        }
    }

    /// Requests of the service, and how many of them are late.
    fn requests(mut self, phases: &[Phase]) -> Self {
        let service = "{id=\"web\",kind=\"service\"}";
        let good = "tracemap_objective_good_total{id=\"web\",latency=\"300ms\",window=\"30d\"}";
        self.series.push((
            format!("tracemap_requests_total{service}"),
            counter(phases, |all, _| all),
        ));
        self.series
            .push((good.to_owned(), counter(phases, |all, late| all - late)));
        self
    }

    fn series(mut self, series: &str, values: &str) -> Self {
        self.series.retain(|(name, _)| name != series);
        self.series.push((series.to_owned(), values.to_owned()));
        self
    }

    /// What fires at a time, whatever its name.
    fn fires(self, at: &str, alerts: &[&str]) -> Self {
        self.expect(at, "ALERTS{alertstate=\"firing\"}", alerts)
    }

    /// What pages at a time; tickets may fire beside it.
    fn pages(self, at: &str, alerts: &[&str]) -> Self {
        self.expect(at, "ALERTS{alertstate=\"firing\",severity=\"page\"}", alerts)
    }

    fn expect(mut self, at: &str, expr: &str, alerts: &[&str]) -> Self {
        let samples: Vec<String> = alerts
            .iter()
            .map(|alert| format!("{{labels: 'ALERTS{alert}', value: 1}}"))
            .collect();
        self.checks.push(format!(
            "  - {{expr: '{expr}', eval_time: {at}, exp_samples: [{}]}}",
            samples.join(", ")
        ));
        self
    }

    fn run(self) {
        let rules = if self.culprits {
            "../rules/tracemap-latency.yaml, ../rules/tracemap-burn.yaml"
        } else {
            "../rules/tracemap-burn.yaml"
        };
        let mut text = format!(
            "rule_files: [{rules}]\nevaluation_interval: {0}\ngroup_eval_order: [tracemap-latency, tracemap-burn]\n\
             tests:\n- interval: {0}\n  input_series:\n",
            self.interval
        );
        for (series, values) in &self.series {
            let _ = writeln!(text, "  - {{series: '{series}', values: '{values}'}}");
        }
        let _ = writeln!(text, "  promql_expr_test:\n{}", self.checks.join("\n"));
        let settings = AlertSettings {
            evaluation_interval: self.interval.parse().unwrap(),
            ..AlertSettings::default()
        };
        let mut files = alerts::generate(&map_of(SHOP), &settings);
        files.insert("alerts/tests/burn.test.yaml".to_owned(), text.clone());
        let dir = written(&files);
        let told = run(
            "promtool",
            dir.path(),
            &["test", "rules", "alerts/tests/burn.test.yaml"],
        );
        assert!(told.is_ok(), "{}\n{text}", told.unwrap_err());
    }
}

fn counter(phases: &[Phase], of: impl Fn(f64, f64) -> f64) -> String {
    let (mut text, mut at) = ("0".to_owned(), 0.0);
    for (steps, all, late) in phases {
        let step = of(*all, *late);
        let _ = write!(text, " {}+{step}x{}", at + step, steps - 1);
        at += step * f64::from(*steps);
    }
    text
}

#[test]
fn a_promise_that_is_kept_is_silent_and_so_is_one_that_is_broken_slower_than_the_budget_allows() {
    Scene::of("1m")
        .requests(&[(400, 100.0, 0.0), (400, 100.0, 0.9)])
        .fires("390m", &[])
        .fires("790m", &[])
        .run();
}

#[test]
fn a_fast_burn_pages_and_ends_with_its_short_window() {
    // Half of the requests are late: 14.4 % of an hour's are so after 18 minutes, and the counts lag by half of theirs.
    Scene::of("1m")
        .requests(&[(120, 100.0, 0.0), (60, 100.0, 50.0), (60, 100.0, 0.0)])
        .pages("130m", &[])
        .pages("150m", &[FAST])
        .pages("180m", &[FAST])
        .pages("216m", &[])
        .pages("240m", &[])
        .run();
}

#[test]
fn a_burn_at_six_times_the_budget_pages_within_six_hours_and_not_sooner_than_an_hour() {
    Scene::of("1m")
        .requests(&[(400, 100.0, 0.0), (360, 100.0, 8.0)])
        .fires("455m", &[])
        .fires("750m", &[FAST])
        .run();
}

#[test]
fn a_slow_burn_is_a_ticket_and_no_page() {
    // 4 % late is four times the budget: over a day from three quarters of it on, and never six times.
    Scene::of("4m")
        .requests(&[(720, 400.0, 0.0), (360, 400.0, 16.0), (180, 400.0, 0.0)])
        .fires("2d10h", &[])
        .fires("2d23h", &[SLOWLY])
        .fires("3d11h", &[])
        .run();
}

#[test]
fn three_late_requests_of_three_page_nobody_and_late_requests_of_an_evening_do() {
    Scene::of("1m")
        .requests(&[(120, 0.0, 0.0), (3, 1.0, 1.0), (60, 0.0, 0.0)])
        .fires("126m", &[])
        .fires("140m", &[])
        .run();
    Scene::of("1m")
        .requests(&[(120, 0.0, 0.0), (20, 1.0, 1.0), (60, 0.0, 0.0)])
        .fires("140m", &[FAST])
        .run();
}

#[test]
fn sampled_requests_that_stand_for_many_are_evidence_of_those_that_were_seen() {
    // Three requests of weight 100 each, which were judged as three.
    Scene::of("1m")
        .requests(&[(120, 0.0, 0.0), (3, 100.0, 100.0), (60, 0.0, 0.0)])
        .series(
            r#"tracemap_judged_total{id="web",kind="service"}"#,
            "0x120 1+1x2 3x60",
        )
        .fires("126m", &[])
        .fires("140m", &[])
        .run();
}

#[test]
fn an_objective_that_was_just_stated_is_not_judged_by_requests_from_before() {
    let objective = r#"{id="web",latency="300ms",window="30d"}"#;
    Scene::of("1m")
        .requests(&[(300, 100.0, 0.0)])
        .series(&format!("tracemap_objective_target{objective}"), "_x120 0.99x180")
        .series(
            &format!("tracemap_objective_good_total{objective}"),
            "_x120 12000+100x180",
        )
        .fires("123m", &[])
        .fires("128m", &[])
        .fires("200m", &[])
        .run();
}

#[test]
fn two_collectors_and_two_objectives_of_a_service_are_one_page() {
    let other = |name: &str| format!("{name}{{id=\"web\",latency=\"100ms\",window=\"7d\",instance=\"b\"}}");
    Scene::of("1m")
        .requests(&[(120, 100.0, 0.0), (60, 100.0, 50.0)])
        .series(&other("tracemap_objective_target"), "0.9x400")
        .series(&other("tracemap_objective_good_total"), "0x400")
        .series(
            r#"tracemap_objective_target{id="web",latency="300ms",window="30d",instance="b"}"#,
            "0.99x400",
        )
        .series(
            r#"tracemap_owner_info{id="web",team="web",tier="1",instance="b"}"#,
            "1x400",
        )
        .fires("170m", &[FAST])
        .run();
}

#[test]
fn a_service_without_an_owner_pages_all_the_same() {
    Scene::of("1m")
        .requests(&[(120, 100.0, 0.0), (60, 100.0, 50.0)])
        .series(r#"tracemap_owner_info{id="web",team="web",tier="1"}"#, "_x400")
        .fires("170m", &[&FAST.replace(",team=\"web\",tier=\"1\"", "")])
        .run();
}

#[test]
fn a_burn_that_a_culprit_explains_is_in_its_group_and_no_second_page() {
    let at_cart = r#"culprit="cart",role="symptom",severity="info",team="shop",tier="1""#;
    let page = r#"{alertname="LatencyDegraded",alertstate="firing",culprit="cart",role="culprit",severity="page",team="shop",tier="1"}"#;
    let symptom =
        format!(r#"{{alertname="LatencyDegradedByDependency",alertstate="firing",id="web",{at_cart}}}"#);
    let promise =
        format!(r#"{{alertname="LatencyBudgetBurnsByCulprit",alertstate="firing",id="web",{at_cart}}}"#);
    let slow = "0+5x120 605+50x59 3605+5x120";
    let mut scene = Scene::of("1m").requests(&[(120, 100.0, 0.0), (60, 100.0, 50.0), (120, 100.0, 0.0)]);
    scene.culprits = true;
    for (series, values) in [
        (r#"tracemap_owner_info{id="cart",team="shop",tier="1"}"#, "1x300"),
        (r#"tracemap_entrypoint_info{id="web"}"#, "1x300"),
        (r#"tracemap_reach_info{id="web",culprit="web",hops="0"}"#, "1x300"),
        (
            r#"tracemap_reach_info{id="cart",culprit="cart",hops="0"}"#,
            "1x300",
        ),
        (
            r#"tracemap_reach_info{id="web",culprit="cart",hops="1"}"#,
            "1x300",
        ),
        (r#"tracemap_judged_total{id="web",kind="service"}"#, "0+100x300"),
        (r#"tracemap_own_slow_total{id="web",kind="service"}"#, "0+5x300"),
        (
            r#"tracemap_own_slow_expected_total{id="web",kind="service"}"#,
            "0+5x300",
        ),
        (r#"tracemap_total_slow_total{id="web",kind="service"}"#, slow),
        (
            r#"tracemap_total_slow_expected_total{id="web",kind="service"}"#,
            "0+5x300",
        ),
        (r#"tracemap_judged_total{id="cart",kind="service"}"#, "0+100x300"),
        (r#"tracemap_own_slow_total{id="cart",kind="service"}"#, slow),
        (
            r#"tracemap_own_slow_expected_total{id="cart",kind="service"}"#,
            "0+5x300",
        ),
    ] {
        scene = scene.series(series, values);
    }
    scene
        .fires("119m", &[])
        .fires("128m", &[page, &symptom])
        .fires("160m", &[page, &symptom, &promise])
        // The half hour before still burns the budget six times too fast, and nobody is woken for what is over.
        .fires("195m", &[])
        .fires("205m", &[])
        .fires("240m", &[])
        .run();
}

#[test]
fn the_rules_about_objectives_are_as_committed_and_promtool_accepts_them() {
    let files = generated(SHOP);
    expect_file!["../src/rules/burn/tracemap-burn.golden.yaml"].assert_eq(&files[BURN_RULES_PATH]);
    let dir = written(&files);
    let told = run(
        "promtool",
        dir.path(),
        &["check", "rules", "--lint=all", "--lint-fatal", BURN_RULES_PATH],
    );
    assert!(
        told.as_ref()
            .is_ok_and(|told| told.contains("SUCCESS: 10 rules found")),
        "{told:?}"
    );
}
