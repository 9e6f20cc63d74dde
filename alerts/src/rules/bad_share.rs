//! Share of the judged requests that are bad: that took longer than the learned edge of their operation, or that failed.
//!
//! Kept a little away from 0 and 1, as [`map::evidence`] does, so that the logarithms of the evidence stay finite.
//! Absent where nothing was judged in the window: 0/0 is not a number, and no traffic is no evidence.

use super::signal::{Measure, Signal};
use super::{ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

/// How far shares are kept from 0 and 1; the same as in [`map::evidence`], which a test compares.
pub(super) const MARGIN: f64 = 1e-4;

pub(super) fn rule(signal: &Signal, measure: &Measure, settings: &AlertSettings) -> Recording {
    let counter = format!("{}{}", measure.bad, measure.selector);
    recording(measure.share, &of_judged(signal, &counter, settings))
}

/// The clamped share that a counter has of the judged requests.
pub(super) fn of_judged(signal: &Signal, counter: &str, settings: &AlertSettings) -> String {
    let (judged, most) = (signal.judged, 1.0 - MARGIN);
    let counted = ladder::joined(settings, |rung| rung.increase(counter));
    let counted = indent(&indent(&counted));
    format!("clamp(\n  (\n{counted}\n  )\n  / ({judged} > 0),\n  {MARGIN}, {most}\n)")
}
