//! Settings of the profile `static`: which series there are, and how much of their past says what is usual.
//!
//! In: the `alerts.static` part of the configuration. Out: [`StaticSettings`], and what is wrong with it.
//! Left out on purpose: the labels `client`, `server` and `connection_type`, which all writers of service graphs share, and a
//! unit: the series are in seconds.

use config::HumanDuration;
use map::catalogue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the rules of the profile `static` find what they judge. Other profiles do not read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StaticSettings {
    /// The histogram of the seconds that callees took by their own spans, without `_sum` and `_count`. Default
    /// `traces_service_graph_request_server_seconds`, as Tempo and the collector of OpenTelemetry call it.
    pub server_seconds: String,
    /// The histogram of the seconds that callers waited by their own spans. Default
    /// `traces_service_graph_request_client_seconds`.
    pub client_seconds: String,
    /// How much of the past says what is usual. Default `1d`, which holds every hour once; Prometheus must keep as much. A
    /// shift that stays pages until less than `learn` of what was usual before it lies in this time, 23 hours by default, and
    /// is learned then. The rules read so much of the past every two minutes.
    pub history: HumanDuration,
    /// How much of it has to be there before anything is judged. Default `1h`.
    pub learn: HumanDuration,
}

impl Default for StaticSettings {
    fn default() -> Self {
        Self {
            server_seconds: catalogue::EDGE_SERVER_SECONDS.to_owned(),
            client_seconds: catalogue::EDGE_CLIENT_SECONDS.to_owned(),
            history: HumanDuration::from_secs(24 * 3600),
            learn: HumanDuration::from_secs(3600),
        }
    }
}

impl StaticSettings {
    /// What Prometheus would refuse or could never hold, by key, message and hint.
    pub(crate) fn check(&self, window: HumanDuration, say: &mut impl FnMut(&str, String, &str)) {
        for (key, name) in [
            ("server_seconds", &self.server_seconds),
            ("client_seconds", &self.client_seconds),
        ] {
            if !is_metric_name(name) {
                say(
                    &format!("static.{key}"),
                    format!("`{key}` is `{name}`"),
                    "write the name of a histogram without `_sum`: letters, digits, `_` and `:`, no digit first",
                );
            }
        }
        if self.learn < window {
            say(
                "static.learn",
                format!("`learn` is {} at a window of {window}", self.learn),
                "write at least the window, better ten times as much",
            );
        }
        if self.history < self.learn {
            say(
                "static.history",
                format!(
                    "`history` is {}, and {} of it must be there",
                    self.history, self.learn
                ),
                "write a duration of at least `learn`, such as `1d`",
            );
        }
    }
}

fn is_metric_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.chars().all(word) && text.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::settings::AlertSettings;

    fn check(yaml: &str, expected: &[&str]) {
        let settings: AlertSettings = config::load("test.yaml", yaml, []).expect("settings");
        let found: Vec<String> = settings.check("alerts").into_iter().map(|f| f.path).collect();
        assert_eq!(found, expected, "{yaml}");
    }

    #[test]
    fn names_that_are_none_and_a_past_too_short_are_told_by_their_keys() {
        check(
            "{profile: static, static: {server_seconds: 'calls:seconds'}}",
            &[],
        );
        check(
            "static: {server_seconds: a-b, client_seconds: '', learn: 1m}",
            &[
                "alerts.static.server_seconds",
                "alerts.static.client_seconds",
                "alerts.static.learn",
            ],
        );
        check("static: {history: 30m}", &["alerts.static.history"]);
    }
}
