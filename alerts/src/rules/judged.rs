//! Requests that could be judged, by entity and window: the `n` of the evidence.
//!
//! Summed over collectors, each of which judges its share. Unweighted: three sampled requests that stand for 300 are
//! evidence of three. A request without a baseline is in no count, neither as slow nor as healthy.

use super::{Signal, ladder, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    recording(signal.judged, &ladder::judged(settings))
}
