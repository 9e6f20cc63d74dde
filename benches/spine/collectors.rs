//! The collector beside its peers: CPU and memory for the same spans, and how long an acknowledgement takes.
//!
//! In: how many spans and rounds. Out: [`Figures`], or a failure where a span was not accounted for.
//! Left out on purpose: the most that each can take. With one machine for both sides that would measure the sender too.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Failure;
use crate::entry::Entry;
use crate::load::{BATCH, Fleet};
use crate::peers::Role;
use crate::process::Contestant;
use crate::sender::{Sender, Sent, Timed};
use crate::stat::{Spread, quantile};

/// How many bare writes are timed.
const WRITES: usize = 400;

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) spans_per_turn: u64,
    /// How long each contestant is sent to on a schedule.
    pub(crate) timed: Duration,
    pub(crate) otelcol: Option<PathBuf>,
    pub(crate) rotel: Option<PathBuf>,
    /// Only contestants whose name has this in it; the first of them stands for the collector in ratios.
    pub(crate) contestant: String,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) spans_per_turn: u64,
    pub(crate) bytes_per_span: f64,
    /// The collector first.
    pub(crate) contestants: Vec<Figure>,
    /// A write of one request's bytes and an fdatasync, in a loop of nothing else.
    pub(crate) bare_sync: Quantiles,
}

/// One contestant's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// User and system seconds for a million spans, one value a round.
    pub(crate) cpu_seconds_per_million: Spread,
    /// The same over the collector's of the same round.
    pub(crate) times_the_collector: Spread,
    /// Spans acknowledged in a second, with the sender on the same machine.
    pub(crate) spans_per_second: Spread,
    /// Spans acknowledged in a second over a turn that is long enough for the work behind the acknowledgement to be in it.
    pub(crate) sustained_spans_per_second: f64,
    /// The same as the first, from the start of the process to its end, whatever it did between its turns.
    pub(crate) cpu_seconds_per_million_whole_life: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) spans: u64,
    /// Requests sent again because the contestant asked for a pause.
    pub(crate) retries: u64,
    pub(crate) on_time: OnTime,
}

/// At half of the rate that it sustains.
#[derive(Debug, Serialize)]
pub(crate) struct OnTime {
    pub(crate) spans_per_second: f64,
    /// From the instant a request was due to its acknowledgement.
    pub(crate) acknowledged: Quantiles,
    /// From there to its sending: the part that is the sender's own.
    pub(crate) lateness: Quantiles,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the unit stands in the line of JSON too"
)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Starts all contestants, lets them take turns, and checks that the collector counted every span.
pub(crate) fn measure(plan: &Plan) -> Result<Figures, Failure> {
    let scratch = tempfile::tempdir()?;
    let mut contestants = contestants(plan, scratch.path())?;
    let sender = Sender::new(Fleet::Shop)?;
    for round in 0..=plan.rounds {
        eprintln!(
            "collector: round {round} of {}{}",
            plan.rounds,
            if round == 0 { " (warm-up)" } else { "" }
        );
        for (entry, turns) in &mut contestants {
            let turn = take_turn(entry, &sender, plan.spans_per_turn)?;
            turns.extend((round > 0).then_some(turn));
        }
    }
    let mut figures = Vec::new();
    let collector = contestants
        .first()
        .map(|(_, turns)| turns.clone())
        .unwrap_or_default();
    for (entry, turns) in &mut contestants {
        eprintln!("collector: on a schedule, {}", entry.name);
        let sustained = sustained(entry, &sender, turns, plan.timed)?;
        let rate = sustained / 2.0;
        let whole_life = entry.process.cpu_seconds()? * 1e6 / entry.spans as f64;
        let timed = sender.send_on_time(entry.grpc, rate, plan.timed)?;
        entry.took(timed.spans, timed.retries);
        entry.settle(Contestant::cpu_seconds)?;
        entry.check()?;
        figures.push(figure(
            entry,
            turns,
            &collector,
            (sustained, whole_life),
            OnTime::of(rate, &timed),
        )?);
    }
    Ok(Figures {
        spans_per_turn: plan.spans_per_turn,
        bytes_per_span: sender.bytes_per_span(),
        contestants: figures,
        bare_sync: bare_sync(scratch.path(), (sender.bytes_per_span() * BATCH as f64) as usize)?,
    })
}

fn contestants(plan: &Plan, scratch: &Path) -> Result<Vec<(Entry, Vec<Turn>)>, Failure> {
    let kept = |name: &str, durability: &str| {
        let dir = scratch.join(name);
        [
            format!("data_dir: '{}'", dir.display()),
            format!("journal: {{ durability: {durability} }}"),
        ]
    };
    let mut entries = vec![
        Entry::collector("collector: map and metrics", scratch, &[])?,
        Entry::collector("collector: journal sync, store", scratch, &kept("sync", "sync"))?,
        Entry::collector(
            "collector: journal write, store",
            scratch,
            &kept("write", "write"),
        )?,
        Entry::peer("floor: same intake, message dropped", Role::Drop)?,
        Entry::peer("tonic with prost, message dropped", Role::Prost)?,
    ];
    if let Some(path) = &plan.otelcol {
        entries.push(Entry::otelcol(path, scratch)?);
    }
    if let Some(path) = &plan.rotel {
        entries.push(Entry::rotel(path, scratch)?);
    }
    entries.retain(|entry| entry.name.contains(&plan.contestant));
    Ok(entries.into_iter().map(|entry| (entry, Vec::new())).collect())
}

#[derive(Clone, Copy)]
struct Turn {
    cpu_per_million: f64,
    spans_per_second: f64,
}

fn take_turn(entry: &mut Entry, sender: &Sender, spans: u64) -> Result<Turn, Failure> {
    let (Sent { spans, took, .. }, cpu) = entry.feed(sender, spans, Contestant::cpu_seconds)?;
    Ok(Turn {
        cpu_per_million: cpu * 1e6 / spans as f64,
        spans_per_second: spans as f64 / took.as_secs_f64(),
    })
}

/// What it takes when it is sent as much as it takes for a while. A short turn shows how fast it acknowledges: what it
/// puts off until a trace is quiet is not in it.
fn sustained(entry: &mut Entry, sender: &Sender, turns: &[Turn], length: Duration) -> Result<f64, Failure> {
    let burst = Spread::of(turns.iter().map(|turn| turn.spans_per_second)).median;
    let spans = (burst * length.as_secs_f64()) as u64;
    let (Sent { spans, took, .. }, _) = entry.feed(sender, spans, Contestant::cpu_seconds)?;
    Ok(spans as f64 / took.as_secs_f64())
}

fn figure(
    entry: &Entry,
    turns: &[Turn],
    collector: &[Turn],
    (sustained_spans_per_second, cpu_seconds_per_million_whole_life): (f64, f64),
    on_time: OnTime,
) -> Result<Figure, Failure> {
    let pairs = turns.iter().zip(collector);
    Ok(Figure {
        name: entry.name,
        cpu_seconds_per_million: Spread::of(turns.iter().map(|turn| turn.cpu_per_million)),
        times_the_collector: Spread::of(pairs.map(|(own, ours)| own.cpu_per_million / ours.cpu_per_million)),
        spans_per_second: Spread::of(turns.iter().map(|turn| turn.spans_per_second)),
        sustained_spans_per_second,
        cpu_seconds_per_million_whole_life,
        peak_rss_mib: entry.process.rss_mib()?.1,
        spans: entry.spans,
        retries: entry.retries,
        on_time,
    })
}

/// What the disk itself takes for one request, when nobody else writes.
fn bare_sync(scratch: &Path, bytes: usize) -> Result<Quantiles, Failure> {
    let mut file = File::create(scratch.join("bare"))?;
    let body = vec![0x5a; bytes];
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let start = Instant::now();
        file.write_all(&body)?;
        file.sync_data()?;
        took.push(start.elapsed().as_nanos() as u64);
    }
    took.sort_unstable();
    Ok(Quantiles::of(&took))
}

impl OnTime {
    fn of(spans_per_second: f64, timed: &Timed) -> Self {
        Self {
            spans_per_second,
            acknowledged: Quantiles::of(&timed.acknowledged),
            lateness: Quantiles::of(&timed.lateness),
            requests: timed.acknowledged.len() as u64,
            retries: timed.retries,
        }
    }
}

impl Quantiles {
    /// Of sorted nanoseconds.
    fn of(sorted: &[u64]) -> Self {
        let at = |share| (quantile(sorted, share) as f64 / 1e4).round() / 1e2;
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}
