//! What became of objects, one line each.
//!
//! In: a fate for each object that was looked at. Out: lines for a person, and counts.
//! Left out on purpose: contents of objects.

use std::fmt;

use crate::Key;
use crate::status::Conflict;

/// What became of an object, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was as it should be.
    Unchanged,
    /// It is new, or is as it should be now.
    Applied,
    /// It was ours, and is no longer generated.
    Removed,
    /// Somebody else has fields that are to be ours: left alone.
    Conflict(Conflict),
    /// One of its name is there that is not ours: left alone.
    Foreign(String),
    /// The API server would not have it.
    Refused(String),
}

impl Fate {
    /// Whether the object is there, or gone, as it should be.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Applied | Self::Removed)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Applied => f.write_str("applied"),
            Self::Removed => f.write_str("removed"),
            Self::Conflict(Conflict { managers, fields }) => write!(
                f,
                "conflict: {} has {}: take it back there, or set `force`",
                quoted(managers),
                quoted(fields)
            ),
            Self::Foreign(whose) => write!(f, "left alone: {whose}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// An object and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub key: Key,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.fate)
    }
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it was done.
    pub steps: Vec<Step>,
}

impl Report {
    /// How many objects have such a fate.
    pub fn count(&self, is: impl Fn(&Fate) -> bool) -> usize {
        self.steps.iter().filter(|step| is(&step.fate)).count()
    }

    /// Whether nothing was to be done, and nothing is wrong.
    pub fn is_current(&self) -> bool {
        self.steps.iter().all(|step| step.fate == Fate::Unchanged)
    }

    /// What is not as it should be.
    pub fn problems(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.fate.is_good())
    }

    pub(crate) fn note(&mut self, key: &Key, fate: Fate) {
        self.steps.push(Step {
            key: key.clone(),
            fate,
        });
    }
}
