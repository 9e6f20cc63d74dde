//! What was measured, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use crate::machine::Machine;
use crate::measure::Figures;
use crate::stat::Spread;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) ratio: f64,
    pub(crate) machine: Machine,
    pub(crate) setups: Vec<Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "medians of {} rounds (least..greatest); messages of 1 KiB; share of traces recorded: {}",
            self.rounds, self.ratio
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<20} {:>26} {:>19} {:>12} {:>12} {:>19}",
            "saturated",
            "direct, messages/s",
            "agent/direct",
            "broker alone",
            "with agent",
            "agent, CPU-s per M"
        )?;
        for s in &self.setups {
            let (per_second, ratio) = (spread(&s.direct_per_second, 0), spread(&s.saturated_ratio, 2));
            let agent = spread(&s.agent, 2);
            let (alone, beside) = (s.broker_direct.median, s.broker.median);
            writeln!(
                f,
                "{:<20} {per_second:>26} {ratio:>19} {alone:>12.2} {beside:>12.2} {agent:>19}",
                s.name
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<20} {:>16} {:>19} {:>14} {:>22} {:>14} {:>24} {:>8}",
            "half, latency in us",
            "kept direct",
            "kept with agent",
            "p50 direct",
            "added p50",
            "p99 direct",
            "added p99",
            "MiB"
        )?;
        for s in &self.setups {
            let (direct, kept) = (s.half_kept_direct.median, spread(&s.half_kept, 3));
            let (p50, p99) = (spread(&s.p50_added, 0), spread(&s.p99_added, 0));
            writeln!(
                f,
                "{:<20} {direct:>16.3} {kept:>19} {:>14.0} {p50:>22} {:>14.0} {p99:>24} {:>8.1}",
                s.name, s.p50_direct.median, s.p99_direct.median, s.agent_peak_mib
            )?;
        }
        Ok(())
    }
}

fn spread(spread: &Spread, digits: usize) -> String {
    format!(
        "{:.digits$} ({:.digits$}..{:.digits$})",
        spread.median, spread.min, spread.max
    )
}
