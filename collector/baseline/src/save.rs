//! The state by names, for a snapshot.
//!
//! In: the state, and the caller's names for its numbers. Out: plain data that serde writes, and the state again.
//! Left out on purpose: the file. What it says is checked, since a file may have been written by anybody: what is no
//! baseline is left out, and its operation begins anew.

use serde::{Deserialize, Serialize};

use crate::baselines::Baselines;
use crate::evidence::Windows;
use crate::id::{Entity, Operation, Version};
use crate::operation::{Candidate, CandidateLearning, Learning, State};
use crate::settings::Settings;

/// The caller's names for its numbers. What has no name is not saved.
pub trait Names {
    /// The id of a node or edge.
    fn entity(&self, entity: Entity) -> Option<&str>;
    /// The name of an operation. Not asked for [`Operation::OTHER`].
    fn operation(&self, operation: Operation) -> Option<&str>;
    /// The value of `service.version`. Not asked for [`Version::UNKNOWN`].
    fn version(&self, version: Version) -> Option<&str>;
}

/// The caller's numbers for names, given on the spot where there is none yet.
pub trait Lookup {
    /// The number of a node or edge; `None` where it is no longer wanted.
    fn entity(&mut self, name: &str) -> Option<Entity>;
    /// The number of an operation.
    fn operation(&mut self, name: &str) -> Option<Operation>;
    /// The number of a version.
    fn version(&mut self, name: &str) -> Option<Version>;
}

/// Everything that was learned and is being learned. Pins are settings and not in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedBaselines {
    /// One for each entity that had a request.
    pub entities: Vec<SavedEntity>,
}

/// One entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEntity {
    /// Its id.
    pub name: String,
    windows: Option<Box<Windows>>,
    operations: Vec<SavedOperation>,
}

/// One operation of an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedOperation {
    /// Its name; absent for those that share one baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidate: Option<(String, CandidateLearning)>,
    learned: Learning,
}

impl Baselines {
    /// Everything by its name.
    pub fn save(&self, names: &impl Names) -> SavedBaselines {
        let entities = (0..self.rows.len() as u32).map(Entity);
        SavedBaselines {
            entities: entities
                .filter_map(|entity| self.save_entity(entity, names))
                .collect(),
        }
    }

    fn save_entity(&self, entity: Entity, names: &impl Names) -> Option<SavedEntity> {
        let row = self.rows.get(entity.0 as usize)?;
        if row.windows.is_none() && row.operations.is_empty() {
            return None;
        }
        let operations = self.states_of(entity);
        Some(SavedEntity {
            name: names.entity(entity)?.to_owned(),
            windows: row.windows.clone(),
            operations: operations
                .filter_map(|(_, state)| SavedOperation::of(state, names))
                .collect(),
        })
    }

    /// The state that was saved, under the caller's present numbers.
    pub fn restore(settings: Settings, saved: SavedBaselines, lookup: &mut impl Lookup) -> Self {
        let mut baselines = Self::new(settings);
        for entity in saved.entities {
            let Some(number) = lookup.entity(&entity.name) else {
                continue;
            };
            baselines.restore_windows(number, entity.windows);
            for operation in entity.operations {
                if let Some(state) = operation.restore(number, lookup) {
                    baselines.insert(state);
                }
            }
        }
        baselines
    }

    fn restore_windows(&mut self, entity: Entity, windows: Option<Box<Windows>>) {
        let Some(windows) = windows.filter(|windows| windows.is_sound()) else {
            return;
        };
        if self.row(entity).is_some()
            && self.budget.take(Windows::BYTES)
            && let Some(row) = self.row(entity)
        {
            row.windows = Some(windows);
        }
    }
}

impl SavedOperation {
    fn of(state: &State, names: &impl Names) -> Option<Self> {
        let version = |version: Version| {
            let known = Some(version).filter(|version| *version != Version::UNKNOWN);
            known
                .and_then(|version| names.version(version))
                .map(str::to_owned)
        };
        let name = match state.operation {
            Operation::OTHER => None,
            operation => Some(names.operation(operation)?.to_owned()),
        };
        let candidate = state.candidate.as_deref();
        Some(Self {
            name,
            version: version(state.version),
            previous: version(state.previous),
            candidate: candidate.and_then(|c| Some((version(c.version)?, c.learned.clone()))),
            learned: state.learned.clone(),
        })
    }

    fn restore(self, entity: Entity, lookup: &mut impl Lookup) -> Option<State> {
        let mut version = |name: Option<String>| {
            let number = name.and_then(|name| lookup.version(&name));
            number.unwrap_or(Version::UNKNOWN)
        };
        let (present, previous) = (version(self.version), version(self.previous));
        let candidate = self.candidate.filter(|(_, learned)| learned.is_sound());
        let candidate = candidate.map(|(name, learned)| Candidate {
            version: version(Some(name)),
            learned,
        });
        let operation = match self.name {
            None => Operation::OTHER,
            Some(name) => lookup.operation(&name)?,
        };
        let state = State {
            entity,
            operation,
            version: present,
            previous,
            candidate: candidate.map(Box::new),
            learned: self.learned,
        };
        state.learned.is_sound().then_some(state)
    }
}
