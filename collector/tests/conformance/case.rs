//! One case of somebody else's, restated.
//!
//! In: YAML: a name, spans in the form of `dsl` (a line `after 5s` lets time pass), our edges, and where they differ
//! theirs with a reason. An edge is written `caller -> callee [connection_type] requests failed n`; no type is a direct
//! call, and no failures need not be written.
//! Out: every case that is not as written, at once.
//! Left out on purpose: evidence and times; the tests of pairing have them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use map::{ConnectionType, EdgeKey, Map};
use serde::Deserialize;

use crate::scene::{Scene, settings};

/// Edges as sorted lines.
type Edges = Vec<String>;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    source: Source,
    /// Why we differ, by a name that cases refer to.
    reasons: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Zipkin,
    Servicegraph,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    spans: String,
    edges: Edges,
    /// The edges with producers and consumers joined directly, where the map has destinations between them.
    flat: Option<Edges>,
    /// What the source counts, where that is not what we count.
    theirs: Option<Edges>,
    #[serde(default)]
    because: Vec<String>,
}

impl Suite {
    pub(crate) fn read(text: &str) -> Self {
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// # Panics
    /// With every case that is not as written.
    pub(crate) fn check(&self) {
        let wrong = self.cases.iter().fold(self.unused_reasons(), |mut wrong, case| {
            for fault in self.faults(case) {
                let _ = writeln!(wrong, "{}: {fault}", case.name);
            }
            wrong
        });
        assert!(wrong.is_empty(), "of {} cases:\n{wrong}", self.cases.len());
    }

    fn faults(&self, case: &Case) -> Vec<String> {
        let mut faults = Vec::new();
        let [alone, shared] = [1, 3].map(|shards| run(&case.spans, shards));
        differ(
            &mut faults,
            "counters with 3 shards",
            &counters(&shared),
            &counters(&alone),
        );
        for (shards, scene) in [(1, alone), (3, shared)] {
            let map = scene.engine.map();
            differ(
                &mut faults,
                &format!("edges with {shards} shards"),
                &edges(&map),
                &case.edges,
            );
            if let Some(flat) = &case.flat {
                differ(&mut faults, "flat edges", &flat_edges(&map), flat);
            }
        }
        let ours = case.flat.as_ref().unwrap_or(&case.edges);
        let comparable: Edges = ours
            .iter()
            .filter_map(|edge| self.source.comparable(edge))
            .collect();
        match &case.theirs {
            Some(theirs) if *theirs == comparable => faults.push("`theirs` are our edges".to_owned()),
            Some(_) if case.because.is_empty() => faults.push("`because` is missing".to_owned()),
            None if !case.because.is_empty() => faults.push("`because` without `theirs`".to_owned()),
            _ => {}
        }
        let unknown = case
            .because
            .iter()
            .filter(|reason| !self.reasons.contains_key(*reason));
        faults.extend(unknown.map(|reason| format!("`{reason}` is none of the reasons")));
        faults
    }

    fn unused_reasons(&self) -> String {
        let used = |reason: &&String| self.cases.iter().any(|case| case.because.contains(reason));
        let unused = self.reasons.keys().filter(|reason| !used(reason));
        unused.fold(String::new(), |text, reason| {
            text + "no case refers to `" + reason + "`\n"
        })
    }
}

impl Source {
    /// An edge of ours in the source's terms; `None` where it has no word for it.
    fn comparable(self, edge: &str) -> Option<String> {
        match self {
            Self::Zipkin if edge.starts_with("user -> ") || edge.starts_with("unknown -> ") => None,
            Self::Zipkin => Some(match edge.split_once(" [").zip(edge.split_once("] ")) {
                Some(((ends, _), (_, counts))) => format!("{ends} {counts}"),
                None => edge.to_owned(),
            }),
            Self::Servicegraph => (!edge.starts_with("unknown -> ")).then(|| edge.to_owned()),
        }
    }
}

fn differ(faults: &mut Vec<String>, what: &str, found: &Edges, expected: &Edges) {
    if found != expected {
        faults.push(format!(
            "{what} are\n  {}\ninstead of\n  {}",
            found.join("\n  "),
            expected.join("\n  ")
        ));
    }
}

/// Seconds after which every trace is closed and what shards ask each other about links is answered.
const LONG: u64 = 10;

/// An engine that took the spans, with the time between them, and closed everything.
fn run(text: &str, shards: usize) -> Scene {
    let mut settings = settings();
    settings.shards = shards;
    let mut scene = Scene::with(settings);
    let mut taken = String::new();
    for line in text.lines() {
        match line
            .trim()
            .strip_prefix("after ")
            .and_then(|time| time.strip_suffix('s'))
        {
            Some(seconds) => {
                let seconds = seconds.parse().expect("`after 5s`");
                scene = scene.take(&std::mem::take(&mut taken)).pass(seconds);
            }
            None => taken = taken + line + "\n",
        }
    }
    scene.take(&taken).pass(LONG)
}

/// What was counted of requests, which must not depend on who owns which trace.
fn counters(scene: &Scene) -> Vec<String> {
    const COUNTED: &[&str] = &[
        "traces_service_graph_request_",
        "traces_spanmetrics_calls_total",
        "tracemap_requests_total",
        "tracemap_failed_total",
        "tracemap_collector_spans_total",
        "tracemap_collector_unnamed_peers_total",
    ];
    let counted = |line: &String| COUNTED.iter().any(|name| line.starts_with(name));
    scene.series().into_iter().filter(counted).collect()
}

fn edges(map: &Map) -> Edges {
    let rows = map.edges.iter();
    sorted(rows.map(|(key, edge)| told(key, edge.stats.requests, edge.stats.failed)))
}

/// Producers and consumers joined directly, as the series with Tempo's names have them.
fn flat_edges(map: &Map) -> Edges {
    let rows = map.flat_edges();
    sorted(rows.iter().map(|row| told(&row.key, row.requests, row.failed)))
}

fn told(key: &EdgeKey, requests: f64, failed: f64) -> String {
    let mut text = format!("{} -> {}", key.client, key.server);
    if key.connection_type != ConnectionType::Direct {
        let _ = write!(text, " [{}]", key.connection_type.as_str());
    }
    let _ = write!(text, " {requests}");
    if failed > 0.0 {
        let _ = write!(text, " failed {failed}");
    }
    text
}

fn sorted(edges: impl Iterator<Item = String>) -> Edges {
    let mut edges: Edges = edges.collect();
    edges.sort();
    edges
}
