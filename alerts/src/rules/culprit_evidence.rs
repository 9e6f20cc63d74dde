//! The culprits: every node to which degradation is charged, with the evidence; empty while healthy.
//!
//! No single edge of a culprit has to reach the threshold; all that is charged to it has to together.
//! What a service spends in its own code is charged to it whatever its edges say; a slow edge goes to one of its ends.

use map::catalogue::{RECORDED_CULPRIT, RECORDED_EDGE_CHARGED, RECORDED_OWN_DEGRADED};

use super::{NOBODY, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    let threshold = settings.evidence_threshold;
    let own_time = own_time();
    let expr = format!(
        "
        sum by (culprit) (
          {RECORDED_EDGE_CHARGED}
          or
          {own_time}
        ) > {threshold}"
    );
    recording(RECORDED_CULPRIT, &expr)
}

/// Services with degraded own time, under the label `culprit`.
pub(super) fn own_time() -> String {
    let services = format!(r#"{RECORDED_OWN_DEGRADED}{{kind="service",id!~"{NOBODY}"}}"#);
    format!(r#"label_replace({services}, "culprit", "$1", "id", "(.+)")"#)
}
