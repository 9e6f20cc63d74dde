//! The note: a busy node or edge was not judged once, so its degradation would go unseen.
//!
//! Edges from `user`, `unknown` and broker destinations have no calling span and are never judged; they are not
//! missing anything. Counted are services, and edges whose caller is one.

use map::catalogue::{JUDGED, NODE_INFO, REQUESTS};

use super::{Story, alert, annotations};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyBaselineMissing";

/// Requests in an hour from which an entity is busy: enough for several operations to have reached the 200 requests
/// that a baseline needs.
const BUSY_REQUESTS_PER_HOUR: u32 = 1000;

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "The node or edge in the label `id` has had many requests for hours, and none of them could be judged: no \
        operation of it has a baseline.",
    at_night: "It wakes nobody. Until it is mended, this part can be slow without an alert and is no culprit to any.",
    first: &[
        "Operation names with ids in them: every request is an operation of its own then and none gathers the 200 \
         requests that a baseline needs. Use route templates as span names.",
        "A new service or edge: wait, the baseline comes with the traffic.",
        "A collector that lost its data directory: baselines are learned again.",
    ],
    silenced_by: "It ends with the first judged request.",
};

pub(super) fn rule(settings: &AlertSettings) -> Alert {
    let by = "sum by (id, kind, client, server)";
    let expr = format!(
        r#"
        (
          {by} (increase({REQUESTS}{{kind="service"}}[1h]))
          or
          {by} (increase({REQUESTS}{{kind="edge"}}[1h]))
          and on (client)
          max by (client) (label_replace({NODE_INFO}{{kind="service"}}, "client", "$1", "id", "(.+)"))
        ) > {BUSY_REQUESTS_PER_HOUR}
        unless
        {by} (increase({JUDGED}[1h])) > 0"#
    );
    let mut note = alert(NAME, &expr, settings.baseline_for, "info", "meta");
    note.annotations =
        annotations::of_unjudged(NAME, "{{ $labels.id }} is busy and was never judged", settings);
    note
}
