//! An SLO for each service and edge, in the shape that Sloth publishes.
//!
//! In: services and edges. Out: a rule file. For each SLO there are three groups: eight recordings of the error ratio, seven of
//! metadata, two multiwindow alerts. Names and windows are Sloth's, expressions are written anew for our series.
//! Left out on purpose: annotations, which cost nothing until an alert fires.
//! Source: sloth.dev, "Introduction" and "SLO rules"; Google SRE Workbook, "Alerting on SLOs".

use std::fmt::Write as _;

use alerts::recorded::series_name;
use map::catalogue::TOTAL_SECONDS;

use super::load::{BUCKET, Entity};

/// Windows that are recorded from the counters; the last one, `30d`, is recorded from the first.
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];
/// What share of requests may be late.
const BUDGET: f64 = 0.01;

/// The rule file.
pub(super) fn rules(entities: &[Entity]) -> String {
    let mut text = "groups:\n".to_owned();
    for entity in entities {
        slo(entity, &mut text);
    }
    text
}

fn slo(entity: &Entity, text: &mut String) {
    let id = &entity.id;
    let labels = format!("labels: {{sloth_id: '{id}', sloth_service: '{id}', sloth_slo: latency}}");
    let selector = format!("{{sloth_id=\"{id}\"}}");
    let mut bucket = entity.labels();
    bucket.push(("le", BUCKET));
    let good = series_name(&format!("{TOTAL_SECONDS}_bucket"), &bucket);
    let all = series_name(&format!("{TOTAL_SECONDS}_count"), &entity.labels());
    let mut group = |name: &str, rules: &[(String, String)]| {
        let _ = writeln!(text, "- name: 'sloth-slo-{name}-{id}'\n  rules:");
        for (record, expr) in rules {
            let _ = writeln!(text, "  - {record}\n    expr: |-\n      {expr}\n    {labels}");
        }
    };
    let record = |name: &str| format!("record: {name}");
    let ratio = |window: &str| record(&format!("slo:sli_error:ratio_rate{window}"));
    let mut sli: Vec<(String, String)> = WINDOWS
        .iter()
        .map(|window| {
            let expr = format!("1 - sum(rate({good}[{window}])) / sum(rate({all}[{window}]))");
            (ratio(window), expr)
        })
        .collect();
    let five = format!("slo:sli_error:ratio_rate5m{selector}[30d]");
    sli.push((
        ratio("30d"),
        format!("sum_over_time({five}) / count_over_time({five})"),
    ));
    group("sli-recordings", &sli);
    let burn = |window: &str| {
        format!(
            "slo:sli_error:ratio_rate{window}{selector} / on (sloth_id, sloth_slo, sloth_service) slo:error_budget:ratio{selector}"
        )
    };
    group(
        "meta-recordings",
        &[
            (record("slo:objective:ratio"), format!("vector({})", 1.0 - BUDGET)),
            (record("slo:error_budget:ratio"), format!("vector({BUDGET})")),
            (record("slo:time_period:days"), "vector(30)".to_owned()),
            (record("slo:current_burn_rate:ratio"), burn("5m")),
            (record("slo:period_burn_rate:ratio"), burn("30d")),
            (
                record("slo:period_error_budget_remaining:ratio"),
                format!("1 - slo:period_burn_rate:ratio{selector}"),
            ),
            (record("sloth_slo_info"), "vector(1)".to_owned()),
        ],
    );
    let burns = |pairs: [(&str, &str, f64); 2]| {
        let pairs = pairs.map(|(short, long, factor)| {
            let bound = factor * BUDGET;
            format!(
                "(max(slo:sli_error:ratio_rate{short}{selector} > {bound}) without (sloth_window) \
                 and max(slo:sli_error:ratio_rate{long}{selector} > {bound}) without (sloth_window))"
            )
        });
        pairs.join(" or ")
    };
    group(
        "alerts",
        &[
            (
                "alert: PageHighErrorRate".to_owned(),
                burns([("5m", "1h", 14.4), ("30m", "6h", 6.0)]),
            ),
            (
                "alert: TicketHighErrorRate".to_owned(),
                burns([("2h", "1d", 3.0), ("6h", "3d", 1.0)]),
            ),
        ],
    );
}
