//! Which traces that begin here are recorded.
//!
//! In: a trace that begins here. Out: whether it is recorded, and what is told of that in `tracestate`.
//! Left out on purpose: traces that came with a decision. Their `sampled` flag and `th` pass on as they are, so a share
//! that somebody chose upstream stays known.
//! Source: OpenTelemetry specification, "`TraceState`: Probability Sampling" (`ot=th:`, `rv:`).

use std::sync::atomic::{AtomicU64, Ordering};

use propagation::SpanContext;

use crate::config::{SamplerKind, SamplingConfig};

/// Key of OpenTelemetry's member.
const OT: &str = "ot";
/// Rejection thresholds and randomness are numbers of 56 bits.
const RANGE: u64 = 1 << 56;

/// How traces that begin here are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampler {
    /// All, and nothing is said of it.
    AlwaysOn,
    /// Those whose randomness is not below this; 0 takes all, `RANGE` none.
    Threshold(u64),
}

impl Sampler {
    pub(crate) fn new(config: &SamplingConfig) -> Self {
        match config.kind {
            SamplerKind::ParentBasedAlwaysOn => Self::AlwaysOn,
            SamplerKind::ParentBasedTraceIdRatio => Self::ratio(config.ratio),
        }
    }

    /// Records this share, 0 to 1.
    pub(crate) fn ratio(ratio: f64) -> Self {
        let rejected = (1.0 - ratio.clamp(0.0, 1.0)) * RANGE as f64;
        Self::Threshold(rejected.round() as u64)
    }

    /// The share that is recorded, 0 to 1.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::AlwaysOn => 1.0,
            Self::Threshold(threshold) => 1.0 - threshold as f64 / RANGE as f64,
        }
    }

    /// Decides on a trace that begins with `context`, and writes what follows from it there; whether it is recorded.
    /// `random` is asked where the trace id does not say that it is random.
    pub(crate) fn begin(self, context: &mut SpanContext, random: impl FnOnce() -> u64) -> bool {
        let Self::Threshold(threshold) = self else {
            return true;
        };
        let of_id = context.flags.is_random();
        let randomness = if of_id {
            low_56(context.trace_id.as_bytes())
        } else {
            random() % RANGE
        };
        let sampled = randomness >= threshold;
        let threshold = sampled.then(|| format!("th:{}", hex(threshold)));
        let randomness = (!of_id).then(|| format!("rv:{randomness:014x}"));
        let members: Vec<_> = threshold.into_iter().chain(randomness).collect();
        if !members.is_empty() {
            // Hexadecimal digits are always a legal value.
            let _ = context.trace_state.set(OT, &members.join(";"));
        }
        if !sampled {
            context.set_sampled(false);
        }
        sampled
    }
}

/// A sampler that is replaced while it is in use.
#[derive(Debug)]
pub(crate) struct Share(AtomicU64);

/// In place of a threshold, which is at most `RANGE`.
const ALWAYS_ON: u64 = u64::MAX;

impl Share {
    pub(crate) fn new(sampler: Sampler) -> Self {
        Self(AtomicU64::new(packed(sampler)))
    }

    pub(crate) fn get(&self) -> Sampler {
        match self.0.load(Ordering::Relaxed) {
            ALWAYS_ON => Sampler::AlwaysOn,
            threshold => Sampler::Threshold(threshold),
        }
    }

    /// Replaces the sampler; whether that changes anything.
    pub(crate) fn set(&self, sampler: Sampler) -> bool {
        let new = packed(sampler);
        self.0.swap(new, Ordering::Relaxed) != new
    }
}

fn packed(sampler: Sampler) -> u64 {
    match sampler {
        Sampler::AlwaysOn => ALWAYS_ON,
        Sampler::Threshold(threshold) => threshold,
    }
}

/// The right-most 7 bytes.
fn low_56(trace_id: &[u8; 16]) -> u64 {
    (u128::from_be_bytes(*trace_id) % u128::from(RANGE)) as u64
}

/// 14 digits without the zeros at their end, of which one stays.
fn hex(threshold: u64) -> String {
    let digits = format!("{threshold:014x}");
    match digits.trim_end_matches('0') {
        "" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use propagation::TraceFlags;

    fn ratio(ratio: f64) -> Sampler {
        Sampler::new(&SamplingConfig {
            kind: SamplerKind::ParentBasedTraceIdRatio,
            ratio,
            ..SamplingConfig::default()
        })
    }

    fn begun(sampler: Sampler, low: u64, flags: TraceFlags, random: u64) -> (bool, bool, String) {
        let mut trace_id = [0xff; 16];
        trace_id[8..].copy_from_slice(&(low | 0xab << 56).to_be_bytes());
        let mut ids = (move || trace_id, || [1; 8]);
        let mut context = SpanContext::start(&mut ids, true);
        context.flags = flags.with_sampled(true);
        let recorded = sampler.begin(&mut context, || random);
        (
            recorded,
            context.flags.is_sampled(),
            context.trace_state.to_string(),
        )
    }

    #[test]
    fn a_quarter_rejects_what_lies_below_three_quarters_and_says_so() {
        let edge = RANGE / 4 * 3;
        let at = |low| begun(ratio(0.25), low, TraceFlags::RANDOM, 0);
        assert_eq!(at(edge), (true, true, "ot=th:c".to_owned()));
        assert_eq!(at(edge - 1), (false, false, String::new()));
    }

    #[test]
    fn one_takes_all_and_nought_takes_none() {
        let one = begun(ratio(1.0), 0, TraceFlags::RANDOM, 0);
        assert_eq!(one, (true, true, "ot=th:0".to_owned()));
        let none = begun(ratio(0.0), RANGE - 1, TraceFlags::RANDOM, 0);
        assert_eq!(none, (false, false, String::new()));
        let on = begun(Sampler::AlwaysOn, 0, TraceFlags::RANDOM, 0);
        assert_eq!(on, (true, true, String::new()));
    }

    #[test]
    fn a_share_is_what_it_was_set_to() {
        let share = Share::new(Sampler::AlwaysOn);
        assert_eq!((share.get(), share.get().share()), (Sampler::AlwaysOn, 1.0));
        assert!(share.set(Sampler::ratio(0.25)));
        assert!(!share.set(Sampler::ratio(0.25)));
        assert_eq!((share.get(), share.get().share()), (ratio(0.25), 0.25));
    }

    #[test]
    fn an_id_that_is_not_random_gets_randomness_of_its_own() {
        let (recorded, _, state) = begun(ratio(0.5), 0, TraceFlags::NONE, RANGE - 2);
        assert_eq!((recorded, state.as_str()), (true, "ot=th:8;rv:fffffffffffffe"));
        let (recorded, _, state) = begun(ratio(0.5), RANGE - 1, TraceFlags::NONE, 3);
        assert_eq!((recorded, state.as_str()), (false, "ot=rv:00000000000003"));
    }
}
