//! Each degraded edge, charged to one of its ends: to the better hypothesis, to the callee where both are as good.
//!
//! Each edge is decided by itself, so a cycle needs no special case and two faults at once are two culprits.

use super::{Signal, recording};
use crate::prometheus::Recording;

/// By how many nats the caller's hypothesis must be better. Less is the noise of counts and of floating point.
const TIE_NATS: f64 = 0.5;

pub(super) fn rule(signal: &Signal) -> Recording {
    let Signal { edge_suspect, .. } = signal;
    let (callee, caller) = (score(signal, "callee"), score(signal, "caller"));
    let expr = format!(
        r#"
        max by (id, culprit) (
          {edge_suspect}{{side="callee"}}
          unless on (id) (
            {caller}
            > on (id)
            {callee} + {TIE_NATS}
          )
          or
          {edge_suspect}{{side="caller"}}
          unless on (id) (
            {callee} + {TIE_NATS}
            >= on (id)
            {caller}
          )
        )"#
    );
    recording(signal.edge_charged, &expr)
}

/// The score of the node at one side of each degraded edge.
fn score(signal: &Signal, side: &str) -> String {
    let Signal {
        culprit_score,
        edge_suspect,
        ..
    } = signal;
    format!(r#"{edge_suspect}{{side="{side}"}} * 0 + on (culprit) group_left () {culprit_score}"#)
}
