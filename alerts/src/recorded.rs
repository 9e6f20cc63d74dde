//! The rules over recorded series, evaluated by promtool and by nobody else.
//!
//! In: series as a scraper saw them, and what promtool said. Out: a file for `promtool test rules`, and what fired when.
//! The file expects at every evaluation that nothing fires, so promtool tells of each evaluation at which something did.
//! Left out on purpose: running promtool, which is the caller's, and judging what fired.
//! Source: Prometheus documentation, "Unit testing for rules".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use config::HumanDuration;

use crate::prometheus::{ExprTest, InputSeries, Test, TestFile, series, to_yaml};

/// What of `ALERTS` is asked for.
const FIRING: &str = r#"ALERTS{alertstate="firing"}"#;
/// What stands between the query and the number of its evaluation.
const AT: &str = " # evaluation ";

/// One series as a scraper saw it: runs of equal values, oldest first. Where runs leave a gap the series had ended, and
/// Prometheus knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs(Vec<Run>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    first: usize,
    count: usize,
    value: f64,
}

impl Runs {
    /// Adds the sample of one scrape. Scrapes are numbered from 0, and come in order.
    pub fn push(&mut self, scrape: usize, value: f64) {
        match self.0.last_mut() {
            Some(run) if run.first + run.count == scrape && run.value.to_bits() == value.to_bits() => {
                run.count += 1;
            }
            _ => self.0.push(Run {
                first: scrape,
                count: 1,
                value,
            }),
        }
    }

    /// How often the value changed, the first time included.
    pub fn changes(&self) -> usize {
        self.0.len()
    }

    /// As promtool reads values, for so many scrapes.
    fn text(&self, scrapes: usize) -> String {
        let (mut text, mut at) = (String::new(), 0);
        for run in &self.0 {
            gap(&mut text, at, run.first);
            let more = run.count.saturating_sub(1);
            let _ = match more {
                0 => write!(text, "{} ", run.value),
                _ => write!(text, "{}x{more} ", run.value),
            };
            at = run.first + run.count;
        }
        gap(&mut text, at, scrapes);
        text.truncate(text.trim_end().len());
        text
    }
}

/// The scrapes at which a series was not there.
fn gap(text: &mut String, from: usize, to: usize) {
    let mut missing = to.saturating_sub(from);
    if missing > 0 && !text.is_empty() {
        text.push_str("stale ");
        missing -= 1;
    }
    if missing > 0 {
        let _ = write!(text, "_x{missing} ");
    }
}

/// The name of a series with its labels, as promtool reads it. Labels without a value are left out.
pub fn series_name(name: &str, labels: &[(&str, &str)]) -> String {
    series(name, labels)
}

/// A file for `promtool test rules` that asks what fires at each scrape. `rules` is the rule file's path from there.
///
/// The series of `every` were scraped that often, `scrapes` times, and the rules are evaluated as often.
pub fn test_file<'a>(
    rules: &str,
    every: HumanDuration,
    scrapes: usize,
    series: impl IntoIterator<Item = (&'a String, &'a Runs)>,
) -> String {
    let interval = every.as_prometheus();
    let input_series = series.into_iter().map(|(series, runs)| InputSeries {
        series: series.clone(),
        values: runs.text(scrapes),
    });
    let checks = (0..scrapes).map(|at| ExprTest {
        expr: format!("{FIRING}{AT}{at}"),
        eval_time: HumanDuration(every.get().saturating_mul(u32::try_from(at).unwrap_or(u32::MAX)))
            .as_prometheus(),
        exp_samples: Vec::new(),
    });
    let file = TestFile {
        rule_files: vec![rules.to_owned()],
        evaluation_interval: interval.clone(),
        tests: vec![Test {
            name: "recorded".to_owned(),
            interval,
            input_series: input_series.collect(),
            checks: checks.collect(),
        }],
    };
    to_yaml("Recorded series. Whatever fires is told as a failure.", &file)
}

/// An alert that fired at one evaluation: its labels without `__name__` and `alertstate`.
pub type Firing = BTreeMap<String, String>;

/// What promtool said that nobody can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread(pub String);

/// Reads what promtool printed of the failures of [`test_file`]: by evaluation, what fired. Evaluations at which nothing
/// fired are not in it.
///
/// # Errors
/// [`Unread`] with the first line that is no such failure: then the rules were not evaluated, or promtool speaks
/// otherwise than it did up to 3.5.
pub fn firing(failures: &str) -> Result<BTreeMap<usize, Vec<Firing>>, Unread> {
    let (mut found, mut evaluation) = (BTreeMap::new(), None);
    for line in failures.lines() {
        let said = line.trim();
        let known = ["", "FAILED:", "exp: nil", "exp:nil"].contains(&said) || said.starts_with("name: ");
        if known {
            continue;
        }
        if said.starts_with("expr: ") {
            evaluation = number(said);
        } else if let (Some(at), Some(got)) = (evaluation, said.strip_prefix("got:")) {
            let alerts = samples(got.trim()).ok_or_else(|| Unread(line.to_owned()))?;
            found.insert(at, alerts);
            evaluation = None;
        } else {
            return Err(Unread(line.to_owned()));
        }
    }
    Ok(found)
}

fn number(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once(AT)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// `{a="b", c="d"} 1E+00, {…} 1E+00`.
fn samples(mut text: &str) -> Option<Vec<Firing>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (labels, rest) = labels(text.strip_prefix('{').or_else(|| text.strip_prefix("ALERTS{"))?)?;
        found.push(labels);
        // The value is 1 whatever fires.
        text = rest.split_once(", ").map_or("", |(_, rest)| rest);
    }
    Some(found)
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Option<(Firing, &str)> {
    let mut found = Firing::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((found, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = unquoted(rest.strip_prefix('"')?)?;
        if name != "__name__" && name != "alertstate" {
            found.insert(name.to_owned(), value);
        }
        text = rest.strip_prefix(", ").unwrap_or(rest);
    }
}

/// A string in Go's quotes, whose first quote is taken off, and what follows its last.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let special = rest.find(['"', '\\'])?;
        bytes.extend_from_slice(rest.get(..special)?.as_bytes());
        rest = rest.get(special..)?;
        if let Some(after) = rest.strip_prefix('"') {
            return Some((String::from_utf8(bytes).ok()?, after));
        }
        let escape = rest.chars().nth(1)?;
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let from = 1 + escape.len_utf8();
        let code = rest.get(from..from + digits)?;
        rest = rest.get(from + digits..)?;
        match escape {
            'x' => bytes.push(u8::from_str_radix(code, 16).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'v' => bytes.push(11),
            '"' | '\\' => bytes.push(escape as u8),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_begins_late_ends_and_comes_back_is_told_so() {
        let mut runs = Runs::default();
        for (scrape, value) in [(2, 0.0), (3, 0.0), (4, 1.5), (8, 2.0)] {
            runs.push(scrape, value);
        }
        assert_eq!(runs.text(12), "_x2 0x1 1.5 stale _x2 2 stale _x2");
        assert_eq!(Runs::default().text(3), "_x3");
    }

    #[test]
    fn what_fired_is_read_by_its_evaluation_whatever_the_labels_hold() {
        let said = "  FAILED:\n    name: recorded,\n    \
            expr: \"ALERTS{alertstate=\\\"firing\\\"} # evaluation 12\", time: 6m,\n        exp: nil\n        \
            got: {__name__=\"ALERTS\", alertname=\"X\", alertstate=\"firing\", id=\"a\\\"b\\\\, c} 1\\u00e9\"} 1E+00, \
            {__name__=\"ALERTS\", alertname=\"Y\", alertstate=\"firing\"} 1E+00\n";
        let found = firing(said).unwrap();
        let alerts = &found[&12];
        assert_eq!(found.len(), 1);
        assert_eq!(alerts[0]["id"], "a\"b\\, c} 1\u{e9}");
        assert_eq!(
            alerts[1],
            Firing::from([("alertname".to_owned(), "Y".to_owned())])
        );
    }

    #[test]
    fn anything_else_that_promtool_says_is_no_silence() {
        for said in [
            "  FAILED:\nrules.yaml: 6:11: could not parse expression",
            "    expr: \"other\", time: 1m,\n        got: {} 1",
            "    expr: \"x # evaluation 1\",\n        got: {a=\"b} 1",
        ] {
            assert!(firing(said).is_err(), "{said}");
        }
    }
}
