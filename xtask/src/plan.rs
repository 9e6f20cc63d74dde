//! `cargo xtask proof plan`: a budget while traffic grows tenfold, and what a plan keeps of recorded faults.
//!
//! In: a directory of recorded sets and the converter for their tables. Out: figures on standard output and in `docs/proofs/plan.md`; exit
//! code 1 where ten seconds left the budget by more than a tenth, or a call was not counted.
//! Left out on purpose: how traffic is made, which a system test shares (`live`).

#[path = "plan/live.rs"]
mod live;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::{Failure, output, page};
use live::{Outcome, Plan};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/plan.md";
/// Sets with labelled faults, and where their span tables lie.
const SETS: &[(&str, &[&str])] = &[
    ("onlineboutique-0822", &["trace/*_trace.csv.gz"]),
    ("trainticket-0130-a", &["trace/*_trace.csv.gz"]),
    (
        "trainticket-0129",
        &["trace/*_trace.csv.gz", "trace_faultfree/*_trace.csv.gz"],
    ),
];

/// Arguments of `cargo xtask proof plan`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory that holds the recorded sets
    #[arg(long)]
    data: PathBuf,
    /// The Python script that turns span tables into OTLP JSON: `SCRIPT DIR -o OUT.jsonl.gz --glob GLOB`
    #[arg(long)]
    to_otlp: PathBuf,
    /// The share of all spans that a plan may keep of recordings
    #[arg(long, default_value_t = 0.05)]
    share: f64,
    /// Requests of users a second before they are ten times as many
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// Spans a second that are allowed
    #[arg(long, default_value_t = 200.0)]
    budget: f64,
    /// Seconds at the first rate, of growth, and at the last rate
    #[arg(long, num_args = 3, default_values_t = [60, 120, 180])]
    seconds: Vec<u64>,
    /// A built `tracemap`. Default: builds one in the release profile
    #[arg(long)]
    tracemap: Option<PathBuf>,
}

/// Runs both, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tracemap = args.tracemap.clone().map_or_else(page::build, Ok)?;
    let [first, growing, last] = args.seconds[..] else {
        return Err("`--seconds` takes three numbers".into());
    };
    let plan = Plan {
        tracemap: tracemap.clone(),
        rate: args.rate,
        factor: 10.0,
        cache_calls: 5,
        budget: args.budget,
        intervals: [5, 5].map(Duration::from_secs),
        wait: Duration::from_secs(2),
        phases: [first, growing, last].map(Duration::from_secs),
        pin: None,
    };
    let pinned = Plan {
        pin: Some("span"),
        ..plan.clone()
    };
    // Their first plan comes later.
    let defaults = Plan {
        intervals: [15, 30].map(Duration::from_secs),
        wait: Duration::from_secs(10),
        phases: [first + 60, growing, last + 30].map(Duration::from_secs),
        ..plan.clone()
    };
    let recorded = SETS
        .iter()
        .map(|(name, globs)| Ok((*name, recorded(args, &tracemap, name, globs)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    for (name, told) in &recorded {
        println!("{name}\n{told}");
    }
    let ways = [
        ("The plan decides about modes", plan),
        (
            "`cache` is pinned to `span`, so that shares alone must do it",
            pinned,
        ),
        ("By default: a look each 15 s, a question each 30 s", defaults),
    ];
    let mut ran = Vec::new();
    for (title, plan) in ways {
        let outcome = live::run(&plan)?;
        println!("{title}\n{}", live::told(&plan, &outcome));
        ran.push((title, plan, outcome));
    }
    let wrong: Vec<String> = ran
        .iter()
        .flat_map(|(title, plan, outcome)| {
            let of = problems(plan, outcome).into_iter();
            of.map(move |problem| format!("{title}: {problem}"))
        })
        .collect();
    page::write(REPORT, &report(args, &ran, &recorded)?)?;
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", wrong.join("\n"));
    Ok(ExitCode::from(1))
}

/// From when on a plan is in force, seconds: two looks, a question of each agent, and until its traces are closed.
fn in_force(plan: &Plan) -> f64 {
    let [looks, asks] = plan.intervals.map(|interval| interval.as_secs_f64());
    let seconds = 2.0 * looks + asks + plan.wait.as_secs_f64();
    (seconds / 10.0).ceil() * 10.0
}

fn problems(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let end: f64 = plan.phases.iter().map(Duration::as_secs_f64).sum();
    let mut wrong = Vec::new();
    let from = in_force(plan);
    let all = outcome.rate(from, end) / plan.budget;
    let whole = (all - 1.0).abs() > 0.1;
    wrong.extend(whole.then(|| format!("{:.0} % of the budget in all", 100.0 * all)));
    let mut windows = live::windows(plan, outcome);
    windows.retain(|(begin, _)| *begin >= from);
    if windows.is_empty() {
        wrong.push(format!("it ends before {from} s, when a plan is in force"));
    }
    for (from, of_budget) in windows.into_iter().filter(|(_, of)| (of - 1.0).abs() > 0.1) {
        wrong.push(format!(
            "{:.0} % of the budget in the ten seconds from {from} s on",
            100.0 * of_budget
        ));
    }
    let (users, counted) = (outcome.answered.get("web"), outcome.counted.get("web"));
    let users = users.copied().unwrap_or_default() as f64;
    let counted = counted.copied().unwrap_or_default();
    if users == 0.0 || (counted / users - 1.0).abs() > 0.01 {
        wrong.push(format!(
            "{counted} of {users} users are counted by the traces that were recorded"
        ));
    }
    if outcome.failed > 0 {
        wrong.push(format!("{} requests failed", outcome.failed));
    }
    for name in ["cart", "cache"] {
        let answered = outcome.answered.get(name).copied().unwrap_or_default();
        let counted = outcome.counted.get(name).copied().unwrap_or_default();
        if (counted - answered as f64).abs() > 0.5 {
            wrong.push(format!(
                "`{name}` answered {answered} calls, and the map counts {counted}"
            ));
        }
    }
    wrong
}

fn recorded(args: &Args, tracemap: &Path, name: &str, globs: &[&str]) -> Result<String, Failure> {
    let scratch = tempfile::tempdir()?;
    let dir = args.data.join(name);
    let mut files = Vec::new();
    for (number, glob) in globs.iter().enumerate() {
        let file = scratch.path().join(format!("{number}.jsonl.gz"));
        let mut convert = Command::new("python3");
        convert.arg(&args.to_otlp).arg(&dir).arg("-o").arg(&file);
        output(convert.args(["--glob", glob]))?;
        files.push(file);
    }
    let mut command = Command::new(tracemap);
    command.arg("backtest").args(&files).arg("--faults");
    command
        .arg(dir.join("faults_measured.csv"))
        .arg("--plan")
        .arg(args.share.to_string());
    Ok(String::from_utf8(output(&mut command)?)?)
}

fn report(
    args: &Args,
    ran: &[(&str, Plan, Outcome)],
    recorded: &[(&str, String)],
) -> Result<String, Failure> {
    let mut text = page::head(
        "The plan",
        "a budget of spans holds within a tenth in every ten seconds of a run in which traffic grows tenfold, the map goes on counting every \
         call, and at 5 % of the spans a plan keeps twenty slow traces of as many recorded faults as an even share does, or more",
        &format!(
            "cargo xtask proof plan --data DIR --to-otlp SCRIPT --rate {} --budget {} --seconds {}",
            args.rate,
            args.budget,
            args.seconds
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        ),
    )?;
    write!(
        text,
        "## Live\n\nUsers ask `web` {} times a second, after a while ten times as often, and so for a while. `web` asks `cart` once, `cart` asks \
         `cache` 5 times. `web` runs twice, each behind an agent of its own, and three of four users come to the first. The budget is {} \
         spans/s. Whether it holds is looked at from when a plan can be in force: two looks, a question, and until its traces are closed. Edges \
         that agents count are exact; users come through no agent of their own, so they are counted by the traces that were recorded.\n",
        args.rate, args.budget
    )?;
    for (title, plan, outcome) in ran {
        let end: f64 = plan.phases.iter().map(Duration::as_secs_f64).sum();
        let [first, growing, last] = plan.phases.map(|phase| phase.as_secs());
        let from = in_force(plan);
        write!(
            text,
            "\n### {title}\n\nThe first rate for {first} s, growth for {growing} s, the last rate for {last} s.\n\n| time | spans/s | of the budget \
             |\n|---|---:|---:|\n{}\nFrom {from} s to the end {:.1} spans/s, {:.1} % of the \
             budget; everything traced would have been {:.0} spans/s. Calls answered: {:?}; counted by the map: {:?}; failed: {}.\n",
            live::told(plan, outcome),
            outcome.rate(from, end),
            100.0 * outcome.rate(from, end) / plan.budget,
            outcome.offered / end,
            outcome.answered,
            outcome.counted,
            outcome.failed,
        )?;
    }
    write!(
        text,
        "\n## Recorded faults\n\nTraces are sampled where they begin, as agents do, ten times by other seeds, with a budget of {} of the set's spans; the planner \
         sees only what was kept. *Evenly* is the same number of spans, every trace with the same probability. A trace is slow where a \
         call to the node at fault takes longer than the healthy 95th percentile of that operation by a fifth and by 5 ms. Controls are left out.\n",
        args.share
    )?;
    for (name, told) in recorded {
        write!(text, "\n### {name}\n\n```text\n{}\n```\n", told.trim_end())?;
    }
    Ok(text)
}
