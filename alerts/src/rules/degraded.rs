//! The page: a node's own time or its edges are degraded, and an entry point is slow that waits for it.
//!
//! One alert for each culprit and nothing for those who wait for it, so a slow leaf pages its owner once. No
//! Alertmanager inhibition takes part, which would mute both ends of a cycle.

use super::{Signal, Story, alert, annotations, culprits};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyDegraded";

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "More requests than expected are slow where this node spends its own time or on its edges, and an \
        entry point that waits for it is slow as well. The node is named in the label `culprit`.",
    at_night: "Users wait longer than they did in the weeks before, and this node is where the time goes.",
    first: &[
        "The description lists the node's own time and the edges that are charged to it. Its own time alone means its \
         code, its CPU or its locks; edges into it and out of it mean its network or its pod; edges into it alone, \
         for a database or a peer that reports no spans, mean that peer.",
        "What changed there: a deployment, a configuration, the traffic, the host.",
        "`LatencyDegradedByDependency` with the same culprit, in the same notification, lists who waits for it.",
        "The link `map_url` opens the node in the map, with traces of slow requests.",
    ],
    silenced_by: "It ends when the window holds no evidence any more and `keep_firing_for` has passed. A shift that \
        stays is learned after some hours unless a person pins the old baseline. It stays a ticket where no entry \
        point is slow.",
};

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Alert {
    let expr = culprits(signal, "and", settings);
    let mut page = alert(signal.page.name, &expr, settings.page_for, "page", "culprit");
    page.keep_firing_for = Some(settings.keep_firing_for.as_prometheus());
    page.annotations = annotations::of_culprit(signal.page.name, signal.page.summary, &signal.said, settings);
    page
}
