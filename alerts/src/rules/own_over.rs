//! Services and edges whose own time was degraded within the window and no longer is, with the evidence of it, by rung.
//!
//! The latest fifth of the window says so: a burst is no page, and a page ends soon after its cause. A fifth without
//! requests says nothing in the first window. The strongest rung of the [`ladder`] counts.
//! Source: Google SRE Workbook, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts, for the short window.

use super::{Signal, ladder, own_degraded, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let min_share = (signal.min_share)(settings);
    let over = ladder::joined(settings, |rung| rung.is_over(signal.own.bad, min_share));
    let evidence = own_degraded::evidence(signal, settings);
    recording(
        signal.own_over,
        &format!("{evidence}\nand (\n{}\n)", indent(&over)),
    )
}
