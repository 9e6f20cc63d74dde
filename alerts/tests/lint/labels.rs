//! Which labels an expression has: those that each of its series surely has, and those that some may have.
//!
//! In: a parsed expression, and the rules above it. Out: its labels, and what is wrong in it.
//! Left out on purpose: values of labels.

use std::collections::{BTreeMap, BTreeSet};

use map::catalogue::{self, Type};
use promql_parser::label::MatchOp;
use promql_parser::parser::{BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};

type Set = BTreeSet<String>;

/// The labels of an expression's series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) sure: Set,
    pub(crate) may: Set,
}

impl Labels {
    fn all(labels: impl IntoIterator<Item = String>) -> Self {
        let sure: Set = labels.into_iter().collect();
        Self {
            may: sure.clone(),
            sure,
        }
    }

    fn only(&self, labels: &[String]) -> Self {
        let keep = |set: &Set| set.iter().filter(|l| labels.contains(l)).cloned().collect();
        Self {
            sure: keep(&self.sure),
            may: keep(&self.may),
        }
    }

    pub(crate) fn with(mut self, label: &str) -> Self {
        self.sure.insert(label.to_owned());
        self.may.insert(label.to_owned());
        self
    }
}

/// What the rules above say.
#[derive(Default)]
pub(crate) struct Above {
    /// Labels of recorded series by name, and of alerts by theirs.
    pub(crate) recorded: BTreeMap<String, Labels>,
    pub(crate) alerts: BTreeMap<String, Labels>,
    /// Recorded series that are empty while healthy.
    pub(crate) conditional: BTreeSet<String>,
}

/// The labels of an expression; `None` for a number or a text. What is wrong is added to `found`.
pub(crate) fn labels(expr: &Expr, above: &Above, found: &mut Vec<String>) -> Option<Labels> {
    match expr {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
        Expr::Paren(paren) => labels(&paren.expr, above, found),
        Expr::Unary(unary) => labels(&unary.expr, above, found),
        Expr::Subquery(subquery) => labels(&subquery.expr, above, found),
        Expr::VectorSelector(selector) => Some(selected(selector, above, found)),
        Expr::MatrixSelector(selector) => Some(selected(&selector.vs, above, found)),
        Expr::Call(call) => called(call, above, found),
        Expr::Binary(binary) => joined(binary, above, found),
        Expr::Aggregate(aggregate) => {
            let inner = labels(&aggregate.expr, above, found)?;
            let keeps = matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk");
            let Some(LabelModifier::Include(by)) = &aggregate.modifier else {
                return Some(if keeps { inner } else { Labels::default() });
            };
            for label in by.labels.iter().filter(|label| !inner.may.contains(*label)) {
                found.push(format!("aggregates by `{label}`, which is not there"));
            }
            Some(if keeps { inner } else { inner.only(&by.labels) })
        }
    }
}

fn selected(selector: &VectorSelector, above: &Above, found: &mut Vec<String>) -> Labels {
    let name = selector.name.as_deref().unwrap_or_default();
    let matchers = &selector.matchers.matchers;
    let known = if name == "ALERTS" {
        let named = matchers.iter().find(|matcher| matcher.name == "alertname");
        let alert = named.and_then(|matcher| above.alerts.get(&matcher.value));
        alert
            .cloned()
            .map(|labels| labels.with("alertname").with("alertstate"))
    } else {
        match catalogue::find(name) {
            None => None,
            Some(series) if series.kind == Type::Recorded => above.recorded.get(name).cloned(),
            Some(series) => {
                let scraped = series.labels.iter().copied().chain(["instance", "job"]);
                Some(Labels::all(scraped.map(str::to_owned)))
            }
        }
    };
    let Some(known) = known else {
        found.push(match catalogue::find(name) {
            Some(_) => format!("`{name}` is recorded nowhere above"),
            None => format!("`{name}` is not in the catalogue"),
        });
        return Labels::default();
    };
    for matcher in matchers {
        if !known.may.contains(&matcher.name) {
            found.push(format!("`{name}` has no label `{}`", matcher.name));
        }
        let plain = !matcher.value.contains(|c: char| r".*+?|()[]{}^$\".contains(c));
        if plain && matches!(matcher.op, MatchOp::Re(_) | MatchOp::NotRe(_)) {
            found.push(format!("`{matcher}` where equality would do"));
        }
    }
    known
}

fn called(call: &Call, above: &Above, found: &mut Vec<String>) -> Option<Labels> {
    let args: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
    let name = call.func.name;
    if let ("rate" | "increase" | "irate", Some(Expr::MatrixSelector(selector))) = (name, args.first()) {
        let series = selector.vs.name.as_deref().unwrap_or_default();
        let rises = |kind| matches!(kind, Type::Counter | Type::Histogram);
        if catalogue::find(series).is_some_and(|series| !rises(series.kind)) {
            found.push(format!("`{name}` of `{series}`, which is no counter"));
        }
    }
    let of: Vec<Labels> = args.iter().filter_map(|arg| labels(arg, above, found)).collect();
    let texts: Vec<&str> = args
        .iter()
        .filter_map(|arg| match arg {
            Expr::StringLiteral(text) => Some(text.val.as_str()),
            _ => None,
        })
        .collect();
    match (name, of.into_iter().next(), texts.as_slice()) {
        ("absent" | "vector" | "scalar", ..) => Some(Labels::default()),
        ("label_replace", Some(of), [to, _, from, _]) => {
            if !from.is_empty() && !of.may.contains(*from) {
                found.push(format!("reads the label `{from}`, which is not there"));
            }
            Some(of.with(to))
        }
        ("label_join", Some(of), [to, _, from @ ..]) => {
            for from in from.iter().filter(|from| !of.may.contains(**from)) {
                found.push(format!("reads the label `{from}`, which is not there"));
            }
            Some(of.with(to))
        }
        (_, of, _) => of,
    }
}

fn joined(binary: &BinaryExpr, above: &Above, found: &mut Vec<String>) -> Option<Labels> {
    let sides = (
        labels(&binary.lhs, above, found),
        labels(&binary.rhs, above, found),
    );
    let (left, right) = match sides {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return left.or(right),
    };
    let modifier = binary.modifier.as_ref();
    let on = match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        Some(LabelModifier::Include(on)) => Some(on.labels.clone()),
        Some(LabelModifier::Exclude(_)) => {
            found.push("joins by `ignoring`: say what it joins on".to_owned());
            None
        }
        None => None,
    };
    match &on {
        Some(on) => {
            let lacks = on
                .iter()
                .filter(|label| !left.may.contains(*label) || !right.may.contains(*label));
            found.extend(lacks.map(|label| format!("joins on `{label}`, which one side lacks")));
        }
        None if left.may != right.may && binary.op.to_string() != "or" => {
            let differ: Vec<&str> = left
                .may
                .symmetric_difference(&right.may)
                .map(String::as_str)
                .collect();
            found.push(format!("joins sides that differ in {}", differ.join(", ")));
        }
        None => {}
    }
    if binary.op.is_set_operator() {
        return Some(match binary.op.to_string().as_str() {
            "or" => Labels {
                sure: left.sure.intersection(&right.sure).cloned().collect(),
                may: left.may.union(&right.may).cloned().collect(),
            },
            _ => left,
        });
    }
    let taken = |many: Labels, one: &Labels, extra: &[String]| {
        extra.iter().fold(many, |mut many, label| {
            many.may.insert(label.clone());
            if one.sure.contains(label) {
                many.sure.insert(label.clone());
            }
            many
        })
    };
    Some(match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(extra)) => {
            check_extra(&extra.labels, &right, found);
            taken(left, &right, &extra.labels)
        }
        Some(VectorMatchCardinality::OneToMany(extra)) => {
            check_extra(&extra.labels, &left, found);
            taken(right, &left, &extra.labels)
        }
        _ => on.map_or(left.clone(), |on| left.only(&on)),
    })
}

fn check_extra(extra: &[String], one: &Labels, found: &mut Vec<String>) {
    let lacks = extra.iter().filter(|label| !one.may.contains(*label));
    found.extend(lacks.map(|label| format!("takes `{label}` from a side that lacks it")));
}
