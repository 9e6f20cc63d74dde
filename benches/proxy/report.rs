//! The figures as people read them.
//!
//! In: what was measured. Out: aligned tables; the same as JSON is serde's work.
//! Left out on purpose: verdicts.

use std::fmt::{self, Formatter};

use serde::Serialize;

use crate::machine::Machine;
use crate::proxies::{ProgramFigure, WORKERS};
use crate::{latency, memory, outage, throughput};

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// True where turns were too short to be quoted.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) machine: Machine,
    pub(crate) programs: Vec<ProgramFigure>,
    pub(crate) throughput: Vec<throughput::Figures>,
    pub(crate) latency: Vec<latency::Figures>,
    pub(crate) memory: Option<memory::Figures>,
    pub(crate) outage: Option<outage::Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "medians of {} rounds (least..greatest); {WORKERS} threads or worker processes each",
            self.rounds
        )?;
        programs(&self.programs, f)?;
        for figures in &self.throughput {
            throughput(figures, f)?;
        }
        for figures in &self.latency {
            latency(figures, f)?;
        }
        if let Some(figures) = &self.memory {
            memory(figures, f)?;
        }
        if let Some(figures) = &self.outage {
            outage(figures, f)?;
        }
        if self.quick {
            writeln!(f, "\nquick: too short to be quoted")?;
        }
        Ok(())
    }
}

fn programs(programs: &[ProgramFigure], f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "\n{:<31}{:>12}{:>14}{:>14}",
        "", "version", "MiB on disk", "stripped"
    )?;
    for ProgramFigure {
        name,
        version,
        mib,
        stripped_mib,
    } in programs
    {
        let stripped = stripped_mib.map_or_else(|| "no `strip`".to_owned(), |mib| format!("{mib:.2}"));
        writeln!(f, "{name:<31}{version:>12}{mib:>14.2}{stripped:>14}")?;
    }
    Ok(())
}

fn throughput(figures: &throughput::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nthroughput, {}: 64 requests under way", figures.protocol)?;
    writeln!(
        f,
        "{:<31}{:>29}{:>21}{:>26}",
        "", "requests per CPU-s", "agent, times this", "requests/s"
    )?;
    for figure in &figures.contestants {
        write!(f, "{:<31}{:>29.0}", figure.name, figure.requests_per_cpu_second)?;
        match figure.agent_times_this {
            Some(times) => write!(f, "{times:>21.2}")?,
            None => write!(f, "{:>21}", "")?,
        }
        writeln!(f, "{:>26.0}", figure.requests_per_second)?;
    }
    Ok(())
}

fn latency(figures: &latency::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    let (rate, each, connections) = (
        figures.requests_per_second,
        figures.requests_per_turn,
        figures.connections,
    );
    writeln!(
        f,
        "\nlatency, {}: {rate} requests/s, open loop, {each} a turn, {connections} connections",
        figures.protocol
    )?;
    writeln!(f, "{:<36}{:>25}{:>25}", "", "us", "added, us")?;
    for figure in &figures.latency {
        let name = format!("{} {}", figure.way, figure.quantile);
        writeln!(f, "{name:<36}{:>25.0}{:>25.0}", figure.us, figure.added_us)?;
    }
    writeln!(f, "{:<36}{:>25}", "", "cores per 1,000/s")?;
    for figure in &figures.cpu {
        writeln!(f, "{:<36}{:>25.3}", figure.name, figure.cores_per_1000_per_second)?;
    }
    writeln!(
        f,
        "clients were at most {:.0} us late in 99 of 100 direct requests",
        figures.client_lateness_p99_us
    )
}

fn memory(figures: &memory::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    let memory::Figures {
        requests_per_second,
        connections,
        requests,
        contestants,
    } = figures;
    writeln!(
        f,
        "\nmemory, MiB: {connections} connections, {requests_per_second} requests/s, {requests} requests"
    )?;
    writeln!(
        f,
        "{:<31}{:>10}{:>10}{:>10}{:>20}{:>10}",
        "", "idle", "loaded", "peak", "cores per 1,000/s", "p99 ms"
    )?;
    for figure in contestants {
        writeln!(
            f,
            "{:<31}{:>10.1}{:>10.1}{:>10.1}{:>20.3}{:>10.2}",
            figure.name,
            figure.idle_mib,
            figure.loaded_mib,
            figure.peak_mib,
            figure.cores_per_1000_per_second,
            figure.p99_ms
        )?;
    }
    Ok(())
}

fn outage(figures: &outage::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "\nthe sink is killed, HTTP/1.1, {} requests/s, us",
        figures.requests_per_second
    )?;
    writeln!(
        f,
        "{:<36}{:>22}{:>22}{:>20}{:>20}",
        "", "before", "within", "ratio", "noise"
    )?;
    for figure in &figures.contestants {
        for (quantile, change) in [("p50", &figure.p50), ("p99", &figure.p99)] {
            let name = format!("{} {quantile}", figure.name);
            writeln!(
                f,
                "{name:<36}{:>22.0}{:>22.0}{:>20.2}{:>20.2}",
                change.before_us, change.within_us, change.ratio, change.noise
            )?;
        }
    }
    Ok(())
}
