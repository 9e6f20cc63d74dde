//! The culprits: every node to which degradation is charged, with the evidence; empty while healthy.
//!
//! No single edge of a culprit has to reach the threshold; all that is charged to it has to together.
//! What a service spends in its own code is charged to it whatever its edges say; a slow edge goes to one of its ends.

use super::{NOBODY, Signal, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let Signal { edge_charged, .. } = signal;
    let threshold = settings.evidence_threshold;
    let own_time = own_time(signal);
    let expr = format!(
        "
        sum by (culprit) (
          {edge_charged}
          or
          {own_time}
        ) > {threshold}"
    );
    recording(signal.culprit, &expr)
}

/// Services with degraded own time, under the label `culprit`.
pub(super) fn own_time(signal: &Signal) -> String {
    let Signal { own_degraded, .. } = signal;
    let services = format!(r#"{own_degraded}{{kind="service",id!~"{NOBODY}"}}"#);
    format!(r#"label_replace({services}, "culprit", "$1", "id", "(.+)")"#)
}
