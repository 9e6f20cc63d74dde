//! What happens in one run: a system, its load, and its faults.
//!
//! In: a seed. Out: a [`Scenario`], the same for the same seed.
//! Left out on purpose: the requests, which `traffic` makes of it.

use std::f64::consts::TAU;
use std::ops::Range;

use super::draw::Draw;
use super::parameters as p;
use super::system::{Shape, System};

pub(super) const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Runs begin within the week after this, seconds since 1970.
const EPOCH_SECONDS: u64 = 1_760_000_400;

/// One run, before any request was made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scenario {
    pub(super) system: System,
    /// When it begins and ends, nanoseconds since 1970.
    pub(super) time: Range<u64>,
    /// Requests a second that are kept, in the mean of a day.
    pub(super) seen_per_second: f64,
    pub(super) sampled: f64,
    pub(super) lost: f64,
    pub(super) retried: f64,
    season: f64,
    /// When the load is highest, as a share of the day.
    peak: f64,
    /// A node, and when it gets a new version.
    pub(super) deploy: Option<(usize, u64)>,
    pub(super) faults: Vec<Fault>,
}

/// A node becomes slow by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) node: usize,
    /// By what its own time is multiplied.
    pub(super) factor: f64,
    /// Since when and until when, nanoseconds since 1970.
    pub(super) during: Range<u64>,
}

impl Scenario {
    pub(super) fn draw(seed: u64) -> Self {
        let draw = &mut Draw::new(seed);
        let system = System::draw(draw);
        let length = p::BASELINE_SECONDS + p::WATCHED_SECONDS;
        let start = EPOCH_SECONDS + draw.between(0, 7 * DAY_SECONDS as usize) as u64;
        let mut scenario = Self {
            time: start * SECOND..(start + length) * SECOND,
            seen_per_second: draw.pick(p::SEEN_PER_SECOND),
            sampled: draw.pick(p::SAMPLED),
            lost: draw.pick(p::LOST),
            retried: draw.pick(p::RETRIED),
            season: draw.pick(p::SEASON),
            peak: draw.unit(),
            deploy: None,
            faults: Vec::new(),
            system,
        };
        scenario.deploy = draw.pick(p::DEPLOYED).then(|| scenario.deployed(draw));
        for _ in 0..draw.pick(p::FAULTS) {
            let fault = scenario.fault(draw);
            scenario.faults.push(fault);
        }
        scenario
    }

    fn deployed(&self, draw: &mut Draw) -> (usize, u64) {
        let services: Vec<usize> = (0..self.system.nodes.len())
            .filter(|at| !self.system.nodes[*at].is_database)
            .collect();
        let at = self.time.start + (draw.unit() * (self.time.end - self.time.start) as f64) as u64;
        (services[draw.between(0, services.len() - 1)], at)
    }

    /// A fault at a node that requests reach and that has none yet. Where databases are the point, one of them.
    fn fault(&self, draw: &mut Draw) -> Fault {
        let visits = self.system.visits();
        let taken = |node: &usize| self.faults.iter().any(|fault| fault.node == *node);
        let all: Vec<usize> = (0..visits.len())
            .filter(|node| visits[*node] > 0.0 && !taken(node))
            .collect();
        let databases: Vec<usize> = all
            .iter()
            .copied()
            .filter(|node| self.system.nodes[*node].is_database)
            .collect();
        let meant = if self.system.shape == Shape::Database && !databases.is_empty() {
            databases
        } else {
            all
        };
        let from = self.time.start + p::BASELINE_SECONDS * SECOND;
        Fault {
            node: meant[draw.between(0, meant.len() - 1)],
            factor: draw.pick(p::FACTORS),
            during: from..from + draw.pick(p::FAULT_MINUTES) * 60 * SECOND,
        }
    }

    /// The same with faults that last so many minutes.
    pub(super) fn lasting(mut self, minutes: u64) -> Self {
        for fault in &mut self.faults {
            fault.during.end = fault.during.start + minutes * 60 * SECOND;
            self.time.end = self.time.end.max(fault.during.end);
        }
        self
    }

    /// Kept requests a second at a time.
    pub(super) fn rate(&self, now: u64) -> f64 {
        let day = (now / SECOND % DAY_SECONDS) as f64 / DAY_SECONDS as f64;
        self.seen_per_second * (1.0 + self.season * (TAU * (day - self.peak)).cos())
    }

    /// The highest that [`Scenario::rate`] can be.
    pub(super) fn most(&self) -> f64 {
        self.seen_per_second * (1.0 + self.season)
    }

    /// By what the own time of a node is multiplied at a time.
    pub(super) fn factor(&self, node: usize, now: u64) -> f64 {
        let at_work = |fault: &&Fault| fault.node == node && fault.during.contains(&now);
        self.faults.iter().find(at_work).map_or(1.0, |fault| fault.factor)
    }

    /// Whether a node is of its new version at a time.
    pub(super) fn is_new(&self, node: usize, now: u64) -> bool {
        self.deploy.is_some_and(|(of, at)| of == node && now >= at)
    }

    /// The run in one line.
    pub(super) fn line(&self) -> String {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|fault| {
                let minutes = (fault.during.end - fault.during.start) / (60 * SECOND);
                let node = self.system.nodes[fault.node].id();
                format!("{node} x{} for {minutes} min", fault.factor)
            })
            .collect();
        format!(
            "{}, {} nodes, {}/s seen of {} %, {} % lost, {} % retried, season {}, {}; {}",
            self.system.shape.as_str(),
            self.system.nodes.len(),
            self.seen_per_second,
            100.0 * self.sampled,
            100.0 * self.lost,
            100.0 * self.retried,
            self.season,
            if self.deploy.is_some() {
                "deploy"
            } else {
                "no deploy"
            },
            if faults.is_empty() {
                "healthy".to_owned()
            } else {
                faults.join(" and ")
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run() {
        assert_eq!(Scenario::draw(11), Scenario::draw(11));
        assert_ne!(Scenario::draw(11), Scenario::draw(12));
    }

    #[test]
    fn two_faults_are_at_two_nodes_and_leave_time_to_learn() {
        let mut both = (0..)
            .map(Scenario::draw)
            .filter(|scenario| scenario.faults.len() == 2);
        for scenario in both.by_ref().take(20) {
            assert_ne!(scenario.faults[0].node, scenario.faults[1].node);
            for fault in &scenario.faults {
                assert_eq!(
                    fault.during.start - scenario.time.start,
                    p::BASELINE_SECONDS * SECOND
                );
                assert!(fault.during.end < scenario.time.end);
            }
        }
    }

    #[test]
    fn load_follows_the_day() {
        let mut of_season = (0..).map(Scenario::draw).filter(|scenario| scenario.season > 0.5);
        let scenario = of_season.next().expect("a season");
        let hours = (0..24).map(|hour| scenario.rate(hour * 3_600 * SECOND));
        let most = hours.clone().fold(0.0, f64::max);
        let least = hours.fold(f64::MAX, f64::min);
        assert!(most <= scenario.most() && most > 3.0 * least, "{most} {least}");
    }
}
