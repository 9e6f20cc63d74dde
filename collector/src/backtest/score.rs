//! What pages were worth, given what really happened.
//!
//! In: pages, faults, the recording and its map. Out: a [`Score`] with the level that chance alone would reach.
//! A page belongs to the latest fault in whose window it went out. Left out on purpose: tickets, which wake nobody.

use std::collections::BTreeSet;
use std::ops::Range;

use map::{Map, NodeKind};

use super::faults::Class;
use super::pages::Page;
use super::recording::Recording;
use crate::backtest::Fault;

const MINUTE: u64 = 60_000_000_000;
/// Mean delay in seconds of a page at any time from a minute before a label, where it has none, to five minutes after.
const RANDOM_DELAY: f64 = 300.0 * 300.0 / 2.0 / 360.0;
const WEEK_SECONDS: f64 = 7.0 * 86_400.0;

/// What became of one fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The label.
    pub fault: Fault,
    /// What may be expected of it.
    pub class: Class,
    /// The answer of the pages.
    pub verdict: Verdict,
}

/// How the pages answered a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The first page named it, so many seconds after the label.
    Named(f64),
    /// No page named another, and one that names it was still open from before.
    StillOpen,
    /// The first page named another; a later one named it after so many seconds, if any did.
    Other {
        /// Who was named first.
        culprit: String,
        /// When the right one followed.
        followed: Option<f64>,
    },
    /// No page.
    Silent,
}

impl Verdict {
    /// True where the first page names the node at fault.
    pub fn is_right(&self) -> bool {
        matches!(self, Self::Named(_) | Self::StillOpen)
    }
}

/// How long who was watched while nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// Services of the map.
    pub services: usize,
    /// Minutes outside of all labels, in which spans came.
    pub healthy_minutes: usize,
    /// Services times weeks of them.
    pub service_weeks: f64,
}

/// What as many pages at random times about random nodes would reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// Share of the pages that would be right.
    pub precision: f64,
    /// Share of the faults that some page would name.
    pub recall: f64,
    /// Share of the faults with a page whose first would name the culprit.
    pub first: f64,
    /// Pages outside of all labels.
    pub false_pages: f64,
    /// Mean delay in seconds of a page that falls into a fault's window.
    pub delay: f64,
}

/// What the pages of a recording were worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Every fault of which the recording holds spans.
    pub hits: Vec<Hit>,
    /// Labels at whose time nothing was recorded.
    pub not_recorded: usize,
    /// Pages that name a node that was at fault then.
    pub right: usize,
    /// Pages during a fault that name another.
    pub wrong: Vec<Page>,
    /// Pages during a control, where no latency was changed.
    pub on_controls: Vec<Page>,
    /// Pages outside of all labels.
    pub false_pages: Vec<Page>,
    /// Time and services in which false pages had a chance.
    pub exposure: Exposure,
    /// The level of chance.
    pub chance: Chance,
}

impl Score {
    /// Right pages among all; `None` without any.
    pub fn precision(&self) -> Option<f64> {
        let all = self.right + self.wrong.len() + self.on_controls.len() + self.false_pages.len();
        (all > 0).then(|| self.right as f64 / all as f64)
    }

    /// Faults of a class whose first page was right, and all of the class.
    pub fn named(&self, class: Class) -> (usize, usize) {
        let of_class = || self.hits.iter().filter(|hit| hit.class == class);
        (
            of_class().filter(|hit| hit.verdict.is_right()).count(),
            of_class().count(),
        )
    }

    /// Faults that some page named, and all to which a page is owed.
    pub fn recalled(&self) -> (usize, usize) {
        let owed = || self.hits.iter().filter(|hit| hit.class.is_owed());
        let found = |hit: &&Hit| match &hit.verdict {
            Verdict::Other { followed, .. } => followed.is_some(),
            verdict => verdict.is_right(),
        };
        (owed().filter(found).count(), owed().count())
    }

    /// Of the faults to which a page is owed and that had one: those whose first was right, and all.
    pub fn first(&self) -> (usize, usize) {
        let paged = || {
            let owed = self.hits.iter().filter(|hit| hit.class.is_owed());
            owed.filter(|hit| hit.verdict != Verdict::Silent)
        };
        (
            paged().filter(|hit| hit.verdict.is_right()).count(),
            paged().count(),
        )
    }

    /// The delays of right first pages in seconds, ascending. Those still open from before have none.
    pub fn delays(&self) -> Vec<f64> {
        let mut delays: Vec<f64> = self
            .hits
            .iter()
            .filter_map(|hit| match hit.verdict {
                Verdict::Named(delay) if hit.class.is_owed() => Some(delay),
                _ => None,
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        delays
    }
}

/// The middle of ascending numbers; `None` for none.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Holds pages against faults.
pub(super) fn score(pages: &[Page], faults: &[Fault], recording: &Recording, map: &Map) -> Score {
    let is_recorded = |fault: &&Fault| recording.count(&(fault.at..fault.window().end)) > 0;
    let (recorded, not_recorded): (Vec<&Fault>, Vec<&Fault>) = faults.iter().partition(is_recorded);
    let owner = |page: &Page| {
        let during = |fault: &&&Fault| fault.window().contains(&page.from);
        recorded.iter().rev().find(during).copied()
    };
    let mut score = Score {
        hits: recorded.iter().map(|fault| hit(fault, pages, owner)).collect(),
        not_recorded: not_recorded.len(),
        right: 0,
        wrong: Vec::new(),
        on_controls: Vec::new(),
        false_pages: Vec::new(),
        exposure: exposure(faults, recording, map),
        chance: Chance {
            precision: 0.0,
            recall: 0.0,
            first: 0.0,
            false_pages: 0.0,
            delay: 0.0,
        },
    };
    for page in pages {
        match owner(page) {
            Some(fault) if fault.class() == Class::Control => score.on_controls.push(page.clone()),
            Some(fault) if fault.is_at(&page.culprit) => score.right += 1,
            Some(_) => score.wrong.push(page.clone()),
            None => score.false_pages.push(page.clone()),
        }
    }
    score.chance = chance(&recorded, pages.len(), recording, map);
    score
}

fn hit<'a>(fault: &Fault, pages: &[Page], owner: impl Fn(&Page) -> Option<&'a Fault>) -> Hit {
    let delay = |page: &Page| page.from.saturating_sub(fault.at) as f64 / 1e9;
    let own: Vec<&Page> = pages.iter().filter(|page| owner(page) == Some(fault)).collect();
    let right = || own.iter().filter(|page| fault.is_at(&page.culprit));
    // Of several pages of one moment the right one counts: nobody can say which came first.
    let first = own.first().map(|first| {
        let same = right().find(|page| page.from == first.from);
        same.unwrap_or(first)
    });
    let open = |page: &&Page| {
        page.from < fault.window().start && page.until > fault.at && fault.is_at(&page.culprit)
    };
    let verdict = match first {
        Some(page) if fault.is_at(&page.culprit) => Verdict::Named(delay(page)),
        Some(page) => Verdict::Other {
            culprit: page.culprit.clone(),
            followed: right().next().map(|page| delay(page)),
        },
        None if pages.iter().any(|page| open(&page)) => Verdict::StillOpen,
        None => Verdict::Silent,
    };
    Hit {
        fault: fault.clone(),
        class: fault.class(),
        verdict,
    }
}

/// Nodes that can be named: all but those who stand for users and the unknown.
fn candidates(map: &Map) -> usize {
    let nobody = |kind: NodeKind| matches!(kind, NodeKind::User | NodeKind::Unknown);
    map.nodes
        .values()
        .filter(|node| !nobody(node.kind))
        .count()
        .max(1)
}

fn exposure(faults: &[Fault], recording: &Recording, map: &Map) -> Exposure {
    let windows: Vec<Range<u64>> = faults.iter().map(Fault::window).collect();
    let healthy = |minute: &&u64| {
        let (from, until) = (*minute * MINUTE, (*minute + 1) * MINUTE);
        !windows
            .iter()
            .any(|window| from < window.end && until > window.start)
    };
    let healthy_minutes = minutes(recording).iter().filter(healthy).count();
    let services = map
        .nodes
        .values()
        .filter(|node| node.kind == NodeKind::Service)
        .count();
    Exposure {
        services,
        healthy_minutes,
        service_weeks: services as f64 * healthy_minutes as f64 * 60.0 / WEEK_SECONDS,
    }
}

/// Minutes in which a span ended.
fn minutes(recording: &Recording) -> BTreeSet<u64> {
    recording
        .spans()
        .iter()
        .map(|received| received.span.end / MINUTE)
        .collect()
}

fn chance(faults: &[&Fault], pages: usize, recording: &Recording, map: &Map) -> Chance {
    let all = minutes(recording);
    let within = |window: &Range<u64>| {
        let (from, until) = (window.start.div_ceil(MINUTE), window.end.div_ceil(MINUTE));
        all.range(from..until.max(from)).count() as f64
    };
    let (observed, one) = (all.len().max(1) as f64, 1.0 / candidates(map) as f64);
    let real = || {
        faults
            .iter()
            .filter(|fault| fault.class() != Class::Control)
            .map(|fault| fault.window())
    };
    let labelled: f64 = faults.iter().map(|fault| within(&fault.window())).sum();
    let owed: Vec<f64> = faults
        .iter()
        .filter(|fault| fault.class().is_owed())
        .map(|fault| 1.0 - (1.0 - within(&fault.window()) / observed * one).powf(pages as f64))
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Chance {
        precision: real().map(|window| within(&window)).sum::<f64>() / observed * one,
        recall: mean(&owed),
        first: one,
        false_pages: pages as f64 * (1.0 - labelled / observed).max(0.0),
        delay: RANDOM_DELAY,
    }
}
