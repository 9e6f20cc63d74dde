//! Which traces that begin here are recorded.
//!
//! In: a trace that begins here. Out: whether it is recorded, and what is told of that in `tracestate`.
//! Left out on purpose: traces that came with a decision. Their `sampled` flag and `th` pass on as they are, so a share
//! that somebody chose upstream stays known.
//! Source: OpenTelemetry specification, "`TraceState`: Probability Sampling" (`ot=th:`, `rv:`).

mod strategy;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use instrumentation::plan::pace::{Limit, Meter, Pool, Room, Turn};
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

/// Of what a service may record so much is taken until somebody says which part begins here.
pub(crate) const UNTOLD: f64 = 0.1;

/// The traces that begin with a service: how many, and which of them are recorded. They go on when shares change.
#[derive(Debug)]
pub(crate) struct Meters {
    begun: AtomicU64,
    /// Which part of all traces that begin with the service begin here, as the bits of a number.
    part: AtomicU64,
    pool: Pool,
    /// Of all that have no share of their own.
    otherwise: Arc<Meter>,
    /// Of each operation that has one.
    by_operation: Mutex<HashMap<String, Arc<Meter>>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            part: AtomicU64::new(UNTOLD.to_bits()),
            pool: Pool::default(),
            otherwise: Arc::default(),
            by_operation: Mutex::default(),
        }
    }
}

impl Meters {
    /// How many began, ever.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Of all traces that begin with the service so many begin here, 0 to 1.
    pub(crate) fn set_part(&self, part: f64) {
        self.part.store(part.to_bits(), Ordering::Relaxed);
    }

    /// What was last said of that.
    pub(crate) fn part(&self) -> f64 {
        f64::from_bits(self.part.load(Ordering::Relaxed))
    }

    /// Those of these operations, with what the ones that were there know; others are forgotten.
    fn of_each<'a>(&self, operations: impl Iterator<Item = &'a String>) -> HashMap<String, Arc<Meter>> {
        let mut kept = self.by_operation.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *kept);
        *kept = operations
            .map(|operation| (operation.clone(), before.remove(operation).unwrap_or_default()))
            .collect();
        kept.clone()
    }
}

#[derive(Debug)]
struct Samplers {
    otherwise: Planned,
    by_operation: HashMap<String, Planned>,
    /// Spans a second of all that is bounded, in the whole system.
    pool: f64,
    /// What they were made of; `None` where that is a sampler of the configuration.
    told: Option<Strategy>,
}

/// What is planned for an operation.
#[derive(Debug)]
struct Planned {
    sampler: Sampler,
    limit: Option<Limit>,
    meter: Arc<Meter>,
}

impl Share {
    #[cfg(test)]
    pub(crate) fn new(sampler: Sampler) -> Self {
        Self::with(sampler, Arc::default())
    }

    /// The same, with what is known of how often traces begin.
    pub(crate) fn with(sampler: Sampler, meters: Arc<Meters>) -> Self {
        let samplers = ArcSwap::from_pointee(Samplers {
            otherwise: Planned {
                sampler,
                limit: None,
                meter: meters.otherwise.clone(),
            },
            by_operation: HashMap::new(),
            pool: 0.0,
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
        let planned = if samplers.by_operation.is_empty() {
            &samplers.otherwise
        } else {
            let own = samplers.by_operation.get(&operation());
            own.unwrap_or(&samplers.otherwise)
        };
        if samplers.told.is_none() {
            return planned.sampler.begin(context, rand::random);
        }
        let room = planned.limit.map(|limit| Room {
            limit,
            pool: (&self.meters.pool, samplers.pool),
            part: self.meters.part(),
        });
        let turn = planned
            .meter
            .begin(now(), planned.sampler.share(), room, rand::random);
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
        let meters = self.meters.of_each(strategy.operations.keys());
        let planned = |name: &str, share: f64, meter: Arc<Meter>| Planned {
            sampler: Sampler::ratio(share),
            limit: strategy.limits.get(name).copied(),
            meter,
        };
        let shares = strategy.operations.iter();
        // What no operation has for itself is new, and comes on top; where none has anything it is all there is.
        let named = strategy.limits.iter().filter(|(name, _)| !name.is_empty());
        let named = named.map(|(_, limit)| limit);
        let all = if strategy.operations.is_empty() {
            strategy.limits.get("")
        } else {
            None
        };
        let spans = named.chain(all).map(|limit| limit.traces * limit.spans);
        self.samplers.store(Arc::new(Samplers {
            otherwise: planned("", strategy.share, self.meters.otherwise.clone()),
            by_operation: shares
                .map(|(operation, share)| {
                    let meter = meters.get(operation).cloned().unwrap_or_default();
                    (operation.clone(), planned(operation, *share, meter))
                })
                .collect(),
            pool: spans.sum(),
            told: Some(strategy.clone()),
        }));
        true
    }

    /// What SDKs should be told, so that they decide as the agent does.
    pub(crate) fn strategy(&self) -> Strategy {
        let samplers = self.samplers.load();
        let told = samplers.told.clone();
        told.unwrap_or_else(|| Strategy::of(samplers.otherwise.sampler.share()))
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
    use std::collections::BTreeMap;

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
        let share = Share::new(Sampler::AlwaysOn);
        share.set(&Strategy::of(0.25));
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
    fn what_is_new_may_be_recorded_on_top_and_others_may_not_use_it() {
        let limit = |traces: f64| Limit { traces, spans: 2.0 };
        let share = Share::new(Sampler::AlwaysOn);
        let mut planned = Strategy::of(1.0);
        planned.limits.insert(String::new(), limit(1.0));
        share.set(&planned);
        assert_eq!(share.samplers.load().pool.to_bits(), 2.0_f64.to_bits());
        planned.operations.insert("GET /a".to_owned(), 0.5);
        planned.limits.insert("GET /a".to_owned(), limit(10.0));
        share.set(&planned);
        assert_eq!(share.samplers.load().pool.to_bits(), 20.0_f64.to_bits());
    }

    #[test]
    fn of_traffic_beyond_what_was_planned_for_an_agents_part_is_recorded() {
        let planned = Strategy {
            limits: BTreeMap::from([(
                String::new(),
                Limit {
                    traces: 100.0,
                    spans: 8.0,
                },
            )]),
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
