//! Services and edges whose own time is degraded and still is, with the evidence; empty while healthy.
//!
//! Evidence alone would call a shift of one per cent under heavy traffic a degradation, a share alone would call
//! three requests one. Both have to be there, as in [`map::evidence::is_degraded`]; but here it takes less evidence, because
//! a culprit is charged with the sum of its own time and its edges: requests on several edges of one node are that much
//! more evidence. What is over ([`super::own_over`]) is degraded no more, and on a longer rung of the [`ladder`] it stays over
//! until the window has left it behind: one slow request would call back the evidence of all before it.

use super::{Signal, ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let over = ladder::joined_over(settings, signal.own_over);
    let evidence = indent(&evidence(signal, settings));
    let expr = format!(
        "max by (id, kind, client, server) (\n{evidence}\n  unless (\n{}\n  )\n)",
        indent(&indent(&over))
    );
    recording(signal.own_degraded, &expr)
}

/// Evidence within a window that somebody's own time is degraded or was, on every rung.
pub(super) fn evidence(signal: &Signal, settings: &AlertSettings) -> String {
    let own = &signal.own;
    let (suspect_threshold, min_share) = (settings.suspect_threshold, (signal.min_share)(settings));
    format!(
        "{} > {suspect_threshold}\nand {} > {min_share}",
        own.evidence, own.share
    )
}
