//! The symptom: a stated promise is being broken because of a culprit that pages.
//!
//! It carries the culprit and the culprit's team as the page has them, so it joins the page's notification and never
//! opens one of its own.

use map::catalogue::{RECORDED_CULPRIT_SLOWS, RECORDED_OBJECTIVE_BURNING};

use super::{FAST, annotated, ranges};
use crate::prometheus::Alert;
use crate::rules::{PAGE, Story, alert};
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyBudgetBurnsByCulprit";

pub(in crate::rules) const STORY: Story = Story {
    name: NAME,
    meaning: "The service in the label `id` breaks its stated objective as fast as `LatencyBudgetBurnsFast` says, and it \
        waits for the node in the label `culprit`, which pages. `team` and `tier` are the culprit's.",
    at_night: "It wakes nobody. It tells those whom `LatencyDegraded` woke that a promise is at stake, and which.",
    first: &[
        "`LatencyDegraded` with the same culprit.",
        "The description: how fast the budget burns. At 14.4 times a month's budget lasts two days.",
    ],
    silenced_by: "It ends with the page for its culprit, or when the promise is kept again.",
};

pub(super) fn rule(settings: &AlertSettings) -> Alert {
    let ranges = ranges(&FAST);
    let expr = format!(
        r#"
        (
          max by (culprit, id) ({RECORDED_CULPRIT_SLOWS})
          and on (id) {RECORDED_OBJECTIVE_BURNING}{{{ranges}}}
        )
        * on (culprit) group_left (team, tier)
        topk by (culprit) (1, max by (culprit, team, tier) (ALERTS{{alertname="{PAGE}",alertstate="firing"}}))"#
    );
    let symptom = alert(NAME, &expr, config::HumanDuration::default(), "info", "symptom");
    let summary = "{{ $labels.id }} breaks its promise because it waits for {{ $labels.culprit }}";
    annotated(symptom, summary, &FAST, settings)
}
