//! Services and edges whose own time is degraded and still is, with the evidence; empty while healthy.
//!
//! Evidence alone would call a shift of one per cent under heavy traffic a degradation, a share alone would call
//! three requests one. Both have to be there, as in [`map::evidence::is_degraded`]; but here it takes less evidence, because
//! a culprit is charged with the sum of its own time and its edges: requests on several edges of one node are that much
//! more evidence. The latest fifth of the window must not say that it is over, so that a burst is no page and a page ends
//! soon after its cause; a fifth without requests says nothing in the first window. The strongest rung of the [`ladder`] counts.
//! Source: Google SRE Workbook, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts, for the short window.

use super::{Signal, ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let own_evidence = signal.own.evidence;
    let own_share = signal.own.share;
    let (suspect_threshold, min_share) = (settings.suspect_threshold, (signal.min_share)(settings));
    let over = ladder::joined(settings, |rung| rung.is_over(signal.own.bad, min_share));
    let over = indent(&indent(&over));
    let expr = format!(
        "max by (id, kind, client, server) (\n  {own_evidence} > {suspect_threshold}\n  \
         and {own_share} > {min_share}\n  unless (\n{over}\n  )\n)"
    );
    recording(signal.own_degraded, &expr)
}
