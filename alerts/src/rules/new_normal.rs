//! The ticket: an operation has been slower than its baseline for hours, steadily. Is that how it is now?
//!
//! The collector says so, and learns it some hours later unless a person holds the old baseline: asking is all that is left to
//! do here. A shift in total time alone is mostly that of a callee's own time, and asked of the callee.

use map::catalogue::{NEW_NORMAL_INFO, OWNER_INFO};

use super::{Story, alert, annotations};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyNewNormal";

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "The node or edge in the label `id` has been slower than its baseline for hours, steadily, in its own time. If nobody \
        objects, that becomes its new baseline.",
    at_night: "It wakes nobody. It is the last word on a degradation that nobody mended: from the new baseline on it is silent.",
    first: &[
        "When it began, and what was changed then: `tracemap_new_normal_seconds` has the old edge and the new one.",
        "If it is to stay: nothing to do, or `curl -X DELETE COLLECTOR/api/v1/baselines/ID` to begin anew at once.",
        "If it is to be mended: `curl -X PUT COLLECTOR/api/v1/pins/ID` holds the old baseline until `curl -X DELETE` of the \
         same address; `collector.baseline.pins` holds it for good. In an edge's id write `>` as `%3E`.",
    ],
    silenced_by: "It ends when the shift is learned, when it is over, when the baseline is pinned or when it is reset.",
};

pub(super) fn rule(settings: &AlertSettings) -> Alert {
    let shifts = format!(
        r#"count by (id, kind) (max by (id, kind, operation) ({NEW_NORMAL_INFO}{{measure="own",pinned="false"}}) == 1)"#
    );
    let expr = format!(
        "
        {shifts}
        * on (id) group_left (team, tier)
        topk by (id) (1, max by (id, team, tier) ({OWNER_INFO}))
        or on (id)
        {shifts}"
    );
    let mut ticket = alert(NAME, &expr, settings.unexplained_for, "ticket", "new_normal");
    ticket.keep_firing_for = Some(settings.keep_firing_for.as_prometheus());
    ticket.annotations = annotations::of_new_normal(
        NAME,
        "{{ $labels.id }} has been slower than usual for hours: is that its new normal?",
        settings,
    );
    ticket
}
