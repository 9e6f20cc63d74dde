//! Which services are slow because they wait for a culprit; the culprit itself is among them at 0 hops.
//!
//! The only rule that joins the topology with the degradation. It is recorded because two alerts and the exception of
//! a third rest on it, and because its join is the dearest: the reach series may be many.

use map::catalogue::REACH_INFO;

use super::{Signal, recording};
use crate::prometheus::Recording;

pub(super) fn rule(signal: &Signal) -> Recording {
    let Signal {
        culprit,
        total_degraded,
        ..
    } = signal;
    let expr = format!(
        "
        max by (culprit, id) ({REACH_INFO})
        * on (id) group_left () {total_degraded}
        and on (culprit) {culprit}"
    );
    recording(signal.culprit_slows, &expr)
}
