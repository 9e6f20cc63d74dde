//! What the keys `edges`, `sampling` and `correlation` can have wrong.
//!
//! In: an [`AgentConfig`]. Out: every problem, each under its key.
//! Left out on purpose: whether a rule will ever match.

use std::time::Duration;

use ::config::Finding;

use crate::config::{AgentConfig, EdgeMode};

const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Every problem of these keys.
pub(crate) fn problems(config: &AgentConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |path: String, message: String, hint: &str| {
        findings.push(Finding {
            path,
            message,
            hint: Some(hint.to_owned()),
        });
    };
    let edges = &config.edges;
    let remote = config.sampling.remote.as_ref();
    for (key, interval) in [
        ("agent.edges.interval", Some(edges.interval)),
        (
            "agent.sampling.remote.interval",
            remote.map(|remote| remote.interval),
        ),
    ] {
        if let Some(interval) = interval.filter(|interval| interval.0 < LEAST_INTERVAL) {
            let message = format!("`{key}` is `{interval}`, which is too short");
            say(key.to_owned(), message, "write at least `100ms`");
        }
    }
    if edges.max_peers == 0 {
        let message = "`agent.edges.max_peers` is 0".to_owned();
        say("agent.edges.max_peers".to_owned(), message, "write at least 1");
    }
    let modes = std::iter::once(("agent.edges.mode".to_owned(), edges.mode)).chain(
        edges
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| (format!("agent.edges.rules[{index}].mode"), rule.mode)),
    );
    for (key, _) in modes.filter(|(_, mode)| *mode == EdgeMode::Count && !edges.counts) {
        let message = format!("`{key}` is `count`, but `agent.edges.counts` is `false`");
        say(key, message, "leave `counts` on, or write `log` or `span`");
    }
    for (index, rule) in edges.rules.iter().enumerate() {
        if rule.peer.is_empty() {
            let key = format!("agent.edges.rules[{index}].peer");
            let message = format!("`{key}` is empty, which no peer is");
            say(key, message, "write `*` for all peers");
        }
    }
    for (key, share) in [
        ("agent.sampling.ratio", config.sampling.ratio),
        ("agent.correlation.floor", config.correlation.floor),
    ] {
        if !(0.0..=1.0).contains(&share) {
            let message = format!("`{key}` is {share}, but it must be a ratio between 0 and 1");
            say(key.to_owned(), message, "write such as 0.25 for 25 %");
        }
    }
    for (key, most) in [
        ("agent.correlation.max_children", config.correlation.max_children),
        ("agent.correlation.max_spans", config.correlation.max_spans),
    ] {
        if most == 0 {
            let message = format!("`{key}` is 0, so no call would ever have a parent");
            say(key.to_owned(), message, "write at least 1");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_with_its_key_and_what_stands_there() {
        let yaml = "edges: { interval: 1ms, max_peers: 0, counts: false, mode: log,
          rules: [{ direction: outbound, peer: '', mode: count }] }
sampling: { type: parent_based_traceidratio, ratio: 25, remote: { endpoint: http://jaeger:5778, interval: 0s } }
correlation: { floor: -1, max_children: 0, max_spans: 0 }";
        let config: AgentConfig = ::config::load("f.yaml", yaml, []).expect("a configuration");
        let told: Vec<_> = problems(&config)
            .into_iter()
            .map(|finding| finding.message)
            .collect();
        let expected = [
            "`agent.edges.interval` is `1ms`, which is too short",
            "`agent.sampling.remote.interval` is `0s`, which is too short",
            "`agent.edges.max_peers` is 0",
            "`agent.edges.rules[0].mode` is `count`, but `agent.edges.counts` is `false`",
            "`agent.edges.rules[0].peer` is empty, which no peer is",
            "`agent.sampling.ratio` is 25, but it must be a ratio between 0 and 1",
            "`agent.correlation.floor` is -1, but it must be a ratio between 0 and 1",
            "`agent.correlation.max_children` is 0, so no call would ever have a parent",
            "`agent.correlation.max_spans` is 0, so no call would ever have a parent",
        ];
        assert_eq!(told, expected);
        assert_eq!(problems(&AgentConfig::default()), []);
    }
}
