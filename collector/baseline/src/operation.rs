//! One operation of one entity: when it learns, and from which version.
//!
//! In: its requests. Out: a verdict on each. Requests are learned in parts of five minutes or fifty requests, whichever
//! takes longer, so that the minutes before a degradation is recognised spoil little.
//! Left out on purpose: a third version at the same time, which counts with the older of the two.

use serde::{Deserialize, Serialize};

use crate::baselines::{Observation, Verdict};
use crate::budget::Budget;
use crate::failures::Share;
use crate::id::{Entity, Operation, Source, Version};
use crate::measure::{Learns, Part, Track, nanos};
use crate::normal::Normal;
use crate::settings::Settings;
use crate::sketch::{Sketch, bucket};
use crate::slots::{HOUR, Hour};

/// A part is at least this long…
const PART: u64 = 300_000_000_000;
/// … and has this many requests: fewer say too little about whether they were degraded.
const PART_REQUESTS: u32 = 50;
/// But it is over after this long in any case.
const LONGEST_PART: u64 = 6 * HOUR;
/// And before any count exceeds 16 bits.
const MOST_REQUESTS: u32 = 60_000;
/// For its first week an operation's hours are kept whether degraded or not.
const YOUNG: u64 = 168 * HOUR;
/// A version that was silent this long makes place for another.
const SILENT: u64 = HOUR;
/// Operations are forgotten after this long without a request: a week's rhythm, and a day.
const FORGOTTEN: u64 = 8 * 24 * HOUR;
/// The same for one that never had enough requests.
const FORGOTTEN_UNKNOWN: u64 = 24 * HOUR;

/// What the entity is like while an operation learns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    pub(crate) own_degraded: bool,
    pub(crate) total_degraded: bool,
    pub(crate) pinned: bool,
}

/// An operation's state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) entity: Entity,
    pub(crate) operation: Operation,
    pub(crate) version: Version,
    pub(crate) previous: Version,
    pub(crate) candidate: Option<Box<Candidate>>,
    pub(crate) learned: Learning,
}

/// What does not depend on anybody's numbers, and is saved as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learning {
    known: bool,
    /// The present version has learned nothing of its own yet.
    inherited: bool,
    count: u32,
    born: u64,
    since: u64,
    due: u64,
    renewed: u64,
    last_seen: u64,
    pub(crate) own: Track,
    pub(crate) total: Track,
    /// Requests that failed by themselves, of every version.
    #[serde(default)]
    own_failures: Share,
    /// Requests that failed.
    #[serde(default)]
    failures: Share,
}

/// A new version, until it has had enough requests of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) version: Version,
    pub(crate) learned: CandidateLearning,
}

/// What of a candidate is saved as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CandidateLearning {
    since: u64,
    last_seen: u64,
    count: u32,
    own_slow: u32,
    total_slow: u32,
    own: Sketch,
    total: Sketch,
}

impl State {
    /// Bytes of an operation before its first request.
    pub(crate) const BYTES: usize = size_of::<Self>() + 64;

    pub(crate) fn new(entity: Entity, operation: Operation, now: u64, settings: &Settings) -> Self {
        let learned = Learning {
            known: false,
            inherited: false,
            count: 0,
            born: now,
            since: now,
            due: now.saturating_add(nanos(settings.learn)),
            renewed: now,
            last_seen: now,
            own: Track::new(),
            total: Track::new(),
            own_failures: Share::default(),
            failures: Share::default(),
        };
        Self {
            entity,
            operation,
            version: Version::UNKNOWN,
            previous: Version::UNKNOWN,
            candidate: None,
            learned,
        }
    }

    /// True where [`State::learn`] has something to do.
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.learned.due || self.learned.count >= MOST_REQUESTS
    }

    /// Reads what a request is about to be counted in.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        let learned = &self.learned;
        learned.due ^ learned.own.read() ^ learned.total.read()
    }

    /// Judges a request and counts it.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        version: Version,
        seen: &Observation,
        now: u64,
        budget: &mut Budget,
    ) -> Option<Verdict> {
        let &Observation {
            own,
            total,
            own_failed,
            failed,
        } = seen;
        let Learning {
            own: own_track,
            total: total_track,
            known,
            count,
            last_seen,
            own_failures,
            failures,
            ..
        } = &mut self.learned;
        let known = *known;
        let own_slow = known && own_track.is_slow(own);
        let total_slow = known && total_track.is_slow(total);
        let verdict = known.then(|| Verdict {
            own_slow,
            own_expected: f64::from(own_track.edge.expected),
            own_excess: own_track.excess(own),
            total_slow,
            total_expected: f64::from(total_track.edge.expected),
            own_failed_expected: own_failures.expected(),
            failed_expected: failures.expected(),
        });
        own_failures.observe(own_failed);
        failures.observe(failed);
        *last_seen = now;
        let (own, total) = ((bucket(own), own_slow), (bucket(total), total_slow));
        if version == self.version || version == Version::UNKNOWN {
            *count += 1;
            own_track.observe(own.0, own.1, budget);
            total_track.observe(total.0, total.1, budget);
        } else {
            self.observe_version(version, own, total, now, budget);
        }
        verdict
    }

    #[cold]
    fn observe_version(
        &mut self,
        version: Version,
        own: (u16, bool),
        total: (u16, bool),
        now: u64,
        budget: &mut Budget,
    ) {
        if let Some(candidate) = self.candidate_for(version, now, budget) {
            candidate.observe(own, total, now, budget);
            if candidate.count >= MOST_REQUESTS {
                self.learned.due = now;
            }
            return;
        }
        self.learned.count += 1;
        self.learned.own.observe(own.0, own.1, budget);
        self.learned.total.observe(total.0, total.1, budget);
    }

    /// The new version that a request of `version` counts for; `None` where it counts for the present one.
    fn candidate_for(
        &mut self,
        version: Version,
        now: u64,
        budget: &mut Budget,
    ) -> Option<&mut CandidateLearning> {
        if version == self.previous {
            return None;
        }
        if !self.learned.known || self.version == Version::UNKNOWN {
            self.version = version;
            return None;
        }
        let silent = |candidate: &Candidate| now.saturating_sub(candidate.learned.last_seen) > SILENT;
        if let Some(candidate) = self.candidate.as_deref()
            && candidate.version != version
        {
            if !silent(candidate) {
                return None;
            }
            self.end_candidate(budget);
        }
        if self.candidate.is_none() {
            if !budget.take(size_of::<Candidate>()) {
                return None;
            }
            self.candidate = Some(Box::new(Candidate::new(version, now)));
        }
        self.candidate.as_mut().map(|candidate| &mut candidate.learned)
    }

    /// Ends the part under way and renews the edges, where it is time. `health` is asked only then.
    pub(crate) fn learn(
        &mut self,
        now: u64,
        settings: &Settings,
        budget: &mut Budget,
        health: impl FnOnce() -> Health,
    ) {
        if !self.learned.known {
            self.learned.learn_first(now, settings, budget);
            return;
        }
        let part_over = self.learned.part_is_over(now, settings);
        let candidate_over = self
            .candidate
            .as_ref()
            .is_some_and(|c| c.learned.is_over(now, settings));
        if part_over || candidate_over {
            let health = health();
            if part_over {
                self.learned.end_part(now, health, settings, budget);
            }
            if candidate_over {
                self.take_over(now, health, settings, budget);
            }
        }
        self.learned.renew(now, settings);
    }

    /// Takes the part under way into the edges, or learns the first ones where there are `min` requests.
    pub(crate) fn learn_all(&mut self, min: u64, now: u64, settings: &Settings, budget: &mut Budget) {
        let learned = &mut self.learned;
        if learned.known {
            learned.end_part(now, Health::default(), settings, budget);
            learned.own.choose(now, settings);
            learned.total.choose(now, settings);
        } else if u64::from(learned.count) >= min {
            learned.learn_edges(now, settings, budget);
        }
    }

    fn take_over(&mut self, now: u64, health: Health, settings: &Settings, budget: &mut Budget) {
        let Some(candidate) = self.end_candidate(budget) else {
            return;
        };
        let Candidate { version, learned } = *candidate;
        let mut part = Part {
            new_version: true,
            ..self.learned.part(
                learned.since,
                now,
                learned.count,
                learned.last_seen,
                health.pinned,
            )
        };
        let (own, total) = (learned.own.weights(), learned.total.weights());
        part.entity_degraded = health.own_degraded;
        let Learning {
            own: own_track,
            total: total_track,
            ..
        } = &mut self.learned;
        let learns = own_track.learn_or_shift(&part, &own, learned.own_slow, settings, budget);
        part.entity_degraded = health.total_degraded;
        total_track.learn_or_shift(&part, &total, learned.total_slow, settings, budget);
        (self.previous, self.version) = (self.version, version);
        (self.learned.inherited, self.learned.renewed) = (!learns, 0);
    }

    fn end_candidate(&mut self, budget: &mut Budget) -> Option<Box<Candidate>> {
        let candidate = self.candidate.take()?;
        budget.give_back(candidate.bytes());
        Some(candidate)
    }

    /// Where the edge was taken from, for the version that came last.
    pub(crate) fn source(&self) -> Source {
        if self.candidate.is_some() || self.learned.inherited {
            return Source::PreviousVersion;
        }
        self.learned.own.source
    }

    /// What is normal, for people.
    pub(crate) fn normal(&self) -> Normal {
        let learned = &self.learned;
        Normal {
            operation: self.operation,
            judged: learned.known,
            requests: if learned.known {
                f64::from(learned.own.weight())
            } else {
                f64::from(learned.count)
            },
            source: self.source(),
            own: learned.own.edge.into(),
            total: learned.total.edge.into(),
            own_failed: learned.own_failures.expected(),
            failed: learned.failures.expected(),
            last_seen: learned.last_seen,
        }
    }

    /// True once there is an edge.
    pub(crate) fn is_known(&self) -> bool {
        self.learned.known
    }

    /// True where nobody has asked for it for so long that it may be forgotten.
    pub(crate) fn is_stale(&self, now: u64) -> bool {
        let patience = if self.learned.known {
            FORGOTTEN
        } else {
            FORGOTTEN_UNKNOWN
        };
        now.saturating_sub(self.learned.last_seen) > patience
    }

    /// Bytes with everything below, and those of them that are slots.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let (own, own_slots) = self.learned.own.bytes();
        let (total, total_slots) = self.learned.total.bytes();
        let candidate = self.candidate.as_ref().map_or(0, |candidate| candidate.bytes());
        (Self::BYTES + own + total + candidate, own_slots + total_slots)
    }
}

impl Learning {
    fn learn_first(&mut self, now: u64, settings: &Settings, budget: &mut Budget) {
        let watched = now.saturating_sub(self.since) >= nanos(settings.learn);
        if !watched {
            if self.count >= MOST_REQUESTS {
                self.own.halve();
                self.total.halve();
                self.count /= 2;
            }
            return;
        }
        if u64::from(self.count) >= settings.min_requests {
            self.learn_edges(now, settings, budget);
        }
    }

    fn learn_edges(&mut self, now: u64, settings: &Settings, budget: &mut Budget) {
        self.known = (self.own.has_past() || self.own.learn(now, settings, budget))
            && self.total.learn(now, settings, budget);
        self.learn_failures(now, false, settings);
        (self.since, self.count, self.renewed) = (now, 0, now);
        self.plan(settings);
    }

    fn part_is_over(&self, now: u64, settings: &Settings) -> bool {
        let elapsed = now.saturating_sub(self.since);
        let long_enough =
            elapsed >= PART.min(nanos(settings.refresh)) || Hour::of(self.since) != Hour::of(now);
        self.count >= MOST_REQUESTS
            || self.count >= PART_REQUESTS && long_enough
            || self.count > 0 && elapsed >= LONGEST_PART
    }

    fn end_part(&mut self, now: u64, health: Health, settings: &Settings, budget: &mut Budget) {
        // The request that is being judged is not in the part: its hour is that of the one before.
        let mut part = self.part(
            self.since,
            now,
            self.count,
            self.previous_request(now),
            health.pinned,
        );
        part.entity_degraded = health.own_degraded;
        let learns = self.own.close(&part, settings, budget);
        self.inherited &= !learns;
        part.entity_degraded = health.total_degraded;
        self.total.close(&part, settings, budget);
        self.learn_failures(now, health.pinned, settings);
        (self.since, self.count) = (now, 0);
    }

    fn learn_failures(&mut self, now: u64, held: bool, settings: &Settings) {
        for share in [&mut self.own_failures, &mut self.failures] {
            share.close((self.since, now), held, settings);
        }
    }

    fn previous_request(&self, now: u64) -> u64 {
        self.last_seen.min(now)
    }

    fn part(&self, since: u64, now: u64, count: u32, last: u64, pinned: bool) -> Part {
        Part {
            since,
            now,
            count,
            hour: Some(Hour::of(since)).filter(|hour| *hour == Hour::of(last) && count >= PART_REQUESTS),
            learns: match pinned {
                true => Learns::Nothing,
                false if now.saturating_sub(self.born) < YOUNG => Learns::Hours,
                false => Learns::Healthy,
            },
            entity_degraded: false,
            new_version: false,
        }
    }

    fn renew(&mut self, now: u64, settings: &Settings) {
        let refresh = now.saturating_sub(self.renewed) >= nanos(settings.refresh);
        if refresh || Hour::of(self.renewed) != Hour::of(now) {
            self.own.choose(now, settings);
            self.total.choose(now, settings);
            self.renewed = now;
        }
        self.plan(settings);
    }

    fn plan(&mut self, settings: &Settings) {
        let refresh = nanos(settings.refresh);
        let part = self.since.saturating_add(PART.min(refresh));
        let renewal = self.renewed.saturating_add(refresh);
        self.due = part.min(renewal).min(Hour::of(self.renewed).end());
    }

    /// True unless a file says what no learning is.
    pub(crate) fn is_sound(&self) -> bool {
        let pasts = self.own.has_past() && self.total.has_past();
        let shares = self.own_failures.is_sound() && self.failures.is_sound();
        self.own.is_sound() && self.total.is_sound() && shares && (pasts || !self.known)
    }
}

impl Candidate {
    fn new(version: Version, now: u64) -> Self {
        let learned = CandidateLearning {
            since: now,
            last_seen: now,
            count: 0,
            own_slow: 0,
            total_slow: 0,
            own: Sketch::default(),
            total: Sketch::default(),
        };
        Self { version, learned }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.learned.own.bytes() + self.learned.total.bytes()
    }
}

impl CandidateLearning {
    fn observe(&mut self, own: (u16, bool), total: (u16, bool), now: u64, budget: &mut Budget) {
        self.count = self.count.saturating_add(1);
        self.last_seen = now;
        self.own.observe(own.0, budget);
        self.own_slow = self.own_slow.saturating_add(own.1.into());
        self.total.observe(total.0, budget);
        self.total_slow = self.total_slow.saturating_add(total.1.into());
    }

    fn is_over(&self, now: u64, settings: &Settings) -> bool {
        let watched = now.saturating_sub(self.since) >= nanos(settings.learn);
        watched && u64::from(self.count) >= settings.min_requests || self.count >= MOST_REQUESTS
    }

    /// True unless a file says what no candidate is.
    pub(crate) fn is_sound(&self) -> bool {
        self.own.is_sound() && self.total.is_sound()
    }
}
