//! What changed between two maps, findings included, as text, JSON and an annotation for Grafana.
//!
//! In: what changed on the map and among the findings. Out: text, JSON.
//! Source of the annotation: Grafana documentation, "Annotations HTTP API", `POST /api/annotations`.
//! Left out on purpose: sending it; `curl` does.

use std::fmt::Write as _;

use map::diff::{Change, Changes, MapDiff, Measure};
use serde::Serialize;
use serde_json::{Value, json};

use super::compare::FindingsDiff;
use super::finding::{Finding, percent, seconds};

/// Everything that changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Nodes and edges.
    #[serde(flatten)]
    pub map: MapDiff,
    /// Findings.
    pub findings: FindingsDiff,
}

impl Difference {
    /// True where nothing changed.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty() && self.findings.new.is_empty() && self.findings.gone.is_empty()
    }

    /// A line for each change: `+` of what is new, `-` of what is gone, `~` of what is otherwise. Empty where nothing changed.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (what, changes) in [("node", &self.map.nodes), ("edge", &self.map.edges)] {
            write(&mut text, what, changes);
        }
        for (sign, findings) in [('+', &self.findings.new), ('-', &self.findings.gone)] {
            for Finding {
                severity,
                id,
                message,
                ..
            } in findings
            {
                let _ = writeln!(text, "{sign} {} {id}: {message}", severity.as_str());
            }
        }
        text
    }

    /// As JSON, indented.
    ///
    /// # Panics
    /// Never: plain data of strings and numbers serialises.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("plain data of strings and numbers serialises");
        text + "\n"
    }

    /// As an annotation of Grafana, at a time in milliseconds since 1970; Grafana takes the present where there is none.
    pub fn to_annotation(&self, at: Option<u64>) -> String {
        let text = self.to_text();
        let mut annotation = json!({
            "tags": ["tracemap", "topology"],
            "text": if text.is_empty() { "nothing changed" } else { text.trim_end() },
        });
        if let Some(at) = at {
            annotation["time"] = json!(at);
        }
        format!("{annotation:#}\n")
    }
}

fn write(text: &mut String, what: &str, changes: &Changes) {
    let Changes { new, gone, changed } = changes;
    for (sign, ids) in [('+', new), ('-', gone)] {
        for id in ids {
            let _ = writeln!(text, "{sign} {what} {id}");
        }
    }
    for change in changed {
        let Change {
            id,
            what: measure,
            old,
            new,
        } = change;
        let _ = writeln!(
            text,
            "~ {what} {id}: {} -> {}",
            shown(*measure, old),
            shown(*measure, new)
        );
    }
}

fn shown(measure: Measure, value: &Value) -> String {
    let number = value.as_f64().unwrap_or_default();
    match measure {
        Measure::Kind => value.as_str().unwrap_or_default().to_owned(),
        Measure::Requests => format!("{number} requests"),
        Measure::P50Seconds => format!("{} at the median", seconds(number)),
        Measure::P95Seconds => format!("{} at the 95th percentile", seconds(number)),
        Measure::FailedShare => format!("{} failed", percent(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference() -> Difference {
        let changed = |what, old, new| Change {
            id: "web->cart".to_owned(),
            what,
            old,
            new,
        };
        let edges = Changes {
            new: vec!["web->ads".to_owned()],
            gone: vec![],
            changed: vec![
                changed(Measure::P95Seconds, json!(0.1), json!(0.4)),
                changed(Measure::FailedShare, json!(0.01), json!(0.05)),
            ],
        };
        let nodes = Changes {
            new: vec!["ads".to_owned()],
            gone: vec!["banner".to_owned()],
            changed: vec![],
        };
        Difference {
            map: MapDiff { nodes, edges },
            findings: FindingsDiff::default(),
        }
    }

    #[test]
    fn each_change_is_a_line_with_a_sign() {
        let expected = "+ node ads\n- node banner\n+ edge web->ads\n\
            ~ edge web->cart: 100 ms at the 95th percentile -> 400 ms at the 95th percentile\n\
            ~ edge web->cart: 1 % failed -> 5 % failed\n";
        assert_eq!(difference().to_text(), expected);
        assert!(!difference().is_empty() && Difference::default().is_empty());
    }

    #[test]
    fn an_annotation_has_the_fields_that_grafana_takes() {
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let annotation = read(difference().to_annotation(Some(1_798_675_200_000)));
        assert_eq!(annotation["time"], 1_798_675_200_000_u64);
        assert_eq!(annotation["tags"], json!(["tracemap", "topology"]));
        assert!(annotation["text"].as_str().unwrap().starts_with("+ node ads\n"));
        assert_eq!(read(Difference::default().to_annotation(None)).get("time"), None);
    }
}
