//! A few simulated runs on every change: the promises of the whole proof, in small.
//!
//! In: fixed seeds, and `promtool` on the PATH. Out: failures that show the runs.
//! Left out on purpose: shares. A dozen runs tell that nothing broke; `cargo xtask proof simulate` tells how good it is.

use std::collections::BTreeSet;

use super::report::Totals;
use super::trial::{Class, Trial};

/// The first of twelve consecutive seeds whose runs have every shape, both classes of faults and healthy systems.
const SEED: u64 = 33;
const RUNS: u64 = 12;

#[test]
fn a_dozen_systems_page_for_their_culprits_and_for_nothing_else() {
    let trials = super::play(SEED, RUNS, 2, None).expect("promtool");
    let lines: Vec<String> = trials.iter().map(Trial::line).collect();
    let said = lines.join("\n");
    let shapes: BTreeSet<_> = trials.iter().map(|trial| trial.scenario.system.shape).collect();
    let classes: BTreeSet<_> = trials.iter().map(Trial::class).collect();
    assert!(shapes.len() == 5 && classes.contains(&Class::Healthy), "{said}");
    let totals = Totals::of(&trials);
    assert!(
        totals.owed >= 5 && totals.named + 1 >= totals.owed,
        "{totals:?}\n{said}"
    );
    let wrong = (totals.wrong, totals.healthy, totals.idle, totals.slight_other);
    assert_eq!(wrong, (0, 0, 0, 0), "{totals:?}\n{said}");
}
