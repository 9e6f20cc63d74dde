//! Rules about the dashboard's variables.
//!
//! In: a dashboard. Out: what breaks the rule.
//! Left out on purpose: variables that panels do not use; the linter has no rule about them.

use crate::document::{Document, Variable};
use crate::promql;

/// One variable for each type of data source; a single one may have the general name.
pub(super) fn data_source(document: &Document) -> Vec<String> {
    let sources: Vec<&Variable> = document
        .variables
        .iter()
        .filter(|v| v.kind == "datasource")
        .collect();
    if sources.is_empty() {
        return vec!["no variable picks the data source".to_owned()];
    }
    let single = sources.len() == 1;
    let wrong = |variable: &&Variable| {
        let own = (
            format!("{}_datasource", variable.query),
            format!("{} data source", title_case(&variable.query)),
        );
        let name = variable.name == own.0 || single && variable.name == "datasource";
        let label = variable.label == own.1 || single && variable.label == "Data source";
        !(name && label)
    };
    let told = |v: &Variable| {
        format!(
            "data source of type `{}` is `{}`, labelled `{}`",
            v.query, v.name, v.label
        )
    };
    sources.into_iter().filter(wrong).map(told).collect()
}

pub(super) fn job(document: &Document) -> Vec<String> {
    required(document, "job")
}

pub(super) fn instance(document: &Document) -> Vec<String> {
    required(document, "instance")
}

fn required(document: &Document, name: &str) -> Vec<String> {
    let Some(variable) = document.variables.iter().find(|v| v.name == name) else {
        return vec![format!("no variable `{name}`")];
    };
    let picked = [
        "$datasource",
        "${datasource}",
        "$prometheus_datasource",
        "${prometheus_datasource}",
    ];
    let fits = [
        ("is of type `query`", variable.kind == "query"),
        (
            "asks the picked data source",
            picked.contains(&variable.source.as_str()),
        ),
        ("has its name as label", variable.label == title_case(name)),
        ("takes several values", variable.multi),
        ("has `.+` for all", variable.all_value == ".+"),
    ];
    fits.iter()
        .filter(|(_, fits)| !fits)
        .map(|(what, _)| format!("not so: `{name}` {what}"))
        .collect()
}

/// Query variables ask with one of Grafana's functions, and what they ask for parses.
pub(super) fn queries_parse(document: &Document) -> Vec<String> {
    let told = |variable: &Variable| {
        let wrong = asked(&variable.query).err()?;
        Some(format!(
            "variable `{}`: {wrong}: {}",
            variable.name, variable.query
        ))
    };
    document
        .variables
        .iter()
        .filter(|v| v.kind == "query")
        .filter_map(told)
        .collect()
}

fn asked(query: &str) -> Result<(), String> {
    let (function, rest) = query.split_once('(').ok_or("no function")?;
    let arguments = rest.strip_suffix(')').ok_or("no closing parenthesis")?;
    match function {
        "label_names" | "metrics" => Ok(()),
        "query_result" => promql::selectors(arguments).map(drop),
        "label_values" => match arguments.rsplit_once(',') {
            Some((series, label)) if is_label(label.trim()) => promql::selectors(series).map(drop),
            None if is_label(arguments) => Ok(()),
            _ => Err("no label".to_owned()),
        },
        _ => Err(format!("`{function}` is none of Grafana's functions")),
    }
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

pub(super) fn follow_the_time_range(document: &Document) -> Vec<String> {
    let late = document
        .variables
        .iter()
        .filter(|v| v.kind == "query" && !v.follows_time);
    late.map(|v| {
        format!(
            "variable `{}` does not ask again when the time range changes",
            v.name
        )
    })
    .collect()
}

fn title_case(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}
