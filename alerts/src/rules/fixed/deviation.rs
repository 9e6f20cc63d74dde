//! How far a mean lies from what is usual, in standard deviations.
//!
//! The spread is that of windows with the usual number of requests; the mean of fewer strays further, by the root of how many
//! times fewer. More requests than usual are not trusted more, because requests of one user are not independent.
//! Source: the standard error of a mean.

use map::catalogue::{
    RECORDED_JUDGED, RECORDED_JUDGED_USUAL, RECORDED_MEAN_SECONDS, RECORDED_SECONDS_DEVIATION,
    RECORDED_SECONDS_SPREAD, RECORDED_USUAL_SECONDS,
};

use super::super::recording;
use super::ON;
use crate::prometheus::Recording;

pub(super) fn rule() -> Recording {
    let expr = format!(
        "
        ({RECORDED_MEAN_SECONDS} - {RECORDED_USUAL_SECONDS})
        / (
          {RECORDED_SECONDS_SPREAD}
          * {ON} group_left ()
          sqrt(clamp_min({RECORDED_JUDGED_USUAL} / {ON} ({RECORDED_JUDGED} > 0), 1))
        )"
    );
    recording(RECORDED_SECONDS_DEVIATION, &expr)
}

/// Evidence in nats that this is no chance, of one measure: the log-likelihood ratio of a shifted mean, signed.
pub(super) fn nats(measure: &str) -> String {
    let deviation = format!("{RECORDED_SECONDS_DEVIATION}{{measure=\"{measure}\"}}");
    format!("{deviation} * abs({deviation}) / 2")
}
