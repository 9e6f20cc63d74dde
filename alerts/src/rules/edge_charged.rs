//! Each degraded edge, charged to one of its ends: to the better hypothesis, to the callee where both are as good.
//!
//! Each edge is decided by itself, so a cycle needs no special case and two faults at once are two culprits.

use map::catalogue::{RECORDED_CULPRIT_SCORE, RECORDED_EDGE_CHARGED, RECORDED_EDGE_SUSPECT};

use super::recording;
use crate::prometheus::Recording;

/// By how many nats the caller's hypothesis must be better. Less is the noise of counts and of floating point.
const TIE_NATS: f64 = 0.5;

pub(super) fn rule() -> Recording {
    let (callee, caller) = (score("callee"), score("caller"));
    let expr = format!(
        r#"
        max by (id, culprit) (
          {RECORDED_EDGE_SUSPECT}{{side="callee"}}
          unless on (id) (
            {caller}
            > on (id)
            {callee} + {TIE_NATS}
          )
          or
          {RECORDED_EDGE_SUSPECT}{{side="caller"}}
          unless on (id) (
            {callee} + {TIE_NATS}
            >= on (id)
            {caller}
          )
        )"#
    );
    recording(RECORDED_EDGE_CHARGED, &expr)
}

/// The score of the node at one side of each degraded edge.
fn score(side: &str) -> String {
    format!(
        r#"{RECORDED_EDGE_SUSPECT}{{side="{side}"}} * 0 + on (culprit) group_left () {RECORDED_CULPRIT_SCORE}"#
    )
}
