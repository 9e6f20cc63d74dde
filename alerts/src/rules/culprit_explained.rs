//! For each suspect, how much evidence the hypothesis "this node is the culprit" explains.
//!
//! A node explains its own degraded time and the degraded edges on both sides of it: a network fault at a pod slows
//! the edges into it and out of it and leaves its own time alone.

use super::{Signal, recording};
use crate::prometheus::Recording;

pub(super) fn rule(signal: &Signal) -> Recording {
    let Signal { edge_suspect, .. } = signal;
    let expr = format!(
        "
        sum by (culprit) (
          {edge_suspect}
          or
          {}
        )",
        super::culprit_evidence::own_time(signal)
    );
    recording(signal.culprit_explained, &expr)
}
