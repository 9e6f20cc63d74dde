//! What the process used, as the kernel counts it.
//!
//! In: nothing, or work to time. Out: processor time, memory, latencies.
//! Left out on purpose: other systems than Linux, where the figures are absent.

use std::time::{Duration, Instant};

/// Processor time of the process so far, user and system, in ticks of 10 ms.
#[derive(Clone, Copy)]
pub(crate) struct Usage(u64);

impl Usage {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program, in parentheses, may have spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok());
        Self(ticks.sum())
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self(self.0 - before.0)
    }

    pub(crate) fn cpu_seconds(self) -> f64 {
        self.0 as f64 / 100.0
    }
}

/// Resident memory now and at its peak.
pub(crate) fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map_or(0, |kib| kib / 1024)
    };
    format!("resident {} MiB, peak {} MiB", mib("VmRSS:"), mib("VmHWM:"))
}

/// How long each of many repetitions took.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0.push(start.elapsed());
        done
    }

    pub(crate) fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |quantile: f64| {
            let index = (self.0.len() as f64 * quantile) as usize;
            self.0
                .get(index.min(self.0.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{what}: p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            at(0.5).as_secs_f64() * 1e3,
            at(0.95).as_secs_f64() * 1e3,
            at(0.99).as_secs_f64() * 1e3,
            at(1.0).as_secs_f64() * 1e3
        );
    }
}
