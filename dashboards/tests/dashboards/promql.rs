//! Every query parses, names only series of the catalogue, and asks for labels that those have.

use std::sync::LazyLock;

use dashboards::{Query, queries};
use map::catalogue::{self, Type};
use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::sample::{all_files, hostile_names};

/// What a viewer picks.
const PICKED: [(&str, &str); 4] = [
    ("service", "cart"),
    ("queue", "orders"),
    ("client", "web"),
    ("server", "cart"),
];

pub(crate) fn all_queries() -> &'static [Query] {
    static QUERIES: LazyLock<Vec<Query>> = LazyLock::new(|| all_files().iter().flat_map(queries).collect());
    &QUERIES
}

pub(crate) fn parsed(query: &Query) -> Expr {
    let expr = query.filled_in("1m", &PICKED);
    parser::parse(&expr)
        .unwrap_or_else(|e| panic!("{} / {} / {}: {e}\n{expr}", query.file, query.panel, query.ref_id))
}

/// The expressions below an expression, itself first.
pub(crate) fn nodes(expr: &Expr) -> Vec<Expr> {
    struct All(Vec<Expr>);
    impl ExprVisitor for All {
        type Error = std::convert::Infallible;

        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
            self.0.push(expr.clone());
            Ok(true)
        }
    }
    let mut all = All(Vec::new());
    let Ok(_) = walk_expr(&mut all, expr);
    all.0
}

fn selectors(expr: &Expr) -> Vec<VectorSelector> {
    let selector = |expr| match expr {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(matrix) => Some(matrix.vs),
        _ => None,
    };
    nodes(expr).into_iter().filter_map(selector).collect()
}

#[test]
fn every_query_parses_and_names_only_series_of_the_catalogue() {
    let mut seen = 0;
    for query in all_queries() {
        for selector in selectors(&parsed(query)) {
            let name = selector.name.as_deref().unwrap_or_default();
            let series = catalogue::find(name);
            let series =
                series.unwrap_or_else(|| panic!("`{name}` is not in the catalogue: {}", query.panel));
            let bare = series.kind == Type::Histogram && name == series.name;
            let read = query.expr.contains("histogram_");
            assert!(
                !bare || read,
                "`{name}` is a histogram and read as a number: {}",
                query.panel
            );
            for matcher in &selector.matchers.matchers {
                assert!(
                    series.labels.contains(&matcher.name.as_str()),
                    "`{name}` has no label `{}`",
                    matcher.name
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 500, "only {seen} selectors");
}

#[test]
fn labels_that_are_grouped_by_are_labels_of_the_series_or_made_in_the_query() {
    for query in all_queries() {
        for expr in nodes(&parsed(query)) {
            let Expr::Aggregate(aggregate) = expr else {
                continue;
            };
            let Some(by) = &aggregate.modifier else { continue };
            let made = nodes(&aggregate.expr)
                .iter()
                .any(|e| matches!(e, Expr::Call(c) if c.func.name == "label_replace"));
            let of = selectors(&aggregate.expr);
            for label in &by.labels().labels {
                let has = |s: &VectorSelector| {
                    let series = s
                        .name
                        .as_deref()
                        .and_then(catalogue::find)
                        .expect("in the catalogue");
                    label == "le" || series.labels.contains(&label.as_str())
                };
                assert!(
                    made || of.iter().all(has),
                    "{}: by ({label}) of {}",
                    query.panel,
                    query.expr
                );
            }
        }
    }
}

#[test]
fn a_query_holds_no_variable_but_those_that_are_filled_in() {
    for query in all_queries() {
        let rest = query.filled_in("1m", &PICKED).replace("\"$1", "\"");
        assert!(!rest.contains('$'), "{}: {rest}", query.panel);
        assert!(!rest.contains("[["), "{}: {rest}", query.panel);
    }
}

#[test]
fn a_hostile_name_is_matched_as_exactly_itself() {
    let mut matched: Vec<String> = Vec::new();
    for query in all_queries() {
        for selector in selectors(&parsed(query)) {
            for matcher in selector.matchers.matchers {
                assert!(
                    matches!(matcher.op, MatchOp::Equal),
                    "{}: {matcher:?}",
                    query.panel
                );
                matched.push(matcher.value);
            }
        }
    }
    for name in hostile_names() {
        assert!(matched.contains(&name), "nothing asks for {name:?}");
    }
}

#[test]
fn counters_stand_in_a_rate_and_gauges_do_not() {
    for query in all_queries() {
        for expr in nodes(&parsed(query)) {
            let Expr::VectorSelector(selector) = &expr else {
                continue;
            };
            let series = selector
                .name
                .as_deref()
                .and_then(catalogue::find)
                .expect("in the catalogue");
            assert!(
                matches!(series.kind, Type::Gauge | Type::Recorded),
                "{} bare in {}",
                series.name,
                query.panel
            );
        }
        for expr in nodes(&parsed(query)) {
            let Expr::MatrixSelector(matrix) = &expr else {
                continue;
            };
            let series = matrix
                .vs
                .name
                .as_deref()
                .and_then(catalogue::find)
                .expect("in the catalogue");
            assert!(
                matches!(series.kind, Type::Counter | Type::Histogram),
                "rate of {} in {}",
                series.name,
                query.panel
            );
        }
    }
}

#[test]
fn info_series_are_joined_through_max_so_that_two_instances_break_nothing() {
    // What each agent has of its own is added up.
    let added_up = [catalogue::AGENT_BUFFERED_BYTES, catalogue::AGENT_CONNECTIONS];
    for query in all_queries() {
        let all = nodes(&parsed(query));
        let info = |e: &Expr| matches!(e, Expr::VectorSelector(s) if s.name.as_deref().is_some_and(|name| !added_up.contains(&name)));
        let bare = all.iter().filter(|e| info(e)).count();
        let inside = all
            .iter()
            .filter(|e| matches!(e, Expr::Aggregate(a) if a.op.to_string() == "max" && info(&a.expr)))
            .count();
        assert_eq!(bare, inside, "{}: {}", query.panel, query.expr);
    }
}
