//! Readers of the collector as the fuzzer reaches them; built for it alone (`--cfg fuzzing`).
//!
//! In: nothing. Out: what reads agents' counts, and what reads snapshots.
//! Left out on purpose: everything that is public anyway.

/// Counts of agents.
pub mod edge_counts {
    pub use crate::edge_counts::{Counted, METRIC, read};
}

/// What a restart begins with.
pub mod snapshot {
    pub use crate::snapshot::{FILE, Snapshot, read};
}
