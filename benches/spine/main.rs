//! The first benchmark: what the spine costs, as ratios within one run.
//!
//! In: the `tracemap` command of this build, loopback, and perhaps an `otelcol` (`--peer-otelcol PATH`). Out: a table on
//! standard output, then one line of JSON with every figure, the commit and the machine.
//! Left out on purpose: any judgement of time. A shared machine can be twice as slow tomorrow, so nothing here fails
//! because it was slow; it fails where the work was not done, for then the figure would be of something else.
//!
//! Method, collector: contestants are processes of their own that take turns within each round, on the same load: OTLP/gRPC
//! without compression, one connection, eight requests in flight, 500 spans of ten resources in each, twelve attributes a
//! span, every trace new, the two halves of every edge in different requests. A turn lasts from the first request until
//! nothing is left to do (the collector has closed every trace). CPU is user and system time of the process by
//! `/proc/<pid>/stat`; one turn before the first round is not counted. What a process does after its turn (forgetting old
//! traces) is in its figure for the whole life, start included. After the rounds each contestant is sent to on a schedule
//! at half the rate of its own turns; an acknowledgement's latency runs from the instant its request was due. A loop that
//! only writes and syncs runs in the same directory, for disks differ more than collectors.
//!
//! Method, scale: the collector against itself, each figure with fresh processes; CPU is the threads' run time by
//! `/proc/<pid>/task/*/schedstat`, because ten thousand spans take less than a tick. Services are few or a thousand in
//! turns of the same round, after each has seen every edge.
//!
//! Method, agent: an open loop with a fixed schedule; latency runs from the instant a request was due, not from the instant
//! it could be sent, so a stall counts for every request that it delayed. Direct, one proxy and two proxies take turns
//! within each round, in an order that rotates. All is on one machine: client, proxies, service and collector share its
//! cores. Every request is traced, every span must arrive at a real collector.

mod agents;
mod client;
mod collectors;
mod entry;
#[path = "../common/http.rs"]
mod http;
mod load;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/openloop.rs"]
mod openloop;
mod otelcol;
mod peers;
#[path = "../common/process.rs"]
mod process;
mod report;
mod scale;
mod sender;
mod shape;
#[path = "../common/stat.rs"]
mod stat;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// What went wrong; nothing here is handled, all of it is told.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures the collector and the agent against peers, side by side
#[derive(Parser)]
struct Args {
    /// Seconds instead of minutes: shows that everything works, with figures too short to be quoted
    #[arg(long)]
    quick: bool,
    /// An OpenTelemetry Collector with the receiver `otlp`, the connectors `servicegraph` and `spanmetrics` and the
    /// exporter `prometheus`, as one more contestant
    #[arg(long, value_name = "PATH")]
    peer_otelcol: Option<PathBuf>,
    /// A rotel, which receives and forwards, as one more contestant
    #[arg(long, value_name = "PATH")]
    peer_rotel: Option<PathBuf>,
    /// Measures only this part
    #[arg(long)]
    only: Option<Part>,
    /// Of the collector's part only contestants whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    contestant: String,
    /// Rounds; default 5, or 2 where it is quick
    #[arg(long)]
    rounds: Option<usize>,
    /// Spans a turn; default 500,000, or 50,000 where it is quick
    #[arg(long)]
    spans: Option<u64>,
    /// Requests a second to the agent
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Is one of the peers; how the benchmark starts its own child processes
    #[arg(long, hide = true)]
    serve: Option<peers::Role>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Collector,
    Scale,
    Agent,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.serve {
        Some(role) => peers::serve(role),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("spine: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Failure> {
    let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 5 }).max(1);
    let spans = args.spans.unwrap_or(if args.quick { 50_000 } else { 500_000 });
    let machine = machine::Machine::read();
    let mut report = report::Report {
        quick: args.quick,
        rounds,
        machine,
        collector: None,
        scale: None,
        agent: None,
    };
    let wanted = |part| args.only.is_none_or(|only| only == part);
    if wanted(Part::Collector) {
        report.collector = Some(collectors::measure(&collectors::Plan {
            rounds,
            spans_per_turn: spans,
            timed: Duration::from_secs(if args.quick { 1 } else { 10 }),
            otelcol: args.peer_otelcol.clone(),
            rotel: args.peer_rotel.clone(),
            contestant: args.contestant.clone(),
        })?);
    }
    if wanted(Part::Scale) {
        report.scale = Some(scale::measure(&scale::Plan {
            rounds,
            traces_in_flight: if args.quick { 10_000 } else { 100_000 },
            spans_per_turn: spans,
            steps: if args.quick {
                [1_000, 10_000, 50_000]
            } else {
                [10_000, 100_000, 1_000_000]
            },
            first_sights: if args.quick { 2 } else { 10 },
        })?);
    }
    if wanted(Part::Agent) {
        report.agent = Some(agents::measure(&agents::Plan {
            rounds,
            rate: args.rate,
            turn: Duration::from_secs(if args.quick { 1 } else { 8 }),
            connections: 16,
        })?);
    }
    print!("{report}");
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
