//! Reasons, in words and numbers.
//!
//! In: what was found. Out: one sentence for each number.
//! Left out on purpose: exact counts, which would change a file every minute.

use std::fmt::Write as _;

use super::Told;
use super::budget::{Bound, LONGEST, Times};
use super::figures::{millis, percent, two_figures};
use super::retries::backoff_ms;

/// A slowest call this many times the median is worth a look before it is somebody's timeout.
const LONG_TAIL: f64 = 50.0;

/// Why a call may take so long.
pub(super) fn timeout(told: &Told<'_>, i: usize, cuts_off: Option<f64>) -> String {
    let (call, needs) = (&told.shape.calls[i], &told.calls[i]);
    let server = told.shape.nodes[call.server];
    let Some(times) = told.budget.calls[i] else {
        return match &told.seen[i] {
            Err(why) => why.clone(),
            Ok(_) => format!(
                "none: what `{server}` waits for adds up to more than {}, which limits nothing; state a \
                 timeout, or \
                 pass deadlines on",
                millis(LONGEST as f64)
            ),
        };
    };
    let mut said = Vec::new();
    if needs.pin.is_some() {
        said.push(format!("stated in `services.{server}.resilience.timeout`"));
    } else if let Some(ms) = told.nodes[call.server].objective.filter(|_| needs.from_outside) {
        let promise = format!("`{server}` promises an answer within {}", millis(ms as f64));
        said.push(match told.budget.out_of_reach[call.server] {
            None => format!("{promise}, and later ones keep no promise"),
            Some(needs) => format!(
                "{promise}, which bounds nothing, because 95 % of its requests need {}",
                millis(needs)
            ),
        });
    }
    said.push(seen(told, i));
    said.extend(longer(told, i, times));
    said.extend(shorter(told, i, times));
    if times.attempt != times.total {
        said.push(format!(
            "{} attempts of {} and up to {} between them",
            times.retries + 1,
            millis(times.attempt as f64),
            millis(backoff_ms(times.retries))
        ));
    }
    if let Some(share) = cuts_off {
        said.push(format!(
            "{} of the calls seen took longer than an attempt",
            percent(share)
        ));
    }
    said.join("; ")
}

/// What calls took.
fn seen(told: &Told<'_>, i: usize) -> String {
    let settings = told.settings;
    let seen = match &told.seen[i] {
        Err(why) => return why.clone(),
        Ok(seen) => seen,
    };
    let network = if seen.callee_only {
        " as the callee saw it, without the network"
    } else {
        ""
    };
    let mut said = format!(
        "{} % of {} requests took at most {}{network}, times {} is {}",
        (settings.quantile * 1e5).round() / 1e3,
        seen.requests,
        millis(seen.high_ms),
        settings.margin,
        millis(seen.high_ms * settings.margin)
    );
    let tail = seen.high_ms / seen.p50_ms;
    if tail.is_finite() && tail >= LONG_TAIL && seen.high_ms >= settings.min_timeout.get().as_secs_f64() * 1e3
    {
        let _ = write!(
            said,
            " ({} times the median: a fault may be in it, and an objective or a stated timeout keeps it out)",
            two_figures(tail)
        );
    }
    said
}

/// Why a timeout is longer than what calls took.
fn longer(told: &Told<'_>, i: usize, times: Times) -> Option<String> {
    let (call, needs) = (&told.shape.calls[i], &told.calls[i]);
    let server = told.shape.nodes[call.server];
    if call.closes_cycle {
        return Some(format!(
            "the call leads back to `{server}`, and how often it does so in a request is not known, so \
             neither what `{server}` waits for nor a stated timeout is in it"
        ));
    }
    let is_promised = needs.from_outside && told.nodes[call.server].objective.is_some();
    let is_held = told.budget.out_of_reach[call.server].is_none();
    if needs.pin.is_some() || is_promised && is_held {
        return None;
    }
    let least = told.settings.min_timeout;
    let observed = needs.observed.map_or(1.0, |seen| seen.high.max(1.0));
    let attempt = times.attempt as f64;
    if times.nested && attempt > observed * 1.1 + 1.0 {
        let needs = millis(told.budget.needs[call.server]);
        return Some(format!(
            "`{server}` needs {needs} where its own calls take as long as they may"
        ));
    }
    let is_least = observed < least.get().as_secs_f64() * 1e3 && attempt >= least.get().as_secs_f64() * 1e3;
    is_least.then(|| format!("no timeout is below {least}"))
}

/// What an objective or a pin took away.
fn shorter(told: &Told<'_>, i: usize, times: Times) -> Option<String> {
    let because = bound_of(told, times.forced_by?);
    let observed = told.calls[i].observed.map_or(0.0, |seen| seen.high);
    if (times.attempt as f64) < observed {
        return Some(format!(
            "cut to {}, because {because}",
            millis(times.attempt as f64)
        ));
    }
    Some(format!("no room for more, because {because}"))
}

fn bound_of(told: &Told<'_>, bound: Bound) -> String {
    match bound {
        Bound::Longest => format!("no timeout is above {}", millis(LONGEST as f64)),
        Bound::Objective(node) => {
            let objective = told.nodes[node].objective.unwrap_or_default();
            let id = told.shape.nodes[node];
            format!("`{id}` promises an answer within {}", millis(objective as f64))
        }
        Bound::Pin(call) => {
            let (id, pin) = (
                told.shape.nodes[told.shape.calls[call].server],
                told.calls[call].pin,
            );
            format!(
                "callers wait for `{id}` only {}",
                millis(pin.unwrap_or_default() as f64)
            )
        }
    }
}

/// Why a call is repeated so often, or not.
pub(super) fn retries(told: &Told<'_>, i: usize) -> String {
    let decision = &told.decisions[i];
    let is_dropped =
        decision.retries.is_some() && told.budget.calls[i].is_none_or(|times| times.retries == 0);
    if is_dropped {
        return match told.budget.calls[i].and_then(|times| times.forced_by) {
            Some(bound) => format!(
                "none: there is no time for a second attempt, because {}",
                bound_of(told, bound)
            ),
            None => "none: the stated timeout has no room for a second attempt".to_owned(),
        };
    }
    decision.because.clone()
}

/// Why an objective or a pin bounds nothing.
pub(super) fn out_of_reach(told: &Told<'_>, node: usize, needs: f64) -> String {
    let id = told.shape.nodes[node];
    let pins = told.shape.into[node].iter();
    let pin = pins.filter_map(|&call| told.calls[call].pin).min();
    let objective = told.nodes[node].objective;
    let needs = millis(needs);
    match (objective, pin) {
        (_, Some(pin)) if objective.is_none_or(|objective| pin <= objective) => format!(
            "callers wait for `{id}` only {}, but 95 % of its requests need {needs} where what it waits \
             for is that slow too: \
             timeouts behind it are not cut below that",
            millis(pin as f64)
        ),
        _ => format!(
            "`{id}` promises an answer within {}, but 95 % of its requests need {needs} where what it \
             waits for is that slow \
             too: the promise bounds no timeout",
            millis(objective.unwrap_or_default() as f64)
        ),
    }
}

/// What a service needs.
pub(super) fn service(told: &Told<'_>, node: usize) -> String {
    let (needs, seen) = (&told.nodes[node], &told.services[node]);
    let own = match seen.own_ms {
        Some(_) => format!("{} of its own", millis(needs.own.high)),
        None => "its own time, which is not known,".to_owned(),
    };
    let beside = match seen.overlap {
        Some(overlap) if overlap < 1.0 => {
            format!(
                "calls that run beside each other ({} of their sum is waited for)",
                percent(two_figures(overlap))
            )
        }
        Some(_) => "calls that follow each other".to_owned(),
        None => "calls that are taken to follow each other".to_owned(),
    };
    let mut said = format!("{own} and the timeouts of its {beside}");
    let out = told.shape.out[node].iter();
    let unknown = out.filter(|&&call| told.budget.calls[call].is_none()).count();
    if unknown > 0 {
        let _ = write!(
            said,
            "; without {unknown} of its calls, for which there is no timeout"
        );
    }
    if let Some((has, bound)) = told.budget.has[node]
        && told.budget.needs[node] > has as f64
    {
        let why = bound.map(|bound| format!(", because {}", bound_of(told, bound)));
        let _ = write!(
            said,
            "; it has {}{}, so a request in which everything is that slow is given up",
            millis(has as f64),
            why.unwrap_or_default()
        );
    }
    said
}
