//! What is usual: what is stated of a service, else the median of the past; how far it strays, and of how many requests.
//!
//! Only windows count in which nothing was degraded, so that a fault does not become usual by lasting. A shift that stays is
//! learned all the same: when too little of `static.history` is left that was healthy, learning begins anew.
//! The group has an interval of its own, because it reads a day of samples. It is shorter than the five minutes for which
//! Prometheus remembers the latest sample.

use config::HumanDuration;
use map::catalogue::{
    RECORDED_HEALTHY_SECONDS, RECORDED_JUDGED, RECORDED_JUDGED_USUAL, RECORDED_MEAN_SECONDS,
    RECORDED_OWN_DEGRADED, RECORDED_SECONDS_SPREAD, RECORDED_TOTAL_DEGRADED, RECORDED_USUAL_SECONDS,
};

use map::NodeId;
use map::services::settings_of;

use super::super::recording;
use super::{FEWEST, ON, replacement};
use crate::onset::interval;
use crate::prometheus::Recording;
use crate::settings::AlertSettings;
use crate::topology::Topology;

/// How often what is usual is asked for, unless the rules are evaluated less often.
const EVERY: HumanDuration = HumanDuration::from_secs(120);
/// The 95th percentile of a normal distribution, in standard deviations above its median.
const DEVIATIONS_AT_95: f64 = 1.645;
/// The least spread, as a share of what is usual and in seconds besides: a system that was never disturbed is not surprised
/// by everything.
const LEAST_SPREAD: (f64, f64) = (0.05, 0.0005);

/// How often the group is evaluated.
pub(super) fn every(settings: &AlertSettings) -> HumanDuration {
    EVERY.max(settings.evaluation_interval)
}

/// The rules of the group.
pub(super) fn rules(topology: &Topology<'_>, settings: &AlertSettings) -> [Recording; 3] {
    let history = settings.fixed.history.as_prometheus();
    let past = format!("{RECORDED_HEALTHY_SECONDS}[{history}]");
    let learned = settings
        .fixed
        .learn
        .get()
        .as_nanos()
        .div_ceil(interval(settings).as_nanos());
    let mut usual = format!("quantile_over_time(0.5, {past})\nand count_over_time({past}) >= {learned}");
    let (share, seconds) = LEAST_SPREAD;
    let least = format!("{share} * {RECORDED_USUAL_SECONDS} + {seconds}");
    let mut spread = format!(
        "(quantile_over_time(0.95, {past}) - {RECORDED_USUAL_SECONDS}) / {DEVIATIONS_AT_95}\n+ {least}"
    );
    let stated = stated(topology);
    if !stated.is_empty() {
        let listed: Vec<String> = stated.iter().map(Stated::expr).collect();
        usual = format!("{}\nor\n{usual}", listed.join("\nor\n"));
        // Nobody stated how far it strays, and its past may be short or slow.
        let of_stated = |expr: &str| {
            format!(
                "{expr}\nand on (id, kind, measure) (\n{}\n)",
                listed.join("\nor\n")
            )
        };
        spread = format!("{}\nor\n{spread}", of_stated(&least));
    }
    let requests =
        format!("max by (id, kind, client, server) (quantile_over_time(0.5, {RECORDED_JUDGED}[{history}]))");
    [
        recording(RECORDED_USUAL_SECONDS, &usual),
        recording(RECORDED_SECONDS_SPREAD, &spread),
        recording(RECORDED_JUDGED_USUAL, &requests),
    ]
}

/// What people state of a service.
struct Stated<'a> {
    id: &'a str,
    measure: &'static str,
    seconds: f64,
}

impl Stated<'_> {
    fn expr(&self) -> String {
        let labels = [("id", self.id), ("kind", "service"), ("measure", self.measure)];
        labels
            .iter()
            .fold(format!("vector({})", self.seconds), |expr, (label, value)| {
                format!(
                    "label_replace({expr}, \"{label}\", {}, \"\", \"\")",
                    replacement(value)
                )
            })
    }
}

/// What people state of the services in the map, in the order of their ids.
fn stated<'a>(topology: &Topology<'a>) -> Vec<Stated<'a>> {
    let services = topology
        .nodes()
        .iter()
        .copied()
        .filter(|id| topology.is_service(id));
    let of = |id: &'a NodeId| {
        let usual = settings_of(&topology.map().services, id)
            .and_then(|stated| stated.usual)
            .unwrap_or_default();
        [("own", usual.own), ("total", usual.total)].map(|(measure, time)| {
            Some(Stated {
                id: id.as_str(),
                measure,
                seconds: time?.get().as_secs_f64(),
            })
        })
    };
    services.flat_map(of).flatten().collect()
}

/// The least spread of what usually takes so many seconds, in seconds.
pub(super) fn least_spread(usual: f64) -> f64 {
    LEAST_SPREAD.0 * usual + LEAST_SPREAD.1
}

/// The windows that are learned from. One that reaches back into a degradation is none, although that is over.
pub(super) fn healthy(settings: &AlertSettings) -> Recording {
    let window = settings.window.as_prometheus();
    let expr = format!(
        r#"
        (
          {RECORDED_MEAN_SECONDS}{{measure="own"}}
          unless {ON} max_over_time({RECORDED_OWN_DEGRADED}[{window}])
          or
          {RECORDED_MEAN_SECONDS}{{measure="total"}}
          unless on (id, kind) max_over_time({RECORDED_TOTAL_DEGRADED}[{window}])
        )
        and {ON} {RECORDED_JUDGED} >= {FEWEST}"#
    );
    recording(RECORDED_HEALTHY_SECONDS, &expr)
}
