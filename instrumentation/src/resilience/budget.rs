//! Timeouts that fit into each other.
//!
//! In: what each call and each service needs, which objectives and pins bound it. Out: how long each call may
//! take.
//!
//! From the callees up: an attempt of a call is as long as the call itself needs, and never shorter than its
//! callee's own time and the timeouts of the callee's calls, repeats included. From the entry points down:
//! where an objective leaves less, repeats go first, then each call has what 95 % of them need and an even
//! part of the rest, up to what nearly every call needs ([`Level`]). An objective below that bounds nothing:
//! it would end calls that are answered every day. Of several calls to one callee in a visit one may take its
//! whole timeout and the others their usual time. Calls that run beside each other count by `overlap`, but
//! never less than the longest of them. Source: Google SRE, "Addressing Cascading Failures", Latency and
//! Deadlines.
//! Left out on purpose: operations. The map knows edges, so all calls of a service count for each of its
//! requests.

use super::figures;
use super::retries::backoff_ms;
use super::shape::Shape;

/// Ten minutes. Sums double with every layer that calls two others, and what is longer limits nothing.
pub(super) const LONGEST: u64 = 600_000;

/// How generous a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// With repeats and the least timeout.
    Full,
    /// What nearly every call took, with its margin.
    Bare,
    /// What 95 % of the calls took. No timeout falls below.
    Floor,
}

/// Two observed times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Of nearly every call, with its margin.
    pub(super) high: f64,
    /// Of 95 % of the calls.
    pub(super) low: f64,
}

impl Seen {
    fn at(self, level: Level) -> f64 {
        match level {
            Level::Full | Level::Bare => self.high,
            Level::Floor => self.low.min(self.high),
        }
    }
}

/// What is known of one call, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CallNeeds {
    /// `None` where too little was seen.
    pub(super) observed: Option<Seen>,
    /// Time of further calls to the same callee in one visit: in the mean, and at the median.
    pub(super) further: Seen,
    /// Repeats.
    pub(super) retries: u32,
    /// What people state, repeats included.
    pub(super) pin: Option<u64>,
    /// The caller is nobody of ours, and waits as long as the entry point promises.
    pub(super) from_outside: bool,
}

/// What is known of one service, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NodeNeeds {
    /// Its own time.
    pub(super) own: Seen,
    /// What of its calls follows each other, in (0, 1].
    pub(super) overlap: f64,
    /// The promise of an entry point.
    pub(super) objective: Option<u64>,
}

/// How long a call may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) total: u64,
    pub(super) attempt: u64,
    pub(super) retries: u32,
    /// The entry point whose objective, or the call whose pin, made it shorter than it would be.
    pub(super) forced_by: Option<Bound>,
    /// It is as long as it is because its callee waits for others.
    pub(super) nested: bool,
}

/// What bounds a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The objective of this node.
    Objective(usize),
    /// The pin of this call.
    Pin(usize),
    /// [`LONGEST`].
    Longest,
}

/// Times of all calls and services.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Budget {
    pub(super) calls: Vec<Option<Times>>,
    /// What each service needs with the timeouts of its calls.
    pub(super) needs: Vec<f64>,
    /// What it has: the least of its callers' attempts and its objective.
    pub(super) has: Vec<Option<(u64, Option<Bound>)>>,
    /// What 95 % of its requests need, of a service whose objective or pin is below that.
    pub(super) out_of_reach: Vec<Option<f64>>,
}

/// Splits.
pub(super) fn split(shape: &Shape<'_>, calls: &[CallNeeds], nodes: &[NodeNeeds], least: f64) -> Budget {
    let split = Split {
        shape,
        calls,
        nodes,
        least,
    };
    let up = split.up();
    split.down(up)
}

struct Split<'a> {
    shape: &'a Shape<'a>,
    calls: &'a [CallNeeds],
    nodes: &'a [NodeNeeds],
    least: f64,
}

/// One time at each level.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    full: u64,
    bare: u64,
    floor: u64,
}

impl Wanted {
    fn at(self, level: Level) -> u64 {
        match level {
            Level::Full => self.full,
            Level::Bare => self.bare,
            Level::Floor => self.floor,
        }
    }
}

/// What is wanted, seen from the callees.
struct Up {
    /// For an attempt of each call.
    attempt: Vec<Wanted>,
    /// For each call as a whole.
    total: Vec<Option<Wanted>>,
    /// The total is what people state.
    fixed: Vec<bool>,
    /// Objectives that can be held, by node.
    objective: Vec<Option<u64>>,
    out_of_reach: Vec<Option<f64>>,
}

impl Split<'_> {
    /// From callees to callers.
    fn up(&self) -> Up {
        let (calls, nodes) = (self.calls.len(), self.nodes.len());
        let mut up = Up {
            attempt: vec![Wanted::default(); calls],
            total: vec![None; calls],
            fixed: vec![false; calls],
            objective: vec![None; nodes],
            out_of_reach: vec![None; nodes],
        };
        // Calls that close a cycle first: what they wait for is not in them, and they are in what their
        // callers wait for.
        let closes_cycle = |call: &usize| self.shape.calls[*call].closes_cycle;
        for call in (0..calls).filter(closes_cycle) {
            self.want(call, |_| 0.0, &mut up);
        }
        for &node in self.shape.order.iter().rev() {
            self.reach(node, &mut up);
            // An entry point never takes longer than it promises.
            let most = up.objective[node].map_or(f64::MAX, |ms| ms as f64);
            // Who waits for nobody takes what calls to it took; its own time is that of all its callers'
            // requests.
            let waits = self.shape.out[node].iter().any(|&call| up.total[call].is_some());
            let most = if waits { most } else { 0.0 };
            let needs = [Level::Full, Level::Bare, Level::Floor]
                .map(|level| self.needs(node, level, |call| up.total[call]).min(most));
            for &call in self.shape.into[node].iter().filter(|call| !closes_cycle(call)) {
                self.want(call, |level| needs[level as usize], &mut up);
            }
        }
        up
    }

    /// Whether 95 % of a service's requests can keep its objective and its pin.
    fn reach(&self, node: usize, up: &mut Up) {
        let into = self.shape.into[node].iter().map(|&call| &self.calls[call]);
        let from_outside = into.clone().filter(|call| call.from_outside);
        let seen = from_outside
            .filter_map(|call| call.observed)
            .map(|seen| seen.at(Level::Floor));
        let least = self.needs(node, Level::Floor, |call| up.total[call]);
        let least = seen.fold(least, f64::max);
        up.objective[node] = self.nodes[node].objective.filter(|ms| *ms as f64 >= least);
        let stated = into.filter_map(|call| call.pin).chain(self.nodes[node].objective);
        let is_below = stated.min().is_some_and(|ms| (ms as f64) < least);
        up.out_of_reach[node] = is_below.then_some(least);
    }

    fn want(&self, call: usize, nested: impl Fn(Level) -> f64, up: &mut Up) {
        let (needs, server) = (&self.calls[call], self.shape.calls[call].server);
        let promised = |objective: Option<u64>| objective.filter(|_| needs.from_outside);
        let stated = needs.pin.or(promised(up.objective[server]));
        // Nobody gives up before an answer that would still keep a promise.
        let promised = promised(self.nodes[server].objective);
        if needs.observed.is_none() && stated.or(promised).is_none() {
            return;
        }
        let observed = needs.observed.unwrap_or_default();
        let time = |level: Level| observed.at(level).max(nested(level));
        let least = self.least.max(promised.unwrap_or_default() as f64);
        if stated.is_none() && time(Level::Floor) > LONGEST as f64 {
            return;
        }
        let attempt = Wanted {
            full: figures::up(time(Level::Full).max(least)).min(LONGEST),
            bare: figures::up(time(Level::Bare)).min(LONGEST),
            floor: figures::up(time(Level::Floor)).min(LONGEST),
        };
        let repeats = needs.retries;
        let whole = attempt.full as f64 * f64::from(repeats + 1) + backoff_ms(repeats);
        let total = Wanted {
            full: figures::up(whole).min(LONGEST),
            ..attempt
        };
        let same = |ms| Wanted {
            full: ms,
            bare: ms,
            floor: ms,
        };
        up.attempt[call] = attempt;
        up.total[call] = Some(stated.map_or(total, same));
        up.fixed[call] = stated.is_some();
    }

    /// What a service needs if each of its calls takes what `total` says.
    fn needs(&self, node: usize, level: Level, total: impl Fn(usize) -> Option<Wanted>) -> f64 {
        let blocks = self.shape.out[node].iter().filter_map(|&call| {
            let total = total(call)?.at(level) as f64;
            Some(total + self.calls[call].further.at(level))
        });
        let NodeNeeds { own, overlap, .. } = self.nodes[node];
        own.at(level) + together(overlap, blocks)
    }

    /// From callers to callees.
    fn down(&self, up: Up) -> Budget {
        let mut budget = Budget {
            calls: vec![None; self.calls.len()],
            needs: vec![0.0; self.nodes.len()],
            has: vec![None; self.nodes.len()],
            out_of_reach: Vec::new(),
        };
        for &node in &self.shape.order {
            let has = self.has(node, &budget, &up);
            let out = &self.shape.out[node];
            let shares = self.shares(node, has.map(|(ms, _)| ms), &up);
            for (&call, share) in out.iter().zip(shares) {
                let forced_by = has.and_then(|(_, bound)| bound);
                budget.calls[call] = share.map(|share| self.times(call, share, forced_by, &up));
            }
            budget.has[node] = has;
            budget.needs[node] = self.needs(node, Level::Full, |call| {
                let full = budget.calls[call]?.total;
                Some(Wanted {
                    full,
                    ..Wanted::default()
                })
            });
        }
        budget.out_of_reach = up.out_of_reach;
        budget
    }

    /// The least of what callers give a service and what it promises itself.
    fn has(&self, node: usize, budget: &Budget, up: &Up) -> Option<(u64, Option<Bound>)> {
        let objective = up.objective[node].map(|ms| (ms, Some(Bound::Objective(node))));
        let callers = self.shape.into[node].iter().filter_map(|&call| {
            let times = budget.calls[call].filter(|_| !self.shape.calls[call].closes_cycle)?;
            let pin = self.calls[call].pin.map(|_| Bound::Pin(call));
            let longest = (times.attempt >= LONGEST).then_some(Bound::Longest);
            Some((times.attempt, times.forced_by.or(pin).or(longest)))
        });
        objective.into_iter().chain(callers).min_by_key(|(ms, _)| *ms)
    }

    /// How the calls of a service share what it has, in the order of its calls. None for calls that have no
    /// timeout.
    fn shares(&self, node: usize, has: Option<u64>, up: &Up) -> Vec<Option<f64>> {
        let total = |call: usize| up.total[call];
        let of = |time: &dyn Fn(Wanted) -> f64| -> Vec<Option<f64>> {
            let out = self.shape.out[node].iter();
            out.map(|&call| total(call).map(time)).collect()
        };
        let has = has.map_or(f64::MAX, |ms| ms as f64);
        if self.needs(node, Level::Full, total) <= has {
            return of(&|wanted| wanted.full as f64);
        }
        if self.needs(node, Level::Bare, total) <= has {
            // A repeat takes all of its time or none, so the cheap ones come first.
            return self.filled(node, has, [Level::Bare, Level::Full], up, |left, _| left);
        }
        // An even part for each, or one long tail took what many quick calls need. Below the floor nothing is
        // cut: where that is too much, a pin is too short, which is told.
        self.filled(node, has, [Level::Floor, Level::Bare], up, |left, calls| {
            left / calls as f64
        })
    }

    /// Times between two levels. What is left beyond the lower one goes to the calls that want least of it
    /// first; `part` says how much one may take of what is left for so many.
    fn filled(
        &self,
        node: usize,
        has: f64,
        [from, to]: [Level; 2],
        up: &Up,
        part: fn(f64, usize) -> f64,
    ) -> Vec<Option<f64>> {
        let out = &self.shape.out[node];
        let room = has - self.nodes[node].own.at(from);
        let further = |i: usize| self.calls[out[i]].further.at(from);
        let mut wants: Vec<(f64, usize)> = Vec::new();
        let mut held = 0.0;
        for (i, &call) in out.iter().enumerate() {
            let Some(wanted) = up.total[call] else { continue };
            let (low, high) = (wanted.at(from) as f64, wanted.at(to) as f64);
            // No call has more than there is for it alone.
            let alone = (room - further(i) - low).max(0.0);
            wants.push(((high - low).min(alone), i));
            held += low + further(i);
        }
        wants.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut left = (room / self.nodes[node].overlap - held).max(0.0);
        let mut shares: Vec<Option<f64>> = vec![None; out.len()];
        for (done, &(more, i)) in wants.iter().enumerate() {
            let given = more.min(part(left, wants.len() - done));
            left -= given;
            shares[i] = up.total[out[i]].map(|wanted| wanted.at(from) as f64 + given);
        }
        shares
    }

    fn times(&self, call: usize, share: f64, forced_by: Option<Bound>, up: &Up) -> Times {
        let needs = &self.calls[call];
        let (wanted, total) = (up.attempt[call], up.total[call].unwrap_or_default());
        let nested =
            wanted.full as f64 > needs.observed.map_or(0.0, |seen| seen.high).max(self.least) * 1.1 + 1.0;
        let is_whole = total.full >= wanted.full.saturating_mul(u64::from(needs.retries) + 1);
        if !up.fixed[call] && is_whole && share >= total.full as f64 {
            return Times {
                total: total.full,
                attempt: wanted.full,
                retries: needs.retries,
                forced_by: None,
                nested,
            };
        }
        let (total, forced_by) = if up.fixed[call] {
            (total.full, None)
        } else {
            (figures::down(share), forced_by)
        };
        let each = (total as f64 - backoff_ms(needs.retries)) / f64::from(needs.retries + 1);
        if needs.retries > 0 && each >= wanted.bare as f64 {
            return Times {
                total,
                attempt: figures::down(each),
                retries: needs.retries,
                forced_by,
                nested,
            };
        }
        let total = if up.fixed[call] {
            total
        } else {
            total.min(wanted.full)
        };
        Times {
            total,
            attempt: total,
            retries: 0,
            forced_by,
            nested,
        }
    }
}

/// Calls that partly run beside each other: at least the longest of them.
fn together(overlap: f64, blocks: impl Iterator<Item = f64>) -> f64 {
    let (sum, longest) = blocks.fold((0.0, 0.0_f64), |(sum, longest), block| {
        (sum + block, longest.max(block))
    });
    (overlap * sum).max(longest)
}
