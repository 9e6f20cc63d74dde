//! Rot: panels whose queries have found nothing for days.
//!
//! In: dashboards, a Prometheus, a number of days. Out: the panels for which it had no data in all that time.
//! Left out on purpose: judging values. A sample is data, a `NaN` too: the query found its series.
//!
//! A query is asked for the present first, then for one day after the other backwards, until there is data. So a living
//! panel costs one cheap query, and a dead one never holds a week of samples in Prometheus' memory.

mod report;
mod variables;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use map::catalogue as names;
use serde_json::Value;

use crate::client::{Client, HttpError, encoded};
use crate::{Files, dashboard, gone};
pub use report::{EmptyPanel, RefusedQuery, Report};
use variables::filled_in;

/// The step of panels that show days, and as far as Prometheus looks back for a sample: no gap between two steps.
const STEP: Duration = Duration::from_mins(5);
/// Range queries are asked in pieces of this length.
const PIECE: Duration = Duration::from_hours(24);
/// How finely the age of the data is found.
const AGES: u32 = 200;

/// How the panels of a system are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long a panel must have been empty.
    pub window: Duration,
    /// The time.
    pub now: SystemTime,
}

/// What the whole is given up for.
#[derive(Debug, thiserror::Error)]
pub enum RotError {
    /// No file with a query.
    #[error("there is no dashboard with a query to ask")]
    Nothing,
    /// It does not have what tracemap tells.
    #[error(
        "`{url}` has had no series of tracemap for {}: is it the Prometheus that scrapes the collector?",
        humantime::format_duration(*.window)
    )]
    NoSeries {
        /// The Prometheus.
        url: String,
        /// How far back was looked.
        window: Duration,
    },
    /// It does not answer.
    #[error("Prometheus cannot be asked")]
    Prometheus(#[from] HttpError),
}

/// Asks `client`, a Prometheus, for every query of every panel.
///
/// # Errors
/// Where Prometheus is away, or is not the one that has tracemap's series. A query that it refuses is in the report.
pub async fn report(client: &Client, files: &Files, options: Options) -> Result<Report, RotError> {
    let panels = panels(files);
    if panels.is_empty() {
        return Err(RotError::Nothing);
    }
    let asker = Asker {
        client,
        options,
        known: HashMap::new(),
    };
    asker.report(files, panels).await
}

/// The queries of each panel, by file and title.
fn panels(files: &Files) -> BTreeMap<(String, String), Vec<String>> {
    let classic = files.iter().filter(|(name, _)| dashboard::is_classic(name));
    let classic: Files = classic
        .map(|(name, content)| (name.clone(), content.clone()))
        .collect();
    let mut panels: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for query in dashboards::queries(&classic) {
        panels
            .entry((query.file, query.panel))
            .or_default()
            .push(query.expr);
    }
    panels
}

/// What a query has shown.
#[derive(Clone, PartialEq, Eq)]
enum Shown {
    Data,
    Nothing,
    Refused(String),
}

struct Asker<'a> {
    client: &'a Client,
    options: Options,
    /// Services' dashboards share queries.
    known: HashMap<String, Shown>,
}

impl Asker<'_> {
    async fn report(
        mut self,
        files: &Files,
        panels: BTreeMap<(String, String), Vec<String>>,
    ) -> Result<Report, RotError> {
        let observed = self.observed().await?;
        let mut report = Report {
            window: self.options.window,
            observed,
            panels: panels.len(),
            ..Report::default()
        };
        let gone: Vec<&String> = files
            .iter()
            .filter(|(_, content)| is_gone(content))
            .map(|(name, _)| name)
            .collect();
        for ((file, panel), queries) in panels {
            let mut has_data = false;
            for query in &queries {
                match self.shown(query).await? {
                    Shown::Data => has_data = true,
                    Shown::Nothing => {}
                    Shown::Refused(why) => {
                        // Not empty, but broken.
                        has_data = true;
                        let (file, panel, query) = (file.clone(), panel.clone(), query.clone());
                        report.refused.push(RefusedQuery {
                            file,
                            panel,
                            query,
                            why,
                        });
                    }
                }
            }
            if has_data {
                continue;
            }
            let list = if dashboards::is_empty_while_healthy(&file, &panel) {
                &mut report.empty_by_design
            } else if is_empty_unless_used(&file, &panel) {
                &mut report.unused
            } else if gone.contains(&&file) {
                &mut report.gone
            } else {
                &mut report.empty
            };
            list.push(EmptyPanel { file, panel, queries });
        }
        Ok(report)
    }

    /// For how long, within the window, Prometheus has had series of tracemap.
    async fn observed(&self) -> Result<Duration, RotError> {
        let window = self.options.window;
        let step = (window / AGES).max(Duration::from_secs(1));
        let expr = format!(
            "count({}) or count({})",
            names::COLLECTOR_SPANS,
            names::EDGE_REQUESTS
        );
        let answer = self
            .range(&expr, self.options.now - window, self.options.now, step)
            .await?;
        let series = answer
            .pointer("/data/result")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let first = series
            .filter_map(|series| series.pointer("/values/0/0")?.as_f64())
            .reduce(f64::min);
        let Some(first) = first.and_then(|first| Duration::try_from_secs_f64(first).ok()) else {
            return Err(RotError::NoSeries {
                url: self.client.url().to_owned(),
                window,
            });
        };
        let age = self
            .options
            .now
            .duration_since(UNIX_EPOCH + first)
            .unwrap_or_default();
        // The first step is the start of the window, give or take the scrape that it fell between.
        Ok(if age + step * 2 >= window { window } else { age })
    }

    async fn shown(&mut self, query: &str) -> Result<Shown, HttpError> {
        let expr = filled_in(query, STEP, self.options.window);
        if let Some(known) = self.known.get(&expr) {
            return Ok(known.clone());
        }
        let shown = match self.ask(&expr).await {
            Ok(true) => Shown::Data,
            Ok(false) => Shown::Nothing,
            Err(HttpError::Refused { said, status, .. }) if matches!(status.as_u16(), 400 | 422) => {
                Shown::Refused(said)
            }
            Err(error) => return Err(error),
        };
        self.known.insert(expr, shown.clone());
        Ok(shown)
    }

    async fn ask(&self, expr: &str) -> Result<bool, HttpError> {
        let now = seconds(self.options.now);
        let answer = self
            .client
            .get(&format!("/api/v1/query?query={}&time={now}", encoded(expr)))
            .await?;
        let kind = answer.pointer("/data/resultType").and_then(Value::as_str);
        if has_result(&answer) || !matches!(kind, Some("vector")) {
            return Ok(true);
        }
        // However many series there are, one number for each step comes back.
        let counted = format!("count({expr})");
        let (oldest, mut end) = (self.options.now - self.options.window, self.options.now);
        while end > oldest {
            let start = oldest.max(end - PIECE);
            if has_result(&self.range(&counted, start, end, STEP).await?) {
                return Ok(true);
            }
            end = start;
        }
        Ok(false)
    }

    async fn range(
        &self,
        expr: &str,
        start: SystemTime,
        end: SystemTime,
        step: Duration,
    ) -> Result<Value, HttpError> {
        let (start, end, step) = (seconds(start), seconds(end), step.as_secs());
        let query = format!("query={}&start={start}&end={end}&step={step}", encoded(expr));
        self.client.get(&format!("/api/v1/query_range?{query}")).await
    }
}

fn is_gone(content: &str) -> bool {
    let json: Value = serde_json::from_str(content).unwrap_or_default();
    gone::gone_since(&json).is_some()
}

fn has_result(answer: &Value) -> bool {
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    result.is_some_and(|result| !result.is_empty())
}

fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

fn is_empty_unless_used(file: &str, panel: &str) -> bool {
    dashboards::empty_unless_used().any(|(listed, title, _)| (listed, title) == (file, panel))
}
