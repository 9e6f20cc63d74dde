//! A plan is followed: the budget holds while traffic grows tenfold, and the map's counts stay exact.

#[path = "../../xtask/src/plan/live.rs"]
mod live;

use std::time::Duration;

use live::Plan;
use serde_json::Value;

#[test]
fn the_budget_holds_while_traffic_grows_tenfold_and_every_call_is_counted() {
    let plan = Plan {
        tracemap: env!("CARGO_BIN_EXE_tracemap").into(),
        rate: 8.0,
        factor: 10.0,
        cache_calls: 2,
        budget: 40.0,
        intervals: [1, 1].map(Duration::from_secs),
        wait: Duration::from_secs(2),
        phases: [15, 20, 25].map(Duration::from_secs),
        pin: Some("span"),
    };
    let outcome = live::run(&plan).unwrap();
    let told = live::told(&plan, &outcome);
    assert_eq!(outcome.failed, 0, "{told}");
    // A second for the plan to come to the agent, at the beginning.
    let all = outcome.rate(6.0, 60.0);
    assert!(
        all <= 1.1 * plan.budget,
        "{all:.1} spans/s\n{told}\n{}",
        outcome.plan
    );
    assert!(
        all >= 0.8 * plan.budget,
        "{all:.1} spans/s\n{told}\n{}",
        outcome.plan
    );
    assert!(
        outcome.offered > 4.0 * 54.0 * plan.budget,
        "{} spans offered",
        outcome.offered
    );
    for name in ["cart", "cache"] {
        let counted = outcome.counted.get(name).copied().unwrap_or_default();
        assert_eq!(
            counted as u64, outcome.answered[name],
            "{name}: {:?}",
            outcome.counted
        );
    }
    // One of them is recorded of each 1 / share.
    let (users, counted) = (outcome.answered["web"] as f64, outcome.counted["web"]);
    assert!((counted / users - 1.0).abs() < 0.03, "{counted} of {users} users");
    let agents: Value = serde_json::from_str(&outcome.agents).unwrap();
    let agents = agents["agents"].as_array().unwrap();
    let mut nodes: Vec<String> = agents.iter().map(|agent| agent["nodes"].to_string()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [r#"["web","cart"]"#, r#"["web"]"#], "{agents:?}");
    for agent in agents {
        assert_eq!(agent["applied"].as_str().map(str::len), Some(16), "{agent}");
    }
}
