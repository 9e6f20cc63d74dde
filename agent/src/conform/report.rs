//! What was found out, for people and for programs.
//!
//! In: a verdict for each case. Out: a table, or JSON.
//! Left out on purpose: colours; the words PASS and FAIL can be searched for.

use std::fmt;

use serde::Serialize;

/// What was found out about a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One for each case, in their order.
    pub cases: Vec<Verdict>,
    /// Where a trace that should have gone through ended, where a collector could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
}

/// What a service did in one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// A short name, the same in all versions.
    pub name: &'static str,
    /// What the case asks for, as a sentence.
    pub says: &'static str,
    /// Whether the service did that.
    pub passed: bool,
    /// What was found in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<String>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
}

impl Report {
    /// Whether the service passed in all cases.
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.passed)
    }

    /// The report as JSON, in one line.
    pub fn json(&self) -> String {
        // Plain texts always have a form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        for case in &self.cases {
            let word = if case.passed { "PASS" } else { "FAIL" };
            writeln!(f, "{word}  {:width$}  {}", case.name, case.says)?;
            if let Some(arrived) = &case.arrived {
                writeln!(f, "      {:width$}  arrived: {arrived}", "")?;
            }
            if let Some(right) = &case.right {
                writeln!(f, "      {:width$}  right:   {right}", "")?;
            }
        }
        let passed = self.cases.iter().filter(|case| case.passed).count();
        write!(f, "\n{passed} of {} passed", self.cases.len())?;
        match &self.way {
            Some(way) => writeln!(f, "; {way}"),
            None => writeln!(f),
        }
    }
}
