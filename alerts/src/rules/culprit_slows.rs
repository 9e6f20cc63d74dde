//! Which services are slow because they wait for a culprit; the culprit itself is among them at 0 hops.
//!
//! The only rule that joins the topology with the degradation. It is recorded because two alerts and the exception of
//! a third rest on it, and because its join is the dearest: the reach series may be many.

use map::catalogue::{REACH_INFO, RECORDED_CULPRIT, RECORDED_CULPRIT_SLOWS, RECORDED_TOTAL_DEGRADED};

use super::recording;
use crate::prometheus::Recording;

pub(super) fn rule() -> Recording {
    let expr = format!(
        "
        max by (culprit, id) ({REACH_INFO})
        * on (id) group_left () {RECORDED_TOTAL_DEGRADED}
        and on (culprit) {RECORDED_CULPRIT}"
    );
    recording(RECORDED_CULPRIT_SLOWS, &expr)
}
