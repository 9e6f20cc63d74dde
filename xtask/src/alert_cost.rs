//! `cargo xtask proof alert-cost`: what the rules of the profile `live` cost a real Prometheus, beside one SLO per service and edge.
//!
//! In: sizes of maps; `prometheus` and `promtool` on the PATH. Out: rules, series and CPU of each, on standard output and in
//! `docs/proofs/alert-cost.md`.
//! Each map's series are exported as a collector would, to three Prometheis at once: without rules, with ours, with the SLOs'.
//! What a rule set costs is what its Prometheus spends beyond the one without.
//! Left out on purpose: the time of a real deployment. Windows of days are as cheap here as those of minutes.

mod load;
mod peer;
mod slos;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alerts::AlertSettings;

use crate::agent_process::pause;
use crate::{Failure, page};
use load::{Exporter, Load};
use peer::{Figures, Peer};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/alert-cost.md";

/// Arguments of `cargo xtask proof alert-cost`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services of each map; there are three edges to each
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    services: Vec<usize>,
    /// Seconds until the windows are full: five minutes, and what it takes to start
    #[arg(long, default_value_t = 390)]
    fill: u64,
    /// Seconds over which is measured
    #[arg(long, default_value_t = 150)]
    measure: u64,
}

/// What one Prometheus spent.
struct Cost {
    rules: f64,
    series: f64,
    cpu_per_evaluation: f64,
    last_duration: f64,
    missed: f64,
}

/// One map.
struct Size {
    services: usize,
    edges: usize,
    reach: usize,
    live: Cost,
    slos: Cost,
}

/// Measures each size, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut sizes = Vec::new();
    for services in &args.services {
        let size = measure(*services, args)?;
        println!("{}", size.lines());
        sizes.push(size);
    }
    let head = page::head(
        "What the alert rules cost",
        "the rules of the profile `live` are as many whatever the map, and cost a part of what one SLO per service and edge does",
        "cargo xtask proof alert-cost",
    )?;
    page::write(REPORT, &markdown(&head, &sizes))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(services: usize, args: &Args) -> Result<Size, Failure> {
    let scratch = tempfile::tempdir()?;
    let load = Load::new(services)?;
    let (edges, reach) = (load.edges(), load.reach());
    let settings = AlertSettings::default();
    let every = settings.evaluation_interval.get();
    let files = alerts::generate(load.map(), &settings);
    let ours: Vec<&str> = rule_files(&files).collect();
    let theirs = slos::rules(&load.entities());
    let past = load.past()?;
    let exporter = Exporter::start(load)?;
    let start = |name: &str, rules: &[&str], past: Option<&str>| {
        Peer::start(&scratch.path().join(name), &exporter, every, rules, past)
    };
    let peers = [
        start("none", &[], Some(&past))?,
        start("live", &ours, Some(&past))?,
        start("slos", &[&theirs], Some(&past))?,
    ];
    pause(Duration::from_secs(args.fill));
    let read = || {
        peers
            .iter()
            .map(Peer::figures)
            .collect::<Result<Vec<Figures>, Failure>>()
    };
    let (began, before) = (Instant::now(), read()?);
    pause(Duration::from_secs(args.measure));
    let (took, after) = (began.elapsed(), read()?);
    let evaluations = took.as_secs_f64() / every.as_secs_f64();
    let [none, live, slos] = spans(&before, &after).ok_or("a Prometheus told nothing")?;
    let cost = |span: &Span<'_>| Cost {
        rules: span.after.rules,
        series: span.after.series - none.after.series,
        cpu_per_evaluation: (span.cpu_seconds() - none.cpu_seconds()) / evaluations,
        last_duration: span.after.last_duration,
        missed: span.after.missed - span.before.missed,
    };
    Ok(Size {
        services,
        edges,
        reach,
        live: cost(&live),
        slos: cost(&slos),
    })
}

/// The generated files that Prometheus loads.
fn rule_files(files: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let rules = files.iter().filter(|(path, _)| path.starts_with("alerts/rules/"));
    rules.map(|(_, text)| text.as_str())
}

/// What one Prometheus told at both ends of the measurement.
struct Span<'a> {
    before: &'a Figures,
    after: &'a Figures,
}

impl Span<'_> {
    fn cpu_seconds(&self) -> f64 {
        self.after.cpu_seconds - self.before.cpu_seconds
    }
}

fn spans<'a>(before: &'a [Figures], after: &'a [Figures]) -> Option<[Span<'a>; 3]> {
    let mut spans = before
        .iter()
        .zip(after)
        .map(|(before, after)| Span { before, after });
    Some([spans.next()?, spans.next()?, spans.next()?])
}

impl Size {
    /// A line for each rule set.
    fn lines(&self) -> String {
        let mut text = format!(
            "{} services, {} edges, {} pairs of reach",
            self.services, self.edges, self.reach
        );
        for (name, cost) in [("live", &self.live), ("SLOs", &self.slos)] {
            let _ = write!(
                text,
                "\n  {name}: {:.0} rules, {:.0} series, {:.3} CPU-seconds an evaluation, {:.3} s at the last, {:.0} missed",
                cost.rules, cost.series, cost.cpu_per_evaluation, cost.last_duration, cost.missed
            );
        }
        text
    }
}

fn markdown(head: &str, sizes: &[Size]) -> String {
    let mut text = format!("{head}{METHOD}\n| | ");
    let row = |title: &str, cell: &dyn Fn(&Cost) -> String| {
        let cells = sizes.iter().flat_map(|size| [cell(&size.live), cell(&size.slos)]);
        let cells: Vec<String> = cells.collect();
        format!("| {title} | {} |\n", cells.join(" | "))
    };
    let rows = [
        row("rules", &|cost| format!("{:.0}", cost.rules)),
        row("series that they add", &|cost| format!("{:.0}", cost.series)),
        row("CPU-seconds an evaluation", &|cost| {
            format!("{:.3}", cost.cpu_per_evaluation)
        }),
        row("seconds of the last evaluation, summed over groups", &|cost| {
            format!("{:.3}", cost.last_duration)
        }),
        row("evaluations missed, all groups", &|cost| {
            format!("{:.0}", cost.missed)
        }),
    ];
    let heads = sizes.iter().flat_map(|size| {
        let of = format!("{} services, {} edges", size.services, size.edges);
        [format!("`live`, {of}"), format!("SLOs, {of}")]
    });
    let heads: Vec<String> = heads.collect();
    let _ = writeln!(
        text,
        "{} |\n|---|{}",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    text + &rows.concat() + LIMITS
}

const METHOD: &str = "\
Synthetic series of the collector for maps of each size, three edges to a service, every service with an objective, one request a second
on each service and edge, one fault on. They are scraped every 15 s by three Prometheis at once, on one machine: one without rules, one
with the files that tracemap generates, one with an SLO for each service and edge in the shape that Sloth publishes (sloth.dev, \"SLO
rules\": eight recordings of the error ratio from 5m to 30d, seven of metadata, two multiwindow alerts: 17 rules). All rules are evaluated
every 30 s. CPU and series are those beyond the Prometheus without rules, after five minutes and more, so that windows of five minutes are
full; the hour before is backfilled where `live` looks.
";

const LIMITS: &str = "
Series are no saving: `live` records several for each service and edge, as an SLO does. Groups run at the same time and wait for each
other, so that the sum of their durations says little where there are thousands; CPU-seconds do.

Not shown: a Prometheus with days of data, in which windows of a day and more read as much more as they are longer: those of every SLO,
and those by which `live` tells how fast stated objectives burn; more than one fault; histograms, which the rules of `live` do not read
and a collector exports besides.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_rules_are_as_many_whatever_the_map_and_the_slos_grow_with_it() {
        let count = |services: usize| {
            let load = Load::new(services).expect("a load");
            let files = alerts::generate(load.map(), &AlertSettings::default());
            let rules = |text: &str| text.matches("- record:").count() + text.matches("- alert:").count();
            let entities = load.entities();
            assert_eq!(rules(&slos::rules(&entities)), 17 * entities.len());
            (rule_files(&files).map(rules).sum::<usize>(), entities.len())
        };
        let (small, large) = (count(10), count(40));
        assert!(small.0 > 20, "{small:?}");
        assert_eq!(small.0, large.0);
        assert_eq!((small.1, large.1), (37, 160));
    }
}
