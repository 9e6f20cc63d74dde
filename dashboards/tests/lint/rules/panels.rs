//! Rules about panels.
//!
//! In: a dashboard. Out: what breaks the rule, with the panel's title.
//! Left out on purpose: headings; and text panels, where a rule asks for queries or units.

use crate::document::{Document, Panel};

/// Grafana's unit ids that a panel of ours can need. The test against Grafana's types knows all of them.
const UNITS: [&str; 22] = [
    "none",
    "string",
    "short",
    "percent",
    "percentunit",
    "bytes",
    "decbytes",
    "binBps",
    "Bps",
    "ns",
    "µs",
    "ms",
    "s",
    "dtdurations",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "reqps",
    "ops",
    "rps",
    "wps",
    "cps",
    "bool_yes_no",
];

fn each(document: &Document, wrong: impl Fn(&Panel) -> Option<String>) -> Vec<String> {
    let told = |panel| wrong(panel).map(|what| format!("panel `{}`: {what}", panel.title));
    document.drawn().filter_map(told).collect()
}

fn asks(panel: &Panel) -> bool {
    panel.kind != "text"
}

/// Panels and their queries ask a source that a variable picks.
pub(super) fn data_source(document: &Document) -> Vec<String> {
    let variables = document.variables.iter().filter(|v| v.kind == "datasource");
    let picked: Vec<String> = variables
        .flat_map(|v| [format!("${}", v.name), format!("${{{}}}", v.name)])
        .collect();
    each(document, |panel| {
        let of_targets = panel.targets.iter().map(|target| &target.source);
        let mut sources = of_targets.chain(asks(panel).then_some(&panel.source));
        let fixed = sources.find(|source| !picked.contains(source))?;
        Some(format!("asks `{fixed}`, which no variable picks"))
    })
}

pub(super) fn title_and_description(document: &Document) -> Vec<String> {
    each(document, |panel| {
        let said = !panel.title.is_empty() && (!panel.description.is_empty() || !asks(panel));
        (!said).then(|| "no title or no description".to_owned())
    })
}

pub(super) fn units(document: &Document) -> Vec<String> {
    each(document, |panel| {
        let unknown = panel.units().find(|unit| !UNITS.contains(unit))?;
        (asks(panel) && !panel.mapped()).then(|| format!("`{unknown}` is no unit"))
    })
}

pub(super) fn targets(document: &Document) -> Vec<String> {
    each(document, |panel| {
        (asks(panel) && panel.targets.is_empty()).then(|| "asks nothing".to_owned())
    })
}

pub(super) fn uneditable(document: &Document) -> Vec<String> {
    let open = document.editable != Some(false);
    open.then(|| "can be edited by hand".to_owned())
        .into_iter()
        .collect()
}
