//! Which pages the generated alerts would have sent on recorded traces, against what really happened.
//!
//! In: recorded traces, labelled faults, and the settings of collector and alerts. Out: an [`Outcome`] for each way of
//! learning baselines: pages, and what they were worth.
//! The spans go through the [`engine`](crate::engine) in event time, its series are scraped as often as the rules are
//! evaluated, and promtool evaluates the generated rule file over them. Nothing here knows what a rule says.
//! Left out on purpose: a rule evaluation of our own, which would be right about itself only; Alertmanager's waits, which
//! add `group_wait` to every page alike.

mod faults;
mod pages;
mod promtool;
mod recording;
mod report;
mod sampled;
mod score;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use alerts::AlertSettings;
use map::Map;

use crate::engine::{Engine, EngineSettings};
use crate::ledger::LedgerSettings;
use crate::read::Extracted;
use crate::table::TableSettings;

pub use faults::{Fault, FaultsError, read_faults};
pub use pages::{Page, Ticket};
pub use promtool::PromtoolError;
pub use recording::{Recording, RecordingReader};
pub use report::{json, text};
pub use sampled::{ENOUGH_TRACES, Sampled, Survived, sampled, sampled_text};
pub use score::{Chance, Exposure, Hit, Score, Verdict};
pub use timeline::Judged;

use timeline::Timeline;

/// Spans are handed over and traces closed this often, nanoseconds of event time.
const TICK: u64 = 1_000_000_000;
/// So long after its last span a recording is still watched, so that its last minutes can be judged.
const AFTERMATH: u64 = 120_000_000_000;
/// What is learned offline is learned so long before the recording begins, nanoseconds.
const BEFORE: u64 = 3_600_000_000_000;

/// An operation that never had the requests that the collector waits for is judged offline from so many on: there are no
/// more, and the expected share, by Laplace's rule, says how little that is.
const ENOUGH: u64 = 30;

/// From when what is learned is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    /// As the collector does it: each request is judged by what came before it.
    Causal,
    /// From the whole recording but the labelled faults, before any of it is judged: what a collector knows that has
    /// watched for weeks.
    Offline,
}

impl Learning {
    /// The word for it in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Causal => "causal",
            Self::Offline => "offline",
        }
    }
}

/// What a backtest needs to be told besides traces and faults.
#[derive(Clone, Debug)]
pub struct BacktestSettings {
    /// Waiting and keeping.
    pub table: TableSettings,
    /// Learning, budgets, and what people state: owners are read from here.
    pub ledger: LedgerSettings,
    /// What is generated.
    pub alerts: AlertSettings,
    /// Where the rules and the series stay, in a directory for each way of learning, for whoever wants to ask promtool
    /// more; nowhere by default.
    pub keep: Option<PathBuf>,
}

/// What would have happened, learned one way.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How baselines were learned.
    pub learning: Learning,
    /// Pages, in the order in which they went out.
    pub pages: Vec<Page>,
    /// Tickets, likewise.
    pub tickets: Vec<Ticket>,
    /// What the pages are worth; `None` where no faults were given.
    pub score: Option<Score>,
    /// How many requests could be judged at all, so that a silence can be understood.
    pub judged: Judged,
}

/// Plays the recording through the collector and its rules.
///
/// `faults` is `None` where nobody knows what happened.
///
/// # Errors
/// [`PromtoolError`] where promtool is absent or says what nobody can read.
pub fn run(
    recording: &Recording,
    faults: Option<&[Fault]>,
    learning: Learning,
    settings: &BacktestSettings,
) -> Result<Outcome, PromtoolError> {
    let every = settings.alerts.evaluation_interval;
    let (timeline, map) = play(recording, faults.unwrap_or_default(), learning, settings);
    let files = alerts::generate(&map, &settings.alerts);
    let rules = files.get(alerts::RULES_PATH).map_or("", String::as_str);
    let keep = settings.keep.as_ref().map(|dir| dir.join(learning.as_str()));
    let firing = promtool::evaluate(rules, every, &timeline, keep.as_deref())?;
    let (pages, tickets) = pages::of(&firing, &timeline);
    let score = faults.map(|faults| score::score(&pages, faults, recording, &map));
    Ok(Outcome {
        learning,
        pages,
        tickets,
        score,
        judged: timeline.into_judged(),
    })
}

/// The series of the recording, and the map at its end.
fn play(
    recording: &Recording,
    faults: &[Fault],
    learning: Learning,
    settings: &BacktestSettings,
) -> (Timeline, Map) {
    let mut engine = begun(recording, faults, learning, settings);
    let (first, last) = recording.extent();
    let step = u64::try_from(settings.alerts.evaluation_interval.get().as_nanos()).unwrap_or(u64::MAX);
    let mut timeline = Timeline::new(first, step);
    let until = last + AFTERMATH;
    feed(
        &mut engine,
        recording,
        |time| time,
        |engine, now| timeline.scrape(engine, now),
    );
    let mut now = last - last % TICK;
    while now < until {
        now += TICK;
        engine.tick(now);
        timeline.scrape(&engine, now);
    }
    (timeline, engine.map())
}

/// An engine that has learned what may be learned before the recording begins.
fn begun(recording: &Recording, faults: &[Fault], learning: Learning, settings: &BacktestSettings) -> Engine {
    let mut ledger = settings.ledger.clone();
    // Nothing is stale in a recording: it may have gaps of a day, and what was learned comes from before it.
    ledger.stale_after = Duration::MAX;
    if learning == Learning::Offline {
        // The past is moved, so its hours are not those of the clock.
        ledger.baseline.hours = false;
    }
    let mut engine = Engine::new(EngineSettings {
        table: TableSettings {
            max_bytes: usize::MAX,
            max_trace_bytes: None,
            places: false,
            ..settings.table
        },
        ledger,
        shards: 1,
    });
    let (first, last) = recording.extent();
    if learning == Learning::Offline {
        let labelled: Vec<_> = faults.iter().map(Fault::window).collect();
        let healthy = recording.outside(&labelled);
        let back = last.saturating_sub(first) + BEFORE;
        feed(&mut engine, &healthy, |time| time.saturating_sub(back), |_, _| ());
        engine.finish(first.saturating_sub(BEFORE / 2));
        engine.hold_baselines(ENOUGH, first.saturating_sub(BEFORE / 2));
    }
    engine
}

/// Hands the spans over in the order of their ends, by the second. `clock` says what time it is when one ends.
fn feed(
    engine: &mut Engine,
    recording: &Recording,
    clock: impl Fn(u64) -> u64,
    mut each: impl FnMut(&Engine, u64),
) {
    let mut rest = recording.spans();
    let Some(first) = rest.first() else { return };
    let mut now = first.span.end - first.span.end % TICK;
    let _ = engine.take(recording.introduction(), clock(now));
    while !rest.is_empty() {
        now += TICK;
        let (ended, later) = rest.split_at(rest.partition_point(|received| received.span.end <= now));
        rest = later;
        if !ended.is_empty() {
            let taken = engine.take(
                Extracted {
                    spans: ended.to_vec(),
                    ..Extracted::default()
                },
                clock(now),
            );
            debug_assert!(taken.is_ok(), "a table without a bound is never full");
        }
        engine.tick(clock(now));
        each(engine, now);
    }
}
