//! The whole configuration file: one section per part.
//!
//! In: YAML and `TRACEMAP_…` variables. Out: [`Settings`], checked, or every problem at once.
//! Left out on purpose: the sections' keys. Each stands with the part that it configures.

use std::path::Path;

use agent::AgentConfig;
use collector::settings::{CollectorSettings, GenerateSettings};
use config::{ConfigErrors, Finding, Loader};
use map::Services;
use schemars::JsonSchema;
use serde::Deserialize;

/// The variable that holds the token for Grafana; it is in no configuration, which people commit.
pub(crate) const GRAFANA_TOKEN: &str = "TRACEMAP_GRAFANA_TOKEN";

/// Everything that one file configures. Every key has a default; an empty file is a valid one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The agent: what passes through it, and where its spans go.
    pub(crate) agent: AgentConfig,
    /// The collector: what comes in, how it is paired, what is shown.
    pub(crate) collector: CollectorSettings,
    /// What is written from the map, and where.
    pub(crate) generate: GenerateSettings,
    /// What people state about their services, by id or name.
    pub(crate) services: Services,
}

/// Which sections a command will use; only those are checked beyond their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    /// The agent's alone.
    Agent,
    /// All but the agent's.
    Collector,
    /// All, where the agent needs no endpoint.
    Everything,
}

impl Settings {
    /// Reads the file, if there is one, and the environment.
    pub(crate) fn read(path: Option<&Path>, uses: Uses) -> Result<Self, ConfigErrors> {
        let text = path.map(config::read_text).transpose()?.unwrap_or_default();
        let source = path.map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
        let loader = Loader::new(&source).not_config([GRAFANA_TOKEN]);
        loader.load_checked(&text, config::process_env(), |settings: &Self| {
            settings.check(uses)
        })
    }

    fn check(&self, uses: Uses) -> Vec<Finding> {
        let mut found = Vec::new();
        let has_workloads = !self.agent.workloads.is_empty() || self.agent.flat_workload().is_some();
        if uses == Uses::Agent || uses == Uses::Everything && has_workloads {
            found.extend(self.agent.check());
        }
        if uses != Uses::Agent {
            found.extend(collector::settings::check(
                &self.collector,
                &self.generate,
                &self.services,
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let loaded =
            Loader::new("tracemap.yaml").load_checked(text, [], |s: &Settings| s.check(Uses::Everything));
        loaded.expect_err("the text has problems").to_string()
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
        let told = problems("collector:\n  web:\n    lisen: 127.0.0.1:1\ngenerate:\n  owt: x\n");
        assert!(
            told.contains("tracemap.yaml:3") && told.contains("`lisen`") && told.contains("`listen`"),
            "{told}"
        );
        assert!(
            told.contains("tracemap.yaml:5") && told.contains("`out`"),
            "{told}"
        );
    }

    #[test]
    fn a_target_that_is_no_share_is_told_with_its_place() {
        let told = problems("services:\n  cart: {objectives: [{latency: 300ms, target: 99, window: 30d}]}\n");
        assert!(
            told.contains("tracemap.yaml:2: `target` is 99") && told.contains("0.99"),
            "{told}"
        );
    }

    #[test]
    fn the_examples_in_deploy_pass_every_check_of_their_part() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
        for (name, uses) in [
            ("agent-sidecar.yaml", Uses::Agent),
            ("agent-node.yaml", Uses::Agent),
            ("agent-queues.yaml", Uses::Agent),
            ("collector.yaml", Uses::Collector),
        ] {
            let text = config::read_text(&examples.join(name)).unwrap();
            let loaded = Loader::new(name).load_checked(&text, [], |s: &Settings| s.check(uses));
            assert!(loaded.is_ok(), "{name}: {}", loaded.unwrap_err());
        }
    }

    #[test]
    fn the_committed_schema_is_the_one_of_this_build() {
        expect_test::expect_file!["../deploy/tracemap.schema.json"].assert_eq(&config::schema::<Settings>());
    }
}
