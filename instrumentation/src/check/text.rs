//! A report for a terminal.
//!
//! In: a [`Report`]. Out: text; each finding with its id first, so that it can be silenced by what is printed.
//! Left out on purpose: colours and width.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Fact, Finding, Report, Severity};

/// The report as text; it ends with how many findings there are.
pub fn to_text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        write(&mut text, finding);
    }
    for silenced in &report.silenced {
        let _ = writeln!(
            text,
            "silenced until {}: {} ({})",
            silenced.until, silenced.finding.id, silenced.reason
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let mut reasons: Vec<&str> = report.not_checked.iter().map(|not| not.why).collect();
    reasons.dedup();
    for why in reasons {
        let kinds = report.not_checked.iter().filter(|not| not.why == why);
        let kinds: Vec<&str> = kinds.map(|not| not.kind).collect();
        let _ = writeln!(text, "not checked: {}: {why}", kinds.join(", "));
    }
    let count = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let _ = writeln!(
        text,
        "{} errors, {} warnings, {} infos, {} silenced",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info),
        report.silenced.len()
    );
    text
}

fn write(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "{} {}", finding.severity.as_str(), finding.id);
    let _ = writeln!(text, "  {}", finding.message);
    if !finding.evidence.is_empty() {
        let facts: Vec<String> = finding.evidence.iter().map(fact).collect();
        let _ = writeln!(text, "  {}", facts.join(", "));
    }
    if !finding.traces.is_empty() {
        let _ = writeln!(text, "  traces {}", finding.traces.join(" "));
    }
    let _ = writeln!(text, "  do: {}\n", finding.action);
}

fn fact(fact: &Fact) -> String {
    let value = match &fact.value {
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(" ")
        }
        value => value.to_string(),
    };
    format!("{} {value}", fact.name)
}
