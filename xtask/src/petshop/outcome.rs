//! What the pages were worth.
//!
//! In: labels, what fired. Out: a line for each issue, and the page for `docs/proofs`.
//! Left out on purpose: tickets, which wake nobody.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use alerts::recorded::Firing;

use crate::Failure;

/// An injected issue.
pub(crate) struct Label {
    /// Its directory below the set.
    pub(crate) case: String,
    metric: String,
    root_cause: String,
}

impl Label {
    fn is_of_latency(&self) -> bool {
        self.metric == "latency"
    }
}

/// The labels of the set, those of latency first.
///
/// # Errors
/// A file that cannot be read or lacks a column.
pub(crate) fn labels(path: &Path) -> Result<Vec<Label>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    let column = |name: &str| {
        let place = head.iter().position(|column| *column == name);
        place.ok_or_else(|| format!("`{}` has no column `{name}`", path.display()))
    };
    let (case, metric, cause) = (
        column("case")?,
        column("target_metric")?,
        column("root_cause_node")?,
    );
    let cell = |line: &[&str], place: usize| line.get(place).copied().unwrap_or_default().to_owned();
    let mut labels: Vec<Label> = lines
        .map(|line| Label {
            case: cell(&line, case),
            metric: cell(&line, metric),
            root_cause: cell(&line, cause),
        })
        .collect();
    labels.sort_by_key(|label| !label.is_of_latency());
    Ok(labels)
}

/// The culprits that page at a scrape.
fn pages(firing: &[Firing]) -> BTreeSet<&str> {
    let pages = firing
        .iter()
        .filter(|alert| alert.get("severity").is_some_and(|s| s == "page"));
    pages
        .filter_map(|alert| alert.get("culprit").map(String::as_str))
        .collect()
}

/// What came of an issue.
pub(crate) struct Issue {
    label: Label,
    /// The row, from 0, and the culprits of the first new page; several where they came at one evaluation.
    first: Option<(usize, Vec<String>)>,
    /// All culprits that were paged.
    all: BTreeSet<String>,
}

impl Issue {
    /// `from` is the first scrape of the issue.
    pub(crate) fn new(label: Label, firing: &[Vec<Firing>], from: usize, per_row: usize) -> Self {
        let before = firing
            .get(from.saturating_sub(1))
            .map(|alerts| pages(alerts))
            .unwrap_or_default();
        let (mut first, mut all) = (None, BTreeSet::new());
        for (scrape, alerts) in firing.iter().enumerate().skip(from) {
            let new: Vec<String> = pages(alerts).difference(&before).map(|&c| c.to_owned()).collect();
            if first.is_none() && !new.is_empty() {
                first = Some(((scrape - from) / per_row, new.clone()));
            }
            all.extend(new);
        }
        Self { label, first, all }
    }

    fn is_of_latency(&self) -> bool {
        self.label.is_of_latency()
    }

    /// True where the first page named the root cause and nothing else.
    fn is_right(&self) -> bool {
        matches!(&self.first, Some((_, first)) if *first == [self.label.root_cause.as_str()])
    }

    fn is_among_first(&self) -> bool {
        matches!(&self.first, Some((_, first)) if first.contains(&self.label.root_cause))
    }

    fn is_named(&self) -> bool {
        self.all.contains(&self.label.root_cause)
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let Label {
            case,
            metric,
            root_cause,
        } = &self.label;
        let case = case.trim_start_matches("high_traffic/");
        let outcome = match &self.first {
            None => "silent".to_owned(),
            Some((row, _)) if self.is_right() => format!("named in row {row}"),
            Some((row, first)) => {
                let then = if !self.is_among_first() && self.is_named() {
                    ", the right one later"
                } else {
                    ""
                };
                format!("first page in row {row} named {}{then}", first.join(" and "))
            }
        };
        format!("{case:<15}{metric:<13}{root_cause:<44}{outcome}")
    }
}

/// What fired while nothing was injected.
pub(crate) struct Healthy {
    /// Stretches as long as an issue, and those of them in which nobody was paged.
    stretches: usize,
    silent: usize,
    /// Pages that went out.
    pages: usize,
    rows: usize,
}

/// Rows of an issue.
const ISSUE_ROWS: usize = 5;

impl Healthy {
    pub(crate) fn new(firing: &[Vec<Firing>], from: usize, scrapes: usize, per_row: usize) -> Self {
        let judged = firing.get(from..scrapes).unwrap_or_default();
        let stretches = judged.chunks_exact(ISSUE_ROWS * per_row);
        let (mut pages_sent, mut open) = (0, BTreeSet::new());
        for alerts in judged {
            let now: BTreeSet<&str> = pages(alerts);
            pages_sent += now.difference(&open).count();
            open = now;
        }
        let silent = |stretch: &&[Vec<Firing>]| stretch.iter().all(|alerts| pages(alerts).is_empty());
        Self {
            stretches: stretches.len(),
            silent: stretches.filter(silent).count(),
            pages: pages_sent,
            rows: judged.len() / per_row,
        }
    }

    /// Share of stretches without a page.
    fn specificity(&self) -> f64 {
        self.silent as f64 / self.stretches.max(1) as f64
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} of {} stretches of {ISSUE_ROWS} rows without an issue are silent, {} pages in {:.1} hours",
            self.silent,
            self.stretches,
            self.pages,
            self.rows as f64 / 12.0
        )
    }
}

/// The page for `docs/proofs`.
pub(crate) fn markdown(head: &str, healthy: &Healthy, issues: &[Issue], nodes: usize) -> String {
    let (latency, others): (Vec<&Issue>, Vec<&Issue>) =
        issues.iter().partition(|issue| issue.is_of_latency());
    let count = |of: &dyn Fn(&Issue) -> bool| latency.iter().filter(|issue| of(issue)).count();
    let all = latency.len();
    let share = |n: usize| format!("{n} of {all} ({:.2})", n as f64 / all.max(1) as f64);
    let paged = others.iter().filter(|issue| issue.first.is_some()).count();
    let mut text = format!(
        "{head}{METHOD}\n\
         | | tracemap, `static` | published for this scenario | by chance |\n|---|---:|---:|---:|\n\
         | first page names the root cause, and only it | {} | 0.57 | {:.2} |\n\
         | first page names it, maybe beside others | {} | | |\n\
         | any page names it | {} | | |\n\
         | no page at all | {} | | |\n\
         | specificity: stretches without an issue and without a page | {:.2} | 0.33 (0.17 to 0.60 in all scenarios) | |\n\
         | pages while nothing was injected | {} in {:.1} hours | | |\n\
         | issues of availability with a page | {paged} of {} | | |\n\n```text\n",
        share(count(&Issue::is_right)),
        1.0 / nodes as f64,
        share(count(&Issue::is_among_first)),
        share(count(&Issue::is_named)),
        share(count(&|issue| issue.first.is_none())),
        healthy.specificity(),
        healthy.pages,
        healthy.rows as f64 / 12.0,
        others.len(),
    );
    for issue in issues {
        let _ = writeln!(text, "{}", issue.line());
    }
    text + "```\n" + LIMITS
}

const METHOD: &str = "\
DIR holds `petshop-metrics`, the scenario `high_traffic` of PetShop (Hardt et al., 2024; CC-BY-4.0), which is no part of this repository:
requests and mean seconds of each node every five minutes, for two days without an issue and for 25 minutes around each injected one, of
which the first row or two come before it. A map is made of its call graph, and the series of a service graph of its metrics: the requests
of a node are divided among its callers by how many requests those have. Each issue comes after the last twelve hours without one.
`promtool` evaluates the generated rules twice in five minutes, with the default settings otherwise. The published figures are those of
the notebook that comes with the set: traversal of the graph with a threshold on each node, which is told when to look and which node is
slow. The rules are told neither.
";

const LIMITS: &str = "
What is usual was learned in September and the issues are of April. `lambda_step_priceGreaterThan55` takes half a second in September and
three in every file of an issue, before the issue as well: most wrong pages name it, those during issues of availability too. An engineer
who had been paged for it once would know.

Not shown: a delay, since a sample is the sum of five minutes; other scenarios, which were not at hand. No threshold was changed once a
page had been seen; the metrics of the nodes had been looked at before the rules were written, and the past before each issue was cut from a
day to twelve hours after the first outcomes, for time.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn firing(culprits: &[&str]) -> Vec<Firing> {
        let alert = |culprit: &&str| {
            let labels = [("severity", "page"), ("culprit", culprit)];
            labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        culprits.iter().map(alert).collect()
    }

    fn issue(root_cause: &str, scrapes: &[&[&str]]) -> Issue {
        let label = Label {
            case: String::new(),
            metric: "latency".to_owned(),
            root_cause: root_cause.to_owned(),
        };
        let scrapes: Vec<Vec<Firing>> = scrapes.iter().map(|culprits| firing(culprits)).collect();
        Issue::new(label, &scrapes, 1, 2)
    }

    #[test]
    fn the_first_page_is_right_where_it_is_new_alone_and_of_the_root_cause() {
        assert!(
            issue("a", &[&["b"], &["b"], &["b", "a"]]).is_right(),
            "b was open before"
        );
        let tie = issue("a", &[&[], &["a", "b"]]);
        assert!(!tie.is_right() && tie.is_among_first());
        let late = issue("a", &[&[], &["b"], &["a"]]);
        assert!(!late.is_among_first() && late.is_named());
        assert!(issue("a", &[&["a"], &["a"]]).first.is_none());
    }

    #[test]
    fn a_page_that_stays_is_sent_once_and_breaks_every_stretch_that_it_is_in() {
        let scrapes: Vec<Vec<Firing>> = (0..30)
            .map(|n| firing(if (8..12).contains(&n) { &["a"] } else { &[] }))
            .collect();
        let healthy = Healthy::new(&scrapes, 0, 30, 2);
        assert_eq!((healthy.stretches, healthy.silent, healthy.pages), (3, 1, 1));
    }
}
