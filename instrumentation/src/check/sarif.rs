//! A report as SARIF 2.1.0, for code scanning and other readers of findings.
//!
//! In: a [`Report`], and how the map's file is called. Out: JSON. A finding's place is the map: the nodes and edges are logical
//! locations, and the id is the fingerprint by which a reader knows it again.
//! Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
//! Left out on purpose: lines of the map file. The same finding would move with every edge that comes before it.

use serde_json::{Value, json};

use super::{Finding, KINDS, Report, Severity, Silenced};

/// Where the format is described.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The report as a SARIF log of one run. `map` is the map's path as it was given, `version` that of tracemap.
///
/// # Panics
/// Never: plain data of strings and numbers serialises.
pub fn to_sarif(report: &Report, map: &str, version: &str) -> String {
    let open = report.findings.iter().map(|finding| result(finding, map, &[]));
    let silenced = report.silenced.iter().map(|silenced| {
        let Silenced { finding, reason, until } = silenced;
        let said = json!({"kind": "external", "status": "accepted", "justification": format!("{reason} (until {until})")});
        result(finding, map, &[said])
    });
    let results: Vec<Value> = open.chain(silenced).collect();
    let notes = report.notes.iter().map(|note| notification("warning", note));
    let not_checked = report
        .not_checked
        .iter()
        .map(|not| notification("note", &format!("{} was not checked: {}", not.kind, not.why)));
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tracemap",
                "version": version,
                "rules": KINDS.iter().map(|kind| json!({
                    "id": kind.name,
                    "shortDescription": {"text": kind.summary},
                    "fullDescription": {"text": kind.meaning},
                    "help": {"text": kind.action},
                    "defaultConfiguration": {"level": level(kind.severity)},
                })).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notes.chain(not_checked).collect::<Vec<_>>(),
            }],
            "results": results,
        }],
    });
    let text = serde_json::to_string_pretty(&log).expect("plain data of strings and numbers serialises");
    text + "\n"
}

fn result(finding: &Finding, map: &str, suppressions: &[Value]) -> Value {
    let facts: serde_json::Map<String, Value> = finding
        .evidence
        .iter()
        .map(|fact| (fact.name.to_owned(), fact.value.clone()))
        .chain([("traces".to_owned(), json!(finding.traces))])
        .collect();
    let rule = KINDS.iter().position(|kind| kind.name == finding.kind);
    let mut result = json!({
        "ruleId": finding.kind,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": {"text": format!("{}. To do: {}.", finding.message, finding.action)},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": uri(map)}, "region": {"startLine": 1}},
            "logicalLocations": finding.entities.iter().map(|id| json!({"fullyQualifiedName": id})).collect::<Vec<_>>(),
        }],
        "partialFingerprints": {"tracemapFinding/v1": finding.id},
        "properties": facts,
    });
    if !suppressions.is_empty() {
        result["suppressions"] = json!(suppressions);
    }
    result
}

fn notification(level: &str, text: &str) -> Value {
    json!({"level": level, "message": {"text": text}})
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// A path as a URI reference: what RFC 3986 does not let stand in a path is escaped.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
