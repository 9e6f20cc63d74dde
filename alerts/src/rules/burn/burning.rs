//! Objectives whose budget burns, and those of them that no page explains; both empty while promises are kept.
//!
//! The workbook's condition alone calls one late request of three at night a fire. So the late share must also exceed the
//! pair's limit with evidence: `n · KL(late share ‖ limit)`, in nats, over the long window, as for degradations. With a
//! target of 99 % and 14.4 times its budget, eleven late of eleven are enough and three of three are not.
//! The short window must not say that it is over; a short window without requests says nothing.

use map::catalogue::{
    OBJECTIVE_TARGET, RECORDED_OBJECTIVE_BURN, RECORDED_OBJECTIVE_BURNING, RECORDED_OBJECTIVE_LATE,
    RECORDED_OBJECTIVE_REQUESTS, RECORDED_OBJECTIVE_SEEN, RECORDED_OBJECTIVE_SHARE,
    RECORDED_OBJECTIVE_UNEXPLAINED,
};

use super::{COUNTED, FAST, LONGER, Pair, SLOW, explained, interval};
use crate::prometheus::{Recording, indent};
use crate::rules::recording;
use crate::settings::AlertSettings;

const ON: &str = "on (id, latency, window)";
/// Late shares are kept below 1, so that the logarithms of the evidence stay finite.
const MOST_SHARE: f64 = 0.9999;

/// The late share over each window; absent where no request came.
pub(super) fn share() -> Recording {
    let share = |late: String, requests: String, range: &str| {
        format!(
            "label_replace(\n  clamp_max({late} / ({requests} > 0), {MOST_SHARE}),\n  \
             \"range\", \"{range}\", \"\", \"\"\n)"
        )
    };
    let shortest = share(
        RECORDED_OBJECTIVE_LATE.to_owned(),
        RECORDED_OBJECTIVE_REQUESTS.to_owned(),
        "5m",
    );
    let longer = LONGER.map(|range| {
        let sum = |series: &str| format!("sum_over_time({series}[{range}])");
        share(
            sum(RECORDED_OBJECTIVE_LATE),
            sum(RECORDED_OBJECTIVE_REQUESTS),
            range,
        )
    });
    let shares: Vec<String> = std::iter::once(shortest).chain(longer).collect();
    recording(RECORDED_OBJECTIVE_SHARE, &shares.join("\nor\n"))
}

/// How many times faster than allowed: the late share as a multiple of the share that may be late.
pub(super) fn rate() -> Recording {
    let expr = format!(
        "
        {RECORDED_OBJECTIVE_SHARE}
        / {ON} group_left ()
        (1 - max by (id, latency, window) ({OBJECTIVE_TARGET}))"
    );
    recording(RECORDED_OBJECTIVE_BURN, &expr)
}

/// Budgets that are spent faster than a pair allows, with the rate over its long window.
pub(super) fn burning(settings: &AlertSettings) -> Recording {
    let pairs: Vec<String> = FAST
        .iter()
        .chain(&SLOW)
        .map(|pair| over(pair, settings))
        .collect();
    recording(RECORDED_OBJECTIVE_BURNING, &pairs.join("\nor\n"))
}

fn over(pair: &Pair, settings: &AlertSettings) -> String {
    let Pair { long, short, factor } = pair;
    let (share, rate) = (
        format!("{RECORDED_OBJECTIVE_SHARE}{{range=\"{long}\"}}"),
        format!("{RECORDED_OBJECTIVE_BURN}{{range=\"{long}\"}}"),
    );
    // Each request is in the counts of so many evaluations.
    let once = interval(settings).get().as_secs_f64() / COUNTED.as_secs_f64();
    let threshold = settings.evidence_threshold;
    format!(
        "{rate} > {factor}
unless {ON} {RECORDED_OBJECTIVE_BURN}{{range=\"{short}\"}} <= {factor}
and {ON} (
  sum_over_time({RECORDED_OBJECTIVE_SEEN}[{long}]) * {once}
  * {ON} (
    {share} * ln({rate} / {factor})
    + (1 - {share}) * ln((1 - {share}) / (1 - {factor} * {share} / {rate}))
  )
  > {threshold}
)"
    )
}

/// Of these, by service, those that no page explains which fired within the short window.
pub(super) fn unexplained() -> Recording {
    let pairs = FAST.iter().chain(&SLOW).map(|Pair { long, short, .. }| {
        let explained = indent(&explained(short));
        format!(
            "max by (id, range) (\n  {RECORDED_OBJECTIVE_BURNING}{{range=\"{long}\"}}\n  unless on (id)\n{explained}\n)"
        )
    });
    recording(
        RECORDED_OBJECTIVE_UNEXPLAINED,
        &pairs.collect::<Vec<_>>().join("\nor\n"),
    )
}
