//! Requests of each objective in five minutes: all, those that are evidence, and those that came too late.
//!
//! An objective counts from five minutes after it was first stated: before, its good requests are those since then, and
//! the service's requests those of five minutes.

use map::catalogue::{
    JUDGED, OBJECTIVE_GOOD, OBJECTIVE_TARGET, RECORDED_OBJECTIVE_LATE, RECORDED_OBJECTIVE_REQUESTS,
    RECORDED_OBJECTIVE_SEEN, REQUESTS,
};

use crate::prometheus::Recording;
use crate::rules::recording;

/// What tells objectives apart.
const OBJECTIVE: &str = "id, latency, window";

pub(super) fn requests() -> Recording {
    let expr = format!(
        r#"
        max by ({OBJECTIVE}) ({OBJECTIVE_TARGET} offset 5m) * 0
        + on (id) group_left ()
        sum by (id) (increase({REQUESTS}{{kind="service"}}[5m]))"#
    );
    recording(RECORDED_OBJECTIVE_REQUESTS, &expr)
}

/// Requests are weighted by sampling, evidence must not be: three sampled requests that stand for 300 are evidence of three.
/// Judged requests are not weighted, but a service may have no baseline yet. The fewer count.
pub(super) fn seen() -> Recording {
    let expr = format!(
        r#"
        {RECORDED_OBJECTIVE_REQUESTS} * 0
        + on (id) group_left ()
        (sum by (id) (increase({JUDGED}{{kind="service"}}[5m])) > 0)
        < {RECORDED_OBJECTIVE_REQUESTS}
        or
        {RECORDED_OBJECTIVE_REQUESTS}"#
    );
    recording(RECORDED_OBJECTIVE_SEEN, &expr)
}

pub(super) fn late() -> Recording {
    let expr = format!(
        "
        clamp_min(
          {RECORDED_OBJECTIVE_REQUESTS}
          - sum by ({OBJECTIVE}) (increase({OBJECTIVE_GOOD}[5m])),
          0
        )"
    );
    recording(RECORDED_OBJECTIVE_LATE, &expr)
}
