//! Services and edges whose own time is degraded and still is, with the evidence; empty while healthy.
//!
//! Evidence alone would call a shift of one per cent under heavy traffic a degradation, a share alone would call
//! three requests one. Both have to be there, as in [`map::evidence::is_degraded`]; but here it takes less evidence, because
//! a culprit is charged with the sum of its own time and its edges: requests on several edges of one node are that much
//! more evidence. The latest minute must not say that it is over, so that a burst is no page and a page ends soon after its
//! cause; a minute without requests says nothing.
//! Source: Google SRE Workbook, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts, for the short window.

use map::catalogue::{JUDGED, OWN_SLOW, RECORDED_OWN_DEGRADED, RECORDED_OWN_EVIDENCE, RECORDED_OWN_SHARE};

use super::recording;
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    let AlertSettings {
        suspect_threshold,
        min_slow_share,
        ..
    } = settings;
    let recent = settings.recent().as_prometheus();
    let by = "sum by (id, kind, client, server)";
    let expr = format!(
        "
        {RECORDED_OWN_EVIDENCE} > {suspect_threshold}
        and {RECORDED_OWN_SHARE} > {min_slow_share}
        unless
        {by} (increase({OWN_SLOW}[{recent}]))
        <= {min_slow_share} * ({by} (increase({JUDGED}[{recent}])) > 0)"
    );
    recording(RECORDED_OWN_DEGRADED, &expr)
}
