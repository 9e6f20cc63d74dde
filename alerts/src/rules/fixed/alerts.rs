//! The alerts: those of the profile `live` with its names, labels, times and runbooks, over the topology of this map.
//!
//! In: the map and settings. Out: the same alerts with expressions and descriptions of their own: they tell mean seconds,
//! because there are no slow shares here.

use map::catalogue::{
    RECORDED_CULPRIT, RECORDED_CULPRIT_OWNER, RECORDED_CULPRIT_SLOWS, RECORDED_EDGE_CHARGED, RECORDED_JUDGED,
    RECORDED_MEAN_SECONDS, RECORDED_OWN_DEGRADED, RECORDED_TOTAL_DEGRADED, RECORDED_USUAL_SECONDS,
};

use super::super::signal::MEANS;
use super::super::{
    PAGE, baseline_missing, degraded, degraded_by_dependency, degraded_no_user_impact, unexplained,
};
use super::degraded::entry_points;
use super::{ON, any_of, charged};
use crate::prometheus::{Alert, dedent};
use crate::settings::AlertSettings;
use crate::topology::Topology;

/// Requests in an hour from which an entity without anything usual is worth a note.
const BUSY_REQUESTS_PER_HOUR: u32 = 1000;

pub(super) fn rules(topology: &Topology<'_>, settings: &AlertSettings) -> [Alert; 5] {
    [
        of_culprit(degraded::rule(&MEANS, settings), &page("and", topology)),
        of_service(degraded_by_dependency::rule(&MEANS, settings), &symptom()),
        of_culprit(
            degraded_no_user_impact::rule(&MEANS, settings),
            &page("unless", topology),
        ),
        of_service(
            unexplained::rule(&MEANS, settings),
            &unexplained_expr(topology, settings),
        ),
        with_expr(baseline_missing::rule(settings), &missing(settings)),
    ]
}

/// Culprits with (`and`) or without (`unless`) an entry point that is slow through them.
fn page(felt: &str, topology: &Topology<'_>) -> String {
    let entry_points = entry_points("id", topology);
    format!(
        "
        ({RECORDED_CULPRIT} {felt} on (culprit) {RECORDED_CULPRIT_SLOWS}{{{entry_points}}})
        * on (culprit) group_left (team, tier) {RECORDED_CULPRIT_OWNER}"
    )
}

fn symptom() -> String {
    format!(
        r#"
        (
          {RECORDED_CULPRIT_SLOWS}
          unless on (culprit, id) label_replace({RECORDED_CULPRIT}, "id", "$1", "culprit", "(.+)")
        )
        * on (culprit) group_left (team, tier)
        topk by (culprit) (1, max by (culprit, team, tier) (ALERTS{{alertname="{PAGE}",alertstate="firing"}}))"#
    )
}

fn unexplained_expr(topology: &Topology<'_>, settings: &AlertSettings) -> String {
    let threshold = settings.evidence_threshold;
    let entry_points = topology
        .nodes()
        .iter()
        .copied()
        .filter(|id| topology.is_entry_point(id));
    let slow = |ids: &[&str]| {
        let ids = any_of("id", ids.iter().copied());
        format!(
            "sum by (id) ({RECORDED_TOTAL_DEGRADED}{{{ids}}} > {threshold} unless on (id) {RECORDED_CULPRIT_SLOWS})"
        )
    };
    let parts = charged::owned(topology, entry_points, &slow);
    if parts.is_empty() {
        slow(&[])
    } else {
        parts.join("\nor\n")
    }
}

fn missing(settings: &AlertSettings) -> String {
    // Each request is in so many windows.
    let windows = settings.window.get().as_secs_f64() / settings.evaluation_interval.get().as_secs_f64();
    format!(
        r#"
        sum by (id, kind, client, server) (sum_over_time({RECORDED_JUDGED}[1h])) / {windows} > {BUSY_REQUESTS_PER_HOUR}
        unless {ON} {RECORDED_USUAL_SECONDS}{{measure="own"}}"#
    )
}

fn with_expr(mut alert: Alert, expr: &str) -> Alert {
    alert.expr = dedent(expr);
    alert
}

/// For an alert with the label `culprit`.
fn of_culprit(alert: Alert, expr: &str) -> Alert {
    let charged = format!(
        "printf `{RECORDED_EDGE_CHARGED}{{culprit=%q}} or {RECORDED_OWN_DEGRADED}{{kind=\"service\",id=%q}}` \
         $labels.culprit $labels.culprit"
    );
    let description = format!(
        "Own time:{{{{ range query ({charged}) | sortByLabel \"id\" }}}}{{{{ $id := .Labels.id }}}}\n\
         - {{{{ $id }}}}: {}{{{{ end }}}}",
        shift("own")
    );
    described(with_expr(alert, expr), description)
}

/// For an alert about the service in the label `id`.
fn of_service(alert: Alert, expr: &str) -> Alert {
    let description = format!(
        "Total time:{{{{ $id := $labels.id }}}}\n- {{{{ $id }}}}: {}",
        shift("total")
    );
    described(with_expr(alert, expr), description)
}

fn described(mut alert: Alert, description: String) -> Alert {
    alert.annotations.insert("description", description);
    alert
}

/// `312ms on average, usually 45ms, in 600 requests`, for the entity in the template's variable `$id`.
fn shift(measure: &str) -> String {
    let value = |series: &str, matchers: &str, format: &str| {
        format!(
            "{{{{ with query (printf `{series}{{id=%q{matchers}}}` $id) }}}}{{{{ . | first | value | {format} }}}}{{{{ end }}}}"
        )
    };
    let measure = format!(",measure=\"{measure}\"");
    format!(
        "{} on average, usually {}, in {} requests",
        value(RECORDED_MEAN_SECONDS, &measure, "humanizeDuration"),
        value(RECORDED_USUAL_SECONDS, &measure, "humanizeDuration"),
        value(RECORDED_JUDGED, "", "printf \"%.0f\"")
    )
}
