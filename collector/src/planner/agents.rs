//! Who follows the plan, and how the traffic that it is for is shared out among them.
//!
//! In: what agents say when they ask. Out: the agents of the last hour; for each question, which part of the traces of each node begins at
//! whoever asks.
//! Left out on purpose: the plan. Traces that SDKs begin are in nobody's part.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// Agents that are remembered; one more takes the place of that which was not heard of for longest.
const MAX_AGENTS: usize = 4_096;
/// Agents that were not heard of for so long are forgotten, nanoseconds.
const FORGET: u64 = 3_600_000_000_000;
/// Agents that were not heard of for so long have no part any more, nanoseconds: a few questions.
const FORGET_PART: u64 = 60_000_000_000;
/// Longest name, revision or address that is remembered of an agent, bytes.
const MAX_TEXT: usize = 256;
/// Whoever begins less than this part of what others do on average is given this part, so that it need not wait for traffic that comes.
const LEAST: f64 = 0.1;

/// What an agent said when it asked for the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct AgentSeen {
    /// Its instance, as it names itself.
    pub(crate) instance: String,
    /// The services that it stands before.
    pub(crate) nodes: Vec<String>,
    /// Traces that begin with each of them, a second; `null` where it does not know.
    pub(crate) traces_per_second: Vec<Option<f64>>,
    /// The revision that it follows; `null` where it follows none.
    pub(crate) applied: Option<String>,
    /// The revision that it refused, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// When it last asked, nanoseconds since 1970.
    pub(crate) seen_unix_nanos: u64,
}

/// All agents that asked.
#[derive(Debug, Default)]
pub(super) struct Agents {
    seen: BTreeMap<String, AgentSeen>,
    /// By node and instance, and the place among its nodes: an agent may stand before several of one name.
    rates: HashMap<String, OfNode>,
}

type OfNode = BTreeMap<(String, usize), Rate>;

#[derive(Clone, Copy, Debug)]
struct Rate {
    seen: u64,
    /// Traces a second.
    rate: Option<f64>,
}

impl Agents {
    /// Notes what an agent said; the part of the traces of each of its nodes that begins there, in the same order.
    pub(super) fn heard(&mut self, mut agent: AgentSeen) -> Vec<f64> {
        let texts = agent
            .nodes
            .iter_mut()
            .chain(&mut agent.applied)
            .chain(&mut agent.refused);
        for text in texts.chain([&mut agent.instance]) {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        agent.traces_per_second.resize(agent.nodes.len(), None);
        self.forget(&agent);
        let nodes = || agent.nodes.iter().enumerate();
        for ((place, node), rate) in nodes().zip(&agent.traces_per_second) {
            let of_node = self.rates.entry(node.clone()).or_default();
            let rate = Rate {
                seen: agent.seen_unix_nanos,
                rate: rate.filter(|rate| rate.is_finite() && *rate >= 0.0),
            };
            of_node.insert((agent.instance.clone(), place), rate);
        }
        let part =
            |(place, node): (usize, &String)| part(&self.rates[node], &(agent.instance.clone(), place));
        let parts = nodes().map(part).collect();
        self.seen.insert(agent.instance.clone(), agent);
        parts
    }

    /// Makes room for one that is heard of now.
    fn forget(&mut self, heard: &AgentSeen) {
        let now = heard.seen_unix_nanos;
        self.seen
            .retain(|_, seen| seen.seen_unix_nanos.saturating_add(FORGET) > now);
        if self.seen.len() >= MAX_AGENTS && !self.seen.contains_key(&heard.instance) {
            let oldest = self.seen.values().min_by_key(|seen| seen.seen_unix_nanos);
            if let Some(oldest) = oldest.map(|seen| seen.instance.clone()) {
                self.seen.remove(&oldest);
            }
        }
        let seen = &self.seen;
        let holds = |(instance, _): &(String, usize), rate: &Rate| {
            rate.seen.saturating_add(FORGET_PART) > now && seen.contains_key(instance)
        };
        // All nodes at times; those that are asked about, each time.
        if self.rates.len() > 2 * MAX_AGENTS {
            self.rates.retain(|_, of_node| {
                of_node.retain(|of, rate| holds(of, rate));
                !of_node.is_empty()
            });
        }
        for node in &heard.nodes {
            if let Some(of_node) = self.rates.get_mut(node) {
                of_node.retain(|of, rate| holds(of, rate));
            }
        }
    }

    /// Those of the last hour before `now`, by instance.
    pub(super) fn all(&self, now: u64) -> Vec<AgentSeen> {
        let lately = |seen: &&AgentSeen| seen.seen_unix_nanos.saturating_add(FORGET) > now;
        self.seen.values().filter(lately).cloned().collect()
    }
}

/// What `one` of all agents of a node is of them. Whoever does not know its rate yet counts as the mean of those that do.
fn part(all: &OfNode, one: &(String, usize)) -> f64 {
    let known = || all.values().filter_map(|rate| rate.rate);
    let mean = known().sum::<f64>() / known().count().max(1) as f64;
    let of = |rate: &Rate| rate.rate.unwrap_or(mean).max(LEAST * mean);
    let sum: f64 = all.values().map(of).sum();
    if sum > 0.0 {
        all.get(one).map_or(0.0, of) / sum
    } else {
        1.0 / all.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(instance: &str, rate: Option<f64>, at: u64) -> AgentSeen {
        AgentSeen {
            instance: instance.to_owned(),
            nodes: vec!["web".to_owned()],
            traces_per_second: vec![rate],
            seen_unix_nanos: at,
            ..AgentSeen::default()
        }
    }

    #[test]
    fn agents_are_remembered_for_an_hour_and_no_more_than_there_is_room_for() {
        let mut agents = Agents::default();
        for n in 0..MAX_AGENTS + 10 {
            agents.heard(agent(&format!("agent-{n:05}"), None, n as u64 + 1));
        }
        let all = agents.all(5_000);
        assert_eq!(all.len(), MAX_AGENTS);
        assert_eq!(all[0].instance, "agent-00010", "the oldest made room");
        agents.heard(agent("agent-00000", None, FORGET + 10_000));
        assert_eq!(agents.all(FORGET + 10_000).len(), 1);
        assert_eq!(agents.all(3 * FORGET).len(), 0);
    }

    #[test]
    fn parts_are_as_the_traffic_is_and_one_that_is_gone_has_none() {
        const SECOND: u64 = 1_000_000_000;
        let mut agents = Agents::default();
        assert_eq!(agents.heard(agent("a", None, SECOND)), [1.0]);
        assert_eq!(agents.heard(agent("a", Some(30.0), 2 * SECOND)), [1.0]);
        assert_eq!(
            agents.heard(agent("b", None, 3 * SECOND)),
            [0.5],
            "as much as others"
        );
        assert_eq!(agents.heard(agent("b", Some(10.0), 4 * SECOND)), [0.25]);
        assert_eq!(agents.heard(agent("a", Some(30.0), 5 * SECOND)), [0.75]);
        let idle = agents.heard(agent("c", Some(0.0), 6 * SECOND))[0];
        assert!(idle > 0.02 && idle < 0.1, "{idle}");
        assert_eq!(agents.heard(agent("a", Some(30.0), 90 * SECOND)), [1.0]);
        let mut two = agent("a", Some(f64::NAN), 91 * SECOND);
        two.nodes.push("cart".to_owned());
        assert_eq!(agents.heard(two), [1.0, 1.0]);
        let mut pods = agent("d", Some(10.0), 200 * SECOND);
        pods.nodes.push("web".to_owned());
        pods.traces_per_second.push(Some(30.0));
        assert_eq!(
            agents.heard(pods),
            [0.25, 0.75],
            "two pods of one service behind one agent"
        );
    }
}
