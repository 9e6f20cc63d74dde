//! Requests that could be judged, by entity and window: the `n` of the evidence.
//!
//! Summed over collectors, each of which judges its share. Unweighted: three sampled requests that stand for 300 are
//! evidence of three. A request without a baseline is in no count, neither as slow nor as healthy.

use map::catalogue::RECORDED_JUDGED;

use super::{ladder, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    recording(RECORDED_JUDGED, &ladder::judged(settings))
}
