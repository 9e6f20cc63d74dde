//! One run: a random system, played to the collector's engine and its alerts, and what they made of it.
//!
//! In: a seed. Out: a [`Trial`] with the pages, beside what really happened.
//! Left out on purpose: how long Alertmanager waits, which delays every page alike.

use std::ops::Range;
use std::path::PathBuf;

use collector::backtest::{self, BacktestSettings, Judged, Learning, Outcome, Page, RecordingReader};
use collector::settings::{CollectorSettings, GenerateSettings};
use map::Services;

use super::parameters::LONG_FAULT_MINUTES;
use super::scenario::{Fault, SECOND, Scenario};
use super::traffic::{self, Traffic};
use crate::Failure;

/// With fewer judged requests during a fault, silence is right.
const ENOUGH_JUDGED: f64 = 50.0;
/// With a smaller shift, silence is right.
const FELT_SHIFT: f64 = 2.0;
/// A fault is still in the window of the rules for so long after its end, nanoseconds.
const AFTERMATH: u64 = 300 * SECOND;

/// What is to be expected of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A fault that must be named: 50 judged requests, a shift of two times.
    Owed,
    /// A fault that may be named.
    Slight,
    /// No fault.
    Healthy,
}

/// What became of the faults of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// The first page names a node at fault, so many seconds after it became slow, and a page names every one that must be.
    Named(f64),
    /// The first page names one of two, and none the other, although it must be named.
    OneOfTwo,
    /// The first page names a node that is not at fault.
    Other,
    /// No page.
    Silent,
}

/// A node at fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Culprit {
    pub(super) id: String,
    pub(super) factor: f64,
    /// When it was slow, nanoseconds since 1970.
    pub(super) during: Range<u64>,
    /// Its requests that could be judged in that time.
    pub(super) judged: f64,
}

impl Culprit {
    fn is_owed(&self) -> bool {
        self.judged >= ENOUGH_JUDGED && self.factor >= FELT_SHIFT
    }

    fn owns(&self, page: &Page) -> bool {
        (self.during.start..self.during.end + AFTERMATH).contains(&page.from)
    }
}

/// Who names all that must be named, where the same faults last [`LONG_FAULT_MINUTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// Pages.
    Page,
    /// Pages or tickets.
    Ticket,
    /// Nobody.
    Nobody,
}

/// One run and its outcome.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) seed: u64,
    pub(super) scenario: Scenario,
    pub(super) spans: usize,
    /// By what the total of the entry operation that suffers most is multiplied in the mean.
    pub(super) felt: f64,
    pub(super) culprits: Vec<Culprit>,
    pub(super) pages: Vec<Page>,
    /// Where a culprit was not named that must be.
    pub(super) later: Option<Later>,
}

impl Trial {
    pub(super) fn class(&self) -> Class {
        if self.culprits.is_empty() {
            Class::Healthy
        } else if self.culprits.iter().any(Culprit::is_owed) {
            Class::Owed
        } else {
            Class::Slight
        }
    }

    /// `None` for a healthy run.
    pub(super) fn answer(&self) -> Option<Answer> {
        let since = self.culprits.first()?.during.start;
        let first = self.during().map(|page| page.from).min();
        let Some(first) = first else {
            return Some(Answer::Silent);
        };
        // Of several pages of one moment the right one counts: nobody can say which came first.
        if !self
            .during()
            .any(|page| page.from == first && self.is_right(page))
        {
            return Some(Answer::Other);
        }
        let is_named = |culprit: &Culprit| self.during().any(|page| page.culprit == culprit.id);
        let mut owed = self.culprits.iter().filter(|culprit| culprit.is_owed());
        Some(if owed.all(is_named) {
            Answer::Named((first - since) as f64 / SECOND as f64)
        } else {
            Answer::OneOfTwo
        })
    }

    /// Pages during a fault that name a node that is not at fault.
    pub(super) fn wrong(&self) -> impl Iterator<Item = &Page> {
        self.during().filter(|page| !self.is_right(page))
    }

    /// Pages while nothing was wrong.
    pub(super) fn idle(&self) -> impl Iterator<Item = &Page> {
        self.pages
            .iter()
            .filter(|page| !self.culprits.iter().any(|culprit| culprit.owns(page)))
    }

    fn during(&self) -> impl Iterator<Item = &Page> {
        self.pages
            .iter()
            .filter(|page| self.culprits.iter().any(|culprit| culprit.owns(page)))
    }

    fn is_right(&self, page: &Page) -> bool {
        self.culprits.iter().any(|culprit| culprit.id == page.culprit)
    }

    /// The run, what could be known and what was said, in one line.
    pub(super) fn line(&self) -> String {
        let judged: Vec<String> = self
            .culprits
            .iter()
            .map(|culprit| format!("{} judged", culprit.judged))
            .collect();
        let since = |page: &Page| (page.from - self.scenario.time.start) as f64 / (60 * SECOND) as f64;
        let pages: Vec<String> = self
            .pages
            .iter()
            .map(|page| format!("{} at {:.1} min", page.culprit, since(page)))
            .collect();
        format!(
            "seed {}: {}; {}; users wait x{:.2}; pages: {}{}",
            self.seed,
            self.scenario.line(),
            if judged.is_empty() {
                "no fault".to_owned()
            } else {
                judged.join(", ")
            },
            self.felt,
            if pages.is_empty() {
                "none".to_owned()
            } else {
                pages.join(", ")
            },
            match self.later {
                None => "",
                Some(Later::Page) => "; lasting longer it is paged",
                Some(Later::Ticket) => "; lasting longer it is a ticket",
                Some(Later::Nobody) => "; lasting longer it is not named either",
            }
        )
    }
}

/// Plays the run of a seed. Rules and series stay in `keep`, where one is given.
pub(super) fn run(seed: u64, keep: Option<PathBuf>) -> Result<Trial, Failure> {
    let scenario = Scenario::draw(seed);
    let (traffic, outcome) = play(&scenario, seed, keep)?;
    let mut trial = Trial {
        seed,
        spans: traffic.spans,
        felt: traffic.felt,
        culprits: culprits(&scenario, &outcome.judged),
        pages: outcome.pages,
        scenario,
        later: None,
    };
    if trial.class() == Class::Owed && matches!(trial.answer(), Some(Answer::Silent | Answer::OneOfTwo)) {
        let scenario = trial.scenario.clone().lasting(LONG_FAULT_MINUTES);
        let (_, outcome) = play(&scenario, seed, None)?;
        trial.later = Some(later(&trial, &outcome));
    }
    Ok(trial)
}

fn later(trial: &Trial, longer: &Outcome) -> Later {
    let pages = |id: &str| longer.pages.iter().any(|page| page.culprit == id);
    let tickets = |id: &str| longer.tickets.iter().any(|ticket| ticket.node == id);
    let mut owed = trial.culprits.iter().filter(|culprit| culprit.is_owed());
    if owed.clone().all(|culprit| pages(&culprit.id)) {
        Later::Page
    } else if owed.all(|culprit| pages(&culprit.id) || tickets(&culprit.id)) {
        Later::Ticket
    } else {
        Later::Nobody
    }
}

fn play(scenario: &Scenario, seed: u64, keep: Option<PathBuf>) -> Result<(Traffic, Outcome), Failure> {
    let traffic = traffic::of(scenario, seed);
    let mut reader = RecordingReader::default();
    for request in &traffic.requests {
        reader
            .take(request)
            .map_err(|error| format!("seed {seed}: no OTLP: {error:?}"))?;
    }
    let collector = CollectorSettings::default();
    let settings = BacktestSettings {
        table: collector.table(false),
        ledger: collector.ledger(Services::default()),
        alerts: GenerateSettings::default().alerts,
        keep,
    };
    let outcome = backtest::run(&reader.finish(), None, Learning::Causal, &settings)
        .map_err(|error| format!("seed {seed}: {error}"))?;
    Ok((traffic, outcome))
}

fn culprits(scenario: &Scenario, judged: &Judged) -> Vec<Culprit> {
    let of = |fault: &Fault| {
        let node = &scenario.system.nodes[fault.node];
        let id = node.id();
        // A database is judged by the calls to it.
        let calls = format!("->{id}");
        let is_its = |name: &str| {
            if node.is_database {
                name.ends_with(&calls)
            } else {
                name == id
            }
        };
        let during = fault.during.clone();
        Culprit {
            judged: judged
                .iter()
                .filter(|(name, _)| is_its(name))
                .fold(0.0, |sum, (_, counts)| sum + increase(counts, &during)),
            factor: fault.factor,
            during,
            id,
        }
    };
    scenario.faults.iter().map(of).collect()
}

/// By how much a counter rose between two times, by the scrapes before each.
fn increase(counts: &[(u64, f64)], during: &Range<u64>) -> f64 {
    let at = |time: u64| {
        let before = counts.partition_point(|(scraped, _)| *scraped <= time);
        before.checked_sub(1).map_or(0.0, |last| counts[last].1)
    };
    at(during.end) - at(during.start)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FAULT: u64 = 2_400 * SECOND;

    /// A run whose fault begins after 40 minutes, with pages at so many seconds after that.
    fn trial(culprits: &[(&str, f64, f64)], pages: &[(&str, u64)]) -> Trial {
        Trial {
            seed: 0,
            scenario: Scenario::draw(0),
            spans: 0,
            felt: 2.0,
            culprits: culprits
                .iter()
                .map(|&(id, factor, judged)| Culprit {
                    id: id.to_owned(),
                    factor,
                    during: FAULT..FAULT + 300 * SECOND,
                    judged,
                })
                .collect(),
            pages: pages
                .iter()
                .map(|&(culprit, after)| Page {
                    culprit: culprit.to_owned(),
                    team: String::new(),
                    from: FAULT + after * SECOND,
                    until: FAULT + (after + 60) * SECOND,
                    symptoms: BTreeSet::new(),
                })
                .collect(),
            later: None,
        }
    }

    #[test]
    fn a_fault_is_owed_a_page_from_fifty_requests_and_twice_the_time_on() {
        assert_eq!(trial(&[("a", 2.0, 50.0)], &[]).class(), Class::Owed);
        assert_eq!(trial(&[("a", 2.0, 49.0)], &[]).class(), Class::Slight);
        assert_eq!(trial(&[("a", 1.9, 500.0)], &[]).class(), Class::Slight);
        assert_eq!(trial(&[], &[]).class(), Class::Healthy);
    }

    #[test]
    fn the_first_page_decides_and_of_two_at_once_the_right_one() {
        let answer = |pages: &[(&str, u64)]| trial(&[("a", 3.0, 99.0)], pages).answer();
        assert_eq!(answer(&[("a", 60), ("b", 90)]), Some(Answer::Named(60.0)));
        assert_eq!(answer(&[("b", 60), ("a", 60)]), Some(Answer::Named(60.0)));
        assert_eq!(answer(&[("b", 60), ("a", 90)]), Some(Answer::Other));
        assert_eq!(answer(&[]), Some(Answer::Silent));
    }

    #[test]
    fn of_two_faults_both_must_be_named_where_both_are_owed() {
        let pages = [("a", 60)];
        let both = trial(&[("a", 3.0, 99.0), ("b", 3.0, 99.0)], &pages);
        assert_eq!(both.answer(), Some(Answer::OneOfTwo));
        let one = trial(&[("a", 3.0, 99.0), ("b", 1.5, 99.0)], &pages);
        assert_eq!(one.answer(), Some(Answer::Named(60.0)));
    }

    #[test]
    fn a_page_that_names_no_culprit_is_wrong_and_one_outside_of_the_fault_is_idle() {
        let trial = trial(&[("a", 3.0, 99.0)], &[("a", 60), ("b", 120), ("a", 601)]);
        assert_eq!(
            trial.wrong().map(|page| &*page.culprit).collect::<Vec<_>>(),
            ["b"]
        );
        assert_eq!(trial.idle().count(), 1);
    }

    #[test]
    fn requests_are_counted_between_two_scrapes() {
        let counts = [(10, 5.0), (20, 8.0), (30, 20.0)];
        assert!((increase(&counts, &(20..30)) - 12.0).abs() < f64::EPSILON);
        assert!((increase(&counts, &(0..25)) - 8.0).abs() < f64::EPSILON);
    }
}
