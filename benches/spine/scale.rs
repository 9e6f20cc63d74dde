//! What the cost of a span depends on: traces in flight, services and edges, spans sent before; and how soon an edge shows.
//!
//! In: rounds, and whether it is quick. Out: [`Figures`].
//! Left out on purpose: peers and durability. These figures compare the collector with itself.

use std::path::Path;
use std::time::{Duration, Instant};

use map::catalogue as names;
use serde::Serialize;

use crate::entry::Entry;
use crate::load::{Fleet, WIDE_EDGES, WIDE_SPANS, first_sight, new_name};
use crate::process::{Contestant, until};
use crate::sender::Sender;
use crate::shape::SERVICES;
use crate::stat::Spread;
use crate::{Failure, http};

/// Spans of each trace in flight.
const SPANS_IN_FLIGHT: u64 = SERVICES as u64;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) traces_in_flight: u64,
    pub(crate) spans_per_turn: u64,
    /// Spans sent to one fresh process after the other, in each round.
    pub(crate) steps: [u64; 3],
    pub(crate) first_sights: u64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) in_flight: InFlight,
    pub(crate) breadth: Breadth,
    pub(crate) steps: Vec<Step>,
    /// Seconds from sending both halves of a trace of new services, whose spans ended just now, to its edges in the map.
    pub(crate) edge_visible_seconds: Spread,
}

/// Many traces that wait for more.
#[derive(Debug, Serialize)]
pub(crate) struct InFlight {
    pub(crate) traces: u64,
    pub(crate) spans: u64,
    pub(crate) rss_before_mib: f64,
    pub(crate) rss_mib: f64,
    /// What the process grew by, over the spans.
    pub(crate) rss_bytes_per_span: f64,
    /// What the trace table says that it occupies, over the spans.
    pub(crate) table_bytes_per_span: f64,
}

/// Ten services, and a thousand.
#[derive(Debug, Serialize)]
pub(crate) struct Breadth {
    pub(crate) edges: u64,
    /// CPU-seconds for a million spans.
    pub(crate) narrow: Spread,
    pub(crate) wide: Spread,
    /// The second over the first of the same round.
    pub(crate) ratio: Spread,
    pub(crate) wide_peak_rss_mib: f64,
}

/// Spans sent to a process that had had those of the steps before.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) spans: u64,
    /// CPU-seconds for a million spans.
    pub(crate) cpu_seconds_per_million: Spread,
}

/// Measures all of it, one after the other.
pub(crate) fn measure(plan: &Plan) -> Result<Figures, Failure> {
    let scratch = tempfile::tempdir()?;
    let narrow = Sender::new(Fleet::Shop)?;
    eprintln!("scale: traces in flight");
    let in_flight = in_flight(plan, scratch.path(), &narrow)?;
    let breadth = breadth(plan, scratch.path(), &narrow)?;
    let steps = steps(plan, scratch.path(), &narrow)?;
    eprintln!("scale: first sights");
    let edge_visible_seconds = first_sights(plan, scratch.path(), &narrow)?;
    Ok(Figures {
        in_flight,
        breadth,
        steps,
        edge_visible_seconds,
    })
}

fn in_flight(plan: &Plan, scratch: &Path, sender: &Sender) -> Result<InFlight, Failure> {
    // The budget is out of the way: what they occupy is the figure.
    let settings = ["pairing: { wait: 10m, max_wait: 10m, max_memory: 4GiB }".to_owned()];
    let entry = Entry::collector("in-flight", scratch, &settings)?;
    let (before, _) = entry.process.rss_mib()?;
    let sent = sender.send_unpaired(entry.grpc, plan.traces_in_flight * SPANS_IN_FLIGHT)?;
    let traces = sent.spans / SPANS_IN_FLIGHT;
    let web = entry.web().ok_or("the collector has pages")?;
    let has_all = |page: &str| http::sum(page, names::COLLECTOR_TRACES, r#"state="open""#) >= traces as f64;
    let page = until("not every trace was open", web, "/metrics", LOOK_EVERY, has_all)?;
    let (after, _) = entry.process.rss_mib()?;
    Ok(InFlight {
        traces,
        spans: sent.spans,
        rss_before_mib: before,
        rss_mib: after,
        rss_bytes_per_span: (after - before) * f64::from(1 << 20) / sent.spans as f64,
        table_bytes_per_span: http::sum(&page, names::COLLECTOR_TABLE_BYTES, "") / sent.spans as f64,
    })
}

fn breadth(plan: &Plan, scratch: &Path, shop: &Sender) -> Result<Breadth, Failure> {
    let fleet = Sender::new(Fleet::Wide)?;
    let mut narrow = Entry::collector("narrow", scratch, &[])?;
    let mut wide = Entry::collector("wide", scratch, &[])?;
    eprintln!("scale: {WIDE_EDGES} edges, warm-up");
    cpu_per_million(&mut wide, &fleet, WIDE_SPANS)?;
    cpu_per_million(&mut narrow, shop, WIDE_SPANS)?;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        eprintln!("scale: {WIDE_EDGES} edges, round {round} of {}", plan.rounds);
        let few = cpu_per_million(&mut narrow, shop, plan.spans_per_turn)?;
        rounds.push((few, cpu_per_million(&mut wide, &fleet, plan.spans_per_turn)?));
    }
    narrow.check()?;
    wide.check()?;
    let csv = wide
        .page("/api/v1/map?format=csv")
        .ok_or("the collector has pages")??;
    let edges = csv.lines().count() as u64 - 1;
    if edges != WIDE_EDGES {
        return Err(format!("no figure: of {WIDE_EDGES} edges the map has {edges}").into());
    }
    Ok(Breadth {
        edges,
        narrow: Spread::of(rounds.iter().map(|(few, _)| *few)),
        wide: Spread::of(rounds.iter().map(|(_, many)| *many)),
        ratio: Spread::of(rounds.iter().map(|(few, many)| many / few)),
        wide_peak_rss_mib: wide.process.rss_mib()?.1,
    })
}

fn cpu_per_million(entry: &mut Entry, sender: &Sender, spans: u64) -> Result<f64, Failure> {
    let (sent, cpu) = entry.feed(sender, spans, Contestant::cpu_seconds_of_threads)?;
    Ok(cpu * 1e6 / sent.spans as f64)
}

fn steps(plan: &Plan, scratch: &Path, sender: &Sender) -> Result<Vec<Step>, Failure> {
    let mut costs: [Vec<f64>; 3] = Default::default();
    for round in 1..=plan.rounds {
        eprintln!("scale: spans sent before, round {round} of {}", plan.rounds);
        let mut entry = Entry::collector("steps", scratch, &[])?;
        for (spans, costs) in plan.steps.iter().zip(&mut costs) {
            costs.push(cpu_per_million(&mut entry, sender, *spans)?);
        }
        entry.check()?;
    }
    let steps = plan.steps.iter().zip(costs);
    Ok(steps
        .map(|(spans, costs)| Step {
            spans: *spans,
            cpu_seconds_per_million: Spread::of(costs),
        })
        .collect())
}

fn first_sights(plan: &Plan, scratch: &Path, sender: &Sender) -> Result<Spread, Failure> {
    let entry = Entry::collector("first-sight", scratch, &[])?;
    let web = entry.web().ok_or("the collector has pages")?;
    let mut seconds = Vec::new();
    for number in 0..plan.first_sights {
        let halves = first_sight(number)?;
        let names = [0, 1].map(|place| new_name(number, place));
        let is_ours = |edge: &str| {
            edge.split(',')
                .zip(&names)
                .filter(|(end, name)| end.ends_with(*name))
                .count()
                == 2
        };
        let sent = Instant::now();
        sender.send_these(entry.grpc, halves)?;
        let shows = |map: &str| map.lines().any(is_ours);
        until(
            "a new edge did not show",
            web,
            "/api/v1/map?format=csv",
            LOOK_EVERY,
            shows,
        )?;
        seconds.push(sent.elapsed().as_secs_f64());
    }
    Ok(Spread::of(seconds))
}
