//! The figures as people read them.
//!
//! In: what was measured. Out: an aligned table; the same as JSON is serde's work.
//! Left out on purpose: verdicts.

use std::fmt::{self, Formatter};

use serde::Serialize;

use crate::machine::Machine;
use crate::{agents, collectors};

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// True where turns were too short to be quoted.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) machine: Machine,
    pub(crate) collector: Option<collectors::Figures>,
    pub(crate) agent: Option<agents::Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Machine {
            commit,
            cores,
            cpu,
            memory_mib,
            kernel,
            load_before,
        } = &self.machine;
        let commit = commit.as_deref().unwrap_or("no git");
        writeln!(
            f,
            "commit {commit}; {cores} cores, {cpu}, {memory_mib} MiB, Linux {kernel}; load before {load_before}"
        )?;
        writeln!(f, "medians of {} rounds (least..greatest)", self.rounds)?;
        if let Some(figures) = &self.collector {
            collector(figures, f)?;
        }
        if let Some(figures) = &self.agent {
            agent(figures, f)?;
        }
        if self.quick {
            writeln!(f, "\nquick: too short to be quoted")?;
        }
        Ok(())
    }
}

fn collector(figures: &collectors::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    let collectors::Figures {
        spans_per_turn,
        bytes_per_span,
        contestants,
    } = figures;
    writeln!(
        f,
        "\ncollector: {spans_per_turn} spans a turn of {bytes_per_span:.0} bytes, over OTLP/gRPC on loopback"
    )?;
    let (cpu, ratio, rate) = (
        "CPU-s per million spans",
        "times the collector",
        "thousand spans/s",
    );
    writeln!(
        f,
        "{:<37}{cpu:>25}{ratio:>21}{rate:>19}{:>12}{:>10}",
        "", "whole life", "RSS MiB"
    )?;
    for figure in contestants {
        let (cpu, ratio) = (figure.cpu_seconds_per_million, figure.times_the_collector);
        let (rate, life) = (
            figure.spans_per_second.median / 1e3,
            figure.cpu_seconds_per_million_whole_life,
        );
        write!(f, "{:<37}{cpu:>25.2}{ratio:>21.2}{rate:>19.0}", figure.name)?;
        writeln!(f, "{life:>12.2}{:>10.0}", figure.peak_rss_mib)?;
    }
    let retries = contestants.iter().filter(|figure| figure.retries > 0);
    for figure in retries {
        writeln!(f, "{} asked for {} pauses", figure.name, figure.retries)?;
    }
    Ok(())
}

fn agent(figures: &agents::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    let (rate, each, connections) = (
        figures.requests_per_second,
        figures.requests_per_turn,
        figures.connections,
    );
    let late = figures.client_lateness_p99_us;
    writeln!(
        f,
        "\nagent: {rate} requests/s, open loop, {each} a turn, {connections} connections, all traced"
    )?;
    writeln!(
        f,
        "{:<37}{:>25}{:>25}{:>21}",
        "", "latency, us", "added, us", "times direct"
    )?;
    for figure in &figures.latency {
        let name = format!("{} {}", figure.way, figure.quantile);
        writeln!(
            f,
            "{name:<37}{:>25.0}{:>25.0}{:>21.2}",
            figure.us, figure.added_us, figure.ratio
        )?;
    }
    writeln!(
        f,
        "{:<37}{:>25}{:>25}{:>21}",
        "", "CPU-s per 1,000 requests", "RSS MiB", "peak RSS MiB"
    )?;
    for figure in &figures.agents {
        let (name, cpu) = (
            format!("agent, {} proxy", figure.name),
            figure.cpu_seconds_per_1000_requests,
        );
        writeln!(
            f,
            "{name:<37}{cpu:>25.3}{:>25.1}{:>21.1}",
            figure.rss_mib, figure.peak_rss_mib
        )?;
    }
    writeln!(
        f,
        "all {} spans arrived; clients were at most {late:.0} us late in 99 of 100 direct requests",
        figures.spans
    )
}
