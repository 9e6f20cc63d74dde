//! Which segments are merged next.
//!
//! In: what is known of each, the oldest first, the time, and limits. Out: neighbours that become one.
//! Left out on purpose: files.
//!
//! Neighbours are merged where they were sealed in one window of 15 minutes that is over, then in one of 4 hours, then
//! of 64 hours. So each trace is written again at most once for each window, or a few times where windows have many
//! segments; and what is merged was sealed within one window, so that retention by age can go by the newest of it.

use std::ops::Range;
use std::time::Duration;

const MINUTE: u64 = 60 * 1_000_000_000;
/// Each is a whole number of times the one before.
const WINDOWS: [u64; 3] = [15 * MINUTE, 4 * 60 * MINUTE, 64 * 60 * MINUTE];
/// The part of `max_age` that a window may be, and of `max_bytes` that a merged segment may be.
const SHARE: u64 = 16;
/// Segments that are merged at once, at most.
const PARTS: usize = 16;
/// Bytes of trace data before compression in a merged segment, at most. Searches read a few bytes for each trace of a
/// segment that they look into, so segments must not grow for ever.
const RAW_BYTES: u64 = 2 << 30;

/// What the plan knows of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// When it was sealed; of a merged one, when its last part was.
    pub(crate) sealed: u64,
    /// Bytes of trace data before compression.
    pub(crate) raw_bytes: u64,
    pub(crate) file_bytes: u64,
    /// Bytes of memory that it takes while it is merged.
    pub(crate) memory: u64,
    /// Whether it will still be there after a crash. Others are left alone.
    pub(crate) settled: bool,
    /// Whether it was found to be damaged; it then stays as it is, so that its file can be restored.
    pub(crate) damaged: bool,
}

/// What a merge may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) memory: u64,
}

/// The neighbours that are merged next, at least two. Small ones come before large ones, so that no trace is written
/// again each time that a few more come.
pub(crate) fn next(parts: &[Part], now: u64, limits: &Limits) -> Option<Range<usize>> {
    let wide_enough = |window: &u64| {
        limits
            .max_age
            .is_none_or(|age| u128::from(*window) * u128::from(SHARE) <= age.as_nanos())
    };
    let mut windows = WINDOWS.into_iter().filter(wide_enough);
    windows.find_map(|window| next_within(window, parts, now, limits))
}

fn next_within(window: u64, parts: &[Part], now: u64, limits: &Limits) -> Option<Range<usize>> {
    let is_over = |part: &Part| part.sealed / window < now / window;
    let starts = (0..).zip(parts).filter(|(_, part)| is_over(part));
    let runs = starts.map(|(start, _)| run(window, parts, start, limits));
    let runs = runs.filter(|run| run.len() >= 2);
    runs.min_by_key(|run| {
        let largest = parts.get(run.clone()).unwrap_or_default().iter();
        (
            largest.map(|part| part.raw_bytes).max().map(magnitude),
            std::cmp::Reverse(run.len()),
            run.start,
        )
    })
}

/// Sizes that do not differ much are the same.
fn magnitude(bytes: u64) -> u32 {
    bytes.checked_ilog2().unwrap_or(0) / 2
}

/// As many neighbours from `start` on as can be merged in this window.
fn run(window: u64, parts: &[Part], start: usize, limits: &Limits) -> Range<usize> {
    let most_bytes = limits.max_bytes.map_or(u64::MAX, |most| most / SHARE);
    let (mut raw, mut file, mut memory) = (0_u64, 0_u64, 0_u64);
    let rest = parts.get(start..).unwrap_or_default();
    let first = rest.first().map_or(0, |part| part.sealed / window);
    let fits = |part: &&Part| {
        raw = raw.saturating_add(part.raw_bytes);
        file = file.saturating_add(part.file_bytes);
        memory = memory.saturating_add(part.memory);
        !part.damaged
            && part.settled
            && part.sealed / window == first
            && raw <= RAW_BYTES
            && file <= most_bytes
            && memory <= limits.memory
    };
    start..start + rest.iter().take(PARTS).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_age: None,
        max_bytes: None,
        memory: u64::MAX,
    };
    const LATER: u64 = 1_000_000 * MINUTE;

    fn part(minute: u64, raw_bytes: u64) -> Part {
        Part {
            sealed: minute * MINUTE,
            raw_bytes,
            file_bytes: raw_bytes / 10,
            memory: raw_bytes / 20,
            settled: true,
            damaged: false,
        }
    }

    /// Merges until nothing is left to merge; returns the parts and how many bytes were written for it.
    fn merged(mut parts: Vec<Part>, now: u64, limits: &Limits) -> (Vec<Part>, u64) {
        let mut written = 0;
        while let Some(run) = next(&parts, now, limits) {
            let sum = |of: fn(&Part) -> u64| parts[run.clone()].iter().map(of).sum();
            let one = Part {
                raw_bytes: sum(|part| part.raw_bytes),
                file_bytes: sum(|part| part.file_bytes),
                memory: sum(|part| part.memory),
                ..parts[run.end - 1]
            };
            written += one.raw_bytes;
            parts.splice(run, [one]);
        }
        (parts, written)
    }

    #[test]
    fn a_week_of_minutes_becomes_a_few_dozen_segments_each_trace_written_twice_more() {
        let week = 7 * 24 * 60;
        let limits = Limits {
            max_age: Some(Duration::from_hours(7 * 24)),
            ..LIMITS
        };
        let minutes = (0..week).map(|minute| part(minute, 1 << 20)).collect();
        let (parts, written) = merged(minutes, week * MINUTE, &limits);
        assert_eq!((parts.len(), written), (7 * 6, week * 2 * (1 << 20)));
    }

    #[test]
    fn a_window_that_is_not_over_is_left_alone() {
        let parts = [part(0, 1), part(14, 1)];
        assert_eq!(next(&parts, 15 * MINUTE - 1, &LIMITS), None);
        assert_eq!(next(&parts, 15 * MINUTE, &LIMITS), Some(0..2));
    }

    #[test]
    fn what_may_not_outlive_a_crash_is_left_alone() {
        let mut parts = [0, 1, 2].map(|minute| part(minute, 1));
        parts[2].settled = false;
        assert_eq!(next(&parts, LATER, &LIMITS), Some(0..2));
        parts[1].settled = false;
        assert_eq!(next(&parts, LATER, &LIMITS), None);
    }

    #[test]
    fn what_is_merged_was_sealed_within_a_sixteenth_of_max_age() {
        let parts = [part(0, 1), part(14, 1)];
        let limits = |minutes| Limits {
            max_age: Some(Duration::from_mins(minutes)),
            ..LIMITS
        };
        assert_eq!(next(&parts, LATER, &limits(16 * 15)), Some(0..2));
        assert_eq!(next(&parts, LATER, &limits(16 * 15 - 1)), None);
        let apart = [part(0, 1), part(15, 1)];
        assert_eq!(next(&apart, LATER, &limits(16 * 4 * 60 - 1)), None);
        assert_eq!(next(&apart, LATER, &limits(16 * 4 * 60)), Some(0..2));
    }

    #[test]
    fn what_is_merged_is_at_most_a_sixteenth_of_max_bytes_and_fits_into_memory() {
        let parts = [part(0, 1_000), part(1, 1_000), part(2, 1_000)];
        let bytes = Limits {
            max_bytes: Some(16 * 299),
            ..LIMITS
        };
        let memory = Limits {
            memory: 149,
            ..LIMITS
        };
        for limits in [bytes, memory] {
            assert_eq!(next(&parts, LATER, &limits), Some(0..2), "{limits:?}");
        }
        assert_eq!(
            next(&[part(0, 1 << 30), part(1, (1 << 30) + 1)], LATER, &LIMITS),
            None
        );
    }

    #[test]
    fn a_damaged_segment_is_not_merged_and_parts_its_neighbours() {
        let mut parts = [0, 1, 2, 3, 4].map(|minute| part(minute, 1));
        parts[2].damaged = true;
        assert_eq!(next(&parts, LATER, &LIMITS), Some(0..2));
    }

    #[test]
    fn a_window_with_many_segments_writes_no_trace_more_than_thrice() {
        let many = (0..300).map(|_| part(0, 1 << 20)).collect();
        let (parts, written) = merged(many, LATER, &LIMITS);
        assert_eq!(parts.len(), 1);
        assert!(written <= 3 * 300 * (1 << 20), "{written}");
    }
}
