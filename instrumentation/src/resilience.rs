//! Timeouts, retries, circuit breakers and pools, from what the map saw and what people promise.
//!
//! In: the map with its statistics and objectives. Out: `resilience.yaml`, and the same for meshes. Every
//! number stands beside its reason; where too little was seen there is a reason and no number. Numbers follow
//! from what was observed, to two figures, which is held until it moves by a fifth: see [`resilience`].
//! Left out on purpose: applying it; instances and operations, which the map does not know.

mod budget;
mod contradictions;
mod figures;
mod file;
mod load;
mod mesh;
mod observed;
mod retries;
mod settings;
mod shape;
mod words;

use std::collections::BTreeMap;

use config::HumanDuration;
use map::services::settings_of;
use map::{ConnectionType, EdgeKey, Map, NodeId, NodeKind};

use budget::{Budget, CallNeeds, NodeNeeds, Seen};
use shape::{Call, Shape};

pub use contradictions::contradictions;
pub use file::{
    Because, Breaker, EdgeNumbers, ObservedEdge, ObservedService, RESILIENCE_PATH, Resilience, Retries,
    ServiceNumbers, Timeout, VERSION,
};
pub use settings::{Mesh, ResilienceSettings};

/// All files with their texts, by path below the output directory. `before` is the text of the
/// `resilience.yaml` that an earlier run wrote, if any; what cannot be read counts as none.
pub fn files(map: &Map, settings: &ResilienceSettings, before: Option<&str>) -> BTreeMap<String, String> {
    if !settings.enabled {
        return BTreeMap::new();
    }
    let before = before.and_then(Resilience::from_yaml);
    let numbers = resilience(map, settings, before.as_ref());
    let mut files = mesh::files(map, &numbers, settings);
    files.insert(RESILIENCE_PATH.to_owned(), numbers.to_yaml());
    files
}

/// The numbers for every edge.
///
/// `before` are those of an earlier run. What was observed then stays while it moved by less than a fifth,
/// and everything else follows from it, so the same map and the same numbers before give the same numbers.
pub fn resilience(map: &Map, settings: &ResilienceSettings, before: Option<&Resilience>) -> Resilience {
    let shape = Shape::new(map);
    let before = Before::new(before);
    let seen: Vec<Result<ObservedEdge, String>> = shape
        .calls
        .iter()
        .map(|call| observe(map, call.key, settings, &before))
        .collect();
    let services: Vec<ObservedService> = shape
        .nodes
        .iter()
        .enumerate()
        .map(|(node, id)| observed::service(map, &shape, node, settings, before.services.get(id).copied()))
        .collect();
    let decisions = retries::decide(map, &shape, &seen, settings);
    let calls: Vec<CallNeeds> = (0..shape.calls.len())
        .map(|i| needs_of_call(map, &shape.calls[i], &seen[i], decisions[i].count(), settings))
        .collect();
    let nodes: Vec<NodeNeeds> = services
        .iter()
        .enumerate()
        .map(|(node, seen)| needs_of_node(map, &shape, node, seen, settings))
        .collect();
    let least = settings.min_timeout.get().as_secs_f64() * 1e3;
    let budget = budget::split(&shape, &calls, &nodes, least);
    let told = Told {
        map,
        settings,
        shape: &shape,
        seen: &seen,
        services: &services,
        decisions: &decisions,
        calls: &calls,
        nodes: &nodes,
        budget: &budget,
        before: &before,
    };
    told.file()
}

/// What an earlier run observed.
struct Before<'a> {
    edges: BTreeMap<&'a EdgeKey, &'a EdgeNumbers>,
    services: BTreeMap<&'a NodeId, &'a ObservedService>,
}

impl<'a> Before<'a> {
    fn new(file: Option<&'a Resilience>) -> Self {
        let edges = file.into_iter().flat_map(|file| &file.edges);
        let services = file.into_iter().flat_map(|file| &file.services);
        Self {
            edges: edges.map(|numbers| (&numbers.edge, numbers)).collect(),
            services: services.map(|(id, numbers)| (id, &numbers.observed)).collect(),
        }
    }
}

fn observe(
    map: &Map,
    key: &EdgeKey,
    settings: &ResilienceSettings,
    before: &Before<'_>,
) -> Result<ObservedEdge, String> {
    if [&key.client, &key.server]
        .map(|id| map.kind(id))
        .contains(&NodeKind::Overflow)
    {
        return Err("none: many rare nodes are counted as one here".to_owned());
    }
    let before = before
        .edges
        .get(key)
        .and_then(|numbers| numbers.observed.as_ref());
    match map.edges.get(key) {
        Some(edge) => observed::edge(edge, settings, before),
        None => Err("nothing observed".to_owned()),
    }
}

fn needs_of_call(
    map: &Map,
    call: &Call<'_>,
    seen: &Result<ObservedEdge, String>,
    retries: u32,
    settings: &ResilienceSettings,
) -> CallNeeds {
    let (key, seen) = (call.key, seen.as_ref().ok());
    // A service cannot wait for itself as long as others wait for it.
    let stated = settings_of(&map.services, &key.server).filter(|_| !call.closes_cycle);
    let stated = stated.and_then(|stated| stated.resilience.as_ref());
    let times = |seen: &ObservedEdge| Seen {
        high: seen.high_ms * settings.margin,
        low: seen.p95_ms,
    };
    let further = |seen: &ObservedEdge| {
        let calls = f64::from(seen.calls_per_visit.saturating_sub(1));
        Seen {
            high: calls * seen.mean_ms,
            low: calls * seen.p50_ms,
        }
    };
    CallNeeds {
        observed: seen.map(times),
        further: seen.map(further).unwrap_or_default(),
        retries,
        pin: stated.and_then(|stated| stated.timeout).map(whole_millis),
        from_outside: key.client.as_str() == NodeId::USER,
    }
}

fn needs_of_node(
    map: &Map,
    shape: &Shape<'_>,
    node: usize,
    seen: &ObservedService,
    settings: &ResilienceSettings,
) -> NodeNeeds {
    NodeNeeds {
        own: Seen {
            high: seen.own_ms.unwrap_or(0.0) * settings.margin,
            low: seen.own_p95_ms.unwrap_or(0.0),
        },
        overlap: seen.overlap.unwrap_or(1.0),
        objective: objective(map, shape, node).map(whole_millis),
    }
}

/// The longest objective of an entry point: whoever answers later than that keeps none of its promises.
fn objective(map: &Map, shape: &Shape<'_>, node: usize) -> Option<HumanDuration> {
    let stated = settings_of(&map.services, shape.nodes[node]).filter(|_| shape.is_entry[node])?;
    stated.objectives.iter().map(|objective| objective.latency).max()
}

/// At least 1, because meshes refuse less.
fn whole_millis(duration: HumanDuration) -> u64 {
    u64::try_from(duration.get().as_millis())
        .unwrap_or(u64::MAX / 4)
        .clamp(1, u64::MAX / 4)
}

/// Everything that was found, to be written down.
struct Told<'a> {
    map: &'a Map,
    settings: &'a ResilienceSettings,
    shape: &'a Shape<'a>,
    seen: &'a [Result<ObservedEdge, String>],
    services: &'a [ObservedService],
    decisions: &'a [retries::Decision],
    calls: &'a [CallNeeds],
    nodes: &'a [NodeNeeds],
    budget: &'a Budget,
    before: &'a Before<'a>,
}

impl Told<'_> {
    fn file(&self) -> Resilience {
        let index: BTreeMap<&EdgeKey, usize> = self
            .shape
            .calls
            .iter()
            .enumerate()
            .map(|(i, c)| (c.key, i))
            .collect();
        let edge = |key: &EdgeKey| match index.get(key) {
            Some(&call) => self.call(call),
            None => nobody_waits(key),
        };
        let services = (0..self.shape.nodes.len()).filter_map(|node| self.service(node));
        Resilience {
            version: VERSION,
            services: services.collect(),
            edges: self.map.edges.keys().map(edge).collect(),
            out_of_reach: self.out_of_reach(),
            contradictions: self.contradictions(),
            not_in_mesh: mesh::left_out(self.map, self.settings),
        }
    }

    fn out_of_reach(&self) -> BTreeMap<NodeId, String> {
        let nodes = self.budget.out_of_reach.iter().enumerate();
        nodes
            .filter_map(|(node, needs)| {
                let why = words::out_of_reach(self, node, (*needs)?);
                Some((self.shape.nodes[node].clone(), why))
            })
            .collect()
    }

    fn contradictions(&self) -> Vec<String> {
        let found = contradictions(self.map, self.settings).into_iter();
        found.map(|finding| finding.message).collect()
    }

    fn call(&self, i: usize) -> EdgeNumbers {
        let key = self.shape.calls[i].key;
        let times = self.budget.calls[i];
        let before = self.before.edges.get(key).and_then(|before| before.timeout);
        let timeout = times.map(|times| Timeout {
            total: HumanDuration::from_millis(times.total),
            attempt: HumanDuration::from_millis(times.attempt),
            cuts_off: self.map.edges.get(key).and_then(|edge| {
                let held =
                    before.filter(|before| before.attempt == HumanDuration::from_millis(times.attempt));
                observed::cut_off(edge, times.attempt, held.and_then(|before| before.cuts_off))
            }),
        });
        let decision = &self.decisions[i];
        let is_kept = times.is_some_and(|times| times.retries > 0);
        let retries = decision.retries.filter(|_| is_kept);
        let (breaker, pool, because) = self.load(i);
        EdgeNumbers {
            edge: key.clone(),
            timeout,
            retries,
            breaker,
            pool,
            observed: self.seen[i].as_ref().ok().copied(),
            because: Because {
                timeout: words::timeout(self, i, timeout.and_then(|timeout| timeout.cuts_off)),
                retries: words::retries(self, i),
                ..because
            },
        }
    }

    fn load(&self, i: usize) -> (Option<Breaker>, Option<u32>, Because) {
        let key = self.shape.calls[i].key;
        let because = |breaker: String, pool: String| Because {
            breaker,
            pool,
            ..Because::default()
        };
        if matches!(self.map.kind(&key.client), NodeKind::User | NodeKind::Unknown) {
            let why = || "none: the caller is not ours".to_owned();
            return (None, None, because(why(), why()));
        }
        match &self.seen[i] {
            Ok(seen) => {
                let (breaker, why_breaker) = load::breaker(seen, self.settings);
                let (pool, why_pool) = load::pool(seen, self.settings);
                (breaker, pool, because(why_breaker, why_pool))
            }
            Err(why) => (None, None, because(why.clone(), why.clone())),
        }
    }

    fn service(&self, node: usize) -> Option<(NodeId, ServiceNumbers)> {
        let id = self.shape.nodes[node];
        let is_ours = !matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN);
        let waits = self.shape.out[node]
            .iter()
            .any(|&call| self.budget.calls[call].is_some());
        if !is_ours || !waits {
            return None;
        }
        let has = self.budget.has[node].map(|(ms, _)| HumanDuration::from_millis(ms));
        let numbers = ServiceNumbers {
            needs: HumanDuration::from_millis(self.budget.needs[node].ceil() as u64),
            has,
            objective: objective(self.map, self.shape, node),
            observed: self.services[node],
            because: words::service(self, node),
        };
        Some((id.clone(), numbers))
    }
}

fn nobody_waits(key: &EdgeKey) -> EdgeNumbers {
    let why = if key.connection_type == ConnectionType::MessagingSystem {
        "none: nobody waits for a message to be read"
    } else {
        "none: nobody waits for it"
    };
    EdgeNumbers {
        edge: key.clone(),
        timeout: None,
        retries: None,
        breaker: None,
        pool: None,
        observed: None,
        because: Because {
            timeout: why.to_owned(),
            retries: "none: a message that is sent twice is processed twice".to_owned(),
            breaker: why.to_owned(),
            pool: why.to_owned(),
        },
    }
}
