//! The plan in force, as the system's traffic changes.
//!
//! In: what the ledger has seen so far, again and again, with the time. Out: a [`Plan`] that keeps its budget now, told to whoever asks
//! for it, and what agents said of it.
//! Left out on purpose: deciding (`instrumentation::plan`), and the routes (`web/plan`).
//!
//! Rates are those of the last half minute or so. What comes in is compared with what the plans of that time foresaw, and the ratio
//! corrects the next: spans in no trace, and of samplers that do not follow. Traffic that grows is none of that: agents record no more of it
//! than a plan has room for (`tracemap-plan-parts`).

mod agents;
mod shift;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::FixedState;
use instrumentation::plan::{self, Mode, PLAN_PATH, Plan, PlanSettings, Sight};
use map::catalogue as names;
use map::roots::{Passed, Root, RootKey};
use map::{EdgeKey, Map, NodeId};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

pub(crate) use agents::AgentSeen;
use agents::Agents;
use shift::Shifts;

use crate::ledger::Ledger;
use crate::rim::Shared;
use crate::scrape::Scrape;

/// Over how long rates are smoothed, seconds.
const SMOOTHING: f64 = 20.0;
/// The correction is no more than this.
const MOST_CORRECTION: f64 = 4.0;
/// Nanoseconds after which everybody has heard of a plan, and traces that began by the one before are closed: agents ask each half minute,
/// SDKs each minute.
const SETTLES: u64 = 60_000_000_000;
/// For how long it is remembered whether traces say their share, seconds.
const REMEMBERS: f64 = 300.0;
/// Agents read the document anew when what they may record of something changed by this factor.
const ANEW: f64 = 1.25;
/// Unless that is less than this part of all.
const LITTLE: f64 = 0.01;
/// Of an edge that is degraded and that nobody counts, beside edges that are counted.
const UNKNOWN_SEVERITY: f64 = 0.25;
/// Agents that asked within so long are counted, nanoseconds.
const LATELY: u64 = 300_000_000_000;

/// What the ledger knows at a time.
#[derive(Debug, Default)]
pub(crate) struct Glance {
    /// The map.
    pub(crate) map: Map,
    /// Edges that are degraded now.
    pub(crate) degraded: BTreeSet<EdgeKey>,
    /// Which share of a service's requests each of its operations is.
    pub(crate) operations: BTreeMap<NodeId, Vec<f64>>,
    /// Spans that came so far.
    pub(crate) spans: u64,
    /// Of them those whose traces closed, or that are in none.
    pub(crate) closed: u64,
    /// Nanoseconds since 1970.
    pub(crate) now: u64,
}

impl Glance {
    pub(crate) fn of(ledger: &Ledger, now: u64) -> Self {
        let map = ledger.map();
        Self {
            degraded: ledger.degraded_edges(&map, now),
            operations: ledger.operation_shares(),
            spans: ledger.spans_taken(),
            closed: ledger.spans_closed(),
            map,
            now,
        }
    }
}

/// Plans again whenever it is asked.
#[derive(Debug)]
pub(crate) struct Planner {
    settings: PlanSettings,
    last: Option<Last>,
    /// What begins traces, a second.
    rates: BTreeMap<RootKey, Root>,
    /// What traces passed of edges that are without spans now, when they had some: of each looked-into trace.
    known: BTreeMap<(RootKey, EdgeKey), Passed>,
    /// Edges without spans, and since when, nanoseconds.
    quiet: BTreeMap<EdgeKey, u64>,
    /// When edges that had none were last given some, nanoseconds; for a while.
    loud_since: BTreeMap<EdgeKey, u64>,
    shifts: Shifts,
    plan: Option<Plan>,
    /// When plans before ended, nanoseconds, and their shares; for a while. What stands in none is recorded.
    ended: Vec<(u64, Shares)>,
    /// Spans a second that plans foresaw, where that is less than came.
    foreseen: BTreeMap<RootKey, f64>,
    /// Spans a second that came.
    came: f64,
    /// Which part of the latest traces said their share.
    said: BTreeMap<RootKey, f64>,
    /// The tag of the document, and what it says may be recorded, in spans a second.
    tag: (String, BTreeMap<RootKey, f64>),
}

type Shares = BTreeMap<RootKey, f64>;

/// What was seen the last time.
#[derive(Debug)]
struct Last {
    now: u64,
    closed: u64,
    roots: BTreeMap<RootKey, Root>,
}

impl Planner {
    pub(crate) fn new(settings: PlanSettings) -> Self {
        Self {
            settings,
            last: None,
            rates: BTreeMap::new(),
            known: BTreeMap::new(),
            quiet: BTreeMap::new(),
            loud_since: BTreeMap::new(),
            shifts: Shifts::default(),
            plan: None,
            ended: Vec::new(),
            foreseen: BTreeMap::new(),
            came: 0.0,
            said: BTreeMap::new(),
            tag: (String::new(), BTreeMap::new()),
        }
    }

    /// The plan for what is seen now; `None` at the first look, when no rate is known.
    pub(crate) fn look(&mut self, glance: &Glance, span_bytes: Option<f64>) -> Option<&Plan> {
        let roots = glance.map.roots.clone();
        let last = self.last.replace(Last {
            now: glance.now,
            closed: glance.closed,
            roots,
        })?;
        let seconds = glance.now.saturating_sub(last.now) as f64 / 1e9;
        if seconds <= 0.0 {
            return self.plan.as_ref();
        }
        self.follow(glance, &last, seconds);
        let degraded = severities(self.shifts.look(&glance.map, seconds), &glance.degraded);
        let sight = Sight {
            map: &glance.map,
            roots: &self.rates,
            seconds: 1.0,
            now: glance.now,
            degraded: &degraded,
            operations: &glance.operations,
            span_bytes: span_bytes.unwrap_or(self.settings.span_bytes.0 as f64),
            unforeseen: self.correction(),
        };
        let new = plan::plan(&sight, &self.settings, self.plan.as_ref());
        self.set(new, glance.now);
        self.plan.as_ref()
    }

    /// Brings the rates up to date, and what came beside what was foreseen.
    fn follow(&mut self, glance: &Glance, last: &Last, seconds: f64) {
        let map = &glance.map;
        let new = if self.rates.is_empty() {
            1.0
        } else {
            1.0 - (-seconds / SMOOTHING).exp()
        };
        for root in self.rates.values_mut() {
            scale(root, 1.0 - new);
        }
        self.foreseen.values_mut().for_each(|spans| *spans *= 1.0 - new);
        let passed_by_any = self.known.keys().map(|(_, edge)| edge.clone()).collect();
        for (key, root) in &map.roots {
            let before = last.roots.get(key);
            let mut since = before.map_or_else(|| root.clone(), |before| root.since(before));
            // What says nothing of a share may still have been sampled by it: most SDKs write none down. Agents do, and what they say
            // nothing of is all there was.
            if since.traces > 0.0 && !self.says_shares(key, &since, seconds) {
                let plain = since.plain / self.share_lately(key, glance.now).max(1e-6);
                let (all, seen) = (since.traces - since.plain + plain, since.seen);
                let by = all / since.traces;
                scale(&mut since, by);
                since.seen = seen;
            }
            self.remember((glance.now, map), &passed_by_any, key, &mut since);
            scale(&mut since, new / seconds);
            let traces = since.traces;
            add(self.rates.entry(key.clone()).or_default(), &since);
            let foreseen = self.most_share(key) * traces * self.spans_of_each(map, key, glance.now);
            *self.foreseen.entry(key.clone()).or_default() += foreseen;
        }
        let came = glance.closed.saturating_sub(last.closed) as f64 / seconds;
        self.came += new * (came - self.came);
        self.known
            .retain(|(root, edge), _| map.roots.contains_key(root) && map.edges.contains_key(edge));
        self.rates
            .retain(|key, root| root.traces > 1e-6 && map.nodes.contains_key(&key.node));
        self.foreseen.retain(|key, _| self.rates.contains_key(key));
        self.said.retain(|key, _| self.rates.contains_key(key));
    }

    /// Spans of a trace, without those of edges that have been without spans for a while.
    fn spans_of_each(&self, map: &Map, key: &RootKey, now: u64) -> f64 {
        let Some(root) = self.rates.get(key).filter(|root| root.looked > 0.0) else {
            return 0.0;
        };
        let since_long = |edge: &EdgeKey| {
            let since = self.quiet.get(edge);
            since.is_some_and(|since| now.saturating_sub(*since) > SETTLES)
        };
        let quiet = root.edges.iter().filter(|(edge, _)| since_long(edge));
        let left_out: f64 = quiet
            .map(|(edge, passed)| plan::spans_by_agents(map, edge) * passed.requests)
            .sum();
        (root.spans - left_out).max(0.0) / root.looked
    }

    /// Whether most traces that begin so have said their share in the last minutes, where that was below 1.
    fn says_shares(&mut self, key: &RootKey, since: &Root, seconds: f64) -> bool {
        let said = 1.0 - since.plain / since.traces;
        let of = self.said.entry(key.clone()).or_insert(said);
        *of += (1.0 - (-seconds / REMEMBERS).exp()) * (said - *of);
        *of > 0.5 || said > 0.5
    }

    /// The share that traces which close now began with.
    fn share_lately(&self, key: &RootKey, now: u64) -> f64 {
        let until = |(at, _): &&(u64, Shares)| now.saturating_sub(*at) < SETTLES;
        let before = self.ended.iter().find(until);
        before.map_or_else(
            || self.share(key),
            |(_, shares)| shares.get(key).copied().unwrap_or(1.0),
        )
    }

    /// The largest share that anybody may still follow.
    fn most_share(&self, key: &RootKey) -> f64 {
        let before = self.ended.iter().map(|(_, shares)| shares.get(key).copied());
        before
            .map(|share| share.unwrap_or(1.0))
            .fold(self.share(key), f64::max)
    }

    /// How many times the spans that were foreseen came, 1 or more.
    fn correction(&self) -> f64 {
        let of_root = |(key, foreseen): (&RootKey, &f64)| {
            let seen = self.rates.get(key).map_or(0.0, |root| root.seen);
            foreseen.min(seen)
        };
        let foreseen: f64 = self.foreseen.iter().map(of_root).sum();
        if foreseen > 0.0 {
            (self.came / foreseen).clamp(1.0, MOST_CORRECTION)
        } else {
            1.0
        }
    }

    /// The share of an operation's traces that the plan in force records.
    fn share(&self, key: &RootKey) -> f64 {
        let roots = self.plan.iter().flat_map(|plan| &plan.roots);
        let of = |root: &&plan::PlannedRoot| {
            root.node == key.node && root.operation.as_deref().unwrap_or_default() == key.operation
        };
        roots.clone().find(of).map_or(1.0, |root| root.share)
    }

    /// Notes what traces pass, and adds what they would pass if edges without spans had some.
    fn remember(
        &mut self,
        (now, map): (u64, &Map),
        passed_by_any: &BTreeSet<EdgeKey>,
        key: &RootKey,
        since: &mut Root,
    ) {
        if since.looked <= 0.0 {
            return;
        }
        // Traces that began when an edge was quiet close for a while after it has spans.
        let has_spans = |edge: &EdgeKey| {
            let loud = self.loud_since.get(edge);
            !self.quiet.contains_key(edge) && loud.is_none_or(|since| now.saturating_sub(*since) > SETTLES)
        };
        for (edge, passed) in since.edges.iter().filter(|(edge, _)| has_spans(edge)) {
            let each = Passed {
                traces: passed.traces / since.looked,
                requests: passed.requests / since.looked,
            };
            self.known.insert((key.clone(), edge.clone()), each);
        }
        for edge in self.quiet.keys().chain(self.loud_since.keys()) {
            let known = self.known.get(&(key.clone(), edge.clone())).copied();
            let guessed = || {
                let nobody = !passed_by_any.contains(edge);
                nobody.then(|| counted(map, key, since, edge)).flatten()
            };
            let Some(each) = known.or_else(guessed) else {
                continue;
            };
            let passed = since.edges.entry(edge.clone()).or_default();
            let missing = (each.requests * since.looked - passed.requests).max(0.0);
            since.spans += plan::spans_by_agents(map, edge) * missing;
            passed.requests = each.requests * since.looked;
            passed.traces = each.traces * since.looked;
        }
    }

    /// The tag of the document: another one where something else was decided, or much more or less may be recorded of something. The
    /// numbers change with every look, and a document that is read anew costs every agent something.
    fn tag(&mut self, plan: &Plan) -> &str {
        let spans = |root: &plan::PlannedRoot| root.limit().map(|limit| limit.traces * limit.spans);
        let limits = plan.roots.iter();
        let limits: BTreeMap<RootKey, f64> = limits
            .filter_map(|root| Some((key_of_root(root), spans(root)?)))
            .collect();
        let little = LITTLE * limits.values().sum::<f64>();
        let (tag, told) = &mut self.tag;
        let is_near = |(key, now): (&RootKey, &f64)| {
            let then = told.get(key).copied().unwrap_or(0.0);
            now.max(then) <= little || (*now <= then * ANEW && then <= now * ANEW)
        };
        let same =
            tag.starts_with(&plan.revision) && limits.len() == told.len() && limits.iter().all(is_near);
        if !same {
            let mut hasher = FixedState::default().build_hasher();
            for limit in limits.values() {
                limit.to_bits().hash(&mut hasher);
            }
            *tag = format!("{}.{:016x}", plan.revision, hasher.finish());
            *told = limits;
        }
        tag
    }

    /// Goes on with a plan from before a restart, which everybody follows already.
    fn take_up(&mut self, plan: Plan, now: u64) {
        self.set(plan, now);
        self.ended.clear();
    }

    /// Follows `plan` from now on.
    fn set(&mut self, plan: Plan, now: u64) {
        let is_quiet = |edge: &&plan::PlannedEdge| edge.mode != Mode::Span;
        let quiet = plan.edges.iter().filter(is_quiet).map(key_of);
        let quiet: BTreeMap<EdgeKey, u64> = quiet
            .map(|edge| {
                let since = self.quiet.get(&edge).copied();
                (edge, since.unwrap_or(now))
            })
            .collect();
        let is_past = |at: u64| now.saturating_sub(at) > SETTLES;
        self.loud_since
            .retain(|edge, since| !is_past(*since) && !quiet.contains_key(edge));
        let loud = self.quiet.keys().filter(|edge| !quiet.contains_key(edge));
        self.loud_since.extend(loud.map(|edge| (edge.clone(), now)));
        self.quiet = quiet;
        self.ended.retain(|(at, _)| !is_past(*at));
        let before = self.plan.replace(plan);
        let revision = self.plan.as_ref().map(|plan| &plan.revision);
        if before.as_ref().map(|before| &before.revision) != revision {
            self.ended
                .push((now, before.as_ref().map_or_else(Shares::new, shares)));
        }
    }
}

/// The shares of a plan, by what they are for.
fn shares(plan: &Plan) -> Shares {
    let of = |root: &plan::PlannedRoot| (key_of_root(root), root.share);
    plan.roots.iter().map(of).collect()
}

fn key_of_root(root: &plan::PlannedRoot) -> RootKey {
    RootKey {
        node: root.node.clone(),
        operation: root.operation.clone().unwrap_or_default(),
    }
}

/// What traces pass of an edge whose spans nobody has seen, by what agents count of it: as if all roots that reach its caller passed it
/// alike.
fn counted(map: &Map, key: &RootKey, since: &Root, edge: &EdgeKey) -> Option<Passed> {
    let reaches = |node: &NodeId, root: &Root| {
        *node == edge.client || root.edges.keys().any(|passed| passed.server == edge.client)
    };
    if !reaches(&key.node, since) {
        return None;
    }
    let roots = map.roots.iter().filter(|(key, root)| reaches(&key.node, root));
    let traces: f64 = roots.map(|(_, root)| root.traces).sum();
    let requests = map.edges.get(edge)?.stats.requests / traces.max(1.0);
    Some(Passed {
        traces: requests.min(1.0),
        requests,
    })
}

fn key_of(edge: &plan::PlannedEdge) -> EdgeKey {
    EdgeKey::new(edge.client.clone(), edge.server.clone(), edge.connection_type)
}

/// How bad it is on each edge, above 0 to 1: where most is waited beyond the usual it is 1. Counts say how much is waited; where only
/// judged spans speak of an edge, that is not known.
fn severities(waited: BTreeMap<EdgeKey, f64>, judged: &BTreeSet<EdgeKey>) -> BTreeMap<EdgeKey, f64> {
    let most = waited.values().copied().fold(0.0, f64::max);
    let least = if most > 0.0 { UNKNOWN_SEVERITY } else { 1.0 };
    let mut severities: BTreeMap<EdgeKey, f64> = judged.iter().map(|key| (key.clone(), least)).collect();
    for (key, seconds) in waited.into_iter().filter(|_| most > 0.0) {
        severities.insert(key, (seconds / most).max(1e-3));
    }
    severities
}

fn scale(root: &mut Root, by: f64) {
    root.traces *= by;
    root.plain *= by;
    root.failed *= by;
    root.looked *= by;
    root.spans *= by;
    root.seen *= by;
    for passed in root.edges.values_mut() {
        passed.traces *= by;
        passed.requests *= by;
    }
}

fn add(to: &mut Root, other: &Root) {
    to.traces += other.traces;
    to.plain += other.plain;
    to.failed += other.failed;
    to.looked += other.looked;
    to.spans += other.spans;
    to.seen += other.seen;
    for (edge, passed) in &other.edges {
        let of = to.edges.entry(edge.clone()).or_default();
        of.traces += passed.traces;
        of.requests += passed.requests;
    }
}

/// The plan as it is told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The plan.
    pub(crate) plan: Plan,
    /// For agents, as JSON.
    pub(crate) document: String,
    /// Its tag: another one where agents should read the document anew, although its numbers change all the time.
    pub(crate) tag: String,
}

/// The plan in force, and who follows it.
#[derive(Debug)]
pub(crate) struct PlanState {
    told: watch::Sender<Option<Arc<Told>>>,
    agents: Mutex<Agents>,
}

impl Default for PlanState {
    fn default() -> Self {
        Self {
            told: watch::Sender::new(None),
            agents: Mutex::default(),
        }
    }
}

impl PlanState {
    /// The plan in force.
    pub(crate) fn told(&self) -> Option<Arc<Told>> {
        self.told.borrow().clone()
    }

    /// Notes what an agent said; which part of the traces that begin with each of its nodes begins there, 0 to 1.
    pub(crate) fn heard(&self, agent: AgentSeen) -> Vec<f64> {
        self.lock().heard(agent)
    }

    /// All agents of the last hour before `now`, by instance.
    pub(crate) fn agents(&self, now: u64) -> Vec<AgentSeen> {
        self.lock().all(now)
    }

    fn lock(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is planned, and how many follow it.
    pub(crate) fn write(&self, now: u64, out: &mut Scrape<'_>) {
        let told = self.told();
        let totals = told.as_ref().map(|told| &told.plan.totals);
        let of = |value: fn(&plan::Totals) -> f64| totals.map_or(0.0, value);
        out.family(names::COLLECTOR_PLAN_SPANS);
        let kinds = [
            ("offered", of(|totals| totals.offered_spans_per_second)),
            ("planned", of(|totals| totals.planned_spans_per_second)),
            (
                "budget",
                of(|totals| totals.budget_spans_per_second.unwrap_or_default()),
            ),
        ];
        for (kind, value) in kinds {
            out.sample(&[("kind", kind)], value);
        }
        let revision = told.as_ref().map(|told| told.plan.revision.as_str());
        let mut agents = self.agents(now);
        agents.retain(|seen| seen.seen_unix_nanos.saturating_add(LATELY) > now);
        let current = |seen: &&AgentSeen| revision.is_some() && seen.applied.as_deref() == revision;
        let follow = agents.iter().filter(current);
        let follow = follow.count();
        out.family(names::COLLECTOR_PLAN_AGENTS);
        for (state, count) in [("current", follow), ("behind", agents.len() - follow)] {
            out.sample(&[("state", state)], count as f64);
        }
    }
}

/// The plan that was in force before a restart, which agents and SDKs still follow.
pub(crate) fn before(out: Option<&Path>) -> Option<Plan> {
    let text = std::fs::read_to_string(out?.join(PLAN_PATH)).ok()?;
    Plan::from_yaml(&text)
}

/// Plans every [`PlanSettings::interval`] until `stop`.
pub(crate) async fn run(
    shared: Arc<Shared>,
    (settings, before): (PlanSettings, Option<Plan>),
    stop: impl Future<Output = ()> + Send,
) {
    let mut ticks = tokio::time::interval(settings.interval.get().max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut planner = Planner::new(settings.clone());
    if let Some(before) = before {
        planner.take_up(before, shared.now());
    }
    let (mut short, mut spans_before) = (false, None);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = ticks.tick() => {}
        }
        let now = shared.now();
        let Some(glance) = shared.routes.ask(move |ledger| Glance::of(ledger, now)).await else {
            return;
        };
        // Bytes are counted from the start of the process, spans from that of the map.
        let before = *spans_before.get_or_insert(glance.spans);
        let span_bytes = shared.observed.bytes_of(glance.spans.saturating_sub(before));
        // Deciding takes milliseconds, for thousands of edges longer.
        let looked = tokio::task::spawn_blocking(move || {
            let plan = planner.look(&glance, span_bytes).cloned();
            let told = plan.map(|plan| Told {
                document: plan.document(&glance.map).to_string(),
                tag: planner.tag(&plan).to_owned(),
                plan,
            });
            (planner, told)
        });
        let Ok((again, told)) = looked.await else {
            error!("deciding failed: the plan stays as it is, and rates are learnt anew");
            planner = Planner::new(settings.clone());
            continue;
        };
        planner = again;
        let Some(told) = told else {
            continue;
        };
        let shortage = plan::shortage(&told.plan, &settings);
        if let Some(shortage) = shortage.as_ref().filter(|_| !short) {
            warn!(problem = shortage.message, "the plan's budget is too small");
        }
        short = shortage.is_some();
        let before = shared.plan.told();
        if before.is_none_or(|before| before.plan.revision != told.plan.revision) {
            let (revision, spans) = (&told.plan.revision, told.plan.totals.planned_spans_per_second);
            info!(revision, spans_per_second = spans, "a new plan");
        }
        shared.plan.told.send_replace(Some(Arc::new(told)));
    }
}

#[cfg(test)]
mod tests {
    use map::file::map_from_yaml;

    use super::*;

    /// Users, `web` and `cart`, of which every trace has four spans.
    struct System {
        glance: Glance,
        /// Whether samplers say by which share a trace was sampled.
        weighs: bool,
        /// Spans a second that are in no trace that anybody planned.
        stray: f64,
        /// Which part of a share agents leave of it by themselves.
        left: f64,
    }

    impl System {
        fn new(weighs: bool) -> Self {
            let text = "version: 1\nedges: [{client: user, server: web}, {client: web, server: cart}]\n";
            let glance = Glance {
                map: map_from_yaml(text).unwrap(),
                now: 1_000_000_000_000,
                ..Glance::default()
            };
            Self {
                glance,
                weighs,
                stray: 0.0,
                left: 1.0,
            }
        }

        /// Ten seconds at so many traces a second, sampled as the plan says.
        fn run(&mut self, planner: &Planner, traces_per_second: f64) {
            let key = RootKey {
                node: "web".into(),
                operation: "GET /".to_owned(),
            };
            let share = planner.share(&key) * self.left;
            let recorded = 10.0 * traces_per_second * share;
            let told = if self.weighs { recorded / share } else { recorded };
            let root = self.glance.map.roots.entry(key).or_default();
            root.traces += told;
            root.looked += told;
            root.spans += 4.0 * told;
            root.seen += 4.0 * recorded;
            root.plain += if self.weighs && share < 1.0 { 0.0 } else { told };
            for edge in self.glance.map.edges.keys() {
                let passed = root.edges.entry(edge.clone()).or_default();
                passed.traces += told;
                passed.requests += told;
            }
            self.glance.closed += (4.0 * recorded + 10.0 * self.stray) as u64;
            self.glance.now += 10_000_000_000;
        }
    }

    fn planner(spans_per_second: f64) -> Planner {
        let mut settings = PlanSettings::default();
        settings.budget.spans_per_second = Some(spans_per_second);
        Planner::new(settings)
    }

    fn holds_its_budget(weighs: bool) {
        let (mut system, mut planner) = (System::new(weighs), planner(100.0));
        assert!(
            planner.look(&system.glance, None).is_none(),
            "no rate is known at first"
        );
        for traces_per_second in [50.0, 500.0] {
            for _ in 0..20 {
                system.run(&planner, traces_per_second);
                planner.look(&system.glance, None);
            }
            let before = system.glance.closed;
            for _ in 0..20 {
                system.run(&planner, traces_per_second);
                planner.look(&system.glance, None);
            }
            let rate = (system.glance.closed - before) as f64 / 200.0;
            assert!(
                (90.0..=105.0).contains(&rate),
                "{rate} spans/s at {traces_per_second} traces/s"
            );
            let plan = planner.plan.as_ref().unwrap();
            let offered = plan.totals.offered_spans_per_second;
            let truth = 4.0 * traces_per_second;
            assert!((offered - truth).abs() < 0.1 * truth, "{offered} of {truth}");
        }
    }

    #[test]
    fn a_budget_holds_before_and_after_traffic_grows_tenfold() {
        holds_its_budget(true);
    }

    #[test]
    fn a_budget_holds_where_samplers_do_not_say_by_which_share_they_sampled() {
        holds_its_budget(false);
    }

    #[test]
    fn spans_that_no_share_decides_about_are_taken_off_the_budget() {
        let (mut system, mut planner) = (System::new(true), planner(100.0));
        system.stray = 40.0;
        for _ in 0..40 {
            system.run(&planner, 500.0);
            planner.look(&system.glance, None);
        }
        let before = system.glance.closed;
        (0..10).for_each(|_| system.run(&planner, 500.0));
        let rate = (system.glance.closed - before) as f64 / 100.0;
        assert!((85.0..=105.0).contains(&rate), "{rate} spans/s");
        // What agents hold back of shares must not hide it.
        system.left = 0.25;
        for _ in 0..20 {
            system.run(&planner, 500.0);
            planner.look(&system.glance, None);
        }
        assert!(planner.correction() > 2.0, "{}", planner.correction());
    }

    #[test]
    fn traces_of_which_all_are_recorded_are_as_many_as_come() {
        let (mut system, mut planner) = (System::new(true), planner(100.0));
        for traces_per_second in [500.0, 10.0] {
            for _ in 0..20 {
                system.run(&planner, traces_per_second);
                planner.look(&system.glance, None);
                let offered = planner
                    .plan
                    .as_ref()
                    .map_or(0.0, |plan| plan.totals.offered_spans_per_second);
                assert!(
                    offered < 2_100.0,
                    "{offered} spans/s of {traces_per_second} traces/s"
                );
            }
        }
        let plan = planner.plan.unwrap();
        assert!(
            (35.0..60.0).contains(&plan.totals.offered_spans_per_second),
            "{:?}",
            plan.totals
        );
        assert!(plan.roots.iter().all(|root| root.share > 0.9), "{:?}", plan.roots);
    }

    #[test]
    fn whoever_said_shares_is_believed_to_record_all_where_none_is_said() {
        let mut planner = planner(100.0);
        let key = RootKey {
            node: "web".into(),
            operation: String::new(),
        };
        let of = |plain: f64| Root {
            traces: 10.0,
            plain,
            ..Root::default()
        };
        assert!(!planner.says_shares(&key, &of(10.0), 15.0));
        for _ in 0..20 {
            planner.says_shares(&key, &of(0.0), 15.0);
        }
        assert!((0..4).all(|_| planner.says_shares(&key, &of(10.0), 15.0)));
        assert!(
            !(0..40).all(|_| planner.says_shares(&key, &of(10.0), 15.0)),
            "not for ever"
        );
    }

    #[test]
    fn a_plan_that_is_taken_up_at_the_start_is_what_samplers_already_follow() {
        let (mut system, mut planner) = (System::new(false), planner(100.0));
        for _ in 0..10 {
            system.run(&planner, 500.0);
            planner.look(&system.glance, None);
        }
        let mut again = Planner::new(planner.settings.clone());
        again.take_up(planner.plan.clone().unwrap(), system.glance.now);
        for _ in 0..4 {
            again.look(&system.glance, None);
            system.run(&again, 500.0);
        }
        let offered = again.plan.as_ref().unwrap().totals.offered_spans_per_second;
        assert!((offered - 2_000.0).abs() < 200.0, "{offered}");
    }

    #[test]
    fn traces_of_a_plan_that_just_ended_are_no_reason_to_correct() {
        let (mut system, mut planner) = (System::new(true), planner(100.0));
        for _ in 0..2 {
            system.run(&planner, 500.0);
            planner.look(&system.glance, None);
        }
        assert!(
            planner.share(&RootKey {
                node: "web".into(),
                operation: "GET /".to_owned()
            }) < 0.06
        );
        // All of the traces that began before close after the first plan.
        let late = Planner::new(planner.settings.clone());
        system.run(&late, 500.0);
        planner.look(&system.glance, None);
        assert!(planner.correction() < 1.05, "{}", planner.correction());
        let offered = planner.plan.as_ref().unwrap().totals.offered_spans_per_second;
        assert!((offered - 2_000.0).abs() < 100.0, "{offered}");
    }

    #[test]
    fn agents_read_the_document_anew_when_what_may_be_recorded_moved_although_nothing_else_was_decided() {
        let (mut system, mut planner) = (System::new(true), planner(100.0));
        for _ in 0..3 {
            system.run(&planner, 500.0);
            planner.look(&system.glance, None);
        }
        let plan = planner.plan.clone().unwrap();
        let mut of = |factor: f64| {
            let mut plan = plan.clone();
            for root in &mut plan.roots {
                root.most_per_second = root.most_per_second.map(|most| most * factor);
            }
            planner.tag(&plan).to_owned()
        };
        let first = of(1.0);
        assert!(first.starts_with(&plan.revision));
        assert_eq!((of(1.2), of(0.85)), (first.clone(), first.clone()));
        let second = of(1.3);
        assert_ne!(second, first);
        assert_eq!(of(1.1), second, "it is held against what agents have");
    }
}
