//! For each suspect, how much evidence the hypothesis "this node is the culprit" explains.
//!
//! A node explains its own degraded time and the degraded edges on both sides of it: a network fault at a pod slows
//! the edges into it and out of it and leaves its own time alone.

use map::catalogue::{RECORDED_CULPRIT_EXPLAINED, RECORDED_EDGE_SUSPECT};

use super::recording;
use crate::prometheus::Recording;

pub(super) fn rule() -> Recording {
    let expr = format!(
        "
        sum by (culprit) (
          {RECORDED_EDGE_SUSPECT}
          or
          {}
        )",
        super::culprit_evidence::own_time()
    );
    recording(RECORDED_CULPRIT_EXPLAINED, &expr)
}
