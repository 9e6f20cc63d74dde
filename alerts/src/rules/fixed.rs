//! The rules of the profile `static`: for a Prometheus that holds the standard service-graph series and none of ours.
//!
//! In: the map and settings. Out: two groups of rules; topology, owners and entry points are written into their expressions.
//! Whether something is slow is asked of its mean seconds, against their own past ([`usual`], [`deviation`]); whom that is
//! charged to is decided by the rules of the profile `live`, which know no topology, and the alerts are the same alerts, so
//! that routes, templates and runbooks serve both. The rules of a group are few enough for a default Mimir, which takes 20.
//! Left out on purpose: what means cannot tell. [`limits`] lists it at the head of the rule file.

mod alerts;
mod charged;
mod degraded;
mod deviation;
mod limits;
mod means;
pub(crate) mod planted;
pub(crate) mod settings;
mod usual;

use super::signal::MEANS;
use crate::prometheus::{Group, Rule, quoted};
use crate::settings::AlertSettings;
use crate::topology::Topology;

pub(crate) use limits::comment;

/// Name of the group that knows what is usual.
const USUAL_GROUP: &str = "tracemap-usual";
/// By what series of nodes and edges are joined.
const ON: &str = "on (id, kind, client, server)";
/// Requests in the window below which nothing is said: as few as cannot convict anybody in the profile `live`.
const FEWEST: u32 = 7;
/// Seconds by which a mean has to exceed what is usual, besides [`FACTOR`]. The collector's default `baseline.margin`.
const MARGIN_SECONDS: f64 = 0.005;
/// Share by which a mean has to exceed what is usual. The collector's default `baseline.factor`.
const FACTOR: f64 = 0.2;
/// The same for an entry point beside a culprit, which serves much besides what the culprit takes part in.
const ENTRY_FACTOR: f64 = 0.05;

/// All rules for this map.
pub(crate) fn groups(topology: &Topology<'_>, settings: &AlertSettings) -> Vec<Group> {
    let interval = |time: config::HumanDuration| time.as_prometheus();
    let recorded = [
        means::judged(topology, settings),
        means::rule(topology, settings),
        deviation::rule(),
        degraded::own(topology, settings),
        degraded::total(topology, settings),
        usual::healthy(settings),
        super::edge_suspect::rule(&MEANS),
        super::culprit_explained::rule(&MEANS),
        super::culprit_score::rule(&MEANS, settings),
        super::edge_charged::rule(&MEANS),
        super::culprit_evidence::rule(&MEANS, settings),
        charged::waiters(topology),
        charged::excess(),
        charged::slows(),
        charged::owner(topology),
    ];
    let alerts = alerts::rules(topology, settings);
    vec![
        Group {
            name: USUAL_GROUP,
            interval: interval(usual::every(settings)),
            rules: usual::rules(topology, settings)
                .into_iter()
                .map(Rule::Recording)
                .collect(),
        },
        Group {
            name: super::GROUP,
            interval: interval(settings.evaluation_interval),
            rules: recorded
                .into_iter()
                .map(Rule::Recording)
                .chain(alerts.into_iter().map(Rule::Alert))
                .collect(),
        },
    ]
}

/// A matcher for any of these values; for none, where there are none.
fn any_of<'a>(label: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<&str> = values.into_iter().collect();
    match values.as_slice() {
        [] => format!("{label}=\"\""),
        [one] => format!("{label}={}", quoted(one)),
        many => {
            let escaped: Vec<String> = many.iter().map(|value| escaped(value)).collect();
            format!("{label}=~{}", quoted(&escaped.join("|")))
        }
    }
}

/// A value as a regular expression that matches it alone.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// A value of a label as the replacement of `label_replace`, which reads `$` as a group.
fn replacement(value: &str) -> String {
    quoted(&value.replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_they_are_whatever_letters_they_have() {
        assert_eq!(any_of("id", []), r#"id="""#);
        assert_eq!(any_of("id", ["a.b"]), r#"id="a.b""#);
        assert_eq!(any_of("id", ["a.b", "c|\"d"]), r#"id=~"a\\.b|c\\|\"d""#);
        assert_eq!(replacement("a$1"), r#""a$$1""#);
    }
}
