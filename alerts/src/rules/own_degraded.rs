//! Services and edges whose own time is degraded, with the evidence; empty while healthy.
//!
//! Evidence alone would call a shift of one per cent under heavy traffic a degradation, a share alone would call
//! three requests one. Both have to be there, as in [`map::evidence::is_degraded`].

use map::catalogue::{RECORDED_OWN_DEGRADED, RECORDED_OWN_EVIDENCE, RECORDED_OWN_SHARE};

use super::recording;
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    let AlertSettings {
        evidence_threshold,
        min_slow_share,
        ..
    } = settings;
    let expr = format!(
        "
        {RECORDED_OWN_EVIDENCE} > {evidence_threshold}
        and {RECORDED_OWN_SHARE} > {min_slow_share}"
    );
    recording(RECORDED_OWN_DEGRADED, &expr)
}
