//! What the collector did with what it got.
//!
//! In: outcomes and losses. Out: counters that survive a restart.
//! Left out on purpose: what only the moment knows, such as how many traces are open; the engine has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::edges::Folded;
use crate::assemble::{Assembly, Basis};
use crate::read::Rejection;
use crate::shard::Outcomes;

/// The counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) outcomes: Outcomes,
    pub(super) unnamed_peers: u64,
    /// Flows that a replay told of again.
    pub(super) flows_again: u64,
    by_name: [BTreeMap<&'static str, u64>; FAMILIES.len()],
    evidence: [u64; Basis::ALL.len()],
}

/// Which counters have a label, with all of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rejected,
    Corrections,
    Overflow,
    Ended,
    CutShort,
}

const FAMILIES: [Family; 5] = [
    Family::Rejected,
    Family::Corrections,
    Family::Overflow,
    Family::Ended,
    Family::CutShort,
];

impl Family {
    pub(super) fn values(self) -> Vec<&'static str> {
        match self {
            Self::Rejected => Rejection::ALL.map(Rejection::as_str).to_vec(),
            Self::Corrections => vec!["visit", "call", "flow"],
            Self::Overflow => vec!["node", "edge", "span_name"],
            Self::Ended => vec!["node", "edge"],
            Self::CutShort => vec!["closed", "forgotten"],
        }
    }
}

impl Counts {
    pub(super) fn reject(&mut self, reason: Rejection, n: u64) {
        self.add(Family::Rejected, reason.as_str(), n);
    }

    pub(super) fn add(&mut self, family: Family, value: &'static str, n: u64) {
        if n > 0 {
            *self.by_name[family as usize].entry(value).or_default() += n;
        }
    }

    pub(super) fn get(&self, family: Family, value: &str) -> u64 {
        self.by_name[family as usize].get(value).copied().unwrap_or(0)
    }

    /// Counts a request whose `label` was given up because a budget was spent.
    pub(super) fn fold(&mut self, folded: bool, label: &'static str) {
        self.add(Family::Overflow, label, u64::from(folded));
    }

    /// Counts a call.
    #[inline]
    pub(super) fn call(&mut self, basis: Basis, folded: Folded) {
        self.evidence[basis as usize] += 1;
        match folded {
            Folded::No => {}
            Folded::Node => self.fold(true, "node"),
            Folded::Edge => self.fold(true, "edge"),
        }
    }

    pub(super) fn evidence(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Basis::ALL
            .into_iter()
            .map(|basis| (basis.as_str(), self.evidence[basis as usize]))
    }

    pub(super) fn correct(&mut self, removed: &Assembly) {
        self.add(Family::Corrections, "visit", removed.visits.len() as u64);
        self.add(Family::Corrections, "call", removed.calls.len() as u64);
        self.add(Family::Corrections, "flow", removed.flows.len() as u64);
    }

    pub(super) fn save(&self) -> SavedCounts {
        let Outcomes {
            kept,
            late,
            duplicate,
            no_service,
            beyond,
        } = self.outcomes;
        let named = FAMILIES.iter().flat_map(|family| {
            let key = move |(value, n): (&&'static str, &u64)| (format!("{family:?}/{value}"), *n);
            self.by_name[*family as usize].iter().map(key)
        });
        let evidence = self.evidence().map(|(basis, n)| (format!("Evidence/{basis}"), n));
        let singles = [
            ("kept", kept),
            ("late", late),
            ("duplicate", duplicate),
            ("no_service", no_service),
            ("beyond", beyond),
            ("unnamed_peers", self.unnamed_peers),
            ("flows_again", self.flows_again),
        ];
        let singles = singles.map(|(name, n)| (name.to_owned(), n));
        SavedCounts(named.chain(evidence).chain(singles).collect())
    }

    pub(super) fn restore(saved: &SavedCounts) -> Self {
        let of = |name: &str| saved.0.get(name).copied().unwrap_or(0);
        let mut counts = Self {
            outcomes: Outcomes {
                kept: of("kept"),
                late: of("late"),
                duplicate: of("duplicate"),
                no_service: of("no_service"),
                beyond: of("beyond"),
            },
            unnamed_peers: of("unnamed_peers"),
            flows_again: of("flows_again"),
            ..Self::default()
        };
        for family in FAMILIES {
            for value in family.values() {
                counts.add(family, value, of(&format!("{family:?}/{value}")));
            }
        }
        counts.evidence = Basis::ALL.map(|basis| of(&format!("Evidence/{}", basis.as_str())));
        counts
    }
}

/// The counters by their names.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedCounts(BTreeMap<String, u64>);
