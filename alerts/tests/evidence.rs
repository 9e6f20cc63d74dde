//! The recording rule of the evidence against the same formula in Rust, which the collector uses.

mod peers;

use std::fmt::Write as _;

use map::evidence::{DEFAULT_THRESHOLD_NATS, evidence_nats, is_degraded};
use peers::{SHOP, generated, run, written};

/// Judged, slow and expected slow requests of one window of five minutes.
const COUNTS: [(f64, f64, f64); 14] = [
    (3.0, 3.0, 0.15),
    (11.0, 11.0, 0.55),
    (600.0, 30.0, 30.0),
    (600.0, 0.0, 30.0),
    (600.0, 600.0, 30.0),
    (600.0, 300.0, 30.0),
    (600.0, 300.0, 300.0),
    (600.0, 60.0, 12.0),
    (600.0, 70.0, 30.0),
    (100_000.0, 7_000.0, 5_000.0),
    (100_000.0, 10_100.0, 5_000.0),
    (40.0, 20.0, 0.0),
    (40.0, 10.0, 40.0),
    (0.0, 0.0, 0.0),
];

/// Judged requests in the window from which no longer one is looked at.
const FEW: f64 = 7.0;

#[test]
fn the_recording_rule_computes_what_the_collector_computes() {
    let (mut input, mut checks) = (String::new(), String::new());
    for (row, (judged, slow, expected)) in COUNTS.into_iter().enumerate() {
        let labels = format!("{{id=\"row{row}\",kind=\"service\"}}");
        for (name, count) in [
            ("tracemap_judged_total", judged),
            ("tracemap_own_slow_total", slow),
            ("tracemap_own_slow_expected_total", expected),
        ] {
            // Ten samples to the window.
            let _ = writeln!(
                input,
                "  - {{series: '{name}{labels}', values: '0+{}x60'}}",
                count / 10.0
            );
        }
        let nats = evidence_nats(judged, slow, expected);
        let near = 1e-6 * (1.0 + nats.abs());
        let first = format!("{{id=\"row{row}\",kind=\"service\",window=\"5m\"}}");
        let samples = if judged > 0.0 {
            format!("{{labels: '{first}', value: 1}}")
        } else {
            String::new()
        };
        let expr = format!("abs(tracemap:own_slow:evidence{first} - ({nats})) < bool {near}");
        let _ = writeln!(
            checks,
            "  - {{expr: '{expr}', eval_time: 20m, exp_samples: [{samples}]}}"
        );
        if judged < FEW {
            // Longer windows are looked at as well, which the collector does not do.
            continue;
        }
        let degraded = u8::from(is_degraded(judged, slow, expected));
        let expr = format!("count(tracemap:own:degraded{labels} > {DEFAULT_THRESHOLD_NATS}) or vector(0)");
        let _ = writeln!(
            checks,
            "  - {{expr: '{expr}', eval_time: 20m, exp_samples: [{{value: {degraded}}}]}}"
        );
    }
    let mut files = generated(SHOP);
    let test = format!(
        "rule_files: [../rules/tracemap-latency.yaml]\nevaluation_interval: 30s\ntests:\n- interval: 30s\n  \
         input_series:\n{input}  promql_expr_test:\n{checks}"
    );
    files.insert("alerts/tests/evidence.test.yaml".to_owned(), test);
    let dir = written(&files);
    let said = run(
        "promtool",
        dir.path(),
        &["test", "rules", "alerts/tests/evidence.test.yaml"],
    );
    assert!(said.is_ok(), "{}", said.unwrap_err());
}

#[test]
fn the_table_holds_degraded_and_healthy_rows() {
    let degraded = COUNTS
        .iter()
        .filter(|(judged, slow, expected)| is_degraded(*judged, *slow, *expected))
        .count();
    assert!((3..COUNTS.len() - 3).contains(&degraded), "{degraded}");
}
