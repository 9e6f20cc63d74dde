//! Spans in; map, counters and verdicts out. The whole of the collector that knows no socket and no clock.
//!
//! In: requests' spans with the time they came, and ticks. Out: [`Map`], the text for `/metrics`, a state that can be
//! saved and restored.
//! Left out on purpose: tasks and locks. Whoever owns an engine decides who may touch it when.

use std::collections::BTreeMap;

use map::catalogue as names;
use map::{Map, Services};
use serde::{Deserialize, Serialize};

use crate::assemble::{Assembly, Basis, Call};
use crate::baseline::{BaselineSettings, Baselines};
use crate::builder::{Builder, MapBudget};
use crate::exposition::{self, Exposition};
use crate::series::SeriesStore;
use crate::span::{Extracted, Rejection};
use crate::table::{Closing, Full, Outcome, Table, TableSettings};

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
        Self { table: Table::new(settings.table), settings, state, counts: Counts::default() }
    }

    /// An engine that goes on where [`Engine::save`] left off.
    pub fn restore(settings: EngineSettings, saved: &[u8]) -> Result<Self, RestoreError> {
        let mut engine = Self::new(settings);
        engine.state = serde_json::from_slice(saved).map_err(RestoreError::Format)?;
        engine.state.builder.configure(engine.settings.services.clone(), engine.settings.budget);
        Ok(engine)
    }

    /// Map, counters and baselines as bytes. Traces that are still open are not among them.
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
            let facts = (span.service.clone(), span.start, span.extra.as_ref().and_then(|e| e.own_address.clone()));
            let copy = span.clone();
            match self.table.insert(trace, span, now) {
                Outcome::Duplicate => {
                    self.counts.duplicate += 1;
                    continue;
                }
                Outcome::Kept => self.counts.kept += 1,
                Outcome::Late => self.counts.late += 1,
            }
            let (Some(service), start, address) = facts else {
                self.counts.no_service += 1;
                continue;
            };
            self.state.series.span(&copy);
            self.state.series.node(service.as_str());
            self.state.builder.note_service(&service, start);
            if let Some(address) = address {
                self.state.builder.note_address(&address, &service);
            }
        }
        self.end_renamed();
        Ok(())
    }

    /// Closes the traces that fell quiet by `now`.
    pub fn tick(&mut self, now: u64) {
        let mut closings = Vec::new();
        self.table.close_due(now, |closing| closings.push(closing));
        closings.into_iter().for_each(|closing| self.apply(closing, now));
    }

    /// Closes everything, as at the end of a recording or before the process ends.
    pub fn finish(&mut self, now: u64) {
        let mut closings = Vec::new();
        self.table.close_all(now, |closing| closings.push(closing));
        closings.into_iter().for_each(|closing| self.apply(closing, now));
    }

    /// The map as it stands.
    pub fn map(&self) -> &Map {
        self.state.builder.map()
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

    fn apply(&mut self, closing: Closing, now: u64) {
        self.take_back(&closing.removed);
        self.counts.unnamed_peers += closing.added.unnamed_peers;
        let Assembly { visits, calls, flows, .. } = &closing.added;
        for visit in visits {
            self.state.builder.add_visit(visit);
            if closing.removed.visits.iter().any(|old| old.span == visit.span) {
                continue; // counted when the trace was closed first
            }
            let settings = &self.settings.baseline;
            let verdict = self.state.baselines.judge(
                visit.service.as_str(),
                &visit.operation,
                visit.own,
                visit.total,
                now,
                settings,
            );
            self.state.series.visit(visit, verdict);
        }
        for call in calls {
            let named = self.state.builder.add_call(call, &closing.trace);
            if closing.removed.calls.iter().any(|old| same_request(old, call)) {
                continue;
            }
            *self.counts.evidence.entry(call.evidence).or_default() += 1;
            let times = call.own.zip(call.client_seconds);
            let verdict = times.and_then(|(own, total)| {
                let settings = &self.settings.baseline;
                self.state.baselines.judge(&named.id, &call.operation, own, total, now, settings)
            });
            self.state.series.call(&named, call, verdict);
        }
        for flow in flows {
            self.state.builder.add_flow(flow);
            if !closing.removed.flows.iter().any(|old| old.span == flow.span) {
                self.state.series.flow(flow);
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
        removed.visits.iter().for_each(|visit| self.state.builder.remove_visit(visit));
        removed.calls.iter().for_each(|call| self.state.builder.remove_call(call));
        removed.flows.iter().for_each(|flow| self.state.builder.remove_flow(flow));
    }

    fn end_renamed(&mut self) {
        for key in self.state.builder.take_renamed() {
            let id = self.map().edge_id(&key);
            if self.map().edges.contains_key(&key) {
                continue;
            }
            self.state.series.end_edge(&key, &id);
            self.state.baselines.forget(&id);
        }
    }

    fn write_own_metrics(&self, out: &mut Exposition) {
        let counts = &self.counts;
        out.family(names::COLLECTOR_SPANS);
        let rejected: u64 = counts.rejected.values().sum();
        let outcomes = [
            ("mapped", counts.kept - counts.no_service.min(counts.kept)),
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
            out.sample(names::COLLECTOR_SPANS_DROPPED, &[("reason", reason.as_str())], count as f64);
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
            out.sample(names::COLLECTOR_EVIDENCE, &[("evidence", basis.as_str())], count as f64);
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

/// True where both tell of one request: it was counted under the first and is now known better.
fn same_request(old: &Call, new: &Call) -> bool {
    old.span == new.span || (old.calling.is_some() && old.calling == new.calling)
}
