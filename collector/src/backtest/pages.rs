//! Pages and tickets, from what fired at each evaluation.
//!
//! In: firing alerts by evaluation. Out: each stretch in which a group fired.
//! Left out on purpose: notifications after the first of a group, which wake nobody again.

use std::collections::{BTreeMap, BTreeSet};

use alerts::recorded::Firing;

use super::timeline::Timeline;

/// One page: the group of a culprit going from silent to firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The node that is named.
    pub culprit: String,
    /// Who is woken.
    pub team: String,
    /// When it went out, nanoseconds since 1970.
    pub from: u64,
    /// The first evaluation at which it was silent again; the end of the recording where it never was.
    pub until: u64,
    /// The services in the same notification that wait for the culprit.
    pub symptoms: BTreeSet<String>,
}

/// One ticket: an alert that asks for a look by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The alert's name.
    pub alert: String,
    /// The culprit, or the node that is slow without one.
    pub node: String,
    /// Whose it is.
    pub team: String,
    /// When it was opened, nanoseconds since 1970.
    pub from: u64,
    /// When it was closed, likewise; the end of the recording where it never was.
    pub until: u64,
}

/// Stretches of evaluations at which a key fired: the first, and the first at which it no longer did.
type Stretches<K> = BTreeMap<K, Vec<(usize, usize)>>;

/// All pages and tickets, each in the order of time.
pub(super) fn of(firing: &BTreeMap<usize, Vec<Firing>>, timeline: &Timeline) -> (Vec<Page>, Vec<Ticket>) {
    let (mut paging, mut open) = (Stretches::new(), Stretches::new());
    for (&at, alerts) in firing {
        for alert in alerts {
            match get(alert, "severity") {
                "page" => note(&mut paging, get(alert, "culprit"), at),
                "ticket" => note(&mut open, (get(alert, "alertname"), node(alert)), at),
                _ => {}
            }
        }
    }
    let time = |at: usize| timeline.at(at);
    let page = |culprit: &str, from: usize, until: usize| {
        let during = || firing.range(from..until).flat_map(|(_, alerts)| alerts);
        let named = |alert: &&Firing| get(alert, "culprit") == culprit;
        let team = during()
            .filter(named)
            .find(|alert| get(alert, "severity") == "page");
        let symptoms = during()
            .filter(named)
            .filter(|alert| get(alert, "role") == "symptom");
        Page {
            culprit: culprit.to_owned(),
            team: team.map_or("", |alert| get(alert, "team")).to_owned(),
            from: time(from),
            until: time(until),
            symptoms: symptoms.map(|alert| get(alert, "id").to_owned()).collect(),
        }
    };
    let ticket = |(alert, node): (&str, &str), from: usize, until: usize| {
        let all = firing.get(&from).into_iter().flatten();
        let same = |one: &&Firing| get(one, "alertname") == alert && self::node(one) == node;
        Ticket {
            alert: alert.to_owned(),
            node: node.to_owned(),
            team: all
                .clone()
                .find(same)
                .map_or("", |one| get(one, "team"))
                .to_owned(),
            from: time(from),
            until: time(until),
        }
    };
    let mut pages = collect(&paging, |culprit, from, until| page(culprit, from, until));
    let mut tickets = collect(&open, |key, from, until| ticket(*key, from, until));
    pages.sort_by_key(|page| page.from);
    tickets.sort_by_key(|ticket| ticket.from);
    (pages, tickets)
}

fn note<K: Ord>(stretches: &mut Stretches<K>, key: K, at: usize) {
    let of_key = stretches.entry(key).or_default();
    match of_key.last_mut() {
        // Two alerts of one group may fire at one evaluation.
        Some((_, until)) if *until >= at => *until = at + 1,
        _ => of_key.push((at, at + 1)),
    }
}

fn collect<K, T>(stretches: &Stretches<K>, make: impl Fn(&K, usize, usize) -> T) -> Vec<T> {
    let all = stretches
        .iter()
        .flat_map(|(key, of_key)| of_key.iter().map(move |stretch| (key, stretch)));
    all.map(|(key, &(from, until))| make(key, from, until)).collect()
}

fn node(alert: &Firing) -> &str {
    let culprit = get(alert, "culprit");
    if culprit.is_empty() {
        get(alert, "id")
    } else {
        culprit
    }
}

fn get<'a>(alert: &'a Firing, label: &str) -> &'a str {
    alert.get(label).map_or("", String::as_str)
}
