//! What a careful reviewer of rules looks for, held against every generated rule: the checks of pint that matter to
//! generators, restated, and the linters of promtool and amtool.
//!
//! In: the generated rule files. Out: nothing, or what is wrong with which rule.
//! Left out on purpose: what needs a running Prometheus, such as whether a series is there and what a query costs.
//! Source: pint's documentation, "Checks".

mod checks;
mod labels;
#[path = "../peers/mod.rs"]
mod peers;

use alerts::{ALERTMANAGER_PATH, BURN_RULES_PATH, ERROR_RULES_PATH, HEALTH_RULES_PATH, RULES_PATH};
use checks::{RuleFile, problems};
use peers::{MAPS, SHOP, generated, run, written};

/// Every rule file of the profile `live`.
const ALL: [&str; 4] = [RULES_PATH, ERROR_RULES_PATH, BURN_RULES_PATH, HEALTH_RULES_PATH];

fn read(text: &str) -> RuleFile {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

#[test]
fn the_generated_rules_have_no_problem() {
    let files = generated(SHOP);
    let rules = ALL.map(|path| read(&files[path]));
    let others = files.keys().filter(|path| path.starts_with("alerts/rules/"));
    assert_eq!(
        others.count(),
        rules.len(),
        "a rule file that is not looked at here"
    );
    assert_eq!(problems(&rules), [""; 0]);
}

#[test]
fn the_linters_of_promtool_and_amtool_accept_what_is_generated_for_any_map() {
    for (name, yaml) in MAPS {
        let dir = written(&generated(yaml));
        for rules in ALL {
            let told = run(
                "promtool",
                dir.path(),
                &["check", "rules", "--lint=all", "--lint-fatal", rules],
            );
            assert!(told.is_ok(), "{name}: {told:?}");
        }
        let told = run("amtool", dir.path(), &["check-config", ALERTMANAGER_PATH]);
        assert!(told.is_ok(), "{name}: {told:?}");
    }
}

/// A rule file with one rule that has nothing wrong, in which `from` is written as `to`.
fn broken(from: &str, to: &str) -> RuleFile {
    let sound = r#"
groups:
- name: sound
  interval: 30s
  rules:
  - record: tracemap:judged:increase
    expr: label_replace(sum by (id, kind, client, server) (increase(tracemap_judged_total[5m])), "window", "5m", "", "")
  - alert: Sound
    expr: |-
      sum by (id) (tracemap:judged:increase{kind="service",window=~"5m|15m"}) > 10
      and on (id) max by (id) (tracemap_entrypoint_info)
    for: 60s
    keep_firing_for: 5m
    labels: {severity: ticket, role: culprit}
    annotations:
      summary: "{{ $labels.id }} has {{ $value }}"
      description: "{{ with query (printf `tracemap:judged:increase{id=%q}` $labels.id) }}{{ . | first | value }}{{ end }}"
      runbook_url: http://there/Sound.md
      map_url: http://there/
"#;
    assert!(sound.contains(from), "`{from}` is not in the sound rules");
    read(&sound.replacen(from, to, 1))
}

#[test]
fn each_check_finds_what_it_is_there_for() {
    assert_eq!(problems(&[broken("Sound", "Sound")]), [""; 0]);
    for (from, to, expected) in [
        ("> 10", "> 10 >", "does not parse"),
        (
            "increase(tracemap_judged_total[5m])",
            "increase(tracemap_entrypoint_info[5m])",
            "`increase` of `tracemap_entrypoint_info`, which is no counter",
        ),
        (
            "tracemap_entrypoint_info",
            "tracemap_entry_info",
            "`tracemap_entry_info` is not in the catalogue",
        ),
        (
            "(tracemap_entrypoint_info",
            "(tracemap:own:degraded",
            "`tracemap:own:degraded` is recorded nowhere above",
        ),
        (
            "{kind=\"service\"",
            "{team=\"shop\"",
            "`tracemap:judged:increase` has no label `team`",
        ),
        (
            "window=~\"5m|15m\"",
            "window=~\"5m\"",
            "`window=~\"5m\"` where equality would do",
        ),
        (
            "sum by (id) (",
            "sum by (id, team) (",
            "aggregates by `team`, which is not there",
        ),
        (
            "max by (id) (",
            "max by (kind) (",
            "aggregates by `kind`, which is not there",
        ),
        (
            "and on (id) max by (id) (",
            "and (",
            "sides that differ in instance, job",
        ),
        (
            "max by (id) (tracemap_entrypoint_info)",
            "max(tracemap_entrypoint_info)",
            "joins on `id`, which one side lacks",
        ),
        (
            "\"window\", \"5m\", \"\", \"\"",
            "\"window\", \"$1\", \"team\", \"(.+)\"",
            "reads the label `team`, which is not there",
        ),
        (
            "(id, kind, client, server)",
            "(id, kind, server)",
            "the catalogue promises the label `client`",
        ),
        ("> 10", "+ 10", "holds always"),
        (
            "for: 60s",
            "for: 45s",
            "`for` is 45s, no multiple of the interval 30s",
        ),
        (
            "keep_firing_for: 5m",
            "keep_firing_for: 40s",
            "`keep_firing_for` is 40s, no multiple of the interval 30s",
        ),
        ("severity: ticket", "severity: high", "has the severity `high`"),
        (
            "severity: ticket",
            "severity: page",
            "pages without `culprit` and `team`",
        ),
        (", role: culprit", "", "has no role"),
        (
            "role: culprit",
            "role: culprit, id: x",
            "overwrites the label `id`",
        ),
        (
            "role: culprit",
            "role: \"{{ $value }}\"",
            "has a label that changes with each value",
        ),
        ("map_url: http://there/", "", "has no annotation `map_url`"),
        (
            "there/Sound.md",
            "there/Other.md",
            "`runbook_url` leads to another alert's page",
        ),
        (
            "{{ $labels.id }} has",
            "{{ $labels.kind }} has",
            "`summary` uses the label `kind`, which the expression drops",
        ),
        (
            "{id=%q}",
            "{ids=%q}",
            "`tracemap:judged:increase` has no label `ids`",
        ),
        ("alert: Sound", "alert: \"so und\"", "is no name"),
    ] {
        let found = problems(&[broken(from, to)]);
        let fits = found.iter().filter(|problem| problem.contains(expected)).count();
        assert!(
            fits > 0,
            "`{from}` as `{to}`: {expected:?} is not among {found:#?}"
        );
    }
}

#[test]
fn a_rule_that_stands_there_twice_is_found() {
    let twice = [broken("Sound", "Sound"), broken("Sound", "Sound")];
    let found = problems(&twice);
    assert!(
        found.contains(&"Sound: stands there twice".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"tracemap:judged:increase: stands there twice".to_owned()),
        "{found:?}"
    );
}
