//! Who answers for each culprit.
//!
//! Two collectors may disagree for a moment after an owner changed. Two owners of one node would make the alert's join
//! ambiguous, and Prometheus drops the whole alert then: one of them is taken. A culprit without any owner is `unowned`
//! and still pages.

use map::Owner;
use map::catalogue::OWNER_INFO;

use super::{Signal, recording};
use crate::prometheus::Recording;

pub(super) fn rule(signal: &Signal) -> Recording {
    let Signal { culprit, .. } = signal;
    let nobody = Owner::NOBODY;
    let expr = format!(
        r#"
        topk by (culprit) (1,
          max by (culprit, team, tier) (label_replace({OWNER_INFO}, "culprit", "$1", "id", "(.+)"))
          and on (culprit) {culprit}
        )
        or on (culprit)
        label_replace({culprit} * 0 + 1, "team", "{nobody}", "", "")"#
    );
    recording(signal.culprit_owner, &expr)
}
