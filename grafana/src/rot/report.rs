//! What the look for rot found.
//!
//! In: panels and what their queries gave. Out: lines for people, JSON for programs.
//! Left out on purpose: exit codes.

use std::time::Duration;

use serde_json::{Value, json};

/// A panel without data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyPanel {
    /// The dashboard's file below the output directory.
    pub file: String,
    /// Its title.
    pub panel: String,
    /// Its queries, none of which gave anything.
    pub queries: Vec<String>,
}

/// A query that Prometheus does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedQuery {
    /// The dashboard's file below the output directory.
    pub file: String,
    /// The panel's title.
    pub panel: String,
    /// The query as it stands there.
    pub query: String,
    /// What Prometheus said.
    pub why: String,
}

/// All panels were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How far back was looked.
    pub window: Duration,
    /// For how much of it Prometheus has had series of tracemap at all.
    pub observed: Duration,
    /// Panels with queries.
    pub panels: usize,
    /// Those that showed nothing in all that time.
    pub empty: Vec<EmptyPanel>,
    /// The same, of dashboards that say that their service is gone.
    pub gone: Vec<EmptyPanel>,
    /// The same, which show nothing while the system is healthy.
    pub empty_by_design: Vec<EmptyPanel>,
    /// The same, of parts of tracemap that are not in use, such as agents.
    pub unused: Vec<EmptyPanel>,
    /// Queries that Prometheus does not run.
    pub refused: Vec<RefusedQuery>,
}

impl Report {
    /// Whether there is data from the whole window. If not, that a panel is empty says little yet.
    pub fn is_conclusive(&self) -> bool {
        self.observed >= self.window
    }

    /// Whether something is rotten: a query that does not run, or a panel empty for the whole window.
    pub fn is_rotten(&self) -> bool {
        !self.refused.is_empty() || self.is_conclusive() && !self.empty.is_empty()
    }

    /// A line per panel, those empty by design last; then a summary.
    pub fn lines(&self) -> Vec<String> {
        let window = humantime::format_duration(self.window);
        let observed = humantime::format_duration(Duration::from_secs(self.observed.as_secs()));
        let mut lines = Vec::new();
        for query in &self.refused {
            lines.push(format!(
                "refused: {}: {:?}: `{}`: {}",
                query.file, query.panel, query.query, query.why
            ));
        }
        let lists = [
            ("empty", &self.empty),
            ("empty, and gone", &self.gone),
            ("empty by design", &self.empty_by_design),
            ("empty until it is used", &self.unused),
        ];
        for (what, panels) in lists {
            lines.extend(
                panels
                    .iter()
                    .map(|empty| format!("{what}: {}: {:?}", empty.file, empty.panel)),
            );
        }
        let counts = lists
            .map(|(what, panels)| format!("{} {what}", panels.len()))
            .join("; ");
        let refused = self.refused.len();
        lines.push(format!(
            "{} panels in {window}: {counts}; {refused} queries refused",
            self.panels
        ));
        if !self.is_conclusive() {
            lines.push(format!(
                "Prometheus has had series of tracemap for {observed} only: what is empty is not called rotten yet"
            ));
        }
        lines
    }

    /// The same for programs; durations in seconds.
    pub fn to_json(&self) -> Value {
        let panels = |list: &[EmptyPanel]| -> Vec<Value> {
            list.iter()
                .map(|p| json!({"file": p.file, "panel": p.panel, "queries": p.queries}))
                .collect()
        };
        let refused: Vec<Value> = self
            .refused
            .iter()
            .map(|q| json!({"file": q.file, "panel": q.panel, "query": q.query, "why": q.why}))
            .collect();
        json!({
            "window_seconds": self.window.as_secs(),
            "observed_seconds": self.observed.as_secs(),
            "conclusive": self.is_conclusive(),
            "rotten": self.is_rotten(),
            "panels": self.panels,
            "empty": panels(&self.empty),
            "gone": panels(&self.gone),
            "empty_by_design": panels(&self.empty_by_design),
            "empty_unless_used": panels(&self.unused),
            "refused": refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(observed: u64) -> Report {
        let empty = EmptyPanel {
            file: "f".into(),
            panel: "p".into(),
            queries: vec!["up".into()],
        };
        Report {
            window: Duration::from_mins(10),
            observed: Duration::from_secs(observed),
            panels: 3,
            empty: vec![empty],
            ..Report::default()
        }
    }

    #[test]
    fn an_empty_panel_is_rotten_only_where_there_was_data_all_the_time() {
        assert!(report(600).is_rotten());
        assert!(!report(599).is_rotten());
        assert!(report(599).lines().last().unwrap().contains("9m 59s only"));
        assert_eq!(report(600).lines()[0], r#"empty: f: "p""#);
    }

    #[test]
    fn a_query_that_does_not_run_is_rotten_at_once() {
        let refused = RefusedQuery {
            file: "f".into(),
            panel: "p".into(),
            query: "(".into(),
            why: "parse error".into(),
        };
        assert!(
            Report {
                refused: vec![refused],
                ..Report::default()
            }
            .is_rotten()
        );
    }
}
