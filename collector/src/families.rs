//! The families of series that come from spans.
//!
//! In: the ledger's counters, its map and baselines. Out: a [`Scrape`], families in the order of the catalogue, series
//! sorted.
//! Left out on purpose: formats, and what intake, tables and keeper count of themselves.

use std::collections::BTreeMap;

use exposition::{Counts, Exemplar, Histogram, Native};
use map::catalogue::{self as names, CALL_BUCKETS, LATENCY_BUCKETS};
use map::histogram::{MAX_SCALE, upper_bound};
use map::reach::reach;
use map::services::settings_of;
use map::{Map, NodeId, NodeKind, Seen};

use crate::ledger::Ledger;
use crate::pipeline::Tables;
use crate::scrape::Scrape;
use crate::series::{
    EntityKind, EntitySeries, Exemplar as Kept, SeriesStore, SpanSeries, Timing, VersionSeries,
};

/// At most this many pairs are exported as `tracemap_reach_info`; the nearest stay.
const REACH_BUDGET: usize = 20_000;

/// Writes how full the trace tables are.
pub(crate) fn tables(tables: Tables, out: &mut Scrape<'_>) {
    out.family(names::COLLECTOR_TRACES);
    out.sample(&[("state", "open")], tables.open as f64);
    out.sample(&[("state", "kept")], tables.kept as f64);
    out.single(names::COLLECTOR_TABLE_BYTES, tables.bytes as f64);
}

/// Writes everything that the ledger knows.
pub(crate) fn write(ledger: &Ledger, out: &mut Scrape<'_>) {
    let (store, mut room) = (ledger.series(), Room::default());
    tempo(store, &mut room, out);
    entities(store, &mut room, out);
    topology(&ledger.map(), ledger, out);
    normal(ledger, out);
    ledger.write_own(out);
}

/// The service graph and the span metrics, under Tempo's names.
fn tempo(store: &SeriesStore, room: &mut Room, out: &mut Scrape<'_>) {
    let graph = || {
        store.graph_sorted().map(|(key, series)| {
            let labels = [
                ("client", key.client.as_str()),
                ("server", key.server.as_str()),
                ("connection_type", key.connection_type.as_str()),
            ];
            (labels, series)
        })
    };
    out.family(names::EDGE_REQUESTS);
    graph().for_each(|(labels, s)| out.sample(&labels, s.requests));
    out.family(names::EDGE_FAILED);
    graph().for_each(|(labels, s)| out.sample(&labels, s.failed));
    out.family(names::EDGE_SERVER_SECONDS);
    graph().for_each(|(labels, s)| room.timing(out, &labels, &s.server, s.exemplars.second()));
    out.family(names::EDGE_CLIENT_SECONDS);
    graph().for_each(|(labels, s)| room.timing(out, &labels, &s.client, s.exemplars.first()));
    out.family(names::EDGE_MESSAGING_SECONDS);
    for (labels, series) in graph() {
        if let Some(queue) = &series.queue {
            room.timing(out, &labels, queue, std::iter::empty());
        }
    }
    let spans = || {
        store.spans_sorted().map(|(key, series)| {
            let labels = [
                ("service", key.service.as_str()),
                ("span_name", &*key.name),
                ("span_kind", key.kind.as_str()),
                ("status_code", key.status.as_str()),
            ];
            (labels, series)
        })
    };
    out.family(names::SPAN_CALLS);
    spans().for_each(|(labels, s)| out.sample(&labels, s.calls));
    out.family(names::SPAN_LATENCY);
    spans().for_each(|(labels, s)| room.spans(out, &labels, s));
}

/// Writes what the rules of alerts read: the counters of every node and edge, and the map as series.
pub(crate) fn judged(ledger: &Ledger, out: &mut Scrape<'_>) {
    counters(ledger.series(), out);
    topology(&ledger.map(), ledger, out);
}

/// Requests, judged requests, slow ones and expected ones of every node and edge.
fn counters(store: &SeriesStore, out: &mut Scrape<'_>) {
    type Value = fn(&EntitySeries) -> f64;
    let counters: [(&'static str, Value); 13] = [
        (names::REQUESTS, |s| s.requests),
        (names::FAILED, |s| s.failed),
        (names::JUDGED, |s| s.judged as f64),
        (names::OWN_SLOW, |s| s.own_slow as f64),
        (names::OWN_SLOW_EXPECTED, |s| s.own_expected),
        (names::TOTAL_SLOW, |s| s.total_slow as f64),
        (names::TOTAL_SLOW_EXPECTED, |s| s.total_expected),
        (names::OWN_FAILED, |s| s.own_failed as f64),
        (names::OWN_FAILED_EXPECTED, |s| s.own_failed_expected),
        (names::JUDGED_FAILED, |s| s.judged_failed as f64),
        (names::JUDGED_FAILED_EXPECTED, |s| s.judged_failed_expected),
        (names::CRITICAL_SECONDS, |s| s.critical),
        (names::CRITICAL_EXCESS_SECONDS, |s| s.critical_excess),
    ];
    for (name, value) in counters {
        out.family(name);
        for (_, series) in store.entities_sorted() {
            out.sample(&entity_labels(series), value(series));
        }
    }
    out.family(names::WAITED_SECONDS);
    for (_, series) in store.entities_sorted() {
        if series.kind == EntityKind::Edge && &*series.client == NodeId::USER {
            out.sample(&[("id", &*series.server)], series.total.sum());
        }
    }
}

/// Counters, own and total time, and what only edges have.
fn entities(store: &SeriesStore, room: &mut Room, out: &mut Scrape<'_>) {
    counters(store, out);
    let all = || store.entities_sorted().map(|(_, series)| series);
    let edges = || all().filter(|s| s.kind == EntityKind::Edge);
    out.family(names::RETRIES);
    edges().for_each(|s| out.sample(&entity_labels(s), s.retries));
    out.family(names::OWN_SECONDS);
    all().for_each(|s| room.timing(out, &entity_labels(s), &s.own, s.exemplars.second()));
    out.family(names::TOTAL_SECONDS);
    all().for_each(|s| room.timing(out, &entity_labels(s), &s.total, s.exemplars.first()));
    out.family(names::FAN_OUT);
    for s in edges().filter(|s| !s.fan_out.is_empty()) {
        let (cumulative, sum) = (s.fan_out.cumulative(), s.fan_out.sum() as f64);
        room.classic(&cumulative);
        out.histogram(&entity_labels(s), &room.histogram(CALL_BUCKETS, sum, None));
    }
    out.family(names::QUEUE_SECONDS);
    for s in edges() {
        if let Some(queue) = &s.queue {
            room.timing(out, &entity_labels(s), queue, std::iter::empty());
        }
    }
    versions(store, out);
}

/// Services by version: requests, failures, own seconds, and since when.
fn versions(store: &SeriesStore, out: &mut Scrape<'_>) {
    type Value = fn(&VersionSeries) -> f64;
    let families: [(&'static str, Value); 4] = [
        (names::VERSION_REQUESTS, |v| v.requests),
        (names::VERSION_FAILED, |v| v.failed),
        (names::VERSION_OWN_SECONDS, |v| v.own),
        (names::VERSION_FIRST_SEEN, |v| unix_seconds(v.first)),
    ];
    for (name, value) in families {
        out.family(name);
        for (_, series) in store.entities_sorted() {
            for version in series.versions.iter() {
                let labels = [("id", &*series.id), ("version", version.name())];
                out.sample(&labels, value(version));
            }
        }
    }
}

/// Promises that people stated, and the requests that keep them.
fn objectives(map: &Map, store: &SeriesStore, out: &mut Scrape<'_>) {
    let stated: Vec<(&NodeId, Promise, f64)> = map.nodes.keys().flat_map(|id| promises(map, id)).collect();
    out.family(names::OBJECTIVE_TARGET);
    for (id, promise, _) in &stated {
        out.sample(&promise.labels(id), promise.target);
    }
    out.family(names::OBJECTIVE_GOOD);
    for (id, promise, latency) in &stated {
        let series = store
            .find_entity(id.as_str())
            .and_then(|at| store.entities.get(at));
        if let Some(series) = series {
            out.sample(&promise.labels(id), within(&series.total, *latency));
        }
    }
}

/// An objective as its labels tell it.
struct Promise {
    latency: String,
    window: String,
    target: f64,
}

impl Promise {
    fn labels<'a>(&'a self, id: &'a NodeId) -> [(&'static str, &'a str); 3] {
        [
            ("id", id.as_str()),
            ("latency", &self.latency),
            ("window", &self.window),
        ]
    }
}

/// The objectives of a node with their latencies in seconds. Of two with equal latency and window the stricter counts,
/// because their series would be one.
fn promises<'a>(map: &Map, id: &'a NodeId) -> impl Iterator<Item = (&'a NodeId, Promise, f64)> + use<'a> {
    let stated = settings_of(&map.services, id).map_or(&[][..], |settings| &settings.objectives);
    let mut strictest: BTreeMap<(String, String), (f64, f64)> = BTreeMap::new();
    for objective in stated {
        let key = (objective.latency.to_string(), objective.window.to_string());
        let seconds = objective.latency.get().as_secs_f64();
        let place = strictest.entry(key).or_insert((objective.target, seconds));
        place.0 = place.0.max(objective.target);
    }
    strictest
        .into_iter()
        .map(move |((latency, window), (target, seconds))| {
            let promise = Promise {
                latency,
                window,
                target,
            };
            (id, promise, seconds)
        })
}

/// Observations of at most so many seconds. A bucket that `seconds` cuts in two is not counted.
fn within(timing: &Timing, seconds: f64) -> f64 {
    let below = timing
        .exponential()
        .filter(|(bucket, _)| upper_bound(*bucket, MAX_SCALE) <= seconds * (1.0 + f64::EPSILON));
    timing.zero() + below.map(|(_, count)| count).sum::<f64>()
}

fn unix_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn entity_labels(series: &EntitySeries) -> [(&'static str, &str); 4] {
    [
        ("id", &series.id),
        ("kind", series.kind.as_str()),
        ("client", &series.client),
        ("server", &series.server),
    ]
}

/// When edges were first and last seen.
fn seen(map: &Map, out: &mut Scrape<'_>) {
    type Value = fn(&Seen) -> u64;
    let families: [(&'static str, Value); 2] = [
        (names::EDGE_FIRST_SEEN, |seen| seen.first),
        (names::EDGE_LAST_SEEN, |seen| seen.last),
    ];
    for (name, value) in families {
        out.family(name);
        for (key, edge) in map.edges.iter().filter(|(_, edge)| edge.seen.last > 0) {
            let id = map.edge_id(key);
            let labels = [
                ("id", id.as_str()),
                ("client", key.client.as_str()),
                ("server", key.server.as_str()),
                ("connection_type", key.connection_type.as_str()),
            ];
            out.sample(&labels, unix_seconds(value(&edge.seen)));
        }
    }
}

/// The map as series: edges, nodes, reach, entry points, owners, baselines.
fn topology(map: &Map, ledger: &Ledger, out: &mut Scrape<'_>) {
    out.family(names::EDGE_INFO);
    for key in map.edges.keys() {
        let id = map.edge_id(key);
        let labels = [
            ("id", id.as_str()),
            ("client", key.client.as_str()),
            ("server", key.server.as_str()),
            ("connection_type", key.connection_type.as_str()),
        ];
        out.sample(&labels, 1.0);
    }
    seen(map, out);
    out.family(names::NODE_INFO);
    for (id, node) in &map.nodes {
        out.sample(&[("id", id.as_str()), ("kind", node.kind.as_str())], 1.0);
    }
    let (pairs, left_out) = reach(map, REACH_BUDGET);
    out.family(names::REACH_INFO);
    for pair in &pairs {
        let hops = pair.hops.to_string();
        let labels = [
            ("id", pair.id.as_str()),
            ("culprit", pair.culprit.as_str()),
            ("hops", &hops),
        ];
        out.sample(&labels, 1.0);
    }
    out.single(names::COLLECTOR_REACH_LEFT_OUT, left_out as f64);
    out.family(names::ENTRYPOINT_INFO);
    for id in map.entry_points() {
        out.sample(&[("id", id.as_str())], 1.0);
    }
    out.family(names::OWNER_INFO);
    for (id, node) in &map.nodes {
        if matches!(node.kind, NodeKind::User | NodeKind::Unknown) {
            continue;
        }
        let owner = map.owner(id);
        out.sample(
            &[("id", id.as_str()), ("team", &owner.team), ("tier", &owner.tier)],
            1.0,
        );
    }
    objectives(map, ledger.series(), out);
    out.family(names::BASELINE_SECONDS);
    for (_, series) in ledger.series().entities_sorted() {
        let Some(learned) = ledger.learned(&series.id) else {
            continue;
        };
        for (measure, seconds) in [("own", learned.own), ("total", learned.total)] {
            let labels = [
                ("id", &*series.id),
                ("kind", series.kind.as_str()),
                ("measure", measure),
            ];
            out.sample(&labels, seconds);
        }
    }
}

/// Shifts that have lasted, and what the baselines occupy.
fn normal(ledger: &Ledger, out: &mut Scrape<'_>) {
    let tickets: Vec<_> = ledger
        .tickets()
        .filter_map(|(ticket, operation)| {
            Some((ledger.series().entities.get(ticket.entity.0)?, ticket, operation))
        })
        .collect();
    out.family(names::NEW_NORMAL_INFO);
    for (series, ticket, operation) in &tickets {
        let labels = [
            ("id", &*series.id),
            ("kind", series.kind.as_str()),
            ("operation", operation),
            ("measure", ticket.measure.as_str()),
            ("pinned", if ticket.pinned { "true" } else { "false" }),
        ];
        out.sample(&labels, 1.0);
    }
    out.family(names::NEW_NORMAL_SECONDS);
    for (series, ticket, operation) in &tickets {
        for (edge, seconds) in [("old", ticket.old), ("new", ticket.new)] {
            let labels = [
                ("id", &*series.id),
                ("kind", series.kind.as_str()),
                ("operation", operation),
                ("measure", ticket.measure.as_str()),
                ("edge", edge),
            ];
            out.sample(&labels, seconds);
        }
    }
    let stats = ledger.baseline_stats();
    out.single(names::COLLECTOR_BASELINE_BYTES, stats.bytes as f64);
    out.family(names::COLLECTOR_BASELINE_REQUESTS);
    for (outcome, count) in [
        ("folded", stats.folded_requests),
        ("unjudged", stats.unjudged_requests),
    ] {
        out.sample(&[("outcome", outcome)], count as f64);
    }
}

/// Room for one histogram, used again for the next.
#[derive(Default)]
struct Room {
    counts: Vec<f64>,
    native: Vec<f64>,
    exemplars: Vec<Option<Exemplar>>,
}

/// A native histogram whose buckets are in the room.
#[derive(Clone, Copy)]
struct InRoom {
    scale: i32,
    offset: i32,
    zero: f64,
}

impl Room {
    fn timing(
        &mut self,
        out: &mut Scrape<'_>,
        labels: &[(&'static str, &str)],
        timing: &Timing,
        kept: impl Iterator<Item = Kept>,
    ) {
        self.classic(&timing.cumulative());
        self.exemplars(kept);
        self.native.clear();
        let mut first = None;
        for (bucket, count) in timing.exponential() {
            let offset = *first.get_or_insert(bucket);
            self.native
                .resize(usize::try_from(bucket - offset).unwrap_or(0), 0.0);
            self.native.push(count);
        }
        let native = InRoom {
            scale: MAX_SCALE,
            offset: first.unwrap_or(0),
            zero: timing.zero(),
        };
        out.histogram(
            labels,
            &self.histogram(LATENCY_BUCKETS, timing.sum(), Some(native)),
        );
    }

    fn spans(&mut self, out: &mut Scrape<'_>, labels: &[(&'static str, &str)], series: &SpanSeries) {
        self.classic(&series.cumulative());
        self.exemplars(series.exemplars.first());
        self.native.clear();
        let exponential = &series.exponential;
        self.native
            .extend(exponential.counts().iter().map(|count| *count as f64));
        let native = InRoom {
            scale: exponential.scale(),
            offset: exponential.offset(),
            zero: exponential.zero() as f64,
        };
        out.histogram(labels, &self.histogram(LATENCY_BUCKETS, series.sum, Some(native)));
    }

    fn classic(&mut self, cumulative: &[f64]) {
        self.exemplars.clear();
        self.counts.clear();
        let mut below = 0.0;
        self.counts.extend(cumulative.iter().map(|at_or_below| {
            let count = at_or_below - below;
            below = *at_or_below;
            count
        }));
    }

    fn exemplars(&mut self, kept: impl Iterator<Item = Kept>) {
        self.exemplars.clear();
        for Kept { trace, seconds, at } in kept {
            let bucket = LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
            if self.exemplars.len() <= bucket {
                self.exemplars.resize(bucket + 1, None);
            }
            if let Some(place) = self.exemplars.get_mut(bucket) {
                *place = Some(Exemplar {
                    trace_id: trace,
                    value: seconds,
                    unix_ms: (at / 1_000_000) as i64,
                });
            }
        }
    }

    fn histogram(&self, bounds: &'static [f64], sum: f64, native: Option<InRoom>) -> Histogram<'_> {
        Histogram {
            bounds,
            counts: &self.counts,
            sum,
            native: native.map(|InRoom { scale, offset, zero }| Native {
                scale,
                offset,
                counts: Counts::Weighted(&self.native),
                zero,
                whole: false,
            }),
            exemplars: &self.exemplars,
            created_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use map::file::map_from_yaml;

    use super::*;
    use crate::series::Observed;

    #[test]
    fn a_promise_is_kept_by_requests_of_at_most_its_latency() {
        let mut timing = Timing::default();
        for seconds in [0.0, 0.1, 0.28, 0.4, 7.0] {
            timing.observe(Observed::of(seconds), 2.0);
        }
        for (latency, kept) in [(0.3, 6.0), (0.01, 2.0), (60.0, 10.0)] {
            assert_eq!(
                within(&timing, latency).to_bits(),
                f64::to_bits(kept),
                "{latency} s"
            );
        }
    }

    #[test]
    fn of_two_promises_with_one_latency_and_window_the_stricter_is_told() {
        let yaml = "version: 1\nnodes: {web: {}, cart: {}}\nservices:\n  web:\n    objectives:\n    \
                    - {latency: 300ms, target: 0.9, window: 30d}\n    - {latency: 0.3s, target: 0.99, window: 30d}\n";
        let map = map_from_yaml(yaml).unwrap();
        let told = |id: &str| {
            let id = id.into();
            let line = |(_, p, seconds): (&NodeId, Promise, f64)| {
                format!("{} {} {} {seconds}", p.latency, p.window, p.target)
            };
            promises(&map, &id).map(line).collect::<Vec<_>>()
        };
        assert_eq!(told("web"), ["300ms 30d 0.99 0.3"]);
        assert!(told("cart").is_empty());
    }
}
