//! Series as Prometheus text.
//!
//! In: the counters, the map, the baselines, and the collector's own counts. Out: the text exposition format 0.0.4,
//! families in the order of the catalogue, series sorted.
//! Left out on purpose: exemplars and native histograms, which need `OpenMetrics` or protobuf.

use std::fmt::Write as _;

use map::catalogue::{self as names, LATENCY_BUCKETS, Series, Type};
use map::reach::reach;
use map::{Map, NodeKind};

use crate::baseline::Baselines;
use crate::series::{Classic, EntitySeries, SeriesStore};

/// At most this many pairs are exported as `tracemap_reach_info`; the nearest stay.
pub const REACH_BUDGET: usize = 20_000;

/// Text being written, one family after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// The text so far.
    pub fn finish(self) -> String {
        self.text
    }

    /// Begins the family `name` of the catalogue.
    ///
    /// # Panics
    /// Where the catalogue does not hold `name`: a series that nobody documented must not leave the house.
    pub fn family(&mut self, name: &'static str) {
        let series: &Series = names::find(name).expect("every exported series is in the catalogue");
        let kind = match series.kind {
            Type::Counter => "counter",
            Type::Histogram => "histogram",
            Type::Gauge | Type::Recorded => "gauge",
        };
        let help = series.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        self.labels(labels, None);
        self.value(value);
    }

    /// The buckets, sum and count of a histogram.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &Classic) {
        let bounds = LATENCY_BUCKETS
            .iter()
            .map(|bound| float(*bound))
            .chain(["+Inf".to_owned()]);
        let mut count = 0.0;
        for (bound, at_or_below) in bounds.zip(histogram.cumulative()) {
            self.text.push_str(name);
            self.text.push_str("_bucket");
            self.labels(labels, Some(&bound));
            self.value(at_or_below);
            count = at_or_below;
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn labels(&mut self, labels: Labels<'_>, le: Option<&str>) {
        if labels.is_empty() && le.is_none() {
            return;
        }
        self.text.push('{');
        let all = labels.iter().copied().chain(le.map(|le| ("le", le)));
        for (i, (label, value)) in all.enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            let _ = write!(self.text, "{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        self.text.push('}');
    }

    fn value(&mut self, value: f64) {
        let _ = writeln!(self.text, " {value}");
    }
}

/// A bound as Prometheus 3 normalises it: with a decimal point, so that a bucket has one name everywhere.
fn float(bound: f64) -> String {
    if bound.fract() == 0.0 {
        format!("{bound:.1}")
    } else {
        bound.to_string()
    }
}

/// The service graph and the span metrics, under Tempo's names.
pub fn tempo(store: &SeriesStore, out: &mut Exposition) {
    let graph = || {
        store.graph.iter().map(|(key, series)| {
            let labels = [
                ("client", key.client.as_str()),
                ("server", key.server.as_str()),
                ("connection_type", key.connection_type.as_str()),
            ];
            (labels, series)
        })
    };
    out.family(names::EDGE_REQUESTS);
    graph().for_each(|(labels, s)| out.sample(names::EDGE_REQUESTS, &labels, s.requests));
    out.family(names::EDGE_FAILED);
    graph().for_each(|(labels, s)| out.sample(names::EDGE_FAILED, &labels, s.failed));
    out.family(names::EDGE_SERVER_SECONDS);
    graph().for_each(|(labels, s)| out.histogram(names::EDGE_SERVER_SECONDS, &labels, &s.server));
    out.family(names::EDGE_CLIENT_SECONDS);
    graph().for_each(|(labels, s)| out.histogram(names::EDGE_CLIENT_SECONDS, &labels, &s.client));
    out.family(names::EDGE_MESSAGING_SECONDS);
    for (labels, series) in graph() {
        if let Some(queue) = &series.queue {
            out.histogram(names::EDGE_MESSAGING_SECONDS, &labels, queue);
        }
    }
    let spans = || {
        store.spans.iter().map(|(key, series)| {
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
    spans().for_each(|(labels, s)| out.sample(names::SPAN_CALLS, &labels, s.calls));
    out.family(names::SPAN_LATENCY);
    spans().for_each(|(labels, s)| out.histogram(names::SPAN_LATENCY, &labels, &s.latency));
}

/// Requests, own and total time, and the judged counts of every node and edge.
pub fn entities(store: &SeriesStore, out: &mut Exposition) {
    type Value = fn(&EntitySeries) -> f64;
    let counters: [(&'static str, Value); 7] = [
        (names::REQUESTS, |s| s.requests),
        (names::FAILED, |s| s.failed),
        (names::JUDGED, |s| s.judged as f64),
        (names::OWN_SLOW, |s| s.own_slow as f64),
        (names::OWN_SLOW_EXPECTED, |s| s.own_expected),
        (names::TOTAL_SLOW, |s| s.total_slow as f64),
        (names::TOTAL_SLOW_EXPECTED, |s| s.total_expected),
    ];
    for (name, value) in counters {
        out.family(name);
        store
            .entities
            .iter()
            .for_each(|(id, s)| out.sample(name, &entity_labels(id, s), value(s)));
    }
    out.family(names::OWN_SECONDS);
    store
        .entities
        .iter()
        .for_each(|(id, s)| out.histogram(names::OWN_SECONDS, &entity_labels(id, s), &s.own));
    out.family(names::TOTAL_SECONDS);
    store
        .entities
        .iter()
        .for_each(|(id, s)| out.histogram(names::TOTAL_SECONDS, &entity_labels(id, s), &s.total));
}

fn entity_labels<'a>(id: &'a str, series: &'a EntitySeries) -> [(&'static str, &'a str); 4] {
    [
        ("id", id),
        ("kind", series.kind.as_str()),
        ("client", &series.client),
        ("server", &series.server),
    ]
}

/// The map as series: edges, nodes, reach, entry points, owners, baselines.
pub fn topology(map: &Map, store: &SeriesStore, baselines: &Baselines, out: &mut Exposition) {
    out.family(names::EDGE_INFO);
    for key in map.edges.keys() {
        let id = map.edge_id(key);
        let labels = [
            ("id", id.as_str()),
            ("client", key.client.as_str()),
            ("server", key.server.as_str()),
            ("connection_type", key.connection_type.as_str()),
        ];
        out.sample(names::EDGE_INFO, &labels, 1.0);
    }
    out.family(names::NODE_INFO);
    for (id, node) in &map.nodes {
        out.sample(
            names::NODE_INFO,
            &[("id", id.as_str()), ("kind", node.kind.as_str())],
            1.0,
        );
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
        out.sample(names::REACH_INFO, &labels, 1.0);
    }
    out.family(names::COLLECTOR_REACH_LEFT_OUT);
    out.sample(names::COLLECTOR_REACH_LEFT_OUT, &[], left_out as f64);
    out.family(names::ENTRYPOINT_INFO);
    for id in map.entry_points() {
        out.sample(names::ENTRYPOINT_INFO, &[("id", id.as_str())], 1.0);
    }
    out.family(names::OWNER_INFO);
    for (id, node) in &map.nodes {
        if matches!(node.kind, NodeKind::User | NodeKind::Unknown) {
            continue;
        }
        let owner = map.owner(id);
        let labels = [("id", id.as_str()), ("team", &owner.team), ("tier", &owner.tier)];
        out.sample(names::OWNER_INFO, &labels, 1.0);
    }
    out.family(names::BASELINE_SECONDS);
    for (id, series) in &store.entities {
        let Some(learned) = baselines.learned(id) else {
            continue;
        };
        for (measure, seconds) in [("own", learned.own), ("total", learned.total)] {
            let labels = [
                ("id", id.as_str()),
                ("kind", series.kind.as_str()),
                ("measure", measure),
            ];
            out.sample(names::BASELINE_SECONDS, &labels, seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_as_the_format_asks() {
        let mut out = Exposition::default();
        out.sample("x", &[("a", "say \"hi\"\\\n")], 1.0);
        assert_eq!(out.finish(), "x{a=\"say \\\"hi\\\"\\\\\\n\"} 1\n");
    }

    #[test]
    fn buckets_are_cumulative_and_bounds_are_floats() {
        let mut histogram = Classic::default();
        histogram.observe(0.0015, 1.0);
        histogram.observe(100.0, 2.0);
        let mut out = Exposition::default();
        out.histogram("h", &[], &histogram);
        let text = out.finish();
        assert!(
            text.contains("h_bucket{le=\"0.001\"} 0\nh_bucket{le=\"0.002\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("h_bucket{le=\"32.768\"} 1\nh_bucket{le=\"+Inf\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("h_count 3\n"), "{text}");
        assert_eq!(float(1.0), "1.0");
    }
}
