//! Rules about queries.
//!
//! In: a dashboard. Out: what breaks the rule, with the panel's title and the query.
//! Left out on purpose: queries of Tempo and other sources; only Prometheus is asked in `PromQL`.

use promql_parser::label::{MatchOp, Matcher};

use crate::document::{Document, Panel, Target};
use crate::promql::Selector;

fn each(document: &Document, source: &str, wrong: impl Fn(&Target) -> Option<String>) -> Vec<String> {
    let queries = document
        .drawn()
        .flat_map(|panel| panel.targets.iter().map(move |target| (panel, target)));
    let of_source = queries.filter(|(_, target)| target.source_type == source);
    let told = |(panel, target): (&Panel, &Target)| {
        let what = wrong(target)?;
        Some(format!(
            "panel `{}`, query {}: {what}: {}",
            panel.title,
            target.ref_id,
            target.expr()
        ))
    };
    of_source.filter_map(told).collect()
}

/// Of a query that parses, the first selector that is wrong; that all parse is a rule of its own.
fn each_selector(document: &Document, wrong: impl Fn(&Selector) -> Option<String>) -> Vec<String> {
    each(document, "prometheus", |target| {
        target.selectors().as_ref().ok()?.iter().find_map(&wrong)
    })
}

pub(super) fn logql(document: &Document) -> Vec<String> {
    each(document, "loki", |_| {
        Some("a query of Loki, whose language nothing here reads".to_owned())
    })
}

pub(super) fn parse(document: &Document) -> Vec<String> {
    each(document, "prometheus", |target| {
        target.selectors().as_ref().err().cloned()
    })
}

/// Rates follow the zoom and the scrape interval.
pub(super) fn rate_interval(document: &Document) -> Vec<String> {
    each_selector(document, |selector| {
        let rated = matches!(selector.called_by, Some("rate" | "irate"));
        (rated && !selector.over_the_rate_interval()).then(|| "a rate over a fixed range".to_owned())
    })
}

pub(super) fn job(document: &Document) -> Vec<String> {
    each_selector(document, |selector| lacks(selector, "job"))
}

pub(super) fn instance(document: &Document) -> Vec<String> {
    each_selector(document, |selector| lacks(selector, "instance"))
}

fn lacks(selector: &Selector, label: &str) -> Option<String> {
    let variable = format!("${label}");
    let picked = |m: &Matcher| m.name == label && matches!(m.op, MatchOp::Re(_)) && m.value == variable;
    let lacks = !selector.series.matchers.matchers.iter().any(picked);
    lacks.then(|| format!("a selector without `{label}=~\"{variable}\"`"))
}

/// A counter's own value says how long a process runs.
pub(super) fn counters(document: &Document) -> Vec<String> {
    each_selector(document, |selector| {
        let name = selector.series.name.as_deref()?;
        let rated =
            selector.range.is_some() && matches!(selector.called_by, Some("rate" | "irate" | "increase"));
        (name.ends_with("_total") && !rated).then(|| format!("the counter `{name}` is not rated"))
    })
}
