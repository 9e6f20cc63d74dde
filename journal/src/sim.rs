//! A simulated disk that loses power, and the proof that the journal outlives it.
//!
//! In: the operations of [`crate::storage`], a seed, faults to inject. Out: what a disk would answer; after
//! [`SimDisk::cut`], what a disk may still hold: everything synced, and an arbitrary part of the rest.
//! Left out on purpose: time. Threads bring their own disorder; the disk's own choices come from the seed.

mod disk;
mod file;
mod power;
mod rng;

pub use disk::SimDisk;
pub use power::{Report, power_cuts};
pub(crate) use rng::Rng;
