//! Services that are slow as their callers see them, with the evidence; empty while healthy.
//!
//! An entry point serves many operations. When the rare one that uses the culprit is slow, only its few per cent of
//! the requests are, so less counts there: the slow share has to exceed the expected one by `entry_shift` and not reach
//! `min_slow_share`, and with `suspect_threshold` nats. Nobody is paged for that alone; a culprit has to be there as well,
//! and its evidence is the full one.

use super::{Signal, entry_points, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let total_evidence = signal.total.evidence;
    let total_expected = signal.total.expected;
    let total_share = signal.total.share;
    let AlertSettings {
        evidence_threshold,
        suspect_threshold,
        entry_shift,
        ..
    } = settings;
    let min_share = (signal.min_share)(settings);
    let entry_points = entry_points();
    let expr = format!(
        "
        max by (id, kind) (
          {total_evidence} > {evidence_threshold}
          and {total_share} > {min_share}
          or
          {total_evidence} > {suspect_threshold}
          and {total_share} - {total_expected} > {entry_shift}
          and on (id) {entry_points}
        )"
    );
    recording(signal.total_degraded, &expr)
}
