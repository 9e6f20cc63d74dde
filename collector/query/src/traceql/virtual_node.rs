//! Grafana's question for a node that sends no spans, and its answer.
//!
//! In: `{span.db.name="X" || span.db.system="X" || span.peer.service="X" || …}`, which the service graph's "view
//! traces" writes with the node's name. Out: that name, and the query with the map's own idea of the node added.
//! Our virtual nodes are named from more attributes than those five, so that the question alone finds nothing.
//! Left out on purpose: what the map knows of the node.

use store::{Condition, Field, Filter, Literal, Op, Scope};

/// The attributes that Grafana asks for, in any order (public/app/plugins/datasource/tempo/datasource.ts).
const ASKED: [&str; 5] = [
    "db.name",
    "db.system",
    "peer.service",
    "messaging.system",
    "net.peer.name",
];
/// Versions of Grafana ask for different selections of them; fewer than this could be a person's own query.
const AT_LEAST: usize = 3;

/// The node's name where `filter` has exactly the shape that Grafana writes.
pub fn virtual_node(filter: &Filter) -> Option<&str> {
    let Filter::Spans(Condition::Or(members)) = filter else {
        return None;
    };
    let mut members = members.iter().map(asked);
    let (first, name) = members.next()??;
    let mut keys = vec![first];
    for member in members {
        let (key, value) = member?;
        if value != name || keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    (keys.len() >= AT_LEAST).then_some(name)
}

/// `filter`, or else what `node_condition` says of the node that it asks for.
pub fn or_node_condition(filter: Filter, node_condition: impl FnOnce(&str) -> Option<Condition>) -> Filter {
    let Some(more) = virtual_node(&filter).and_then(node_condition) else {
        return filter;
    };
    match filter {
        Filter::Spans(asked) => Filter::Spans(Condition::Or(vec![asked, more])),
        other => other,
    }
}

fn asked(condition: &Condition) -> Option<(&str, &str)> {
    match condition {
        Condition::Compare {
            field:
                Field::Attribute {
                    scope: Some(Scope::Span),
                    key,
                },
            op: Op::Eq,
            value: Literal::Str(value),
        } if ASKED.contains(&key.as_str()) => Some((key, value)),
        _ => None,
    }
}
