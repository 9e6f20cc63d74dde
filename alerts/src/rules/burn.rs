//! The rules about stated objectives: how fast the budget of late answers is spent.
//!
//! In: settings. Out: one rule group of its own, the same whatever the topology. An objective is a target, so nobody has one
//! who stated none, entry points included.
//! Long windows are sums over what the five minutes before each evaluation brought, so an objective that was stated a minute
//! ago is judged by that minute and not by a past that nobody counted. An evaluation reads about 13 days of values for each
//! objective, 19,000 at one a minute.
//! Left out on purpose: failed requests; an objective is about time. What is left of the budget over its whole period, for
//! which Prometheus may not keep data long enough.
//! Source: Google SRE Workbook, chapter 5, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts, table 5-8.

mod burning;
pub(super) mod by_culprit;
mod counts;
pub(super) mod fast;
pub(super) mod slowly;

use std::time::Duration;

use config::HumanDuration;
use map::catalogue::{OWNER_INFO, RECORDED_CULPRIT_SLOWS, RECORDED_OBJECTIVE_UNEXPLAINED};

use super::PAGE;
use crate::prometheus::{Alert, Group, Rule};
use crate::settings::AlertSettings;

/// Name of the group, and of the file that holds it.
pub(crate) const GROUP: &str = "tracemap-burn";

/// The shortest time between two evaluations: the shortest window is five of it, and budgets are spent over weeks.
const SHORTEST_INTERVAL: Duration = Duration::from_mins(1);

/// A long window that says how much was spent, and a short one that says whether it still is.
struct Pair {
    long: &'static str,
    short: &'static str,
    /// How many times faster than allowed the budget is spent in both.
    factor: f64,
}

/// Those that page: 2 % of a month's budget in an hour, 5 % in six.
const FAST: [Pair; 2] = [pair("1h", "5m", 14.4), pair("6h", "30m", 6.0)];
/// Those that are a ticket: 10 % of a month's budget in one day or in three.
const SLOW: [Pair; 2] = [pair("1d", "2h", 3.0), pair("3d", "6h", 1.0)];
/// Windows of the pairs, the shortest apart, which is that of the counts themselves.
const LONGER: [&str; 6] = ["30m", "1h", "2h", "6h", "1d", "3d"];
/// The window of the counts.
const COUNTED: Duration = Duration::from_mins(5);

const fn pair(long: &'static str, short: &'static str, factor: f64) -> Pair {
    Pair { long, short, factor }
}

/// All rules about objectives with these settings.
pub(crate) fn group(settings: &AlertSettings) -> Group {
    let recordings = [
        counts::requests(),
        counts::seen(),
        counts::late(),
        burning::share(),
        burning::rate(),
        burning::burning(settings),
        burning::unexplained(),
    ];
    let alerts = [
        fast::rule(settings),
        by_culprit::rule(settings),
        slowly::rule(settings),
    ];
    let recordings = recordings.into_iter().map(Rule::Recording);
    Group {
        name: GROUP,
        interval: interval(settings).as_prometheus(),
        rules: recordings.chain(alerts.map(Rule::Alert)).collect(),
    }
}

/// The time between two evaluations of the group.
fn interval(settings: &AlertSettings) -> HumanDuration {
    HumanDuration(settings.evaluation_interval.get().max(SHORTEST_INTERVAL))
}

/// How long a budget must burn: one evaluation longer than a culprit must be slow, so that a page that names one comes
/// first.
fn hold(settings: &AlertSettings) -> HumanDuration {
    let interval = interval(settings).get();
    let evaluations = settings.page_for.get().as_nanos().div_ceil(interval.as_nanos());
    let evaluations = u32::try_from(evaluations).unwrap_or(u32::MAX).saturating_add(1);
    HumanDuration(interval.saturating_mul(evaluations))
}

/// Services that were slow within the time because they waited for a culprit that pages or is about to. They are in its
/// page, and no second fault.
fn explained(within: &str) -> String {
    format!(
        "max by (id) (\n  max_over_time({RECORDED_CULPRIT_SLOWS}[{within}])\n  \
         and on (culprit) max_over_time(ALERTS{{alertname=\"{PAGE}\"}}[{within}])\n)"
    )
}

/// How fast the budgets are spent that nobody's page explains, by service and over the long windows of some pairs.
fn unexplained(pairs: &[Pair]) -> String {
    format!(
        "max by (id) ({RECORDED_OBJECTIVE_UNEXPLAINED}{{{}}})",
        ranges(pairs)
    )
}

/// The matcher of the long windows of some pairs.
fn ranges(pairs: &[Pair]) -> String {
    let longs: Vec<&str> = pairs.iter().map(|pair| pair.long).collect();
    format!("range=~\"{}\"", longs.join("|"))
}

/// An alert about services, under the culprit label and the owner of the service itself; without an owner where it has
/// none.
fn owned(services: &str) -> String {
    let services = format!("label_replace({services}, \"culprit\", \"$1\", \"id\", \"(.+)\")");
    format!(
        "{services}\n* on (id) group_left (team, tier)\n\
         topk by (id) (1, max by (id, team, tier) ({OWNER_INFO}))\nor on (id)\n{services}"
    )
}

fn annotated(mut alert: Alert, summary: &str, pairs: &[Pair], settings: &AlertSettings) -> Alert {
    alert.annotations = crate::annotations::of_objective(alert.name, summary, &ranges(pairs), settings);
    alert
}
