//! The figures as people read them.
//!
//! In: what was measured. Out: an aligned table; the same as JSON is serde's work.
//! Left out on purpose: verdicts.

use std::fmt::{self, Formatter};

use serde::Serialize;

use crate::machine::Machine;
use crate::{agents, collectors, scale};

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// True where turns were too short to be quoted.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) machine: Machine,
    pub(crate) collector: Option<collectors::Figures>,
    pub(crate) scale: Option<scale::Figures>,
    pub(crate) agent: Option<agents::Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "medians of {} rounds (least..greatest)", self.rounds)?;
        if let Some(figures) = &self.collector {
            collector(figures, f)?;
        }
        if let Some(figures) = &self.scale {
            scale(figures, f)?;
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
        bare_sync,
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
        "{:<37}{cpu:>25}{ratio:>21}{rate:>19}{:>11}{:>12}{:>10}",
        "", "sustained", "whole life", "RSS MiB"
    )?;
    for figure in contestants {
        let (cpu, ratio) = (figure.cpu_seconds_per_million, figure.times_the_collector);
        let (rate, life) = (
            figure.spans_per_second.median / 1e3,
            figure.cpu_seconds_per_million_whole_life,
        );
        write!(f, "{:<37}{cpu:>25.2}{ratio:>21.2}{rate:>19.0}", figure.name)?;
        let sustained = figure.sustained_spans_per_second / 1e3;
        writeln!(f, "{sustained:>11.0}{life:>12.2}{:>10.0}", figure.peak_rss_mib)?;
    }
    let retries = contestants.iter().filter(|figure| figure.retries > 0);
    for figure in retries {
        writeln!(f, "{} asked for {} pauses", figure.name, figure.retries)?;
    }
    writeln!(
        f,
        "\n{:<37}{:>19}{:>9}{:>9}{:>9}{:>12}",
        "acknowledged at half of that", "thousand spans/s", "p50 ms", "p99 ms", "max ms", "late p99 ms"
    )?;
    for figure in contestants {
        let collectors::OnTime {
            spans_per_second,
            acknowledged: took,
            lateness,
            ..
        } = &figure.on_time;
        write!(
            f,
            "{:<37}{:>19.0}{:>9.2}",
            figure.name,
            spans_per_second / 1e3,
            took.p50_ms
        )?;
        writeln!(
            f,
            "{:>9.2}{:>9.2}{:>12.2}",
            took.p99_ms, took.max_ms, lateness.p99_ms
        )?;
    }
    writeln!(
        f,
        "{:<37}{:>19}{:>9.2}{:>9.2}{:>9.2}",
        "bare write and fdatasync", "", bare_sync.p50_ms, bare_sync.p99_ms, bare_sync.max_ms
    )
}

fn scale(figures: &scale::Figures, f: &mut Formatter<'_>) -> fmt::Result {
    let scale::Figures {
        in_flight,
        breadth,
        steps,
        edge_visible_seconds,
    } = figures;
    writeln!(
        f,
        "\n{} traces, {} spans in flight: RSS {:.0} MiB (before {:.0}), {:.0} bytes a span, {:.0} by the table's own count",
        in_flight.traces,
        in_flight.spans,
        in_flight.rss_mib,
        in_flight.rss_before_mib,
        in_flight.rss_bytes_per_span,
        in_flight.table_bytes_per_span
    )?;
    writeln!(
        f,
        "{} edges: {:.2} CPU-s per million spans, with 11 edges {:.2}, times {:.2}; peak RSS {:.0} MiB",
        breadth.edges, breadth.wide, breadth.narrow, breadth.ratio, breadth.wide_peak_rss_mib
    )?;
    for step in steps {
        let cost = step.cpu_seconds_per_million;
        writeln!(f, "the next {} spans: {cost:.2} CPU-s per million", step.spans)?;
    }
    writeln!(f, "a new edge shows after {edge_visible_seconds:.2} s")
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
