//! The symptom: a service is slow because it waits for a culprit that pages.
//!
//! It carries the culprit and the culprit's team as the page has them, so it joins the page's notification and never
//! opens one of its own.

use map::catalogue::REACH_INFO;

use super::{Signal, Story, alert, annotations};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyDegradedByDependency";

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "The service in the label `id` is slower than expected, and it waits for the node in the label \
        `culprit`, which pages. `team` and `tier` are the culprit's.",
    at_night: "It wakes nobody. It tells those whom `LatencyDegraded` woke how far the damage reaches, and those who \
        wonder about `id` that it is being looked at elsewhere.",
    first: &[
        "`LatencyDegraded` with the same culprit.",
        "If `id` should not have to wait for the culprit at all: a timeout, a cache, a queue between them.",
    ],
    silenced_by: "It ends with the page for its culprit, or when the service is as fast as before.",
};

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Alert {
    let Signal { culprit_slows, .. } = signal;
    let page = signal.page.name;
    let expr = format!(
        r#"
        (
          {culprit_slows}
          unless on (culprit, id) max by (culprit, id) ({REACH_INFO}{{hops="0"}})
        )
        * on (culprit) group_left (team, tier)
        topk by (culprit) (1, max by (culprit, team, tier) (ALERTS{{alertname="{page}",alertstate="firing"}}))"#
    );
    let mut symptom = alert(
        signal.symptom.name,
        &expr,
        config::HumanDuration::default(),
        "info",
        "symptom",
    );
    symptom.annotations = annotations::of_service(
        signal.symptom.name,
        signal.symptom.summary,
        &signal.said,
        settings,
    );
    symptom
}
