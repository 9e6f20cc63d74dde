//! What a finding is, and what is known of each kind.
//!
//! In: nothing; these are the types. Out: [`Finding`] with an id that does not depend on counts, so that it can be silenced.
//! Left out on purpose: how they are found; see `kinds`.

use serde::Serialize;
use serde_json::Value;

use super::seen::Seen;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth to know.
    Info,
    /// It will hurt at the next fault.
    Warning,
    /// It hurts now, or hides what does.
    Error,
}

impl Severity {
    /// As files and arguments write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A kind of finding.
#[derive(Debug)]
pub struct Kind {
    /// Its name; every id begins with it.
    pub name: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// What it means at night.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
    /// The keys of `generate.check` that decide.
    pub keys: &'static [&'static str],
    pub(super) needs: Needs,
    pub(super) find: fn(&Seen<'_>) -> Vec<Finding>,
}

/// What a map must have for a kind to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nodes and edges.
    Topology,
    /// Counts of requests.
    Requests,
    /// Requests that failed.
    Failures,
    /// A committed map to compare with.
    Contract,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The kind and whom it concerns: `shared-database:shop/orders`. The same as long as these are.
    pub id: String,
    /// [`Kind::name`].
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Nodes and edges that it concerns, by their ids on the map.
    pub entities: Vec<String>,
    /// What was found.
    pub message: String,
    /// The numbers and names that it rests on.
    pub evidence: Vec<Fact>,
    /// Traces that show it, in hex.
    pub traces: Vec<String>,
    /// [`Kind::action`].
    pub action: &'static str,
}

/// A number or a list of names that a finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fact {
    /// What it is; in seconds or shares where the name ends so.
    pub name: &'static str,
    /// How much, or who.
    pub value: Value,
}

impl Finding {
    /// A finding of a kind, of the first entities that `id` joins.
    pub(super) fn new(kind: &Kind, entities: Vec<String>, message: String) -> Self {
        Self {
            id: format!("{}:{}", kind.name, entities.join(",")),
            kind: kind.name,
            severity: kind.severity,
            entities,
            message,
            evidence: Vec::new(),
            traces: Vec::new(),
            action: kind.action,
        }
    }

    /// With another severity than its kind's.
    pub(super) fn severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// With a count.
    pub(super) fn count(self, name: &'static str, count: f64) -> Self {
        self.fact(name, round(count))
    }

    /// With a number of seconds or a share, rounded to three figures.
    pub(super) fn measure(self, name: &'static str, value: f64) -> Self {
        self.fact(name, serde_json::json!(figures(value)))
    }

    /// With names.
    pub(super) fn names<T: ToString>(self, name: &'static str, names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<String> = names.into_iter().map(|id| id.to_string()).collect();
        if names.is_empty() {
            return self;
        }
        self.fact(name, serde_json::json!(names))
    }

    /// With traces that show it.
    pub(super) fn traces(self, traces: &[String]) -> Self {
        // Several calls of one trace may each have made it an example.
        let mut distinct: Vec<String> = Vec::with_capacity(traces.len());
        for trace in traces {
            if !distinct.contains(trace) {
                distinct.push(trace.clone());
            }
        }
        Self {
            traces: distinct,
            ..self
        }
    }

    fn fact(mut self, name: &'static str, value: Value) -> Self {
        self.evidence.push(Fact { name, value });
        self
    }
}

/// A count as a whole number; weights of samples make fractions, which nobody wants to read.
fn round(count: f64) -> Value {
    Value::from(count.round().max(0.0) as u64)
}

/// Rounded to three figures.
pub(super) fn figures(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// Seconds as people read them: `12 ms`, `1.5 s`.
pub(super) fn seconds(value: f64) -> String {
    match value {
        v if v < 0.001 => format!("{} µs", figures(v * 1e6)),
        v if v < 1.0 => format!("{} ms", figures(v * 1e3)),
        v => format!("{} s", figures(v)),
    }
}

/// A share as people read it: `12.5 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", figures(share * 100.0))
}
