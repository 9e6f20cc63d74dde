//! Share of the judged requests that are bad in a healthy system: above the edge of their operation, or failed.
//!
//! Measured and not assumed to be 5 %: each request brings the share that its own operation's baseline expects, so a
//! shift in the mix of operations moves both shares alike and is no evidence.

use super::signal::{Measure, Signal};
use super::{bad_share, recording};
use crate::prometheus::Recording;
use crate::settings::AlertSettings;

pub(super) fn rule(signal: &Signal, measure: &Measure, settings: &AlertSettings) -> Recording {
    let counter = format!("{}{}", measure.bad_expected, measure.selector);
    recording(
        measure.expected,
        &bad_share::of_judged(signal, &counter, settings),
    )
}
