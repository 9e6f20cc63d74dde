//! Share of the judged requests that took longer than the learned edge of their operation.
//!
//! Kept a little away from 0 and 1, as [`map::evidence`] does, so that the logarithms of the evidence stay finite.
//! Absent where nothing was judged in the window: 0/0 is not a number, and no traffic is no evidence.

use super::{Measure, ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

/// How far shares are kept from 0 and 1; the same as in [`map::evidence`], which a test compares.
pub(super) const MARGIN: f64 = 1e-4;

pub(super) fn rule(measure: &Measure, settings: &AlertSettings) -> Recording {
    recording(
        measure.share,
        &of_judged(measure.slow, measure.selector, settings),
    )
}

/// The clamped share that a counter has of the judged requests.
pub(super) fn of_judged(counter: &str, selector: &str, settings: &AlertSettings) -> String {
    let (judged, most) = (map::catalogue::RECORDED_JUDGED, 1.0 - MARGIN);
    let counted = ladder::joined(settings, |rung| rung.increase(&format!("{counter}{selector}")));
    let counted = indent(&indent(&counted));
    format!("clamp(\n  (\n{counted}\n  )\n  / ({judged} > 0),\n  {MARGIN}, {most}\n)")
}
