//! The ticket: users wait, and nothing that tracemap sees explains it.
//!
//! It does not page, because there is nobody to name. It shows where the map has a gap.

use map::catalogue::OWNER_INFO;

use super::{Signal, Story, alert, annotations, entry_points};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyUnexplained";

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "The entry point in the label `id` is slower than expected, and no node that it waits for is degraded by \
        itself. `team` and `tier` are the entry point's.",
    at_night: "It wakes nobody, because it cannot say whom. Users do wait: whoever is awake should look.",
    first: &[
        "Small delays at many nodes at once: none of them is degraded, their sum is.",
        "`LatencyBaselineMissing`: a part that was never judged cannot be a culprit.",
        "Calls that the map does not show, because neither side reports them: `tracemap check` lists such gaps.",
        "The series `tracemap_collector_reach_left_out`: above 0, the way to the culprit may be missing.",
    ],
    silenced_by: "It ends when the entry point is as fast as before and `keep_firing_for` has passed, or when a culprit \
        explains it.",
};

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Alert {
    let Signal {
        culprit_slows,
        total_degraded,
        ..
    } = signal;
    let entry_points = entry_points();
    // Less is a reason to page somebody for a culprit, and none to look for one that is not there.
    let threshold = settings.evidence_threshold;
    let slow = format!(
        "sum by (id) (
          {total_degraded} > {threshold}
          and on (id) {entry_points}
          unless on (id) {culprit_slows}
        )"
    );
    let expr = format!(
        "
        {slow}
        * on (id) group_left (team, tier)
        topk by (id) (1, max by (id, team, tier) ({OWNER_INFO}))
        or on (id)
        {slow}"
    );
    let mut ticket = alert(
        signal.unexplained.name,
        &expr,
        settings.unexplained_for,
        "ticket",
        "unexplained",
    );
    ticket.keep_firing_for = Some(settings.keep_firing_for.as_prometheus());
    ticket.annotations = annotations::of_service(
        signal.unexplained.name,
        signal.unexplained.summary,
        &signal.said,
        settings,
    );
    ticket
}
