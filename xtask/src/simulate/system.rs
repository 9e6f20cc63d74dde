//! Random systems: services and databases, their operations, and who calls whom.
//!
//! In: a source of numbers. Out: a [`System`] whose operations call each other without end in sight but never in a circle,
//! even where its services do.
//! Left out on purpose: queues, which judge by another time; and what nobody calls.

use super::draw::{Draw, LogNormal};
use super::parameters as p;

/// What a system looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// Each calls the next.
    Chain,
    /// One calls many.
    FanOut,
    /// Many call one.
    Shared,
    /// Services that call each other in a circle: a strongly connected component.
    Cycle,
    /// Services on databases that report nothing.
    Database,
}

impl Shape {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::FanOut => "fan-out",
            Self::Shared => "shared dependency",
            Self::Cycle => "cycle",
            Self::Database => "database",
        }
    }
}

/// A service, or a database that only its callers tell of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) is_database: bool,
}

impl Node {
    /// What the collector calls it.
    pub(super) fn id(&self) -> String {
        if self.is_database {
            format!("postgresql:{0}@{0}", self.name)
        } else {
            self.name.clone()
        }
    }
}

/// One thing that a node does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) node: usize,
    pub(super) name: String,
    pub(super) own: LogNormal,
    /// One after another; the calls of one stage are made at once.
    pub(super) stages: Vec<Vec<Call>>,
}

/// A call that an operation makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) operation: usize,
    /// In which share of the requests.
    pub(super) share: f64,
}

/// Who there is and what they do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct System {
    pub(super) shape: Shape,
    pub(super) nodes: Vec<Node>,
    pub(super) operations: Vec<Operation>,
    /// Operations that users call, with their weights.
    pub(super) entries: Vec<(usize, u32)>,
}

impl System {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        let shape = draw.pick(p::SHAPES);
        let mut builder = Builder {
            draw,
            system: Self {
                shape,
                nodes: Vec::new(),
                operations: Vec::new(),
                entries: Vec::new(),
            },
            uses: Vec::new(),
        };
        let ring = builder.topology(shape);
        builder.operations();
        builder.calls();
        if let Some((first, last)) = ring {
            builder.call_back(last, first);
        }
        builder.system
    }

    /// How often a request of a user reaches each node in the mean.
    pub(super) fn visits(&self) -> Vec<f64> {
        let mut visits = vec![0.0; self.nodes.len()];
        let sum: f64 = self.entries.iter().map(|(_, weight)| f64::from(*weight)).sum();
        for &(operation, weight) in &self.entries {
            self.reach(operation, f64::from(weight) / sum, &mut visits);
        }
        visits
    }

    fn reach(&self, operation: usize, share: f64, visits: &mut [f64]) {
        let operation = &self.operations[operation];
        visits[operation.node] += share;
        for call in operation.stages.iter().flatten() {
            self.reach(call.operation, share * call.share, visits);
        }
    }
}

struct Builder<'a> {
    draw: &'a mut Draw,
    system: System,
    /// Caller and callee, by their places among the nodes; the caller's is the lower.
    uses: Vec<(usize, usize)>,
}

impl Builder<'_> {
    fn node(&mut self, is_database: bool) -> usize {
        let at = self.system.nodes.len();
        let prefix = if is_database { "db" } else { "s" };
        self.system.nodes.push(Node {
            name: format!("{prefix}{at}"),
            is_database,
        });
        at
    }

    fn service_below(&mut self, caller: usize) -> usize {
        let callee = self.node(false);
        self.uses.push((caller, callee));
        callee
    }

    /// Nodes and who uses whom; of a ring its first member and its last.
    fn topology(&mut self, shape: Shape) -> Option<(usize, usize)> {
        let entry = self.node(false);
        let mut ring = None;
        match shape {
            Shape::Chain => {
                let mut last = entry;
                for _ in 0..self.draw.between(2, 5) {
                    last = self.service_below(last);
                }
            }
            Shape::FanOut => {
                for _ in 0..self.draw.between(3, 6) {
                    let callee = self.service_below(entry);
                    if self.draw.chance(0.3) {
                        self.service_below(callee);
                    }
                }
            }
            Shape::Shared => {
                let callers: Vec<usize> = (0..self.draw.between(2, 4))
                    .map(|_| self.service_below(entry))
                    .collect();
                let shared = self.node(false);
                self.uses.extend(callers.iter().map(|caller| (*caller, shared)));
            }
            Shape::Cycle => {
                let first = self.service_below(entry);
                let mut last = first;
                for _ in 0..self.draw.between(1, 2) {
                    last = self.service_below(last);
                }
                self.service_below(entry);
                ring = Some((first, last));
            }
            Shape::Database => self.on_databases(entry),
        }
        if self.draw.chance(p::SECOND_ENTRY) {
            self.second_entry();
        }
        self.databases(if shape == Shape::Database {
            0.0
        } else {
            p::WITH_DATABASE
        });
        ring
    }

    fn on_databases(&mut self, entry: usize) {
        let callers: Vec<usize> = (0..self.draw.between(2, 3))
            .map(|_| self.service_below(entry))
            .collect();
        let databases: Vec<usize> = (0..self.draw.between(1, 2)).map(|_| self.node(true)).collect();
        for (number, caller) in callers.into_iter().enumerate() {
            self.uses.push((caller, databases[number % databases.len()]));
        }
    }

    /// Another service that users call, and that uses one that is there already.
    fn second_entry(&mut self) {
        let services: Vec<usize> = (1..self.system.nodes.len())
            .filter(|at| !self.system.nodes[*at].is_database)
            .collect();
        let callee = services[self.draw.between(0, services.len() - 1)];
        let entry = self.node(false);
        self.uses.push((entry, callee));
    }

    fn databases(&mut self, share: f64) {
        for at in 0..self.system.nodes.len() {
            let calls = self.uses.iter().any(|(caller, _)| *caller == at);
            if !calls && !self.system.nodes[at].is_database && self.draw.chance(share) {
                let database = self.node(true);
                self.uses.push((at, database));
            }
        }
    }

    fn operations(&mut self) {
        for node in 0..self.system.nodes.len() {
            let is_called = self.uses.iter().any(|(_, callee)| *callee == node);
            for number in 0..self.draw.pick(p::OPERATIONS) {
                let operation = self.operation(node, number);
                if !is_called && !self.system.nodes[node].is_database {
                    let weight = [6, 3, 1][number];
                    self.system.entries.push((operation, weight));
                }
            }
        }
    }

    fn operation(&mut self, node: usize, number: usize) -> usize {
        let verb = if self.system.nodes[node].is_database {
            "SELECT"
        } else {
            "GET"
        };
        let own = LogNormal {
            median: self.draw.pick(p::OWN_MEDIAN),
            spread: self.draw.pick(p::OWN_SPREAD),
        };
        self.system.operations.push(Operation {
            node,
            name: format!("{verb} {number}"),
            own,
            stages: Vec::new(),
        });
        self.system.operations.len() - 1
    }

    fn of(&self, node: usize) -> Vec<usize> {
        let all = self.system.operations.iter().enumerate();
        all.filter(|(_, operation)| operation.node == node)
            .map(|(at, _)| at)
            .collect()
    }

    /// Who calls whom in which operation, at once or one after another.
    fn calls(&mut self) {
        for (caller, callee) in self.uses.clone() {
            let (callers, callees) = (self.of(caller), self.of(callee));
            let always = self.draw.between(0, callers.len() - 1);
            for (number, from) in callers.into_iter().enumerate() {
                if number == always || self.draw.chance(p::USES) {
                    let to = callees[self.draw.between(0, callees.len() - 1)];
                    let share = self.draw.pick(p::CALLED);
                    let call = Call { operation: to, share };
                    self.system.operations[from].stages.push(vec![call]);
                }
            }
        }
        for at in 0..self.system.operations.len() {
            if self.draw.chance(p::PARALLEL) {
                let stages = std::mem::take(&mut self.system.operations[at].stages);
                if !stages.is_empty() {
                    self.system.operations[at].stages = vec![stages.concat()];
                }
            }
        }
    }

    /// The last of a ring calls an operation of the first that calls nobody.
    fn call_back(&mut self, last: usize, first: usize) {
        let number = self.of(first).len();
        let callback = self.operation(first, number);
        let call = Call {
            operation: callback,
            share: 1.0,
        };
        for from in self.of(last) {
            self.system.operations[from].stages.push(vec![call]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_shape_is_drawn_and_a_request_always_ends() {
        let mut shapes = BTreeSet::new();
        for seed in 0..200 {
            let system = System::draw(&mut Draw::new(seed));
            shapes.insert(system.shape);
            // A circle of operations would never return.
            let visits = system.visits();
            assert!(visits.iter().all(|visits| *visits < 20.0), "{system:?}");
            assert!(!system.entries.is_empty());
            let mut entries = system
                .entries
                .iter()
                .map(|(operation, _)| &system.operations[*operation]);
            assert!(entries.all(|operation| !system.nodes[operation.node].is_database));
        }
        assert_eq!(shapes.len(), 5);
    }

    #[test]
    fn the_services_of_a_cycle_call_each_other_in_a_circle() {
        let mut systems = (0..).map(|seed| System::draw(&mut Draw::new(seed)));
        let system = systems
            .find(|system| system.shape == Shape::Cycle)
            .expect("a cycle");
        let calls = |from: usize, to: usize| {
            let mut of = system
                .operations
                .iter()
                .filter(|operation| operation.node == from);
            of.any(|operation| {
                let mut calls = operation.stages.iter().flatten();
                calls.any(|call| system.operations[call.operation].node == to)
            })
        };
        let reached = |from: usize| (0..system.nodes.len()).filter(move |to| calls(from, *to));
        let mut open: Vec<usize> = reached(1).collect();
        let mut seen = BTreeSet::new();
        while let Some(node) = open.pop() {
            if seen.insert(node) {
                open.extend(reached(node));
            }
        }
        assert!(seen.contains(&1), "{system:?}");
    }
}
