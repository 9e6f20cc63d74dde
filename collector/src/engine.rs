//! Spans in; map, counters and verdicts out. The whole of the collector that knows no socket and no clock.
//!
//! In: requests' spans with the time they came, and ticks. Out: [`Map`], the text for `/metrics`, a state that can be
//! saved and restored.
//! Left out on purpose: tasks and locks. Whoever owns an engine decides who may touch it when.

mod counted;

use std::collections::BTreeMap;

use map::catalogue as names;
use map::{ConnectionType, EdgeKey, Map, Services};
use serde::{Deserialize, Serialize};

use crate::assemble::{Assembly, Basis};
use crate::baseline::{BaselineSettings, Baselines};
use crate::builder::{Builder, MapBudget, Named};
use crate::exposition::{self, Exposition};
use crate::recent::{Observation, Recent};
use crate::series::SeriesStore;
use crate::span::Span;
use crate::span::{Extracted, Rejection};
use crate::table::{Closing, Full, Outcome, Table, TableSettings};
use counted::Counted;

/// Everything that an engine needs to be told.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Waiting and keeping.
    pub table: TableSettings,
    /// Learning.
    pub baseline: BaselineSettings,
    /// Size of the map.
    pub budget: MapBudget,
    /// What people state.
    pub services: Services,
}

/// The collector without its rim.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    table: Table,
    state: State,
    recent: Recent,
    counts: Counts,
}

/// What survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    builder: Builder,
    series: SeriesStore,
    baselines: Baselines,
}

/// What this process did; starts at 0 with it.
#[derive(Debug, Default)]
struct Counts {
    kept: u64,
    late: u64,
    duplicate: u64,
    rejected: BTreeMap<Rejection, u64>,
    no_service: u64,
    unnamed_peers: u64,
    evidence: BTreeMap<Basis, u64>,
    corrections: BTreeMap<&'static str, u64>,
}

/// The saved state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not what this version wrote.
    #[error("the saved state is not readable by this version")]
    Format(#[source] serde_json::Error),
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(settings: EngineSettings) -> Self {
        let state = State {
            builder: Builder::new(settings.services.clone(), settings.budget),
            ..State::default()
        };
        Self {
            table: Table::new(settings.table),
            settings,
            state,
            recent: Recent::default(),
            counts: Counts::default(),
        }
    }

    /// An engine that goes on where [`Engine::save`] left off.
    pub fn restore(settings: EngineSettings, saved: &[u8]) -> Result<Self, RestoreError> {
        let mut engine = Self::new(settings);
        engine.state = serde_json::from_slice(saved).map_err(RestoreError::Format)?;
        engine
            .state
            .builder
            .configure(engine.settings.services.clone(), engine.settings.budget);
        Ok(engine)
    }

    /// Map, counters and baselines as bytes. Traces that are still open are not among them.
    ///
    /// # Panics
    /// Never: plain data of strings and numbers serialises.
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).expect("plain data of strings and numbers serialises")
    }

    /// Takes the spans of one request, all or none.
    ///
    /// `now` in nanoseconds; it must not go back.
    ///
    /// # Errors
    /// [`Full`] where the trace table is at its budget and nothing can be forgotten.
    pub fn take(&mut self, extracted: Extracted, now: u64) -> Result<(), Full> {
        self.table.has_room()?;
        for reason in extracted.rejected {
            *self.counts.rejected.entry(reason).or_default() += 1;
        }
        for address in extracted.workload_addresses {
            self.table.claim(address);
        }
        for (trace, span) in extracted.spans {
            let copy = span.clone();
            let outcome = self.table.insert(trace, span, now);
            self.count(outcome, copy.service.is_some());
            if outcome != Outcome::Duplicate {
                self.note(copy);
            }
        }
        self.end_renamed();
        Ok(())
    }

    /// Every span is in exactly one counter.
    fn count(&mut self, outcome: Outcome, has_service: bool) {
        let counter = match outcome {
            Outcome::Duplicate => &mut self.counts.duplicate,
            _ if !has_service => &mut self.counts.no_service,
            Outcome::Kept => &mut self.counts.kept,
            Outcome::Late => &mut self.counts.late,
        };
        *counter += 1;
    }

    /// What a span says by itself, whatever its trace will say.
    fn note(&mut self, mut span: Span) {
        let Some(service) = span.service.take() else {
            return;
        };
        let node = self.state.builder.note_service(&service, span.start);
        self.state.series.span(&node, &span);
        self.state.series.node(node.as_str());
        if let Some(address) = span.extra.as_deref().and_then(|extra| extra.own_address.as_ref()) {
            self.state.builder.note_address(address, &node);
        }
    }

    /// Closes the traces that fell quiet by `now`.
    pub fn tick(&mut self, now: u64) {
        let mut closings = Vec::new();
        self.table.close_due(now, |closing| closings.push(closing));
        for closing in closings {
            self.apply(&closing, now);
        }
    }

    /// Closes everything, as at the end of a recording or before the process ends.
    pub fn finish(&mut self, now: u64) {
        let mut closings = Vec::new();
        self.table.close_all(now, |closing| closings.push(closing));
        for closing in closings {
            self.apply(&closing, now);
        }
    }

    /// The map as it stands.
    pub fn map(&self) -> &Map {
        self.state.builder.map()
    }

    /// What nodes and edges did in the latest minutes.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The learned edges of an entity, by its series' id.
    pub fn baselines(&self) -> &Baselines {
        &self.state.baselines
    }

    /// Writes all series.
    pub fn write_metrics(&self, out: &mut Exposition) {
        exposition::tempo(&self.state.series, out);
        exposition::entities(&self.state.series, out);
        exposition::topology(self.map(), &self.state.series, &self.state.baselines, out);
        self.write_own_metrics(out);
    }

    fn apply(&mut self, closing: &Closing, now: u64) {
        self.take_back(&closing.removed);
        self.counts.unnamed_peers += closing.added.unnamed_peers;
        let Assembly {
            visits, calls, flows, ..
        } = &closing.added;
        let before = Counted::of(&closing.removed, &closing.added);
        for (visit, counted) in visits.iter().zip(before.visits) {
            let node = self.state.builder.add_visit(visit);
            if counted {
                continue;
            }
            let (own, total, settings) = (visit.own, visit.total, &self.settings.baseline);
            let verdict =
                self.state
                    .baselines
                    .judge(node.as_str(), &visit.operation, own, total, now, settings);
            self.state.series.visit(&node, visit, verdict);
            let seen = Observation {
                total: Some(total),
                own: Some(own),
                failed: visit.failed,
            };
            self.recent.observe(node.as_str(), seen, now);
        }
        for (call, counted) in calls.iter().zip(before.calls) {
            let named = self.state.builder.add_call(call, &closing.trace);
            if counted {
                continue;
            }
            *self.counts.evidence.entry(call.evidence).or_default() += 1;
            let times = call.own.zip(call.client_seconds);
            let verdict = times.and_then(|(own, total)| {
                let settings = &self.settings.baseline;
                self.state
                    .baselines
                    .judge(&named.id, &call.operation, own, total, now, settings)
            });
            self.state.series.call(&named, call, verdict);
            let total = call.client_seconds.or(call.server_seconds);
            let seen = Observation {
                total,
                own: call.own,
                failed: call.failed,
            };
            self.recent.observe(&named.id, seen, now);
        }
        for (flow, counted) in flows.iter().zip(before.flows) {
            let key = self.state.builder.add_flow(flow);
            if !counted {
                self.state.series.flow(&key, flow);
            }
        }
        self.end_renamed();
    }

    fn take_back(&mut self, removed: &Assembly) {
        let mut correct = |what: &'static str, count: usize| {
            if count > 0 {
                *self.counts.corrections.entry(what).or_default() += count as u64;
            }
        };
        correct("visit", removed.visits.len());
        correct("call", removed.calls.len());
        correct("flow", removed.flows.len());
        removed
            .visits
            .iter()
            .for_each(|visit| self.state.builder.remove_visit(visit));
        removed
            .calls
            .iter()
            .for_each(|call| self.state.builder.remove_call(call));
        removed
            .flows
            .iter()
            .for_each(|flow| self.state.builder.remove_flow(flow));
    }

    /// Ends the series of edges that are no longer in the map; one that only changed its connection keeps those that
    /// do not tell it. What a correction took back stays counted as long as there is room.
    fn end_renamed(&mut self) {
        let mut gone = self.state.builder.take_renamed();
        let emptied = self.state.builder.take_emptied();
        if self.state.series.graph.len() > self.settings.budget.edges {
            gone.extend(emptied);
        }
        for named in gone {
            if self.map().edges.contains_key(&named.key) {
                continue;
            }
            self.state.series.end_edge(&named.key);
            if !self.has_edge(&named) {
                self.state.series.end_entity(&named.id);
                self.state.baselines.forget(&named.id);
            }
        }
    }

    /// True where an edge of the map has the id of an edge that went.
    fn has_edge(&self, gone: &Named) -> bool {
        let EdgeKey { client, server, .. } = &gone.key;
        ConnectionType::ALL.into_iter().any(|connection| {
            let key = EdgeKey::new(client.clone(), server.clone(), connection);
            self.map().edges.contains_key(&key) && self.map().edge_id(&key) == gone.id
        })
    }

    fn write_own_metrics(&self, out: &mut Exposition) {
        let counts = &self.counts;
        out.family(names::COLLECTOR_SPANS);
        let rejected: u64 = counts.rejected.values().sum();
        let outcomes = [
            ("mapped", counts.kept),
            ("mapped_late", counts.late),
            ("duplicate", counts.duplicate),
            ("no_service_name", counts.no_service),
            ("rejected", rejected),
        ];
        for (outcome, count) in outcomes {
            out.sample(names::COLLECTOR_SPANS, &[("outcome", outcome)], count as f64);
        }
        out.family(names::COLLECTOR_SPANS_DROPPED);
        for reason in Rejection::ALL {
            let count = counts.rejected.get(&reason).copied().unwrap_or(0);
            out.sample(
                names::COLLECTOR_SPANS_DROPPED,
                &[("reason", reason.as_str())],
                count as f64,
            );
        }
        out.family(names::COLLECTOR_TRACES);
        let (open, kept) = self.table.len();
        out.sample(names::COLLECTOR_TRACES, &[("state", "open")], open as f64);
        out.sample(names::COLLECTOR_TRACES, &[("state", "kept")], kept as f64);
        out.family(names::COLLECTOR_TABLE_BYTES);
        out.sample(names::COLLECTOR_TABLE_BYTES, &[], self.table.bytes() as f64);
        out.family(names::COLLECTOR_EVIDENCE);
        for basis in Basis::ALL {
            let count = counts.evidence.get(&basis).copied().unwrap_or(0);
            out.sample(
                names::COLLECTOR_EVIDENCE,
                &[("evidence", basis.as_str())],
                count as f64,
            );
        }
        out.family(names::COLLECTOR_UNNAMED_PEERS);
        out.sample(names::COLLECTOR_UNNAMED_PEERS, &[], counts.unnamed_peers as f64);
        out.family(names::COLLECTOR_CORRECTIONS);
        for what in ["visit", "call", "flow"] {
            let count = counts.corrections.get(what).copied().unwrap_or(0);
            out.sample(names::COLLECTOR_CORRECTIONS, &[("kind", what)], count as f64);
        }
    }
}
