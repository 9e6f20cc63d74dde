//! `cargo xtask proof nodes`: three nodes with agents, under load, around which things fail, beside the same without agents.
//!
//! In: how often and how long. Out: figures on standard output and `docs/proofs/nodes.md`; exit code 1 where a span that was
//! acknowledged is missing or counted twice, or a call failed that would not have failed without agents.
//! Left out on purpose: how it is done, which a system test shares (`harness`).

#[path = "nodes/harness.rs"]
mod harness;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::{Failure, page, root};
use harness::{Outcome, Plan};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/nodes.md";

/// Arguments of `cargo xtask proof nodes`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each thing is done
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Decides on which node it is done
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a cut or a full disk lasts, in seconds; callers wait ten
    #[arg(long, default_value_t = 12)]
    fault: u64,
    /// New traces a second from all pods together, of seven spans in the mean
    #[arg(long, default_value_t = 200)]
    traces_per_second: u64,
    /// Calls a second from each pod to each that it calls
    #[arg(long, default_value_t = 20)]
    calls_per_second: u64,
    /// A built `tracemap`. Default: builds one in the release profile
    #[arg(long)]
    tracemap: Option<PathBuf>,
}

/// Breaks things, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let plan = Plan {
        tracemap: args.tracemap.clone().map_or_else(page::build, Ok)?,
        script: root().join("deploy/redirect/tracemap-redirect.sh"),
        seed: args.seed,
        rounds: args.rounds,
        fault: Duration::from_secs(args.fault),
        calm: Duration::from_secs(2),
        drain_delay: Duration::from_secs(5),
        traces_per_second: args.traces_per_second,
        calls_per_second: args.calls_per_second,
        patience: Duration::from_secs(10),
        wait: Duration::from_secs(args.fault + 25),
    };
    let outcome = harness::run(&plan)?;
    print!("{}", outcome.told());
    let differences = outcome.differences();
    if !differences.is_empty() {
        println!("\n{}", differences.join("\n"));
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &outcome)?)?;
    Ok(ExitCode::SUCCESS)
}

fn markdown(args: &Args, outcome: &Outcome) -> Result<String, Failure> {
    let Args {
        rounds,
        seed,
        fault,
        traces_per_second,
        calls_per_second,
        ..
    } = args;
    let command = format!(
        "cargo xtask proof nodes --rounds {rounds} --seed {seed} --fault {fault} --traces-per-second {traces_per_second} \
         --calls-per-second {calls_per_second}"
    );
    let mut text = page::head(
        "Nodes around which things fail",
        "whatever fails around the agents of a cluster's nodes, and while they are rolled, no span that they acknowledged is lost or\n\
         counted twice, and no call of a pod fails that would not have failed without agents.",
        &command,
    )?;
    text.push_str(
        "Network namespaces are three nodes with two pods behind each, a host for the collector, and a router. Each node runs an agent as\n\
         the chart does, as a user without capabilities, and beside it `tracemap-redirect.sh node --keep on --inbound redirect`. Every pod\n\
         calls three others, two of them on other nodes; two clients of three keep their connection, none repeats what failed, and ten\n\
         seconds without an answer are a failure. Every pod sends numbered traces to the agent of its node, by OTLP/gRPC or OTLP/HTTP, each\n\
         request until it is acknowledged and some once more. First the nodes stand without agents and only the cuts are made, which is all\n\
         that calls meet then. With agents, in each round: a node is cut off from the collector; a node is cut off from everything; a node's\n\
         disk is filled while it cannot reach the collector; the collector is killed by SIGKILL and started again; every agent is rolled, its\n\
         rules ending first as the kubelet ends a container before its sidecar; an agent is killed by SIGKILL. In the end every edge, every\n\
         series and every trace of the pods is compared with what was sent, and every trace that a service was called in is looked for.\n\n\
         A call may fail while one of its nodes, and not both, is cut off from everything. An agent that is killed by SIGKILL takes the\n\
         connections through it along, and new ones until its rules are gone, a second at most: that is the price of having one, and calls\n\
         of and to its node may fail meanwhile.\n\n",
    );
    text.push_str(&outcome.table());
    text.push_str("\n| figure | |\n|---|---:|\n");
    for (what, figure) in outcome.figures() {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text.push_str(
        "\n*Past the agents* went, untraced, what pods called between the end of one agent and the start of the next: calls from the node,\n\
         and to it, whose other end has an agent, are still traced.\n\n\
         What this does not show: a kubelet; HTTP/2, where an agent that leaves sends GOAWAY; other protocols, whose connections through\n\
         an agent end with it; proxies that pods know the address of; nodes that lose power.\n",
    );
    Ok(text)
}
