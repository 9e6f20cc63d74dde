//! The two suspects of each degraded edge: its callee and its caller.
//!
//! `user` and `unknown` are no suspects. Nobody can be asked to make them faster.

use map::catalogue::{RECORDED_EDGE_SUSPECT, RECORDED_OWN_DEGRADED};

use super::{NOBODY, at_end, recording};
use crate::prometheus::{Recording, indent};

pub(super) fn rule() -> Recording {
    let (callee, caller) = (suspect("server", "callee"), suspect("client", "caller"));
    let either = indent(&format!("{callee}\nor\n{caller}"));
    recording(
        RECORDED_EDGE_SUSPECT,
        &format!("max by (id, culprit, side) (\n{either}\n)"),
    )
}

fn suspect(end: &str, side: &str) -> String {
    at_end(
        &format!(r#"{RECORDED_OWN_DEGRADED}{{kind="edge",{end}!~"{NOBODY}"}}"#),
        end,
        side,
    )
}
