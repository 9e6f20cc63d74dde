//! Timeouts that fit into each other.
//!
//! In: what each call and each service needs, which objectives and pins bound it. Out: how long each call may
//! take.
//!
//! From the callees up: an attempt of a call is as long as the call itself needs, and never shorter than its
//! callee's own time and the timeouts of the callee's calls, repeats included. From the entry points down:
//! where an objective leaves less, repeats go first, then every time shrinks in proportion. Of several calls
//! to one callee in a visit one may take its whole timeout and the others their mean. Calls that run beside
//! each other count by `overlap`, but never less than the longest of them. Source: Google SRE, "Addressing
//! Cascading Failures", Latency and Deadlines.
//! Left out on purpose: operations. The map knows edges, so all calls of a service count for each of its
//! requests.

use super::figures;
use super::retries::backoff_ms;
use super::shape::Shape;

/// What is known of one call, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CallNeeds {
    /// The observed time with its margin; `None` where too little was seen.
    pub(super) observed: Option<f64>,
    /// Time of further calls to the same callee in one visit.
    pub(super) further: f64,
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
    /// Its own time with its margin.
    pub(super) own: f64,
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
}

/// Times of all calls and services.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Budget {
    pub(super) calls: Vec<Option<Times>>,
    /// What each service needs with the timeouts of its calls.
    pub(super) needs: Vec<f64>,
    /// What it has: the least of its callers' attempts and its objective.
    pub(super) has: Vec<Option<(u64, Option<Bound>)>>,
}

/// Two answers to one question: with repeats and the least timeout, or with what was observed alone.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    full: u64,
    bare: u64,
}

/// Splits.
pub(super) fn split(shape: &Shape<'_>, calls: &[CallNeeds], nodes: &[NodeNeeds], least: f64) -> Budget {
    let split = Split {
        shape,
        calls,
        nodes,
        least,
    };
    let wanted = split.up();
    split.down(&wanted)
}

struct Split<'a> {
    shape: &'a Shape<'a>,
    calls: &'a [CallNeeds],
    nodes: &'a [NodeNeeds],
    least: f64,
}

/// What is wanted for the attempt and the total of each call.
struct Up {
    attempt: Vec<Wanted>,
    total: Vec<Option<Wanted>>,
    /// The total is what people state.
    fixed: Vec<bool>,
}

impl Split<'_> {
    /// From callees to callers.
    fn up(&self) -> Up {
        let mut up = Up {
            attempt: vec![Wanted::default(); self.calls.len()],
            total: vec![None; self.calls.len()],
            fixed: vec![false; self.calls.len()],
        };
        // Calls that close a cycle first: what they wait for is not in them, and they are in what their
        // callers wait for.
        let closes_cycle = |call: &usize| self.shape.calls[*call].closes_cycle;
        for call in (0..self.calls.len()).filter(closes_cycle) {
            self.want(call, (0.0, 0.0), &mut up);
        }
        for &node in self.shape.order.iter().rev() {
            // An entry point never takes longer than it promises.
            let most = self.nodes[node].objective.map_or(f64::MAX, |ms| ms as f64);
            let full = self.needs(node, |call| up.total[call].map(|t| t.full)).min(most);
            let bare = self.needs(node, |call| up.total[call].map(|t| t.bare)).min(most);
            for &call in self.shape.into[node].iter().filter(|call| !closes_cycle(call)) {
                self.want(call, (full, bare), &mut up);
            }
        }
        up
    }

    fn want(&self, call: usize, (full, bare): (f64, f64), up: &mut Up) {
        let needs = &self.calls[call];
        let objective = self.nodes[self.shape.calls[call].server].objective;
        let stated = needs.pin.or(objective.filter(|_| needs.from_outside));
        if needs.observed.is_none() && stated.is_none() {
            return;
        }
        let observed = needs.observed.unwrap_or(0.0);
        let attempt = Wanted {
            full: figures::up(observed.max(full).max(self.least)),
            bare: figures::up(observed.max(bare)),
        };
        let repeats = needs.retries;
        let total = Wanted {
            full: figures::up(attempt.full as f64 * f64::from(repeats + 1) + backoff_ms(repeats)),
            bare: attempt.bare,
        };
        up.attempt[call] = attempt;
        up.total[call] = Some(stated.map_or(total, |ms| Wanted { full: ms, bare: ms }));
        up.fixed[call] = stated.is_some();
    }

    /// What a service needs if each of its calls takes what `total` says.
    fn needs(&self, node: usize, total: impl Fn(usize) -> Option<u64>) -> f64 {
        let blocks = self.shape.out[node].iter().filter_map(|&call| {
            let total = total(call)? as f64;
            Some(total + self.calls[call].further)
        });
        let NodeNeeds { own, overlap, .. } = self.nodes[node];
        own + together(overlap, blocks)
    }

    /// From callers to callees.
    fn down(&self, up: &Up) -> Budget {
        let mut budget = Budget {
            calls: vec![None; self.calls.len()],
            needs: vec![0.0; self.nodes.len()],
            has: vec![None; self.nodes.len()],
        };
        for &node in &self.shape.order {
            let has = self.has(node, &budget);
            let out = &self.shape.out[node];
            let shares = self.shares(node, has.map(|(ms, _)| ms), up);
            for (&call, share) in out.iter().zip(shares) {
                let forced_by = has.and_then(|(_, bound)| bound);
                budget.calls[call] = share.map(|share| self.times(call, share, forced_by, up));
            }
            budget.has[node] = has;
            budget.needs[node] = self.needs(node, |call| budget.calls[call].map(|times| times.total));
        }
        budget
    }

    /// The least of what callers give a service and what it promises itself.
    fn has(&self, node: usize, budget: &Budget) -> Option<(u64, Option<Bound>)> {
        let objective = self.nodes[node].objective;
        let objective = objective.map(|ms| (ms, Some(Bound::Objective(node))));
        let callers = self.shape.into[node].iter().filter_map(|&call| {
            let times = budget.calls[call].filter(|_| !self.shape.calls[call].closes_cycle)?;
            let pin = self.calls[call].pin.map(|_| Bound::Pin(call));
            Some((times.attempt, times.forced_by.or(pin)))
        });
        objective.into_iter().chain(callers).min_by_key(|(ms, _)| *ms)
    }

    /// How the calls of a service share what it has, in the order of its calls. None for calls that have no
    /// timeout.
    fn shares(&self, node: usize, has: Option<u64>, up: &Up) -> Vec<Option<f64>> {
        let out = &self.shape.out[node];
        let full = || {
            out.iter()
                .map(|&call| Some(up.total[call]?.full as f64))
                .collect()
        };
        let bare = || {
            out.iter()
                .map(|&call| Some(up.total[call]?.bare as f64))
                .collect()
        };
        let Some(has) = has.map(|ms| ms as f64) else {
            return full();
        };
        if self.needs(node, |call| up.total[call].map(|t| t.full)) <= has {
            return full();
        }
        if self.needs(node, |call| up.total[call].map(|t| t.bare)) <= has {
            return self.filled(node, has - self.nodes[node].own, bare(), up);
        }
        let shrunk = self.shrunk(node, has, up);
        let mut shares: Vec<Option<f64>> = bare();
        shares.iter_mut().flatten().for_each(|share| *share *= shrunk);
        shares
    }

    /// Gives what is left beyond `shares` to repeats and the least timeout, first to the calls that want
    /// least.
    fn filled(&self, node: usize, room: f64, mut shares: Vec<Option<f64>>, up: &Up) -> Vec<Option<f64>> {
        let out = &self.shape.out[node];
        let further = |i: usize| self.calls[out[i]].further;
        let all = shares.iter().enumerate();
        let held: f64 = all.filter_map(|(i, share)| Some((*share)? + further(i))).sum();
        let mut left = room / self.nodes[node].overlap - held;
        let more = |i: usize| up.total[out[i]].map_or(0, |wanted| wanted.full.saturating_sub(wanted.bare));
        let mut order: Vec<usize> = (0..out.len()).collect();
        order.sort_by_key(|&i| (more(i), i));
        for i in order {
            let Some(share) = &mut shares[i] else { continue };
            // No call has more than there is for it alone.
            let alone = (room - further(i) - *share).max(0.0);
            let given = (more(i) as f64).min(alone).min(left.max(0.0));
            *share += given;
            left -= given;
        }
        shares
    }

    /// By how much all times shrink. What is stated does not; where it alone is too much, somebody has to
    /// change it, and until then what was observed is better than nothing.
    fn shrunk(&self, node: usize, has: f64, up: &Up) -> f64 {
        let stated = self.shape.out[node].iter().filter(|call| up.fixed[**call]);
        let stated = stated.filter_map(|&call| up.total[call]).map(|t| t.full as f64);
        let stated = together(self.nodes[node].overlap, stated);
        let rest = self.needs(node, |call| {
            up.total[call].filter(|_| !up.fixed[call]).map(|t| t.bare)
        });
        if has > stated {
            ((has - stated) / rest).min(1.0)
        } else {
            1.0
        }
    }

    fn times(&self, call: usize, share: f64, forced_by: Option<Bound>, up: &Up) -> Times {
        let needs = &self.calls[call];
        let (wanted, total) = (up.attempt[call], up.total[call].unwrap_or_default());
        let nested = wanted.full as f64 > needs.observed.unwrap_or(0.0).max(self.least) * 1.1 + 1.0;
        if !up.fixed[call] && share >= total.full as f64 {
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
