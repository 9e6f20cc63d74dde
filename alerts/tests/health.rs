//! The tickets about tracemap itself: each fires for its trouble, and none while all is well.
//!
//! In: series of a collector and an agent, healthy and in trouble. Out: which alerts promtool finds firing, and what they say.
//! Left out on purpose: how the series come about, which the tests of collector and agent hold to.

mod peers;

use std::fmt::Write as _;

use alerts::{AlertSettings, HEALTH_RULES_PATH, Profile};
use expect_test::expect_file;
use peers::{SHOP, generated, map_of, run, written};

/// What is exported while all is well, one sample a minute for two hours.
const HEALTHY: &[(&str, &str)] = &[
    (
        "tracemap_collector_spans_total{instance=\"c\",outcome=\"used\"}",
        "0+600x120",
    ),
    (
        "tracemap_collector_spans_dropped_total{instance=\"c\",reason=\"invalid_trace_id\"}",
        "0+1x120",
    ),
    (
        "tracemap_collector_requests_total{instance=\"c\",outcome=\"accepted\"}",
        "0+60x120",
    ),
    // One moment without room is nothing.
    (
        "tracemap_collector_requests_total{instance=\"c\",outcome=\"busy\"}",
        "0x30 9x90",
    ),
    (
        "tracemap_collector_snapshots_total{instance=\"c\",outcome=\"failed\"}",
        "0x120",
    ),
    (
        "tracemap_collector_stored_spans_total{instance=\"c\",outcome=\"stored\"}",
        "0+60x120",
    ),
    (
        "tracemap_collector_stored_spans_total{instance=\"c\",outcome=\"lost\"}",
        "0x120",
    ),
    (
        "tracemap_collector_overflow_total{instance=\"c\",label=\"node\"}",
        "0x120",
    ),
    // Samples go out every 15 seconds; before the first it is 0.
    (
        "tracemap_collector_remote_write_newest_sent_timestamp_seconds{instance=\"c\"}",
        "0+60x120",
    ),
    (
        "tracemap_collector_remote_write_newest_sent_timestamp_seconds{instance=\"none\"}",
        "0x120",
    ),
    (
        "tracemap_collector_remote_write_dropped_samples_total{instance=\"c\",reason=\"refused\"}",
        "0x120",
    ),
    (
        "tracemap_collector_kubernetes_objects{instance=\"c\",state=\"current\"}",
        "7x120",
    ),
    (
        "tracemap_collector_kubernetes_objects{instance=\"c\",state=\"conflict\"}",
        "0x120",
    ),
    // An API server that was away for a moment.
    (
        "tracemap_collector_kubernetes_failures_total{instance=\"c\",reason=\"connection\"}",
        "0x30 3x90",
    ),
    (
        "tracemap_collector_tls_reloads_total{instance=\"c\",outcome=\"failed\"}",
        "0x120",
    ),
    (
        "tracemap_agent_tls_reloads_total{instance=\"a\",side=\"export\",outcome=\"done\"}",
        "0+1x120",
    ),
    (
        "tracemap_agent_spans_total{instance=\"a\",outcome=\"sent\"}",
        "0+60x120",
    ),
    (
        "tracemap_agent_spans_dropped_total{instance=\"a\",reason=\"queue_full\"}",
        "0x120",
    ),
    // An agent that was told of no collector.
    (
        "tracemap_agent_spans_dropped_total{instance=\"b\",reason=\"no_endpoint\"}",
        "0+60x120",
    ),
    ("tracemap_agent_buffered_bytes{instance=\"a\"}", "4096x120"),
    (
        "tracemap_agent_buffer_fallback_spans_total{instance=\"a\"}",
        "0x120",
    ),
    (
        "tracemap_agent_connections_cut_total{instance=\"a\",reason=\"idle_timeout\"}",
        "0+9x120",
    ),
    (
        "tracemap_agent_connections_cut_total{instance=\"a\",reason=\"accept_failed\"}",
        "0x120",
    ),
    (
        "tracemap_agent_config_last_reload_successful{instance=\"a\"}",
        "1x120",
    ),
    (
        "tracemap_agent_pods_last_sync_timestamp_seconds{instance=\"a\"}",
        "0+60x120",
    ),
    (
        "tracemap_agent_pods_last_sync_timestamp_seconds{instance=\"b\"}",
        "0x120",
    ),
];

/// Troubles that begin after an hour: the healthy series that changes, what becomes of it, and the alert with its labels.
const TROUBLES: &[(&str, &str, &str)] = &[
    ("collector_spans_total", "0+600x60 _x60", "CollectorAway"),
    (
        "collector_spans_dropped_total",
        "0+1x60 60+60x59",
        "SpansInvalid instance=c reason=invalid_trace_id",
    ),
    (
        "outcome=\"busy\"",
        "0x60 0+9x59",
        "CollectorPushesBack instance=c",
    ),
    (
        "collector_snapshots_total",
        "0x60 0+1x59",
        "SnapshotsFail instance=c",
    ),
    ("outcome=\"lost\"", "0x60 0+9x59", "StoreLosesSpans instance=c"),
    (
        "collector_overflow_total",
        "0x60 0+9x59",
        "MapFull instance=c label=node",
    ),
    (
        "newest_sent_timestamp_seconds{instance=\"c\"",
        "0+60x60 3600x59",
        "RemoteWriteLags instance=c",
    ),
    (
        "remote_write_dropped",
        "0x60 0+9x59",
        "RemoteWriteLags instance=c",
    ),
    ("state=\"conflict\"", "0x60 1x59", "ObjectsNotInStep instance=c"),
    (
        "kubernetes_failures",
        "0x60 0+1x59",
        "ObjectsNotInStep instance=c",
    ),
    (
        "collector_tls_reloads",
        "0x60 1x59",
        "CertificateNotReloaded instance=c",
    ),
    (
        "agent_spans_dropped_total{instance=\"a\"",
        "0x60 0+9x59",
        "AgentLosesSpans instance=a reason=queue_full",
    ),
    (
        "agent_spans_total",
        "0+60x60 3600x59",
        "AgentCannotSend instance=a",
    ),
    ("fallback_spans", "0x60 0+9x59", "AgentBufferInMemory instance=a"),
    (
        "reason=\"accept_failed\"",
        "0x60 0+9x59",
        "AgentFull instance=a reason=accept_failed",
    ),
    ("config_last_reload", "1x60 0x59", "AgentStale instance=a"),
    (
        "pods_last_sync_timestamp_seconds{instance=\"a\"",
        "0+60x60 3600x59",
        "AgentStale instance=a",
    ),
];

/// A rule test in which the series with `changed` in its name has these values, and these alerts fire at these minutes.
fn test(changed: Option<(&str, &str)>, expected: &[(u32, Option<&str>)]) -> String {
    let mut text = "- interval: 1m\n  input_series:\n".to_owned();
    let mut found = 0;
    for (series, values) in HEALTHY {
        let new = changed.filter(|(part, _)| series.contains(part));
        found += usize::from(new.is_some());
        let values = new.map_or(*values, |(_, values)| values);
        let _ = writeln!(text, "  - {{series: '{series}', values: '{values}'}}");
    }
    assert_eq!(found, usize::from(changed.is_some()), "{changed:?}");
    text += "  promql_expr_test:\n";
    for (minute, alert) in expected {
        let sample = alert.map(|alert| {
            let (name, labels) = alert.split_once(' ').unwrap_or((alert, ""));
            let mut all = format!("alertname=\"Tracemap{name}\"");
            for (label, value) in labels.split_whitespace().filter_map(|label| label.split_once('=')) {
                let _ = write!(all, ",{label}=\"{value}\"");
            }
            format!("{{labels: 'ALERTS{{{all},alertstate=\"firing\",role=\"health\",severity=\"ticket\"}}', value: 1}}")
        });
        let _ = writeln!(
            text,
            "  - {{expr: 'ALERTS{{alertstate=\"firing\"}}', eval_time: {minute}m, exp_samples: [{}]}}",
            sample.unwrap_or_default()
        );
    }
    text
}

#[test]
fn each_trouble_is_one_ticket_and_health_is_none() {
    let dir = written(&generated(SHOP));
    let mut tests = test(None, &[(30, None), (50, None), (119, None)]);
    for (part, values, alert) in TROUBLES {
        tests += &test(Some((part, values)), &[(60, None), (82, Some(alert))]);
    }
    let text = format!("rule_files: [{HEALTH_RULES_PATH}]\nevaluation_interval: 1m\ntests:\n{tests}");
    std::fs::write(dir.path().join("health.test.yaml"), text).expect("a file");
    if let Err(told) = run("promtool", dir.path(), &["test", "rules", "health.test.yaml"]) {
        panic!("{told}");
    }
}

#[test]
fn every_alert_of_the_file_has_its_trouble_here() {
    let text = &generated(SHOP)[HEALTH_RULES_PATH];
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: Tracemap"));
    for name in names {
        let tried = TROUBLES
            .iter()
            .any(|(_, _, alert)| alert.split(' ').next() == Some(name));
        assert!(tried, "{name}");
    }
}

#[test]
fn the_rules_are_the_committed_ones() {
    let files = generated(SHOP);
    expect_file!["../src/rules/tracemap-health.golden.yaml"].assert_eq(&files[HEALTH_RULES_PATH]);
}

#[test]
fn a_prometheus_without_our_series_gets_none_of_them() {
    let settings = AlertSettings {
        profile: Profile::Static,
        ..AlertSettings::default()
    };
    let files = alerts::generate(&map_of(SHOP), &settings);
    assert!(!files.contains_key(HEALTH_RULES_PATH));
}
