//! Services that are slow as their callers see them, with the evidence; empty while healthy.
//!
//! An entry point serves many operations. When the rare one that uses the culprit is slow, only its few per cent of
//! the requests are, so less counts there: the slow share has to exceed the expected one by `entry_shift` and not reach
//! `min_slow_share`, and with `suspect_threshold` nats. Nobody is paged for that alone; a culprit has to be there as well,
//! and its evidence is the full one.

use map::catalogue::{
    RECORDED_TOTAL_DEGRADED, RECORDED_TOTAL_EVIDENCE, RECORDED_TOTAL_EXPECTED, RECORDED_TOTAL_SHARE,
};

use super::{entry_points, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    let AlertSettings {
        evidence_threshold,
        suspect_threshold,
        min_slow_share,
        entry_shift,
        ..
    } = settings;
    let entry_points = entry_points();
    let expr = format!(
        "
        max by (id, kind) (
          {RECORDED_TOTAL_EVIDENCE} > {evidence_threshold}
          and {RECORDED_TOTAL_SHARE} > {min_slow_share}
          or
          {RECORDED_TOTAL_EVIDENCE} > {suspect_threshold}
          and {RECORDED_TOTAL_SHARE} - {RECORDED_TOTAL_EXPECTED} > {entry_shift}
          and on (id) {entry_points}
        )"
    );
    recording(RECORDED_TOTAL_DEGRADED, &expr)
}
