//! Share of the judged requests that a healthy system would have had above the edge of their operation.
//!
//! Measured and not assumed to be 5 %: each request brings the share that its own operation's baseline expects, so a
//! shift in the mix of operations moves both shares alike and is no evidence.

use super::{Measure, recording, slow_share};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(measure: &Measure, settings: &AlertSettings) -> Recording {
    recording(
        measure.expected,
        &slow_share::of_judged(measure.slow_expected, measure.selector, settings),
    )
}
