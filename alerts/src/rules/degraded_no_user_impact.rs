//! The ticket: a culprit as in the page, but no entry point is slow through it.
//!
//! Background work, an asynchronous consumer, or a part that few requests use. It is worth a look by day.

use super::{Signal, Story, alert, annotations, culprits};
use crate::prometheus::Alert;
use crate::settings::AlertSettings;

pub(crate) const NAME: &str = "LatencyDegradedNoUserImpact";

pub(super) const STORY: Story = Story {
    name: NAME,
    meaning: "More requests than expected are slow at the node in the label `culprit`, and no entry point that waits \
        for it is slow.",
    at_night: "It wakes nobody: users do not feel it. By day it is the warning before they do, and often the first \
        sign of a queue that fills.",
    first: &[
        "Whether the node is on nobody's way on purpose, as consumers of a queue are. Declare workers whose latency \
         matters as `entry_point: true` in `services:`; they page then.",
        "The description lists the node's own time and the edges that are charged to it.",
        "The series `tracemap_collector_reach_left_out`: above 0, the map was too large for all pairs of who waits \
         for whom, and a page may have become this ticket.",
    ],
    silenced_by: "It ends when the evidence is gone and `keep_firing_for` has passed, or turns into `LatencyDegraded` \
        when an entry point becomes slow.",
};

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Alert {
    let expr = culprits(signal, "unless", settings);
    let mut ticket = alert(
        signal.no_user_impact.name,
        &expr,
        settings.ticket_for,
        "ticket",
        "culprit",
    );
    ticket.keep_firing_for = Some(settings.keep_firing_for.as_prometheus());
    ticket.annotations = annotations::of_culprit(
        signal.no_user_impact.name,
        signal.no_user_impact.summary,
        &signal.said,
        settings,
    );
    ticket
}
