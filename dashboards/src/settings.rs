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
    /// Prometheus about 20 queries; an interval shorter than the scrape interval shows nothing new.
    pub refresh: HumanDuration,
    /// The range a dashboard opens with, ending now. Default `1h`; rounded up to whole seconds, at least `1s`.
    pub time_range: HumanDuration,
    /// Address of the collector's page as a browser reaches it; dashboards link to it.
    /// Default `http://127.0.0.1:7070`.
    pub web_url: String,
    /// Tag of every generated dashboard, by which they find each other; at most 50 characters.
    /// Default `tracemap`. It is no part of any uid: two installations need two organisations in Grafana.
    pub tag: String,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self {
            refresh: HumanDuration::from_secs(30),
            time_range: HumanDuration::from_secs(3600),
            web_url: "http://127.0.0.1:7070".to_owned(),
            tag: "tracemap".to_owned(),
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
