//! The two suspects of each degraded edge: its callee and its caller.
//!
//! `user` and `unknown` are no suspects. Nobody can be asked to make them faster.

use super::{NOBODY, Signal, at_end, recording};
use crate::prometheus::{Recording, indent};

pub(super) fn rule(signal: &Signal) -> Recording {
    let (callee, caller) = (
        suspect(signal, "server", "callee"),
        suspect(signal, "client", "caller"),
    );
    let either = indent(&format!("{callee}\nor\n{caller}"));
    recording(
        signal.edge_suspect,
        &format!("max by (id, culprit, side) (\n{either}\n)"),
    )
}

fn suspect(signal: &Signal, end: &str, side: &str) -> String {
    let Signal { own_degraded, .. } = signal;
    at_end(
        &format!(r#"{own_degraded}{{kind="edge",{end}!~"{NOBODY}"}}"#),
        end,
        side,
    )
}
