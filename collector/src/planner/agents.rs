//! Who follows the plan, and how the traffic that it is for is shared out among them.
//!
//! In: what agents say when they ask. Out: the agents of the last hour; for each question, which part of the traces of each node begins at
//! whoever asks.
//! Left out on purpose: the plan. Traces that SDKs begin are in nobody's part.
//!
//! Agents ask at different times, so while traffic grows whoever asked last seems to have more of it than it has. Nobody therefore gets
//! more than others were not given; what somebody no longer needs is free when it asks.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// Agents that are remembered; one more takes the place of that which was not heard of for longest.
const MAX_AGENTS: usize = 4_096;
/// Agents that were not heard of for so long are forgotten, nanoseconds.
const FORGET: u64 = 3_600_000_000_000;
/// Agents that missed so many questions have no part any more, nor later than they are forgotten.
const MISSED: u64 = 3;
/// How often agents ask that do not say it, nanoseconds.
const USUAL_INTERVAL: u64 = 30_000_000_000;
/// Longest name, revision or address that is remembered of an agent, bytes.
const MAX_TEXT: usize = 256;
/// Whoever begins less than this part of what others do on average is given this part, so that it need not wait for traffic that comes.
const LEAST: f64 = 0.1;
/// So much of its part is given to whoever asks, whatever others were given: else one that is new waited for all others to ask again.
const AT_ONCE: f64 = 0.5;
/// Nothing begins more traces a second than this; who says so is mistaken.
const MAX_RATE: f64 = 1e7;

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
    /// Until when its traffic counts, nanoseconds since 1970.
    #[serde(skip)]
    pub(crate) counts_until: u64,
    /// Which part of the traffic of each of its nodes it was given, 0 to 1.
    pub(crate) parts: Vec<f64>,
}

impl AgentSeen {
    /// Its traffic counts for a few questions, of which one comes each `interval` nanoseconds.
    pub(crate) fn asks_every(&mut self, interval: Option<u64>) {
        let few = interval.unwrap_or(USUAL_INTERVAL).saturating_mul(MISSED);
        self.counts_until = self.seen_unix_nanos.saturating_add(few.min(FORGET));
    }
}

/// All agents that asked.
#[derive(Debug, Default)]
pub(super) struct Agents {
    seen: BTreeMap<String, AgentSeen>,
    nodes: HashMap<String, OfNode>,
    /// When those whose traffic counts no more were last looked for, nanoseconds.
    swept: u64,
}

/// What begins with a node, at all agents.
#[derive(Clone, Copy, Debug, Default)]
struct OfNode {
    /// Traces a second.
    rate: f64,
    /// Of so many workloads.
    known: u32,
    /// Workloads of which nothing is known yet.
    unknown: u32,
    /// What was given of it, 0 to 1.
    given: f64,
}

/// How often those are looked for whose traffic counts no more, nanoseconds.
const SWEEP: u64 = 5_000_000_000;

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
        for rate in &mut agent.traces_per_second {
            *rate = rate.filter(|rate| (0.0..=MAX_RATE).contains(rate));
        }
        self.forget(&agent);
        agent.parts = self.count(&agent);
        let parts = agent.parts.clone();
        self.seen.insert(agent.instance.clone(), agent);
        parts
    }

    /// Makes room for one that is heard of now, whose traffic is no longer what it last said.
    fn forget(&mut self, heard: &AgentSeen) {
        let now = heard.seen_unix_nanos;
        if let Some(before) = self.seen.remove(&heard.instance) {
            self.discount(&before);
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            let quiet = |seen: &&mut AgentSeen| seen.counts_until != 0 && seen.counts_until <= now;
            let mut ended = Vec::new();
            for seen in self.seen.values_mut().filter(quiet) {
                ended.push(seen.clone());
                seen.counts_until = 0;
            }
            for seen in &ended {
                self.discount(seen);
            }
            self.seen
                .retain(|_, seen| seen.seen_unix_nanos.saturating_add(FORGET) > now);
        }
        if self.seen.len() >= MAX_AGENTS {
            let oldest = self.seen.values().min_by_key(|seen| seen.seen_unix_nanos);
            if let Some(oldest) = oldest.map(|seen| seen.instance.clone())
                && let Some(oldest) = self.seen.remove(&oldest)
            {
                self.discount(&oldest);
            }
        }
    }

    /// Counts its traffic, and gives it its parts.
    fn count(&mut self, agent: &AgentSeen) -> Vec<f64> {
        let rates = || agent.nodes.iter().zip(&agent.traces_per_second);
        for (node, rate) in rates() {
            let of = self.nodes.entry(node.clone()).or_default();
            match rate {
                Some(rate) => (of.rate, of.known) = (of.rate + rate, of.known + 1),
                None => of.unknown += 1,
            }
        }
        let part = |(node, rate): (&String, &Option<f64>)| {
            let Some(of) = self.nodes.get_mut(node) else {
                return 0.0;
            };
            let part = of.part(*rate);
            let part = part.min((1.0 - of.given).max(AT_ONCE * part));
            of.given += part;
            part
        };
        rates().map(part).collect()
    }

    /// Undoes that, unless it was undone.
    fn discount(&mut self, agent: &AgentSeen) {
        if agent.counts_until == 0 {
            return;
        }
        let rates = agent.nodes.iter().zip(&agent.traces_per_second);
        for ((node, rate), part) in rates.zip(&agent.parts) {
            let Some(of) = self.nodes.get_mut(node) else {
                continue;
            };
            of.given -= part;
            match rate {
                Some(rate) => (of.rate, of.known) = (of.rate - rate, of.known - 1),
                None => of.unknown -= 1,
            }
            // What adding and taking away leaves over; agents tell three decimals.
            if of.known == 0 || of.rate < 5e-4 {
                of.rate = 0.0;
            }
            of.given = of.given.max(0.0);
            if of.known + of.unknown == 0 {
                self.nodes.remove(node);
            }
        }
    }

    /// Those of the last hour before `now`, by instance.
    pub(super) fn all(&self, now: u64) -> Vec<AgentSeen> {
        let lately = |seen: &&AgentSeen| seen.seen_unix_nanos.saturating_add(FORGET) > now;
        self.seen.values().filter(lately).cloned().collect()
    }
}

impl OfNode {
    /// What one workload with this rate is of all. One that does not know its rate yet counts as the mean of those that do.
    fn part(self, rate: Option<f64>) -> f64 {
        let mean = self.rate / f64::from(self.known.max(1));
        let all = self.rate + f64::from(self.unknown) * mean;
        if all > 0.0 {
            (rate.unwrap_or(mean).max(LEAST * mean) / all).clamp(0.0, 1.0)
        } else {
            1.0 / f64::from((self.known + self.unknown).max(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn agent(instance: &str, rate: Option<f64>, at: u64) -> AgentSeen {
        let mut agent = AgentSeen {
            instance: instance.to_owned(),
            nodes: vec!["web".to_owned()],
            traces_per_second: vec![rate],
            seen_unix_nanos: at,
            ..AgentSeen::default()
        };
        agent.asks_every(Some(20 * SECOND));
        agent
    }

    #[test]
    fn agents_are_remembered_for_an_hour_and_no_more_than_there_is_room_for() {
        let mut agents = Agents::default();
        for n in 0..MAX_AGENTS + 10 {
            agents.heard(agent(&format!("agent-{n:05}"), Some(1.0), n as u64 + 1));
        }
        let all = agents.all(5_000);
        assert_eq!(all.len(), MAX_AGENTS);
        assert_eq!(all[0].instance, "agent-00010", "the oldest made room");
        assert_eq!(agents.nodes["web"].known as usize, MAX_AGENTS);
        agents.heard(agent("agent-00000", None, FORGET + 10_000));
        assert_eq!(agents.all(FORGET + 10_000).len(), 1);
        assert_eq!(agents.all(3 * FORGET).len(), 0);
        let of = agents.nodes["web"];
        assert_eq!((of.known, of.unknown, of.rate.to_bits()), (0, 1, 0));
    }

    #[test]
    fn parts_are_as_the_traffic_is_and_one_that_is_gone_has_none() {
        let mut agents = Agents::default();
        let mut ask =
            |instance: &str, rate, second: u64| agents.heard(agent(instance, rate, second * SECOND))[0];
        let is = |part: f64, wanted: f64| assert!((part - wanted).abs() < 1e-9, "{part} is not {wanted}");
        is(ask("a", None, 1), 1.0);
        is(ask("a", Some(30.0), 2), 1.0);
        is(ask("b", None, 3), 0.25);
        is(ask("a", Some(30.0), 4), 0.5);
        is(ask("b", Some(10.0), 5), 0.25);
        is(ask("a", Some(30.0), 6), 0.75);
        let idle = ask("c", Some(0.0), 7);
        assert!(idle > 0.01 && idle < 0.1, "{idle}");
        is(ask("a", Some(30.0), 60), 0.75 - idle);
        // Two missed their questions.
        is(ask("a", Some(30.0), 90), 1.0);
    }

    #[test]
    fn while_traffic_grows_all_parts_together_are_one_whoever_asked_last() {
        let mut agents = Agents::default();
        let mut parts = BTreeMap::new();
        for second in 1..200 {
            let rate = 1.04_f64.powi(second);
            for (instance, of, at) in [("a", 0.6, 0), ("b", 0.3, 7), ("c", 0.1, 13)] {
                if second % 20 == at {
                    let seen = agent(instance, Some(rate * of), second as u64 * SECOND);
                    parts.insert(instance, agents.heard(seen)[0]);
                }
            }
            let sum: f64 = parts.values().sum();
            assert!(
                second < 60 || (0.95..=1.0 + 1e-9).contains(&sum),
                "{sum}: {parts:?}"
            );
        }
        assert!(parts["a"] > parts["b"] && parts["b"] > parts["c"], "{parts:?}");
    }

    #[test]
    fn agents_without_traffic_share_alike_whatever_they_had() {
        let mut agents = Agents::default();
        for (second, rates) in [(1, [0.1, 0.2]), (2, [0.0, 0.0]), (3, [0.0, 0.0])] {
            for (instance, rate) in ["a", "b"].into_iter().zip(rates) {
                let part = agents.heard(agent(instance, Some(rate), second * SECOND))[0];
                assert!(second < 3 || (part - 0.5).abs() < 1e-6, "{part}");
            }
        }
    }

    #[test]
    fn an_agent_is_what_it_last_said_whatever_it_stands_before() {
        let mut agents = Agents::default();
        let mut pods = agent("d", Some(10.0), SECOND);
        pods.nodes.push("web".to_owned());
        pods.traces_per_second.push(Some(30.0));
        assert_eq!(
            agents.heard(pods),
            [0.25, 0.75],
            "two pods of one service behind one agent"
        );
        let mut two = agent("d", Some(f64::NAN), 2 * SECOND);
        two.nodes.push("cart".to_owned());
        two.traces_per_second.push(Some(1e308));
        assert_eq!(agents.heard(two), [1.0, 1.0], "what is no rate is none");
        agents.heard(agent("d", Some(5.0), 3 * SECOND));
        assert_eq!(agents.nodes.len(), 1);
        assert_eq!(agents.heard(agent("d", Some(5.0), 4 * SECOND)), [1.0]);
    }
}
