//! All operations of all entities.
//!
//! In: requests. Out: verdicts, evidence, tickets, and what was learned.
//! Everything together stays within a budget of bytes. Where an operation finds no room it shares one baseline with the
//! other such operations of its entity; where that has none either, its requests stay unjudged. Both are counted.
//! Left out on purpose: corrections. A request that a late span changes stays in the baseline as it was first seen.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::budget::Budget;
use crate::evidence::{Evidence, Windows};
use crate::id::{Entity, Measure, Operation, Source, Version};
use crate::operation::{Health, State};
use crate::settings::Settings;

/// What one request says against its operation's baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Its own time exceeded the edge.
    pub own_slow: bool,
    /// Share of requests that were expected to, above 0.
    pub own_expected: f64,
    /// Seconds of its own time beyond the median of the baseline; 0 where it is not slow.
    pub own_excess: f64,
    /// Its total time exceeded the edge.
    pub total_slow: bool,
    /// Share of requests that were expected to, above 0.
    pub total_expected: f64,
    /// Share of requests that were expected to fail by themselves, above 0.
    pub own_failed_expected: f64,
    /// Share of requests that were expected to fail, above 0.
    pub failed_expected: f64,
}

/// One request, as it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// Its own time in seconds. Negative times and NaN count as 0.
    pub own: f64,
    /// Its total time in seconds, as well.
    pub total: f64,
    /// It failed, and nothing that it called did.
    pub own_failed: bool,
    /// It failed.
    pub failed: bool,
}

/// The learned edges of an entity's busiest operation, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Of own time.
    pub own: f64,
    /// Of total time.
    pub total: f64,
    /// Where the edge of own time was taken from.
    pub source: Source,
}

/// A shift that has lasted: is this the new normal? It is learned [`Settings::learn_after`] after `raised` unless the
/// entity is pinned, and forgotten when the operation is healthy again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewNormal {
    /// Whose latency shifted.
    pub entity: Entity,
    /// Of which operation.
    pub operation: Operation,
    /// In which time. A shift in total time alone is mostly that of a callee's own time.
    pub measure: Measure,
    /// When it shifted, unix nanoseconds.
    pub since: u64,
    /// When the ticket was raised, unix nanoseconds.
    pub raised: u64,
    /// The edge in force, in seconds.
    pub old: f64,
    /// The edge that would be, in seconds.
    pub new: f64,
    /// The old one is held by a person.
    pub pinned: bool,
}

/// What there is, and what found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Operations with a state of their own, those that share one counting as one.
    pub operations: usize,
    /// Those of them that are judged.
    pub judged: usize,
    /// Bytes of everything, by its own count.
    pub bytes: usize,
    /// Bytes of them that hold hours of the week.
    pub hour_bytes: usize,
    /// Requests that counted for the shared operation of their entity.
    pub folded_requests: u64,
    /// Requests that counted nowhere: not even the shared operation found room.
    pub unjudged_requests: u64,
    /// How often something else found no room: an hour, a wider histogram, a shift.
    pub refused: u64,
}

/// Baselines of everything that is known.
#[derive(Debug)]
pub struct Baselines {
    pub(crate) settings: Settings,
    pub(crate) budget: Budget,
    pub(crate) rows: Vec<Row>,
    pub(crate) states: Vec<Option<Box<State>>>,
    free: Vec<u32>,
    index: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    tickets: BTreeSet<u32>,
    folded_requests: u64,
    unjudged_requests: u64,
    held: bool,
}

/// One entity.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) windows: Option<Box<Windows>>,
    pub(crate) operations: Vec<u32>,
    pinned: bool,
}

impl Baselines {
    /// Nothing known yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            budget: Budget::new(settings.max_bytes),
            settings,
            rows: Vec::new(),
            states: Vec::new(),
            free: Vec::new(),
            index: HashMap::default(),
            tickets: BTreeSet::new(),
            folded_requests: 0,
            unjudged_requests: 0,
            held: false,
        }
    }

    /// Takes everything that came so far into the edges, and learns nothing from then on. An operation that is unjudged
    /// learns from `min_requests` on, however long it was watched.
    ///
    /// For a recording whose faults are known: its healthy requests come first, and what among them was degraded without
    /// a label is left out as at any other time.
    pub fn hold(&mut self, min_requests: u64, now: u64) {
        self.held = true;
        for state in self.states.iter_mut().flatten() {
            state.learn_all(min_requests, now, &self.settings, &mut self.budget);
        }
    }

    /// Judges a request by its operation's baseline, and learns from it for the next one.
    ///
    /// `now` in unix nanoseconds must not go back: an earlier time counts as the present. `None` while the operation is unjudged.
    pub fn judge(
        &mut self,
        entity: Entity,
        operation: Operation,
        version: Version,
        seen: &Observation,
        now: u64,
    ) -> Option<Verdict> {
        let Some(number) = self.find(entity, operation, now) else {
            self.unjudged_requests += 1;
            return None;
        };
        let state = self.states.get_mut(number as usize)?.as_deref_mut()?;
        let row = self.rows.get_mut(entity.0 as usize)?;
        if !self.held && state.is_due(now) {
            let health = || row.health(now);
            state.learn(now, &self.settings, &mut self.budget, health);
            note_ticket(&mut self.tickets, number, state);
        }
        let verdict = state.observe(version, seen, now, &mut self.budget);
        if let Some(verdict) = &verdict {
            row.count(verdict, now, &mut self.budget);
        }
        verdict
    }

    /// Reads what a request is about to be judged by, for nothing but to have it in a cache when it is: who reads that
    /// of several requests before judging the first waits for memory once. The number says nothing.
    #[inline]
    pub fn read(&self, entity: Entity, operation: Operation) -> u64 {
        let number = self.index.get(&key(entity, operation)).copied();
        let state = number.and_then(|number| self.state(number));
        let windows = self.windows(entity).map_or(0, Windows::read);
        windows ^ state.map_or(0, State::read)
    }

    /// The edges of an entity's busiest operation; `None` while none is judged.
    pub fn learned(&self, entity: Entity) -> Option<Learned> {
        let known = self.states_of(entity).filter(|(_, state)| state.is_known());
        let weight = |state: &State| state.learned.own.weight();
        let (_, busiest) = known.max_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)))?;
        Some(Learned {
            own: f64::from(busiest.learned.own.edge.seconds),
            total: f64::from(busiest.learned.total.edge.seconds),
            source: busiest.source(),
        })
    }

    /// The evidence that an entity is degraded in `measure`; `None` where it is healthy or too little was judged.
    pub fn degraded(&self, entity: Entity, measure: Measure, now: u64) -> Option<Evidence> {
        self.windows(entity)?.degraded(measure, now)
    }

    /// The evidence of the last five minutes, for either side; `None` for an entity that was never judged.
    pub fn evidence(&self, entity: Entity, measure: Measure, now: u64) -> Option<Evidence> {
        self.windows(entity)?.latest(measure, now)
    }

    /// The shifts that have lasted and are not learned yet, in the order of their operations' first requests.
    pub fn tickets(&self) -> impl Iterator<Item = NewNormal> + '_ {
        let states = self.tickets.iter().filter_map(|&number| self.state(number));
        states.flat_map(|state| {
            let pinned = self.is_pinned(state.entity);
            let measures = [
                (Measure::Own, &state.learned.own),
                (Measure::Total, &state.learned.total),
            ];
            measures.into_iter().filter_map(move |(measure, track)| {
                let shift = track.ticket()?;
                Some(NewNormal {
                    entity: state.entity,
                    operation: state.operation,
                    measure,
                    since: shift.since,
                    raised: shift.raised?,
                    old: f64::from(track.edge.seconds),
                    new: f64::from(shift.edge.seconds),
                    pinned,
                })
            })
        })
    }

    /// Holds an entity's baseline as it is, or lets it go. A held one learns nothing, neither shifts nor healthy hours.
    pub fn pin(&mut self, entity: Entity, pinned: bool) {
        if let Some(row) = self.row(entity) {
            row.pinned = pinned;
        }
    }

    /// True where a person holds an entity's baseline as it is.
    pub fn is_pinned(&self, entity: Entity) -> bool {
        self.rows.get(entity.0 as usize).is_some_and(|row| row.pinned)
    }

    /// Forgets what was learned of an entity, and its evidence: it is unjudged until it has learned anew, as on its first
    /// day. One that is pinned learns that, and holds it from then on.
    pub fn reset(&mut self, entity: Entity) {
        let pinned = self.is_pinned(entity);
        self.forget(entity);
        self.pin(entity, pinned);
    }

    /// Forgets an entity that is no longer in the map.
    pub fn forget(&mut self, entity: Entity) {
        let Some(row) = self.rows.get_mut(entity.0 as usize) else {
            return;
        };
        let row = std::mem::take(row);
        if row.windows.is_some() {
            self.budget.give_back(Windows::BYTES);
        }
        for number in row.operations {
            self.remove(number);
        }
    }

    /// Forgets operations that nobody asked for in eight days, or in one day where they never had enough requests;
    /// returns how many. Its cost grows with all operations: once a minute is often enough.
    pub fn sweep(&mut self, now: u64) -> usize {
        let mut swept = 0;
        for at in 0..self.rows.len() {
            let Some(row) = self.rows.get_mut(at) else {
                continue;
            };
            let states = &self.states;
            let is_stale = |number: &u32| match states.get(*number as usize) {
                Some(Some(state)) => state.is_stale(now),
                _ => true,
            };
            let stale: Vec<u32> = row.operations.iter().copied().filter(is_stale).collect();
            row.operations.retain(|number| !stale.contains(number));
            swept += stale.len();
            for number in stale {
                self.remove(number);
            }
        }
        swept
    }

    /// What there is, and what found no room. Its cost grows with all operations.
    pub fn stats(&self) -> Stats {
        let states = || self.states.iter().flatten();
        Stats {
            operations: states().count(),
            judged: states().filter(|state| state.is_known()).count(),
            bytes: self.budget.used(),
            hour_bytes: self.budget.in_hours(),
            folded_requests: self.folded_requests,
            unjudged_requests: self.unjudged_requests,
            refused: self.budget.refused,
        }
    }

    /// Puts a restored state in its place; false where there is no room or there is one already.
    pub(crate) fn insert(&mut self, state: State) -> bool {
        let (bytes, hours) = state.bytes();
        let key = key(state.entity, state.operation);
        if self.index.contains_key(&key) || self.row(state.entity).is_none() {
            return false;
        }
        if !self.budget.take_restored(bytes, hours) {
            return false;
        }
        let number = self.place(state);
        if let Some(Some(state)) = self.states.get(number as usize) {
            note_ticket(&mut self.tickets, number, state);
        }
        true
    }

    /// The row of an entity; `None` where there is no room for it.
    pub(crate) fn row(&mut self, entity: Entity) -> Option<&mut Row> {
        let at = entity.0 as usize;
        let missing = (at + 1).saturating_sub(self.rows.len());
        if missing > 0 {
            if !self.budget.take(missing * size_of::<Row>()) {
                return None;
            }
            self.rows.resize_with(at + 1, Row::default);
        }
        self.rows.get_mut(at)
    }

    pub(crate) fn states_of(&self, entity: Entity) -> impl Iterator<Item = (u32, &State)> {
        let numbers = self.rows.get(entity.0 as usize).into_iter();
        let numbers = numbers.flat_map(|row| row.operations.iter().copied());
        numbers.filter_map(|number| Some((number, self.state(number)?)))
    }

    fn state(&self, number: u32) -> Option<&State> {
        self.states.get(number as usize)?.as_deref()
    }

    fn windows(&self, entity: Entity) -> Option<&Windows> {
        self.rows.get(entity.0 as usize)?.windows.as_deref()
    }

    /// The state that a request counts for.
    #[inline]
    fn find(&mut self, entity: Entity, operation: Operation, now: u64) -> Option<u32> {
        match self.index.get(&key(entity, operation)) {
            Some(number) => Some(*number),
            None => self.admit(entity, operation, now),
        }
    }

    #[cold]
    fn admit(&mut self, entity: Entity, operation: Operation, now: u64) -> Option<u32> {
        let limit = self.settings.max_operations;
        let has_room = self.row(entity)?.operations.len() < limit;
        let operations = self.states.len() - self.free.len();
        if has_room && self.budget.take_operation(State::BYTES, operations) {
            return Some(self.place(State::new(entity, operation, now, &self.settings)));
        }
        self.folded_requests += 1;
        let other = key(entity, Operation::OTHER);
        if let Some(number) = self.index.get(&other) {
            return Some(*number);
        }
        if !self.budget.take(State::BYTES) {
            self.folded_requests -= 1;
            return None;
        }
        Some(self.place(State::new(entity, Operation::OTHER, now, &self.settings)))
    }

    fn place(&mut self, state: State) -> u32 {
        let (entity, operation) = (state.entity, state.operation);
        let number = self.free.pop().unwrap_or(self.states.len() as u32);
        let at = number as usize;
        if at == self.states.len() {
            self.states.push(None);
        }
        if let Some(place) = self.states.get_mut(at) {
            *place = Some(Box::new(state));
        }
        self.index.insert(key(entity, operation), number);
        if let Some(row) = self.rows.get_mut(entity.0 as usize) {
            row.operations.push(number);
        }
        number
    }

    /// Removes a state that no row names any more.
    fn remove(&mut self, number: u32) {
        let Some(state) = self.states.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        let (bytes, hours) = state.bytes();
        self.budget.give_back_hours(hours);
        self.budget.give_back(bytes - hours);
        self.index.remove(&key(state.entity, state.operation));
        self.tickets.remove(&number);
        self.free.push(number);
    }
}

impl Row {
    fn health(&self, now: u64) -> Health {
        let degraded = |measure| {
            let windows = self.windows.as_ref();
            windows.is_some_and(|windows| windows.degraded(measure, now).is_some())
        };
        Health {
            own_degraded: degraded(Measure::Own),
            total_degraded: degraded(Measure::Total),
            pinned: self.pinned,
        }
    }

    #[inline]
    fn count(&mut self, verdict: &Verdict, now: u64, budget: &mut Budget) {
        if let Some(windows) = self.windows.as_mut() {
            windows.count(verdict, now);
        } else if budget.take(Windows::BYTES) {
            let mut windows = Box::new(Windows::new());
            windows.count(verdict, now);
            self.windows = Some(windows);
        }
    }
}

fn note_ticket(tickets: &mut BTreeSet<u32>, number: u32, state: &State) {
    let open = state.learned.own.ticket().is_some() || state.learned.total.ticket().is_some();
    if open {
        tickets.insert(number);
    } else {
        tickets.remove(&number);
    }
}

fn key(entity: Entity, operation: Operation) -> u64 {
    u64::from(entity.0) << 32 | u64::from(operation.0)
}

/// Spreads the caller's own small numbers over the table; they are not foreign, so nobody chooses them to collide.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}
