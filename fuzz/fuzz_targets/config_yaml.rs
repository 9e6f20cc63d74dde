//! Configuration files from anywhere: no text panics, and an error can always be told.
//!
//! In: the text of a file, and before a line of `---` perhaps a variable of the environment. Out: a panic where reading or checking does, or where a
//! file is refused without a reason.
//! Left out on purpose: starting anything with it.

#![no_main]

use agent::AgentConfig;
use collector::settings::{CollectorSettings, GenerateSettings, check};
use config::Loader;
use map::Services;
use schemars::JsonSchema;
use serde::Deserialize;

/// As the command's own, whose type is not a library's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    agent: AgentConfig,
    collector: CollectorSettings,
    generate: GenerateSettings,
    services: Services,
}

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (variable, text) = input.split_once("\n---\n").unwrap_or(("", input));
    let variable = variable
        .split_once('=')
        .map(|(name, value)| (format!("TRACEMAP_{name}"), value.to_owned()));
    let loaded = Loader::new("fuzzed.yaml").load_checked(text, variable, |settings: &Settings| {
        let mut found = settings.agent.check();
        found.extend(check(&settings.collector, &settings.generate, &settings.services));
        found
    });
    if let Err(errors) = loaded {
        assert!(!errors.problems.is_empty() && !errors.to_string().is_empty());
    }
});
