//! What many runs add up to.
//!
//! In: [`Trial`]s. Out: tables in Markdown, the figures that are promised, and a line for every run that missed.
//! Left out on purpose: intervals; the counts stand beside every share.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::parameters::LONG_FAULT_MINUTES;
use super::trial::{Answer, Class, Later, Trial};

/// The promised share of culprits that are named.
const NAMED: f64 = 0.97;
/// No more runs than this are listed one by one.
const LISTED: usize = 60;

/// A row's place, and its name.
type Row = (usize, String);

/// Figures that are promised, over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Runs with a fault that must be named, and those that named it.
    pub(super) owed: usize,
    pub(super) named: usize,
    /// Runs with a slighter fault whose first page names another node.
    pub(super) slight_other: usize,
    /// Pages during faults that name a node that is not at fault.
    pub(super) wrong: usize,
    /// Pages of healthy runs, and of the others before the fault and long after it.
    pub(super) healthy: usize,
    pub(super) idle: usize,
}

impl Totals {
    pub(super) fn of(trials: &[Trial]) -> Self {
        let mut totals = Self::default();
        for trial in trials {
            totals.wrong += trial.wrong().count();
            match (trial.class(), trial.answer()) {
                (Class::Healthy, _) => totals.healthy += trial.idle().count(),
                (Class::Owed, answer) => {
                    totals.owed += 1;
                    totals.named += usize::from(matches!(answer, Some(Answer::Named(_))));
                }
                (Class::Slight, answer) => {
                    totals.slight_other += usize::from(answer == Some(Answer::Other));
                }
            }
            if trial.class() != Class::Healthy {
                totals.idle += trial.idle().count();
            }
        }
        totals
    }

    /// True where every promise was kept.
    pub(super) fn is_kept(&self) -> bool {
        let enough = self.named as f64 >= NAMED * self.owed as f64;
        enough && (self.wrong, self.healthy, self.idle) == (0, 0, 0)
    }
}

/// True where a run is one to look into.
pub(super) fn is_missed(trial: &Trial) -> bool {
    let right = match (trial.class(), trial.answer()) {
        (Class::Owed, answer) => matches!(answer, Some(Answer::Named(_))),
        (_, answer) => answer != Some(Answer::Other),
    };
    !right || trial.wrong().next().is_some() || trial.idle().next().is_some()
}

/// All tables.
pub(super) fn markdown(trials: &[Trial]) -> String {
    let totals = Totals::of(trials);
    let mut text = promised(&totals, trials);
    let owed = of(trials, Class::Owed);
    let one: Vec<&Trial> = owed.iter().filter(|t| t.culprits.len() == 1).copied().collect();
    let two: Vec<&Trial> = owed.iter().filter(|t| t.culprits.len() > 1).copied().collect();
    let shape = |trial: &Trial| {
        let shape = trial.scenario.system.shape;
        (shape as usize, shape.as_str().to_owned())
    };
    table(
        &mut text,
        "Faults that must be named, by graph: one fault",
        &one,
        shape,
    );
    table(&mut text, "Two faults at once", &two, shape);
    table(
        &mut text,
        "Slighter or rarer faults",
        &of(trials, Class::Slight),
        shape,
    );
    healthy(&mut text, &of(trials, Class::Healthy), shape);
    text.push_str("\n## One fault that must be named, by what makes it hard\n");
    table(&mut text, "Shift of the own time", &one, |trial| {
        let factor = trial.culprits[0].factor;
        ((factor * 10.0) as usize, format!("{factor}x"))
    });
    table(&mut text, "Judged requests during the fault", &one, |trial| {
        band(trial.culprits[0].judged, &[50.0, 100.0, 200.0, 400.0, 800.0], "")
    });
    table(
        &mut text,
        "How much longer users wait in the mean",
        &one,
        |trial| band(trial.felt, &[0.0, 1.05, 1.2, 1.5, 2.0, 4.0], "x"),
    );
    table(&mut text, "Sampled", &one, |trial| {
        percent(trial.scenario.sampled)
    });
    table(&mut text, "Spans lost", &one, |trial| {
        percent(trial.scenario.lost)
    });
    table(&mut text, "Calls retried", &one, |trial| {
        percent(trial.scenario.retried)
    });
    missed(&mut text, trials);
    text
}

fn of(trials: &[Trial], class: Class) -> Vec<&Trial> {
    trials.iter().filter(|trial| trial.class() == class).collect()
}

fn promised(totals: &Totals, trials: &[Trial]) -> String {
    let Totals {
        owed,
        named,
        slight_other,
        wrong,
        healthy,
        idle,
    } = totals;
    let mut delays: Vec<f64> = trials
        .iter()
        .filter_map(|trial| match trial.answer() {
            Some(Answer::Named(delay)) => Some(delay),
            _ => None,
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = delays.len().saturating_sub(1) as f64;
        delays.get((last * share) as usize).copied().unwrap_or_default()
    };
    let share = 100.0 * *named as f64 / (*owed).max(1) as f64;
    let healthy_runs = of(trials, Class::Healthy).len();
    let slight = of(trials, Class::Slight).len();
    let spans: usize = trials.iter().map(|trial| trial.spans).sum();
    let later = |what: Later| trials.iter().filter(|trial| trial.later == Some(what)).count();
    let (paged, ticket, nobody) = (later(Later::Page), later(Later::Ticket), later(Later::Nobody));
    format!(
        "| figure | promised | found |\n|---|---:|---:|\n\
         | runs with a fault that must be named, and is | 97 % | {named} of {owed} ({share:.1} %) |\n\
         | the others, where the same fault lasts {LONG_FAULT_MINUTES} minutes: paged, a ticket, neither | | {paged}, {ticket}, \
         {nobody} |\n\
         | pages during faults that name a node not at fault | 0 | {wrong} |\n\
         | slighter faults whose first page names another | 0 | {slight_other} of {slight} |\n\
         | pages in healthy runs | 0 | {healthy} in {healthy_runs} |\n\
         | pages before a fault and long after it | 0 | {idle} |\n\
         | from the fault to its page, seconds: median, 95th percentile | | {:.0}, {:.0} |\n\
         | runs, spans | | {}, {spans} |\n",
        at(0.5),
        at(0.95),
        trials.len()
    )
}

/// Trials by a key, which is its place among the rows and what stands there.
fn table(text: &mut String, title: &str, trials: &[&Trial], key: impl Fn(&Trial) -> Row) {
    let mut rows: BTreeMap<Row, [usize; 6]> = BTreeMap::new();
    for trial in trials {
        let wrong = trial.wrong().count();
        let column = match trial.answer() {
            Some(Answer::Named(_)) => 1,
            Some(Answer::OneOfTwo) => 2,
            Some(Answer::Other) => 3,
            Some(Answer::Silent) | None => 4,
        };
        for key in [key(trial), (usize::MAX, "all".to_owned())] {
            let row = rows.entry(key).or_default();
            row[0] += 1;
            row[column] += 1;
            row[5] += wrong;
        }
    }
    let _ = write!(
        text,
        "\n{title}:\n\n| | runs | named | one of two | other named first | silent | wrong pages |\n\
         |---|---:|---:|---:|---:|---:|---:|\n"
    );
    for ((_, key), [runs, named, one, other, silent, wrong]) in rows {
        let share = 100.0 * named as f64 / runs as f64;
        let _ = writeln!(
            text,
            "| {key} | {runs} | {named} ({share:.0} %) | {one} | {other} | {silent} | {wrong} |"
        );
    }
}

fn healthy(text: &mut String, trials: &[&Trial], key: impl Fn(&Trial) -> Row) {
    let mut rows: BTreeMap<Row, [usize; 2]> = BTreeMap::new();
    for trial in trials {
        let row = rows.entry(key(trial)).or_default();
        row[0] += 1;
        row[1] += trial.idle().count();
    }
    text.push_str("\nHealthy runs:\n\n| | runs | pages |\n|---|---:|---:|\n");
    for ((_, key), [runs, pages]) in rows {
        let _ = writeln!(text, "| {key} | {runs} | {pages} |");
    }
}

/// The band between two of the bounds that a value falls into.
fn band(value: f64, bounds: &[f64], unit: &str) -> Row {
    let above = bounds.partition_point(|bound| *bound <= value);
    let from = above.checked_sub(1).and_then(|at| bounds.get(at));
    let label = match (from, bounds.get(above)) {
        (Some(from), Some(to)) => format!("{from}{unit} to {to}{unit}"),
        (Some(from), None) => format!("{from}{unit} and more"),
        (None, to) => format!("less than {}{unit}", to.copied().unwrap_or_default()),
    };
    (above, label)
}

fn percent(share: f64) -> Row {
    ((share * 10_000.0) as usize, format!("{} %", 100.0 * share))
}

fn missed(text: &mut String, trials: &[Trial]) {
    let missed: Vec<&Trial> = trials.iter().filter(|trial| is_missed(trial)).collect();
    if missed.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## Runs that missed\n\n{} of {}",
        missed.len(),
        trials.len()
    );
    if missed.len() > LISTED {
        let _ = write!(text, ", of which the first {LISTED}");
    }
    text.push_str("; each is repeated by `--seed N --runs 1`.\n\n```text\n");
    for trial in missed.iter().take(LISTED) {
        let _ = writeln!(text, "{}", trial.line());
    }
    text.push_str("```\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_one_band() {
        let bounds = [50.0, 100.0];
        assert_eq!(band(50.0, &bounds, "x"), (1, "50x to 100x".to_owned()));
        assert_eq!(band(100.0, &bounds, ""), (2, "100 and more".to_owned()));
        assert_eq!(band(1.0, &bounds, ""), (0, "less than 50".to_owned()));
    }

    #[test]
    fn one_page_too_many_breaks_the_promise() {
        let kept = Totals {
            owed: 100,
            named: 97,
            ..Totals::default()
        };
        assert!(kept.is_kept());
        assert!(!Totals { named: 96, ..kept }.is_kept());
        assert!(!Totals { wrong: 1, ..kept }.is_kept());
        assert!(!Totals { healthy: 1, ..kept }.is_kept());
        assert!(!Totals { idle: 1, ..kept }.is_kept());
    }
}
