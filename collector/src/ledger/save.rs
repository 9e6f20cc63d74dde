//! The ledger as bytes, and back.
//!
//! In: a ledger. Out: JSON that names every node instead of numbering it, so that another process with other numbers goes
//! on exactly where this one left off.
//! Left out on purpose: the latest minutes, and traces that are still open; the shards bring those back from the journal.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use map::{ConnectionType, Evidence, Flow, Language, NodeId, NodeKind, NodeStats, Passed, Root, Seen};
use serde::{Deserialize, Serialize};

use super::counts::{Counts, SavedCounts};
use super::edges::{EdgeSlot, Pair};
use super::flows::{FlowSlot, Remembered};
use super::identity::{Claim, Identity};
use super::judge::Pins;
use super::nodes::NodeSlot;
use super::roots::{PairTally, RootTally};
use super::tally::Tally;
use super::{Ledger, LedgerSettings};
use crate::names::{End, Node};
use crate::series::SeriesStore;
use crate::span::TraceId;
use baseline::SavedBaselines;

/// The saved state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not what this version wrote.
    #[error("the saved state is not readable by this version")]
    Format(#[source] serde_json::Error),
    /// Written by another version.
    #[error("the saved state has format {found}, but this version reads {FORMAT}: remove it to begin anew")]
    Version {
        /// What the state says.
        found: u32,
    },
}

/// Raised with every change that older states cannot be read by.
const FORMAT: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Saved<S, B, R> {
    format: u32,
    /// Every node that the rest names by its place here.
    ends: Vec<SavedEnd>,
    nodes: Vec<SavedNode>,
    edges: Vec<SavedEdge>,
    flows: Vec<SavedFlow>,
    addresses: Vec<(Arc<str>, Vec<u32>)>,
    /// Who is called by an id that several have a claim to.
    owners: Vec<u32>,
    /// What services are written in.
    #[serde(default)]
    languages: Vec<(u32, Language)>,
    series: S,
    baselines: B,
    /// Baselines that a person holds by the API.
    #[serde(default)]
    pins: BTreeSet<String>,
    remembered: R,
    counts: SavedCounts,
    #[serde(default)]
    roots: Vec<SavedRoot>,
}

#[derive(Serialize, Deserialize)]
struct SavedEnd(NodeId, NodeKind, Option<Arc<str>>);

#[derive(Serialize, Deserialize)]
struct SavedNode {
    node: u32,
    noted: bool,
    stats: NodeStats,
    seen: Seen,
    touched: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedEdge {
    pair: (u32, u32, Option<ConnectionType>),
    stats: Tally,
    evidence: Evidence,
    seen: Seen,
    examples: [TraceId; 3],
    examples_noted: u64,
    touched: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedFlow {
    ends: (u32, Option<u32>, u32),
    flow: Flow,
    messages: u64,
    touched: u64,
}

/// Caller, callee and connection, the ends by their places.
type SavedPair = (u32, u32, Option<ConnectionType>);

#[derive(Serialize, Deserialize)]
struct SavedRoot {
    node: u32,
    operation: Arc<str>,
    root: Root,
    closed: u64,
    touched: u64,
    edges: Vec<(SavedPair, Passed)>,
}

/// Places for nodes.
#[derive(Default)]
struct Ends {
    places: HashMap<Node, u32>,
    ends: Vec<SavedEnd>,
}

impl Ends {
    fn of(&mut self, node: Node) -> u32 {
        if let Some(place) = self.places.get(&node) {
            return *place;
        }
        let place = self.ends.len() as u32;
        self.ends
            .push(SavedEnd(node.id.clone(), node.kind, node.address.clone()));
        self.places.insert(node, place);
        place
    }
}

impl Ledger {
    /// Map, counters and baselines as bytes: about 5 KB an edge.
    ///
    /// # Panics
    /// Never: plain data of strings and numbers serialises.
    pub fn save(&self) -> Vec<u8> {
        let mut ends = Ends::default();
        let nodes = self
            .nodes
            .iter()
            .map(|slot| saved_node(slot, &self.identity, &mut ends))
            .collect();
        let edges = self
            .edges
            .slots
            .iter()
            .map(|(_, slot)| saved_edge(slot, &mut ends))
            .collect();
        let flows = self
            .flows
            .slots
            .iter()
            .map(|(_, slot)| saved_flow(slot, &mut ends))
            .collect();
        let mut addresses: Vec<(Arc<str>, Vec<u32>)> = Vec::new();
        for (address, claim) in self.identity.addresses() {
            let claimants = match claim {
                Claim::One(service) => vec![ends.of(*service)],
                Claim::Shared(services) => services.iter().map(|node| ends.of(*node)).collect(),
            };
            addresses.push((Arc::clone(address), claimants));
        }
        addresses.sort();
        let roots = self.roots.sorted().into_iter();
        let roots = roots.map(|root| saved_root(root, &mut ends)).collect();
        let owners = self.identity.contested().map(|node| ends.of(node)).collect();
        let languages = self.languages.iter();
        let languages = languages.map(|(node, language)| (ends.of(*node), *language));
        let languages = languages.collect();
        let saved = Saved {
            format: FORMAT,
            ends: ends.ends,
            nodes,
            edges,
            flows,
            addresses,
            owners,
            languages,
            series: &self.series,
            baselines: &self.judge.save(&self.series),
            pins: self.judge.told_pins().clone(),
            remembered: &self.remembered,
            counts: self.counts.save(),
            roots,
        };
        serde_json::to_vec(&saved).expect("plain data of strings and numbers serialises")
    }

    /// A ledger that goes on where [`Ledger::save`] left off.
    ///
    /// # Errors
    /// [`RestoreError`] where `saved` was not written by this format.
    pub fn restore(settings: LedgerSettings, saved: &[u8]) -> Result<Self, RestoreError> {
        #[derive(Deserialize)]
        struct Format {
            #[serde(default)]
            format: u32,
        }
        let found = serde_json::from_slice::<Format>(saved)
            .map_err(RestoreError::Format)?
            .format;
        if found != FORMAT {
            return Err(RestoreError::Version { found });
        }
        let saved: Saved<SeriesStore, SavedBaselines, Remembered> =
            serde_json::from_slice(saved).map_err(RestoreError::Format)?;
        let mut ledger = Self::new(settings);
        ledger.fill(saved);
        Ok(ledger)
    }

    fn fill(&mut self, saved: Saved<SeriesStore, SavedBaselines, Remembered>) {
        let ends: Vec<Node> = saved.ends.into_iter().map(SavedEnd::node).collect();
        let end = |place: u32| ends.get(place as usize).copied().unwrap_or_else(Node::unknown);
        self.series = saved.series;
        self.judge = super::Judge::restore(
            self.settings.baseline.clone(),
            Pins::new(self.settings.pins.clone(), saved.pins),
            saved.baselines,
            &self.series,
        );
        self.remembered = saved.remembered;
        self.counts = Counts::restore(&saved.counts);
        // What was there found room when it came, so it is put back before the budget holds again.
        let budget = std::mem::replace(
            &mut self.identity.budget,
            super::MapBudget {
                nodes: usize::MAX,
                edges: usize::MAX,
            },
        );
        for (address, claimants) in saved.addresses {
            if let Some(claim) = claim(claimants.into_iter().map(end).collect()) {
                self.identity.restore_address(address, claim);
            }
        }
        saved
            .owners
            .into_iter()
            .for_each(|owner| self.identity.restore_owner(end(owner)));
        for node in saved.nodes {
            let slot = node.slot(end(node.node));
            if node.noted {
                self.identity.note_service(slot.node);
            }
            self.nodes.restore(slot, &mut self.series);
        }
        for (node, language) in saved.languages {
            self.speaks(end(node), language);
        }
        for edge in saved.edges {
            let (client, server, connection) = edge.pair;
            let (slot, pair) = (edge.slot(), (end(client), end(server), connection));
            self.edges.restore(pair, slot, &mut self.identity);
        }
        for flow in saved.flows {
            let (producer, destination, consumer) = flow.ends;
            let ends = (end(producer), destination.map(end), end(consumer));
            self.flows.restore(FlowSlot {
                ends,
                flow: flow.flow,
                messages: flow.messages,
                graph: None,
                touched: flow.touched,
            });
        }
        for saved in saved.roots {
            let pair = |((client, server, connection), passed)| {
                ((end(client), end(server), connection), PairTally::of(passed))
            };
            let tally = RootTally {
                root: saved.root,
                closed: saved.closed,
                touched: saved.touched,
                edges: saved.edges.into_iter().map(pair).collect(),
            };
            self.roots.restore((end(saved.node), saved.operation), tally);
        }
        // Names depend on who else is there, so they are given once everybody is.
        self.edges.rename(&mut self.identity);
        self.identity.take_relearn();
        self.identity.forget_answers();
        self.identity.budget = budget;
    }
}

impl SavedEnd {
    fn node(self) -> Node {
        let Self(id, kind, address) = self;
        Node::of(&End { id, kind, address })
    }
}

fn claim(claimants: BTreeSet<Node>) -> Option<Claim> {
    match claimants.len() {
        0 => None,
        1 => claimants.first().copied().map(Claim::One),
        _ => Some(Claim::Shared(claimants)),
    }
}

fn saved_node(slot: &NodeSlot, identity: &Identity, ends: &mut Ends) -> SavedNode {
    SavedNode {
        node: ends.of(slot.node),
        noted: identity.is_noted(slot.node),
        stats: slot.stats.clone(),
        seen: slot.seen,
        touched: slot.touched,
    }
}

fn saved_edge(slot: &EdgeSlot, ends: &mut Ends) -> SavedEdge {
    SavedEdge {
        pair: (ends.of(slot.pair.0), ends.of(slot.pair.1), slot.pair.2),
        stats: slot.stats.clone(),
        evidence: slot.evidence.clone(),
        seen: slot.seen,
        examples: slot.examples,
        examples_noted: slot.examples_noted,
        touched: slot.touched,
    }
}

fn saved_flow(slot: &FlowSlot, ends: &mut Ends) -> SavedFlow {
    let (producer, destination, consumer) = slot.ends;
    SavedFlow {
        ends: (
            ends.of(producer),
            destination.map(|node| ends.of(node)),
            ends.of(consumer),
        ),
        flow: slot.flow.clone(),
        messages: slot.messages,
        touched: slot.touched,
    }
}

fn saved_root(((node, operation), tally): (&(Node, Arc<str>), &RootTally), ends: &mut Ends) -> SavedRoot {
    let edge = |(pair, of): (&Pair, &PairTally)| ((ends.of(pair.0), ends.of(pair.1), pair.2), of.passed);
    let mut edges: Vec<_> = tally.edges.iter().map(edge).collect();
    edges.sort_by_key(|(pair, _)| *pair);
    SavedRoot {
        node: ends.of(*node),
        operation: Arc::clone(operation),
        root: tally.root.clone(),
        closed: tally.closed,
        touched: tally.touched,
        edges,
    }
}

impl SavedNode {
    fn slot(&self, node: Node) -> NodeSlot {
        NodeSlot {
            node,
            stats: self.stats.clone(),
            seen: self.seen,
            entity: 0,
            touched: self.touched,
            alive: true,
        }
    }
}

impl SavedEdge {
    fn slot(self) -> super::edges::SavedSlot {
        super::edges::SavedSlot {
            stats: self.stats,
            evidence: self.evidence,
            seen: self.seen,
            examples: self.examples,
            examples_noted: self.examples_noted,
            touched: self.touched,
        }
    }
}
