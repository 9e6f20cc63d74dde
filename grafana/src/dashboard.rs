//! Dashboard files as Grafana's API takes them.
//!
//! In: files by path. Out: the classic dashboards among them, each with its uid, title and tags checked.
//! Left out on purpose: dashboards in the v2 schema, which none of the ways takes.

use serde_json::Value;

use crate::Files;

/// Where dashboards lie below the output directory.
const DIRECTORY: &str = "dashboards/";
/// Grafana refuses longer ones (`pkg/services/dashboards/errors.go`).
const LONGEST_UID: usize = 40;
/// As above, in bytes.
const LONGEST_TITLE: usize = 5000;

/// A dashboard in the classic schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// The file's path below the output directory.
    pub file: String,
    /// At most 40 characters of `[A-Za-z0-9_-]`.
    pub uid: String,
    /// Not empty.
    pub title: String,
    /// The whole model.
    pub json: Value,
}

/// A file that is no dashboard.
#[derive(Debug, thiserror::Error)]
#[error("`{file}` is no dashboard: {problem}")]
pub struct NoDashboard {
    /// Its path below the output directory.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl Dashboard {
    /// Reads a file's content.
    ///
    /// # Errors
    /// What is no JSON, or has no uid or title that Grafana would take.
    pub fn read(file: &str, content: &str) -> Result<Self, NoDashboard> {
        let wrong = |problem: String| NoDashboard {
            file: file.to_owned(),
            problem,
        };
        let json: Value = serde_json::from_str(content).map_err(|error| wrong(error.to_string()))?;
        let text = |key: &str| {
            json.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (uid, title) = (text("uid"), text("title"));
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if uid.is_empty() || uid.len() > LONGEST_UID || !uid.chars().all(legal) {
            return Err(wrong(format!(
                "its `uid` is `{uid}`, but Grafana takes 1 to 40 of `[A-Za-z0-9_-]`"
            )));
        }
        if title.trim().is_empty() || title.len() > LONGEST_TITLE {
            return Err(wrong("its `title` is empty or longer than 5000 bytes".to_owned()));
        }
        Ok(Self {
            file: file.to_owned(),
            uid,
            title,
            json,
        })
    }

    /// Whether it carries a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        tags(&self.json).any(|found| found == tag)
    }

    /// On one line, in ASCII alone: what YAML and its readers agree on whatever the text.
    pub(crate) fn minified(&self) -> String {
        ascii(&self.json.to_string())
    }
}

pub(crate) fn tags(json: &Value) -> impl Iterator<Item = &str> {
    json.get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Whether a uid is of the kind that `dashboards` makes: `tracemap-` and 30 hex digits. Grafana's own are not.
pub(crate) fn is_generated_uid(uid: &str) -> bool {
    let digits = uid.strip_prefix("tracemap-").unwrap_or_default();
    digits.len() == 30
        && digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
}

/// The dashboards of a directory, in order of their names.
pub(crate) fn classic(files: &Files) -> impl Iterator<Item = Result<Dashboard, NoDashboard>> {
    files
        .iter()
        .filter(|(name, _)| is_classic(name))
        .map(|(name, content)| Dashboard::read(name, content))
}

/// Whether a generated file is a dashboard in the classic schema, by its path.
pub(crate) fn is_classic(name: &str) -> bool {
    let below = name.strip_prefix(DIRECTORY);
    below.is_some_and(|rest| {
        rest.strip_suffix(".json")
            .is_some_and(|stem| !stem.is_empty() && !stem.contains('/'))
    })
}

/// JSON with everything beyond ASCII as `\uXXXX`. Source: RFC 8259 §7.
pub(crate) fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grafana_would_refuse_is_refused_here_with_the_file() {
        for content in [
            "{",
            "[]",
            r#"{"title": "t"}"#,
            r#"{"uid": "a b", "title": "t"}"#,
            r#"{"uid": "a", "title": " "}"#,
            &format!(r#"{{"uid": "{}", "title": "t"}}"#, "x".repeat(41)),
        ] {
            let error = Dashboard::read("dashboards/a.json", content)
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("`dashboards/a.json` is no dashboard: "),
                "{error}"
            );
        }
        assert!(Dashboard::read("a", r#"{"uid": "a-_9", "title": "t"}"#).is_ok());
    }

    #[test]
    fn the_uids_that_are_generated_are_known_from_those_that_grafana_makes() {
        let map = map::file::map_from_yaml("version: 1\nedges:\n- {client: user, server: web}\n").unwrap();
        let files = dashboards::generate(&map, &dashboards::DashboardSettings::default());
        let found: Vec<Dashboard> = classic(&files).map(Result::unwrap).collect();
        assert!(found.len() > 1);
        assert!(found.iter().all(|dashboard| is_generated_uid(&dashboard.uid)));
        for other in [
            "ber0fztcgxs7kc",
            "tracemap-",
            "tracemap-10647E7EF5442CECDDAA417235C777",
            "",
        ] {
            assert!(!is_generated_uid(other), "{other}");
        }
    }

    #[test]
    fn only_files_directly_among_the_dashboards_are_taken() {
        assert!(is_classic("dashboards/overview.json"));
        for other in [
            "dashboards/v2/overview.json",
            "dashboards/.json",
            "dashboards/a.yaml",
            "alerts/a.json",
        ] {
            assert!(!is_classic(other), "{other}");
        }
    }

    #[test]
    fn text_of_any_script_is_the_same_after_it_was_written_in_ascii() {
        let text = serde_json::json!({"a": "ü\u{2028}\u{85}𝄞\u{7f}\"\n"});
        let written = ascii(&text.to_string());
        assert!(written.bytes().all(|b| (0x20..0x7f).contains(&b)), "{written}");
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), text);
    }
}
