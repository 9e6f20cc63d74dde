//! Findings that came and went between two reports.
//!
//! In: two reports. Out: the findings of the one that the other does not have, by id.
//! Left out on purpose: findings whose numbers changed. The same id is the same finding. Silenced ones count as there, so that a
//! silence that ends is no new finding.

use std::collections::BTreeSet;

use super::{Finding, Report};

/// What only one of two reports has.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct FindingsDiff {
    /// Only in the later one.
    pub new: Vec<Finding>,
    /// Only in the earlier one.
    pub gone: Vec<Finding>,
}

/// Compares two reports. A kind that one of them could not look for is in neither list.
pub fn compare(old: &Report, new: &Report) -> FindingsDiff {
    let unknown: BTreeSet<&str> = old
        .not_checked
        .iter()
        .chain(&new.not_checked)
        .map(|not| not.kind)
        .collect();
    let only = |of: &Report, other: &Report| {
        let known: BTreeSet<&str> = all(other).map(|finding| finding.id.as_str()).collect();
        let only = all(of).filter(|finding| !known.contains(finding.id.as_str()));
        only.filter(|finding| !unknown.contains(finding.kind))
            .cloned()
            .collect()
    };
    FindingsDiff {
        new: only(new, old),
        gone: only(old, new),
    }
}

fn all(report: &Report) -> impl Iterator<Item = &Finding> {
    let silenced = report.silenced.iter().map(|silenced| &silenced.finding);
    report.findings.iter().chain(silenced)
}
