//! For each suspect, what its hypothesis explains less what it should have slowed and did not.
//!
//! A busy healthy edge of the suspect speaks against it, by at most [`VOTE_NATS`]: a healthy edge is weak evidence,
//! since most faults leave some edges alone. Only judged requests make an edge busy: six busy edges without a
//! baseline once moved a page to the wrong end. Edges from `user` and `unknown` have no own time and cannot vote.

use super::{NOBODY, Signal, at_end, ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

/// Judged requests in the window from which an edge is as busy as can be.
const BUSY_REQUESTS: f64 = 40.0;
/// An edge with more evidence than this in the shortest window is no healthy one, although it may be too little to suspect
/// anybody: chance gives as much to two healthy edges in a hundred.
const NOT_HEALTHY_NATS: f64 = 2.0;
/// Nats that such an edge counts against the nodes at its ends when it is healthy.
const VOTE_NATS: f64 = 4.0;

pub(super) fn rule(signal: &Signal, settings: &AlertSettings) -> Recording {
    let Signal {
        culprit_explained, ..
    } = signal;
    let first = ladder::first(settings);
    let (callee, caller) = (
        votes(signal, "server", "callee", &first),
        votes(signal, "client", "caller", &first),
    );
    let against = format!(
        "sum by (culprit) (\n{}\n)",
        indent(&format!("{callee}\nor\n{caller}"))
    );
    let against = indent(&indent(&format!("{against}\nor\n{culprit_explained} * 0")));
    recording(
        signal.culprit_score,
        &format!("{culprit_explained}\n- (\n{against}\n  )"),
    )
}

/// What the healthy edges say against the nodes at one of their ends.
fn votes(signal: &Signal, end: &str, side: &str, first: &str) -> String {
    let Signal {
        judged, own_degraded, ..
    } = signal;
    let doubted = signal.doubts.map_or_else(String::new, |evidence| {
        format!(" or {evidence}{{{first}}} > {NOT_HEALTHY_NATS}")
    });
    let share = VOTE_NATS / BUSY_REQUESTS;
    let edges = format!(r#"{judged}{{kind="edge",client!~"{NOBODY}",{first}}}"#);
    at_end(
        &format!(
            "sum by (id, client, server, kind) (clamp_max({edges}, {BUSY_REQUESTS})) * {share} \
             unless on (id) ({own_degraded}{doubted})"
        ),
        end,
        side,
    )
}
