//! Queries as Prometheus gets them, and the series that they select.
//!
//! In: a query with Grafana's variables. Out: its selectors, with a magic range in place of `$__rate_interval`.
//! Left out on purpose: values of variables inside quotes; any text is a label's value.

use std::time::Duration;

use promql_parser::parser::{self, Expr, VectorSelector};

/// A range in seconds that nobody writes.
const RATE_INTERVAL: &str = "11277964s";
/// What Grafana itself fills in with a duration or a number.
const BUILT_IN: [(&str, &str); 5] = [
    ("$__rate_interval", RATE_INTERVAL),
    ("$__interval_ms", "1294671549254"),
    ("$__interval", "12s"),
    ("$__range_s", "3600"),
    ("$__range", "3600s"),
];

/// Series that a query asks for.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) series: VectorSelector,
    /// How far back, where it asks for a range.
    pub(crate) range: Option<Duration>,
    /// The function whose argument it is.
    pub(crate) called_by: Option<&'static str>,
}

/// The query's selectors, in the order in which they are written, or why it does not parse.
pub(crate) fn selectors(expr: &str) -> Result<Vec<Selector>, String> {
    let filled = BUILT_IN.iter().fold(expr.to_owned(), |text, (name, value)| {
        text.replace(name, value)
            .replace(&format!("${{{}}}", &name[1..]), value)
    });
    let tree = parser::parse(&filled).map_err(|e| format!("{e}: {filled}"))?;
    let mut found = Vec::new();
    collect(&tree, None, &mut found);
    Ok(found)
}

fn collect(expr: &Expr, called_by: Option<&'static str>, into: &mut Vec<Selector>) {
    let mut found = |series: &VectorSelector, range| {
        into.push(Selector {
            series: series.clone(),
            range,
            called_by,
        });
    };
    match expr {
        Expr::VectorSelector(series) => found(series, None),
        Expr::MatrixSelector(matrix) => found(&matrix.vs, Some(matrix.range)),
        Expr::Call(call) => call
            .args
            .args
            .iter()
            .for_each(|arg| collect(arg, Some(call.func.name), into)),
        Expr::Aggregate(aggregate) => {
            let parts = aggregate.param.iter().chain([&aggregate.expr]);
            parts.for_each(|part| collect(part, None, into));
        }
        Expr::Binary(binary) => [&binary.lhs, &binary.rhs]
            .into_iter()
            .for_each(|side| collect(side, None, into)),
        Expr::Unary(unary) => collect(&unary.expr, None, into),
        Expr::Paren(paren) => collect(&paren.expr, called_by, into),
        Expr::Subquery(subquery) => collect(&subquery.expr, None, into),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

impl Selector {
    /// Whether it asks for the range that follows zoom and scrape interval.
    pub(crate) fn over_the_rate_interval(&self) -> bool {
        self.range
            .is_some_and(|range| format!("{}s", range.as_secs()) == RATE_INTERVAL)
    }
}

#[test]
fn selectors_are_found_with_the_function_that_takes_them() {
    let found =
        selectors("sum(rate(a_total[$__rate_interval])) / ${__range_s} + max(b) > increase(c[5m])").unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|s| {
            (
                s.series.name.as_deref().unwrap(),
                s.called_by,
                s.over_the_rate_interval(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("a_total", Some("rate"), true),
            ("b", None, false),
            ("c", Some("increase"), false)
        ]
    );
}
