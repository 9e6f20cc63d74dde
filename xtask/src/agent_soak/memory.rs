//! The memory of a process over time.
//!
//! In: its id. Out: whether it grew.
//! Left out on purpose: what the memory is used for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::agent_process::{pause, rss_kib};

const EVERY: Duration = Duration::from_secs(1);
/// Growth that noise explains: this share of the mean, or this many KiB, whichever is more.
const SHARE: f64 = 0.05;
const LEAST_KIB: f64 = 1024.0;

/// Samples of resident memory: seconds since the start, and KiB.
pub(crate) struct Memory(Vec<(f64, f64)>);

/// Sampling under way.
pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    sampler: JoinHandle<Vec<(f64, f64)>>,
}

impl Memory {
    /// Samples until [`Watch::end`].
    pub(crate) fn watch(process: u32) -> Watch {
        let end = Arc::new(AtomicBool::new(false));
        let told = end.clone();
        let sampler = std::thread::spawn(move || {
            let (began, mut samples) = (Instant::now(), Vec::new());
            while !told.load(Ordering::Relaxed) {
                if let Ok(kib) = rss_kib(process) {
                    samples.push((began.elapsed().as_secs_f64(), kib as f64));
                }
                pause(EVERY);
            }
            samples
        });
        Watch { end, sampler }
    }

    /// The samples after the first quarter, in which pools and buffers find their size.
    fn settled(&self) -> &[(f64, f64)] {
        self.0.get(self.0.len() / 4..).unwrap_or_default()
    }

    fn mean(&self) -> f64 {
        let settled = self.settled();
        settled.iter().map(|(_, kib)| kib).sum::<f64>() / settled.len().max(1) as f64
    }

    /// KiB that the line through the settled samples rises over their time (least squares).
    fn growth(&self) -> f64 {
        let settled = self.settled();
        let (Some(first), Some(last)) = (settled.first(), settled.last()) else {
            return f64::INFINITY;
        };
        let number = settled.len() as f64;
        let middle = settled.iter().map(|(at, _)| at).sum::<f64>() / number;
        let mean = self.mean();
        let up: f64 = settled.iter().map(|(at, kib)| (at - middle) * (kib - mean)).sum();
        let across: f64 = settled.iter().map(|(at, _)| (at - middle).powi(2)).sum();
        if across > 0.0 {
            up / across * (last.0 - first.0)
        } else {
            0.0
        }
    }

    /// Whether it grew by no more than noise explains.
    pub(crate) fn is_flat(&self) -> bool {
        self.growth() <= (self.mean() * SHARE).max(LEAST_KIB)
    }

    /// For the report, in KiB.
    pub(crate) fn figures(&self) -> [(&'static str, i64); 4] {
        let most = self.0.iter().map(|(_, kib)| *kib).fold(0.0, f64::max);
        [
            (
                "samples of resident memory",
                i64::try_from(self.0.len()).unwrap_or(i64::MAX),
            ),
            (
                "resident memory, mean of the last three quarters, KiB",
                self.mean() as i64,
            ),
            ("resident memory, most, KiB", most as i64),
            (
                "resident memory, growth over the last three quarters, KiB",
                self.growth() as i64,
            ),
        ]
    }
}

impl Watch {
    /// What was sampled.
    pub(crate) fn end(self) -> Memory {
        self.end.store(true, Ordering::Relaxed);
        Memory(self.sampler.join().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kib: impl Fn(f64) -> f64) -> Memory {
        Memory((0..400).map(|at| (f64::from(at), kib(f64::from(at)))).collect())
    }

    #[test]
    fn a_slow_leak_is_growth_and_a_warm_beginning_with_noise_is_not() {
        let noise = |at: f64| if at % 2.0 == 0.0 { 300.0 } else { -300.0 };
        assert!(samples(|at| 20_000.0 + noise(at) + at.min(90.0) * 50.0).is_flat());
        assert!(!samples(|at| 20_000.0 + noise(at) + at * 8.0).is_flat());
        assert!(!Memory(Vec::new()).is_flat(), "nothing measured is nothing shown");
    }
}
