//! What people see of baselines, and what they do with them.
//!
//! In: ids of nodes and edges, changes. Out: what is normal for whom, shifts that may become normal.
//! Left out on purpose: learning, which goes on with every request (`judge`), and how a change survives a restart.

use baseline::{Learned, NewNormal, Normal, Stats};
use serde::{Deserialize, Serialize};

use super::Ledger;
use crate::series::EntityKind;

/// A person changes what is normal for a node or an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineChange {
    /// The id of the node or edge.
    pub id: String,
    /// What becomes of its baseline.
    pub change: Change,
}

/// What becomes of a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It learns nothing from now on, neither shifts nor healthy hours.
    Pin,
    /// It learns again.
    Unpin,
    /// It is forgotten, and learned anew as on the first day.
    Reset,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    /// No node or edge of this id ever answered a request.
    Unknown,
    /// The configuration holds it, so nobody else lets it go.
    Configured,
}

/// Who holds a baseline as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinnedBy {
    /// `collector.baseline.pins`.
    Configuration,
    /// A [`Change::Pin`].
    Api,
}

/// What is normal for a node or an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Its id.
    pub id: String,
    /// Which of the two it is.
    pub kind: EntityKind,
    /// Who holds it; `None` while it learns.
    pub pinned: Option<PinnedBy>,
    /// By the name of the operation; [`Judge::OTHER`](super::judge::OTHER) for those that share one.
    pub operations: Vec<(String, Normal)>,
}

impl Ledger {
    /// The learned edges of a node's or edge's busiest operation, by the id of its series.
    pub fn learned(&self, id: &str) -> Option<Learned> {
        self.judge.learned(self.series.find_entity(id)?)
    }

    /// Learns every operation that has `min_requests` from all that came of it so far, and nothing from then on; see
    /// [`baseline::Baselines::hold`].
    pub fn hold_baselines(&mut self, min_requests: u64, now: u64) {
        self.judge.hold(min_requests, now);
    }

    /// Shifts that have lasted, each with the number of its series and the name of its operation.
    pub fn tickets(&self) -> impl Iterator<Item = (NewNormal, &str)> {
        self.judge.tickets()
    }

    /// What the baselines occupy, and what found no room.
    pub fn baseline_stats(&self) -> Stats {
        self.judge.stats()
    }

    /// What is normal for every node and edge that answered a request, or for the one of this id, in the order of ids.
    pub fn baselines(&self, id: Option<&str>) -> Vec<Baseline> {
        let wanted = id.map(|id| self.series.find_entity(id));
        let all = self.series.entities.iter();
        let wanted = all.filter(|(at, _)| wanted.is_none_or(|wanted| wanted == Some(*at)));
        let mut baselines: Vec<Baseline> = wanted
            .map(|(at, series)| Baseline {
                id: series.id.to_string(),
                kind: series.kind,
                pinned: self.judge.pinned(&series.id),
                operations: self.judge.normals(at),
            })
            .collect();
        baselines.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        baselines
    }

    /// Whether a change can be made.
    ///
    /// # Errors
    /// [`ChangeRefused`] where it cannot.
    pub fn accepts(&self, change: &BaselineChange) -> Result<(), ChangeRefused> {
        let pinned = self.judge.pinned(&change.id);
        if self.series.find_entity(&change.id).is_none() && pinned.is_none() {
            return Err(ChangeRefused::Unknown);
        }
        match (change.change, pinned) {
            (Change::Unpin, Some(PinnedBy::Configuration)) => Err(ChangeRefused::Configured),
            _ => Ok(()),
        }
    }

    /// Makes a change. One that is not accepted does no harm.
    pub fn change_baseline(&mut self, change: BaselineChange) {
        self.judge.change(change, &self.series);
    }
}
