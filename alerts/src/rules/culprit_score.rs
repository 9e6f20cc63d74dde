//! For each suspect, what its hypothesis explains less what it should have slowed and did not.
//!
//! A busy healthy edge of the suspect speaks against it, by at most [`VOTE_NATS`]: a healthy edge is weak evidence,
//! since most faults leave some edges alone. Only judged requests make an edge busy: six busy edges without a
//! baseline once moved a page to the wrong end. Edges from `user` and `unknown` have no own time and cannot vote.

use map::catalogue::{
    RECORDED_CULPRIT_EXPLAINED, RECORDED_CULPRIT_SCORE, RECORDED_JUDGED, RECORDED_OWN_DEGRADED,
};

use super::{NOBODY, at_end, ladder, recording};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;

/// Judged requests in the window from which an edge is as busy as can be.
const BUSY_REQUESTS: f64 = 40.0;
/// Nats that such an edge counts against the nodes at its ends when it is healthy.
const VOTE_NATS: f64 = 4.0;

pub(super) fn rule(settings: &AlertSettings) -> Recording {
    let first = ladder::first(settings);
    let (callee, caller) = (
        votes("server", "callee", &first),
        votes("client", "caller", &first),
    );
    let against = format!(
        "sum by (culprit) (\n{}\n)",
        indent(&format!("{callee}\nor\n{caller}"))
    );
    let against = indent(&indent(&format!(
        "{against}\nor\n{RECORDED_CULPRIT_EXPLAINED} * 0"
    )));
    recording(
        RECORDED_CULPRIT_SCORE,
        &format!("{RECORDED_CULPRIT_EXPLAINED}\n- (\n{against}\n  )"),
    )
}

/// What the healthy edges say against the nodes at one of their ends.
fn votes(end: &str, side: &str, first: &str) -> String {
    let share = VOTE_NATS / BUSY_REQUESTS;
    let edges = format!(r#"{RECORDED_JUDGED}{{kind="edge",client!~"{NOBODY}",{first}}}"#);
    at_end(
        &format!(
            "sum by (id, client, server, kind) (clamp_max({edges}, {BUSY_REQUESTS})) * {share} unless {RECORDED_OWN_DEGRADED}"
        ),
        end,
        side,
    )
}
