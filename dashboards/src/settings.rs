//! What an operator may set about generated dashboards.
//!
//! In: the `dashboards` section of the configuration. Out: the values as Grafana spells them.
//! Left out on purpose: colours, panels and queries. What is worth changing for one is worth changing for all.

use config::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the generated dashboards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardSettings {
    /// How often an open dashboard asks again. Default `30s`; `0s` never. Each refresh of the overview costs
    /// Prometheus about 25 queries; an interval shorter than the scrape interval shows nothing new.
    pub refresh: HumanDuration,
    /// The range a dashboard opens with, ending now. Default `1h`; rounded up to whole seconds, at least `1s`.
    pub time_range: HumanDuration,
    /// Address of the collector's page as a browser reaches it; dashboards link to it.
    /// Default `http://127.0.0.1:7070`.
    pub web_url: String,
    /// Tag of every generated dashboard, by which they find each other; at most 50 characters.
    /// Default `tracemap`. It is no part of any uid: two installations need two organisations in Grafana.
    pub tag: String,
    /// The form of the files: `classic` (default) is read by every Grafana from 9 on, whichever way it comes in; `v2` is
    /// the resource `dashboard.grafana.app/v2` of Grafana 13, below `dashboards-v2/`; `both` writes both. The two say
    /// the same under the same uid, so give a Grafana one of them.
    pub schema: Schema,
    /// Whether each service and queue has a file of its own: `per_entity`; or one file serves all, with a variable to
    /// pick from: `templated`. Default `auto`: per entity up to `max_per_entity` of them, templated beyond. A file of its
    /// own has a fixed address to link to, the entity's runbook text and its place in the topology.
    pub files: Files,
    /// Services and queues together up to which `files: auto` gives each its own file. Default 200; each is about 60 KiB
    /// and a row in Grafana's database. 0 always takes the templates.
    pub max_per_entity: u32,
    /// The histograms that the data source keeps: `classic` (default) buckets by `le`, or `native` ones. A Prometheus
    /// that scrapes native histograms keeps no classic buckets unless it is told to.
    pub histograms: Histograms,
    /// Whether dashboards search for traces, by a data source of Grafana's type Tempo (tracemap's own query API is one).
    /// Default `true`; `false` leaves those panels and their variables out.
    pub traces: bool,
    /// A service or queue that was not seen for so long, while others were, is said to have vanished; edges that were
    /// not seen for so long are listed. Default `1h`; longer where work is done seldom.
    pub vanished_after: HumanDuration,
    /// A service or queue that was not seen for so long, while others were, has no dashboard any more. Default `24h`;
    /// `0s` never. The collector's map forgets nodes after `map.stale_after`, and their dashboards go with them then.
    pub retire_after: HumanDuration,
}

/// The form of generated dashboards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Grafana's classic dashboard model, schema version 42.
    #[default]
    Classic,
    /// The resource `dashboard.grafana.app/v2`.
    V2,
    /// Both, in directories of their own.
    Both,
}

/// How many files there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// One per entity up to a bound, templates beyond.
    #[default]
    Auto,
    /// One for each service and queue.
    PerEntity,
    /// One for all services, and one for all queues.
    Templated,
}

/// The histograms that queries ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Histograms {
    /// Buckets by `le`.
    #[default]
    Classic,
    /// Native (exponential) histograms.
    Native,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self {
            refresh: HumanDuration::from_secs(30),
            time_range: HumanDuration::from_secs(3600),
            web_url: "http://127.0.0.1:7070".to_owned(),
            tag: "tracemap".to_owned(),
            schema: Schema::default(),
            files: Files::default(),
            max_per_entity: 200,
            histograms: Histograms::default(),
            traces: true,
            vanished_after: HumanDuration::from_secs(3600),
            retire_after: HumanDuration::from_secs(24 * 3600),
        }
    }
}

impl DashboardSettings {
    /// The refresh interval in Grafana's words; empty where there is none.
    pub(crate) fn refresh_text(&self) -> String {
        if self.refresh.get().is_zero() {
            String::new()
        } else {
            whole_seconds(self.refresh)
        }
    }

    /// The start of the default range in Grafana's words, for example `now-1h`.
    pub(crate) fn range_start(&self) -> String {
        format!("now-{}", whole_seconds(self.time_range))
    }

    /// The collector's address without a slash at its end.
    pub(crate) fn web(&self) -> &str {
        self.web_url.trim_end_matches('/')
    }
}

/// Grafana's relative times know no milliseconds.
fn whole_seconds(duration: HumanDuration) -> String {
    let duration = duration.get();
    let seconds = duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0));
    HumanDuration::from_secs(seconds.max(1)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_units_that_grafana_reads() {
        let set = |refresh, range| DashboardSettings {
            refresh: HumanDuration::from_millis(refresh),
            time_range: HumanDuration::from_millis(range),
            ..DashboardSettings::default()
        };
        let both = |settings: DashboardSettings| (settings.refresh_text(), settings.range_start());
        assert_eq!(
            both(DashboardSettings::default()),
            ("30s".to_owned(), "now-1h".to_owned())
        );
        assert_eq!(both(set(0, 0)), (String::new(), "now-1s".to_owned()));
        assert_eq!(both(set(500, 90_001)), ("1s".to_owned(), "now-91s".to_owned()));
    }

    #[test]
    fn an_empty_section_is_the_defaults_and_an_unknown_key_is_refused() {
        assert_eq!(
            serde_json::from_str::<DashboardSettings>("{}").unwrap(),
            DashboardSettings::default()
        );
        assert!(serde_json::from_str::<DashboardSettings>(r#"{"colour": "red"}"#).is_err());
    }
}
