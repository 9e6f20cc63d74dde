//! The third benchmark: what the agent costs before a broker, beside the same broker without it.
//!
//! In: a `tracemap-agent` (`--agent PATH`), brokers of the PATH (`nats-server`, `redis-server`, `rabbitmq-server`, `mosquitto`),
//! for Kafka its jars (`--kafka-jars DIR`, as the agent's tests fetch them) and Java, and loopback. Out: a table on standard
//! output, then one line of JSON with every figure.
//! Left out on purpose: any judgement of time, see `benches/proxy`; it fails where a message was not taken, or where the agent
//! saw fewer or more messages than were sent. Consumers: what they get passes the other way unchanged.
//!
//! Producers are this program's own: they know no more of each protocol than it takes to publish a message of 1 KiB and to
//! hear that the broker has it, so that they leave as much of the machine to the others as can be. Kafka's send batches of 100, but for latency.
//!
//! Method. *Saturated*: as many messages as fit, with a bounded number unacknowledged, for `--seconds`; direct and through the
//! agent in turn. CPU is user and system of broker and agent over the acknowledged messages, by `/proc`. *Half*: half of the
//! direct rate, sent in ticks of a millisecond; what is told is how much of that rate was kept, the last acknowledgement
//! included. *Latency*: an open loop of 500 messages a second, one at a time on each of 4 connections, from the instant a
//! message was due to its acknowledgement.

mod amqp;
mod brokers;
#[path = "../common/http.rs"]
#[allow(dead_code, reason = "the other benchmarks use more of it")]
mod http;
mod kafka;
#[path = "../common/machine.rs"]
mod machine;
mod measure;
mod mqtt;
mod nats;
#[path = "../common/openloop.rs"]
#[allow(dead_code, reason = "the other benchmarks use more of it")]
mod openloop;
#[path = "../common/process.rs"]
#[allow(dead_code, reason = "the other benchmarks use more of it")]
mod process;
mod redis;
mod report;
#[path = "../common/sink.rs"]
mod sink;
#[path = "../common/stat.rs"]
mod stat;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpListener;

use crate::brokers::Setup;

/// What went wrong; nothing here is handled, all of it is told.
type Failure = Box<dyn Error + Send + Sync>;

/// Bytes of each message.
const BODY: usize = 1024;

/// Measures the agent before brokers, beside the brokers alone
#[derive(Parser)]
struct Args {
    /// One round of half a second: shows that everything works, with figures too short to be quoted
    #[arg(long)]
    quick: bool,
    /// The agent's program. Default: `tracemap-agent` of the profile `dist`
    #[arg(long, value_name = "PATH", default_value = "target/dist/tracemap-agent")]
    agent: PathBuf,
    /// The directory with Kafka's jars. Without one there is no Kafka
    #[arg(long, value_name = "DIR")]
    kafka_jars: Option<PathBuf>,
    /// Of the setups only those whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Rounds; default 3, or 1 where it is quick
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds a turn; default 3, or half of one where it is quick
    #[arg(long)]
    seconds: Option<f64>,
    /// The share of traces that the agent records, 0 to 1
    #[arg(long, default_value_t = 1.0)]
    ratio: f64,
    /// Is the collector; how the benchmark starts its own child process
    #[arg(long, hide = true)]
    serve: Option<String>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.serve.is_some() { serve() } else { run(&args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("queues: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The collector, until killed; its addresses are the first line.
fn serve() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let [spans, page] = [
            TcpListener::bind("127.0.0.1:0").await?,
            TcpListener::bind("127.0.0.1:0").await?,
        ];
        println!("{} {}", spans.local_addr()?, page.local_addr()?);
        std::io::stdout().flush()?;
        sink::serve(spans, page).await
    })
}

fn run(args: &Args) -> Result<(), Failure> {
    let plan = measure::Plan {
        agent: args.agent.clone(),
        ratio: args.ratio,
        rounds: args.rounds.unwrap_or(if args.quick { 1 } else { 3 }).max(1),
        length: Duration::from_secs_f64(args.seconds.unwrap_or(if args.quick { 0.5 } else { 3.0 })),
    };
    let machine = machine::Machine::read();
    openloop::wake_up_on_time();
    let mut setups = Vec::new();
    for setup in Setup::ALL
        .iter()
        .filter(|setup| setup.name().contains(&args.only))
    {
        if setup.is_kafka() && args.kafka_jars.is_none() {
            eprintln!("queues: {} is left out: `--kafka-jars DIR`", setup.name());
            continue;
        }
        eprintln!("{}", setup.name());
        setups.push(measure::measure(*setup, args.kafka_jars.as_deref(), &plan)?);
    }
    let report = report::Report {
        quick: args.quick,
        rounds: plan.rounds,
        ratio: plan.ratio,
        machine,
        setups,
    };
    print!("{report}");
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
