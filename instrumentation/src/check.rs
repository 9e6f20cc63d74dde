//! Findings about the architecture and the instrumentation.
//!
//! In: the map with its statistics, thresholds, what people silenced, the date. Out: findings with evidence, as text, JSON and SARIF.
//! Each kind of finding is a file in `kinds`: what it means at night, what to do, and how it is found.
//! Left out on purpose: what to do about them by itself, and any clock: the date is an argument.

pub mod changes;
pub mod compare;
mod contract;
mod date;
mod finding;
mod kinds;
mod sarif;
mod seen;
mod settings;
mod shape;
mod silence;
mod text;

#[cfg(test)]
mod tests;

use map::Map;
use serde::Serialize;

pub use date::Date;
pub use finding::{Fact, Finding, Kind, Severity};
pub use kinds::KINDS;
pub use sarif::to_sarif;
pub use settings::{CheckSettings, Silence};
pub use text::to_text;

use seen::Seen;

/// What was found on a map, and what could not be looked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The findings that nobody silenced, the severest first, then by id.
    pub findings: Vec<Finding>,
    /// Those that somebody did, with the reason.
    pub silenced: Vec<Silenced>,
    /// Kinds that were not looked for, and why.
    pub not_checked: Vec<NotChecked>,
    /// What is to be said about the silences themselves: over, or without a finding.
    pub notes: Vec<String>,
}

/// A finding that is known and accepted for a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silenced {
    /// What was found.
    pub finding: Finding,
    /// Why it may stay.
    pub reason: String,
    /// The last day on which it may.
    pub until: Date,
}

/// A kind of finding that this map cannot show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotChecked {
    /// Its name.
    pub kind: &'static str,
    /// What is missing.
    pub why: &'static str,
}

impl Report {
    /// True where a finding is at least as severe.
    pub fn fails(&self, at: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity >= at)
    }

    /// The report as JSON, indented.
    ///
    /// # Panics
    /// Never: plain data of strings and numbers serialises.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("plain data of strings and numbers serialises");
        text + "\n"
    }
}

/// Everything that is to be found on `map`.
///
/// `contract` is a map that somebody committed: what the system may look like. `today` decides which silences still hold.
/// The same arguments give the same report.
pub fn check(map: &Map, contract: Option<&Map>, settings: &CheckSettings, today: Date) -> Report {
    let seen = Seen::new(map, contract, settings);
    let (mut findings, mut not_checked) = (Vec::new(), Vec::new());
    for kind in KINDS {
        match seen.lacks(kind.needs) {
            Some(why) => not_checked.push(NotChecked { kind: kind.name, why }),
            None => findings.extend((kind.find)(&seen)),
        }
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    silence::apply(findings, not_checked, &settings.silences, today)
}
