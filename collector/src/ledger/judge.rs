//! Verdicts on requests.
//!
//! In: a request of a node or an edge, by the number of its series. Out: what its baseline says.
//! Left out on purpose: learning itself, which is the crate `baseline`'s; this is the one place that knows how it is
//! asked, and which numbers it knows operations and versions by.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use baseline::{
    Baselines, Entity, Learned, Lookup, Measure, Names, NewNormal, Normal, Observation, SavedBaselines,
    Settings, Stats, Verdict, Version,
};

use super::baselines::{BaselineChange, Change, PinnedBy};
use crate::names::{self, Operation};
use crate::series::SeriesStore;

/// How often what has not been heard of is looked for, and pins are looked up, nanoseconds.
const SWEEP: u64 = 60_000_000_000;
/// How operations that share one baseline are called.
pub(super) const OTHER: &str = "__other__";

/// The baselines, and the names of their numbers.
#[derive(Debug)]
pub(super) struct Judge {
    baselines: Baselines,
    operations: Operations,
    pins: Pins,
    swept: u64,
}

/// Ids of nodes and edges whose baselines people hold. Some of them may not be there, or not yet.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// By the configuration.
    configured: Vec<String>,
    /// By word while the collector runs.
    told: BTreeSet<String>,
}

impl Pins {
    pub(super) fn new(configured: Vec<String>, told: BTreeSet<String>) -> Self {
        Self { configured, told }
    }

    fn by(&self, id: &str) -> Option<PinnedBy> {
        if self.configured.iter().any(|pin| pin == id) {
            Some(PinnedBy::Configuration)
        } else {
            self.told.contains(id).then_some(PinnedBy::Api)
        }
    }
}

/// Numbers of operations: operations of one name share one, since a baseline is an entity's.
#[derive(Debug, Default)]
struct Operations {
    /// By the index of an operation: its number, plus one; 0 for none yet.
    numbers: Vec<u32>,
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32>,
}

impl Operations {
    #[inline]
    fn of(&mut self, operation: Operation) -> baseline::Operation {
        let known = self.numbers.get(operation.index()).copied().unwrap_or(0);
        baseline::Operation(match known.checked_sub(1) {
            Some(number) => number,
            None => self.number(operation),
        })
    }

    #[cold]
    fn number(&mut self, operation: Operation) -> u32 {
        let number = self.named(&operation.get().name);
        let at = operation.index();
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, 0);
        }
        if let Some(slot) = self.numbers.get_mut(at) {
            *slot = number + 1;
        }
        number
    }

    fn named(&mut self, name: &Arc<str>) -> u32 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(Arc::clone(name));
        self.by_name.insert(Arc::clone(name), number);
        number
    }
}

impl Judge {
    pub(super) fn new(settings: Settings, pins: Vec<String>) -> Self {
        Self {
            baselines: Baselines::new(settings),
            operations: Operations::default(),
            pins: Pins::new(pins, BTreeSet::new()),
            swept: 0,
        }
    }

    /// Judges a request, and learns from it for the next.
    #[inline]
    pub(super) fn judge(
        &mut self,
        entity: u32,
        operation: Operation,
        seen: &Observation,
        now: u64,
    ) -> Option<Verdict> {
        // Both count 0 for a version that is not said.
        let version = Version(operation.version().number());
        let operation = self.operations.of(operation);
        self.baselines
            .judge(Entity(entity), operation, version, seen, now)
    }

    /// Reads what a request is about to be judged by.
    #[inline]
    pub(super) fn read(&self, entity: u32, operation: Operation) -> u64 {
        let known = self.operations.numbers.get(operation.index());
        let number = known.and_then(|known| known.checked_sub(1));
        number.map_or(0, |number| {
            self.baselines.read(Entity(entity), baseline::Operation(number))
        })
    }

    /// Whether an entity is degraded at `now`.
    pub(super) fn is_degraded(&self, entity: u32, measure: Measure, now: u64) -> bool {
        self.baselines.degraded(Entity(entity), measure, now).is_some()
    }

    /// Learns from all that came, and nothing from then on.
    pub(super) fn hold(&mut self, min_requests: u64, now: u64) {
        self.baselines.hold(min_requests, now);
    }

    /// Forgets an entity whose series ended.
    pub(super) fn forget(&mut self, entity: u32) {
        self.baselines.forget(Entity(entity));
    }

    /// The learned edges of an entity's busiest operation.
    pub(super) fn learned(&self, entity: u32) -> Option<Learned> {
        self.baselines.learned(Entity(entity))
    }

    /// Shifts that have lasted, with the names of their operations.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (NewNormal, &str)> {
        self.baselines.tickets().map(|ticket| {
            let name = self.operations.names.get(ticket.operation.0 as usize);
            (ticket, name.map_or(OTHER, |name| name))
        })
    }

    /// What is normal for each operation of an entity, by the operation's name.
    pub(super) fn normals(&self, entity: u32) -> Vec<(String, Normal)> {
        let normals = self.baselines.normals(Entity(entity));
        let named = normals.map(|normal| {
            let name = self.operations.names.get(normal.operation.0 as usize);
            (name.map_or(OTHER, |name| name).to_owned(), normal)
        });
        named.collect()
    }

    /// Who holds the baseline of a node or edge.
    pub(super) fn pinned(&self, id: &str) -> Option<PinnedBy> {
        self.pins.by(id)
    }

    /// Does what a person wants.
    pub(super) fn change(&mut self, BaselineChange { id, change }: BaselineChange, series: &SeriesStore) {
        let entity = series.find_entity(&id).map(Entity);
        match change {
            Change::Pin => {
                self.pins.told.insert(id);
                self.hold_pins(series);
            }
            Change::Unpin => {
                self.pins.told.remove(&id);
                let held = self.pins.by(&id).is_some();
                entity.inspect(|entity| self.baselines.pin(*entity, held));
            }
            Change::Reset => {
                entity.inspect(|entity| self.baselines.reset(*entity));
            }
        }
    }

    fn hold_pins(&mut self, series: &SeriesStore) {
        let Pins { configured, told } = &self.pins;
        for id in configured.iter().chain(told) {
            if let Some(entity) = series.find_entity(id) {
                self.baselines.pin(Entity(entity), true);
            }
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.baselines.stats()
    }

    /// What is due once a minute.
    pub(super) fn sweep(&mut self, series: &SeriesStore, now: u64) {
        if now < self.swept.saturating_add(SWEEP) {
            return;
        }
        self.swept = now;
        self.baselines.sweep(now);
        self.hold_pins(series);
    }

    /// Everything by its name.
    pub(super) fn save(&self, series: &SeriesStore) -> SavedBaselines {
        self.baselines.save(&Named {
            operations: &self.operations,
            series,
        })
    }

    /// The ids that [`Change::Pin`] holds.
    pub(super) fn told_pins(&self) -> &BTreeSet<String> {
        &self.pins.told
    }

    /// What was saved, under the present numbers.
    pub(super) fn restore(
        settings: Settings,
        pins: Pins,
        saved: SavedBaselines,
        series: &SeriesStore,
    ) -> Self {
        let mut operations = Operations::default();
        let mut numbers = Numbered {
            operations: &mut operations,
            series,
        };
        let baselines = Baselines::restore(settings, saved, &mut numbers);
        let mut judge = Self {
            baselines,
            operations,
            pins,
            swept: 0,
        };
        judge.hold_pins(series);
        judge
    }
}

struct Named<'a> {
    operations: &'a Operations,
    series: &'a SeriesStore,
}

impl Names for Named<'_> {
    fn entity(&self, entity: Entity) -> Option<&str> {
        self.series.entities.get(entity.0).map(|series| &*series.id)
    }

    fn operation(&self, operation: baseline::Operation) -> Option<&str> {
        self.operations
            .names
            .get(operation.0 as usize)
            .map(|name| &**name)
    }

    fn version(&self, version: Version) -> Option<&str> {
        names::Version::from_number(version.0).as_str()
    }
}

struct Numbered<'a> {
    operations: &'a mut Operations,
    series: &'a SeriesStore,
}

impl Lookup for Numbered<'_> {
    fn entity(&mut self, name: &str) -> Option<Entity> {
        self.series.find_entity(name).map(Entity)
    }

    fn operation(&mut self, name: &str) -> Option<baseline::Operation> {
        Some(baseline::Operation(self.operations.named(&Arc::from(name))))
    }

    fn version(&mut self, name: &str) -> Option<Version> {
        Some(Version(names::Version::named(name).number()))
    }
}
