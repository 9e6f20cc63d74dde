//! What the API server says of a request that it refuses.
//!
//! In: the JSON of a `Status`. Out: a sentence on one line, and who has the fields that were asked for.
//! Left out on purpose: the names of fields beyond the first few; a dashboard has one.
//! Source: Kubernetes API, `meta/v1` `Status`; documentation, "Server-Side Apply", conflicts.

use http::StatusCode;
use serde::Deserialize;

/// As much of a sentence is told, in characters.
const LONGEST: usize = 400;
/// As many fields are told.
const MOST_FIELDS: usize = 3;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

/// Who has fields that are to be ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict {
    /// Field managers, each once.
    pub managers: Vec<String>,
    /// The first few fields.
    pub fields: Vec<String>,
}

/// What is said, on one line; with nothing that is a terminal's to obey.
pub(crate) fn message(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Status>(body).map(|status| match status.message {
        message if message.is_empty() => status.reason,
        message => message,
    });
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    line(&said)
}

/// What is wrong with which fields, in words that cannot quote them.
pub(crate) fn without_values(status: StatusCode, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Status>(body).unwrap_or_default();
    let reason = line(&said.reason);
    let causes = said.details.causes.iter().take(MOST_FIELDS);
    let fields: Vec<String> = causes
        .map(|cause| format!("`{}` ({})", line(&cause.field), line(&cause.reason)))
        .collect();
    let code = status.as_u16();
    [format!("{code} {reason}"), fields.join(", ")]
        .join(" ")
        .trim()
        .to_owned()
}

/// Whose the fields are, where that is why.
pub(crate) fn conflict(body: &[u8]) -> Option<Conflict> {
    let status: Status = serde_json::from_slice(body).ok()?;
    let mut conflict = Conflict::default();
    let causes = status.details.causes.iter();
    for cause in causes.filter(|cause| cause.reason == "FieldManagerConflict") {
        // conflict with "kubectl-edit" using v1 at …
        let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
        let manager = line(manager);
        if !conflict.managers.contains(&manager) {
            conflict.managers.push(manager);
        }
        if conflict.fields.len() < MOST_FIELDS {
            conflict.fields.push(line(&cause.field));
        }
    }
    (!conflict.managers.is_empty()).then_some(conflict)
}

fn line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(printable).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_each_manager_once_and_the_first_fields() {
        let body = br#"{"kind": "Status", "code": 409, "reason": "Conflict",
            "message": "Apply failed with 2 conflicts", "details": {"causes": [
            {"reason": "FieldManagerConflict", "field": ".data.a",
                "message": "conflict with \"kubectl-edit\" using v1"},
            {"reason": "FieldManagerConflict", "field": ".data.b",
                "message": "conflict with \"kubectl-edit\" using v1"}]}}"#;
        let found = conflict(body).unwrap();
        assert_eq!(found.managers, ["kubectl-edit"]);
        assert_eq!(found.fields, [".data.a", ".data.b"]);
        assert_eq!(message(body), "Apply failed with 2 conflicts");
    }

    #[test]
    fn where_a_value_may_be_secret_only_the_field_is_told() {
        let body = br#"{"reason": "Invalid", "message": "url: Invalid value: \"http://secret\"", "details": {"causes": [
            {"reason": "FieldValueInvalid", "field": "spec.receivers[0].url", "message": "Invalid value: \"http://secret\""}]}}"#;
        let told = without_values(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(told, "422 Invalid `spec.receivers[0].url` (FieldValueInvalid)");
        assert_eq!(without_values(StatusCode::FORBIDDEN, b"http://secret"), "403");
    }

    #[test]
    fn what_is_no_conflict_and_what_is_no_status_is_told_on_one_line() {
        let body =
            br#"{"reason": "Conflict", "message": "the UID in the precondition differs", "details": {}}"#;
        assert_eq!(conflict(body), None);
        assert_eq!(message(br#"{"reason": "Invalid"}"#), "Invalid");
        assert_eq!(message(b"<html>\x1b[31m\nx"), "<html> [31m x");
        assert_eq!(message(&[b'x'; 1000]).len(), LONGEST);
    }
}
