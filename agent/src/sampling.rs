//! Which traces that begin here are recorded.
//!
//! In: a trace that begins here. Out: whether it is recorded, and what is told of that in `tracestate`.
//! Left out on purpose: traces that came with a decision. Their `sampled` flag and `th` pass on as they are, so a share
//! that somebody chose upstream stays known.
//! Source: OpenTelemetry specification, "`TraceState`: Probability Sampling" (`ot=th:`, `rv:`).

mod strategy;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use instrumentation::plan::pace::{Meter, Turn};
use propagation::{SpanContext, TraceId};

use crate::config::{SamplerKind, SamplingConfig};

pub(crate) use strategy::{Strategy, asked};

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

/// The samplers of a service, replaced while they are in use.
#[derive(Debug)]
pub(crate) struct Share {
    samplers: ArcSwap<Samplers>,
    meters: Arc<Meters>,
}

/// The traces that begin with a service: how many, and by operation which are recorded; the empty name is all that have no share of their
/// own. They go on when shares change.
#[derive(Debug)]
pub(crate) struct Meters {
    begun: AtomicU64,
    /// Which part of all traces that begin with the service begin here, as the bits of a number; infinite where nobody says.
    part: AtomicU64,
    otherwise: Meter,
    by_operation: RwLock<HashMap<String, Arc<Meter>>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            part: AtomicU64::new(f64::INFINITY.to_bits()),
            otherwise: Meter::default(),
            by_operation: RwLock::default(),
        }
    }
}

impl Meters {
    /// How many began, ever.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Of all traces that begin with the service so many begin here, 0 to 1; infinite where nobody says.
    pub(crate) fn set_part(&self, part: f64) {
        self.part.store(part.to_bits(), Ordering::Relaxed);
    }

    /// What was last said of that.
    pub(crate) fn part(&self) -> f64 {
        f64::from_bits(self.part.load(Ordering::Relaxed))
    }

    fn of(&self, operation: &str) -> Arc<Meter> {
        let known = self.by_operation.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = known.get(operation) {
            return meter.clone();
        }
        drop(known);
        let mut meters = self.by_operation.write().unwrap_or_else(PoisonError::into_inner);
        if meters.len() >= 2 * strategy::MAX_OPERATIONS {
            meters.clear();
        }
        meters.entry(operation.to_owned()).or_default().clone()
    }

    /// The rates that shares are for, by operation.
    fn plan(&self, rates: &BTreeMap<String, f64>) {
        for (operation, rate) in rates {
            match operation.as_str() {
                "" => self.otherwise.plan(*rate),
                named => self.of(named).plan(*rate),
            }
        }
    }
}

#[derive(Debug, PartialEq)]
struct Samplers {
    otherwise: Sampler,
    by_operation: HashMap<String, Sampler>,
    /// What they were made of; `None` where that is a sampler of the configuration.
    told: Option<Strategy>,
}

impl Share {
    #[cfg(test)]
    pub(crate) fn new(sampler: Sampler) -> Self {
        Self::with(sampler, Arc::default())
    }

    /// The same, with what is known of how often traces begin.
    pub(crate) fn with(sampler: Sampler, meters: Arc<Meters>) -> Self {
        let samplers = ArcSwap::from_pointee(Samplers {
            otherwise: sampler,
            by_operation: HashMap::new(),
            told: None,
        });
        Self { samplers, meters }
    }

    /// How often traces begin.
    pub(crate) fn meters(&self) -> Arc<Meters> {
        self.meters.clone()
    }

    /// Decides on a trace that begins with `context`, and writes there what follows from it; whether it is recorded. `operation` is asked
    /// only where operations differ. Where its id is `ours` it is made to say what was decided.
    pub(crate) fn begin(
        &self,
        operation: impl FnOnce() -> String,
        context: &mut SpanContext,
        ours: bool,
    ) -> bool {
        self.meters.begun.fetch_add(1, Ordering::Relaxed);
        let samplers = self.samplers.load();
        let (sampler, meter) = if samplers.by_operation.is_empty() {
            (samplers.otherwise, None)
        } else {
            let operation = operation();
            let own = samplers.by_operation.get(&operation).copied();
            let meter = own.map(|_| self.meters.of(&operation));
            (own.unwrap_or(samplers.otherwise), meter)
        };
        let Some(headroom) = samplers.told.as_ref().and_then(|told| told.headroom) else {
            return sampler.begin(context, rand::random);
        };
        let meter = meter.as_deref().unwrap_or(&self.meters.otherwise);
        let room = headroom * self.meters.part();
        let turn = meter.begin(now(), sampler.share(), room, rand::random);
        if ours {
            draw(&mut context.trace_id, turn, rand::random);
        }
        Sampler::ratio(turn.share).begin(context, rand::random)
    }

    /// Replaces the samplers; whether that changes anything.
    pub(crate) fn set(&self, strategy: &Strategy) -> bool {
        if self.samplers.load().told.as_ref() == Some(strategy) {
            return false;
        }
        self.meters.plan(&strategy.rates);
        let shares = strategy.operations.iter();
        self.samplers.store(Arc::new(Samplers {
            otherwise: Sampler::ratio(strategy.share),
            by_operation: shares
                .map(|(operation, share)| (operation.clone(), Sampler::ratio(*share)))
                .collect(),
            told: Some(strategy.clone()),
        }));
        true
    }

    /// What SDKs should be told, so that they decide as the agent does.
    pub(crate) fn strategy(&self) -> Strategy {
        let samplers = self.samplers.load();
        let told = samplers.told.clone();
        told.unwrap_or_else(|| Strategy::of(samplers.otherwise.share()))
    }
}

/// Nanoseconds since some time ago.
fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Writes randomness into an id that says what was decided: above the threshold where it is recorded, else below. Over all traces it is as
/// uniform as before, since as many lie above as the share says.
fn draw(id: &mut TraceId, turn: Turn, random: impl FnOnce() -> u64) {
    let Sampler::Threshold(threshold) = Sampler::ratio(turn.share) else {
        return;
    };
    let (from, to) = if turn.recorded {
        (threshold, RANGE)
    } else {
        (0, threshold)
    };
    if from >= to {
        return;
    }
    let drawn = from + random() % (to - from);
    let mut bytes = *id.as_bytes();
    bytes[9..].copy_from_slice(&drawn.to_be_bytes()[1..]);
    // All zero is no id; then the one that was stays.
    *id = TraceId::from_bytes(bytes).unwrap_or(*id);
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

    /// The share that an operation's traces are recorded with, as `tracestate` says.
    fn th(share: &Share, operation: &str) -> Vec<String> {
        let mut ids = (rand::random, rand::random);
        let mut said: Vec<String> = (0..64)
            .map(|_| SpanContext::start(&mut ids, true))
            .filter_map(|mut context| {
                let recorded = share.begin(|| operation.to_owned(), &mut context, true);
                assert_eq!(recorded, context.flags.is_sampled());
                recorded.then(|| context.trace_state.to_string())
            })
            .collect();
        said.dedup();
        said
    }

    #[test]
    fn an_operation_has_the_share_that_was_set_for_it_else_that_of_all_others() {
        let share = Share::new(Sampler::AlwaysOn);
        assert_eq!(
            (th(&share, "GET /a"), share.strategy()),
            (vec![String::new()], Strategy::of(1.0))
        );
        let mut strategy = Strategy::of(0.25);
        assert!(share.set(&strategy));
        assert!(!share.set(&strategy));
        strategy.operations.insert("GET /a".to_owned(), 0.5);
        assert!(share.set(&strategy));
        assert_eq!(th(&share, "GET /a"), ["ot=th:8"]);
        assert_eq!(th(&share, "GET /b"), ["ot=th:c"]);
        assert_eq!(share.strategy(), strategy);
        assert_eq!(share.meters().begun(), 192);
    }

    #[test]
    fn an_id_of_ours_says_what_was_decided_and_one_of_others_decides() {
        let planned = Strategy {
            headroom: Some(1.0),
            ..Strategy::of(0.25)
        };
        let share = Share::new(Sampler::AlwaysOn);
        share.set(&planned);
        let mut ids = (rand::random, rand::random);
        let mut recorded = 0;
        for _ in 0..400 {
            let mut context = SpanContext::start(&mut ids, true);
            recorded += u32::from(share.begin(String::new, &mut context, true));
            let above = low_56(context.trace_id.as_bytes()) >= RANGE / 4 * 3;
            assert_eq!(above, context.flags.is_sampled());
        }
        assert!((98..=102).contains(&recorded), "one of each four: {recorded}");
        let (low, high) = ([0x11; 16], [0xff; 16]);
        for (id, expected) in [(low, false), (high, true)] {
            let mut context = SpanContext::start(&mut (move || id, rand::random), true);
            assert_eq!(share.begin(String::new, &mut context, false), expected);
            assert_eq!(context.trace_id.as_bytes(), &id);
        }
    }

    #[test]
    fn of_traffic_beyond_what_was_planned_for_an_agents_part_is_recorded() {
        let planned = Strategy {
            headroom: Some(1.0),
            rates: BTreeMap::from([(String::new(), 100.0)]),
            ..Strategy::of(1.0)
        };
        let recorded = |part: f64| {
            let share = Share::new(Sampler::AlwaysOn);
            share.set(&planned);
            share.meters().set_part(part);
            let mut ids = (rand::random, rand::random);
            let begin = |_: &u32| share.begin(String::new, &mut SpanContext::start(&mut ids, true), true);
            (0..2_000).filter(begin).count()
        };
        assert_eq!(recorded(f64::INFINITY), 2_000);
        // A burst takes what the buckets hold: a second of 100 traces, and of 10.
        let (all, tenth) = (recorded(1.0), recorded(0.1));
        assert!(
            (75..400).contains(&all) && (7..60).contains(&tenth),
            "{all}, {tenth}"
        );
    }

    #[test]
    fn an_id_that_is_not_random_gets_randomness_of_its_own() {
        let (recorded, _, state) = begun(ratio(0.5), 0, TraceFlags::NONE, RANGE - 2);
        assert_eq!((recorded, state.as_str()), (true, "ot=th:8;rv:fffffffffffffe"));
        let (recorded, _, state) = begun(ratio(0.5), RANGE - 1, TraceFlags::NONE, 3);
        assert_eq!((recorded, state.as_str()), (false, "ot=rv:00000000000003"));
    }
}
