//! What is normal for an operation, learned from its own requests, and whether an entity is degraded now.
//!
//! In: own and total seconds of every request by entity, operation and version, with the time. Out: a [`Verdict`] per
//! request, [`Evidence`] per entity, a ticket per steady shift ([`NewNormal`]), and the state to be saved.
//! Left out on purpose: names, which the caller has; a clock; time zones. Hours are UTC's, so a change to summer time
//! moves a rhythm by one slot, and the slots follow within two weeks.

mod baselines;
mod budget;
mod evidence;
mod failures;
mod id;
mod measure;
mod normal;
mod operation;
mod save;
mod settings;
mod sketch;
mod slots;

pub use baselines::{Baselines, Learned, NewNormal, Observation, Stats, Verdict};
pub use evidence::Evidence;
pub use id::{Entity, Measure, Operation, Source, Version};
pub use normal::{Normal, Normality};
pub use save::{Lookup, Names, SavedBaselines, SavedEntity, SavedOperation};
pub use settings::Settings;
