//! Rounds into one figure: the median, and how far they lay apart.
//!
//! In: one value a round. Out: [`Spread`].
//! Left out on purpose: means and deviations, which one noisy round moves.

use std::fmt;

use serde::Serialize;

/// The median of some rounds with the least and the greatest of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one value a round; all 0 where there were none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Self {
            median: rounded(f64::midpoint(low, high)),
            min: rounded(at(0)),
            max: rounded(at(sorted.len().saturating_sub(1))),
        }
    }
}

/// `2.31 (2.20..2.45)`, with the precision asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let text = format!(
            "{:.digits$} ({:.digits$}..{:.digits$})",
            self.median, self.min, self.max
        );
        // Not `pad`, which would cut the text to the precision.
        write!(f, "{text:>width$}", width = f.width().unwrap_or_default())
    }
}

/// To four decimals: more would be noise, and noise is long to read.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The value below which `share` of the sorted `values` lie (nearest rank); 0 of none.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
