//! Nodes around whose agents things fail lose no span that was acknowledged and no call of their pods.

#[path = "../../xtask/src/nodes/harness.rs"]
mod harness;

use std::time::Duration;

use harness::{Fault, Plan};

#[test]
fn what_fails_around_the_agents_of_nodes_costs_no_acknowledged_span_and_no_call() {
    let plan = Plan {
        tracemap: env!("CARGO_BIN_EXE_tracemap").into(),
        script: concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/redirect/tracemap-redirect.sh"
        )
        .into(),
        seed: 3,
        rounds: 1,
        fault: Duration::from_millis(2_500),
        calm: Duration::from_millis(300),
        drain_delay: Duration::from_millis(500),
        traces_per_second: 60,
        calls_per_second: 10,
        patience: Duration::from_secs(20),
        wait: Duration::from_secs(10),
    };
    let outcome = harness::run(&plan).unwrap();
    let told = outcome.told();
    assert_eq!(outcome.differences(), [""; 0], "{told}");
    assert!(
        outcome.traces > 200 && outcome.verdict.read_back == outcome.traces,
        "{told}"
    );
    let sent = outcome.sent;
    assert!(
        outcome.refused > 0 && sent.retried > 0 && sent.repeated > 0,
        "{told}"
    );
    assert!(
        outcome.verdict.duplicates > 0 && outcome.call_traces > 200,
        "{told}"
    );
    // What was rolled was passed by.
    assert!(outcome.with.tally(Fault::Rolled).untraced > 0, "{told}");
    for fault in Fault::ALL {
        assert!(outcome.with.tally(fault).calls > 0, "{told}");
    }
}
