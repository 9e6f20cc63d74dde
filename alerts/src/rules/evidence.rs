//! Evidence in nats that more requests are slow than expected: `n · KL(slow share ‖ expected share)`, signed.
//!
//! It replaces an interpolated quantile and a fixed minimum of requests alike. [`map::evidence::evidence_nats`] is the
//! same in Rust; a test holds the two together.

use super::recording;
use super::signal::{Measure, Signal};
use crate::prometheus::Recording;

pub(super) fn rule(signal: &Signal, measure: &Measure) -> Recording {
    let judged = signal.judged;
    let Measure {
        share,
        expected,
        evidence,
        ..
    } = measure;
    let expr = format!(
        "
        {judged}
        * (
            {share} * ln({share} / {expected})
            + (1 - {share}) * ln((1 - {share}) / (1 - {expected}))
          )
        * sgn({share} - {expected})"
    );
    recording(evidence, &expr)
}
