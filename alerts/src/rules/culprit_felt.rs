//! How much of their waiting users owe to a culprit.
//!
//! What slow requests spent beyond the usual time of their operation, where somebody waited for it: at the culprit and on the
//! edges that are charged to it, against all that users wait at the entry points that depend on it. The tail of an entry point's
//! total time hardly moves while a culprit costs every request some per cent; this sees those per cent where they are spent.

use map::catalogue::{CRITICAL_EXCESS_SECONDS, REACH_INFO, WAITED_SECONDS};

use super::ladder::{self, Rung};
use super::{Signal, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

/// `None` for a signal that is no matter of time.
pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Option<Recording> {
    let felt = signal.felt?;
    let rungs = indent(&ladder::joined(settings, |rung| of(signal, rung)));
    Some(recording(felt, &format!("max by (culprit) (\n{rungs}\n)")))
}

fn of(signal: &Signal, rung: &Rung) -> String {
    let Signal {
        culprit,
        edge_charged,
        ..
    } = signal;
    let excess = rung.increase_by("id", CRITICAL_EXCESS_SECONDS);
    let waited = rung.increase_by("id", WAITED_SECONDS);
    let own_time = super::culprit_evidence::own_time(signal);
    format!(
        "\
sum by (culprit) (
  (
    {edge_charged}
    or
    {own_time}
  ) * 0
  + on (id) group_left ()
  {excess}
)
/
sum by (culprit) (
  max by (culprit, id) ({REACH_INFO})
  * on (id) group_left ()
  {waited}
  and on (culprit) {culprit}
)"
    )
}
