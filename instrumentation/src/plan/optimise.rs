//! The decision: which share of the traces of each root, and which edges without spans.
//!
//! In: a [`Problem`] of numbers alone. Out: a [`Solution`] within its budgets.
//! Left out on purpose: names, reasons, and what was decided before.
//!
//! **Objective.** An edge of weight `w` of which `n` traces an hour are recorded is worth `w · ln(1 + n / k)`: the first traces say most,
//! and the same budget says more of a rare edge than of a busy one. The sum over all edges with spans is to be as large as the
//! budgets allow. Shares are decided by lazy greedy steps (Minoux 1978: what a step is worth only falls while others are taken),
//! edges by trying how many of those that say least for their spans are better left without.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A share grows by this factor in one step.
const STEP: f64 = 1.25;
/// A share that nobody needs begins here.
const LEAST_SHARE: f64 = 1e-5;
/// Up to so many edges that may go without spans every number of them is tried.
const TRY_ALL: usize = 48;
/// Halvings when a factor is looked for.
const HALVINGS: usize = 30;

/// What is to be decided.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// Where shares are chosen.
    pub roots: Vec<Root>,
    /// What is passed.
    pub edges: Vec<Edge>,
    /// What must be kept, as far as the budgets allow.
    pub needs: Vec<Need>,
    /// Most spans a second, each. Costs name them by index.
    pub budgets: Vec<f64>,
    /// Traces an hour after which more of an edge say little: `k`.
    pub enough: f64,
}

/// An operation with which traces begin.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Traces a second.
    pub rate: f64,
    /// Spans of a trace that no mode takes away, by budget.
    pub spans: Vec<(usize, f64)>,
    /// Edges that its traces pass.
    pub passes: Vec<Pass>,
    /// The share that somebody asks for.
    pub pinned: Option<f64>,
}

/// An edge that the traces of a root pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass {
    /// Index of the edge.
    pub edge: usize,
    /// Share of the traces that pass it at all.
    pub traces: f64,
    /// Requests of a trace on it.
    pub requests: f64,
}

/// An edge.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// What diagnosis has of it, against others; above 0.
    pub weight: f64,
    /// Spans of a request that its mode decides about, by budget; empty where no agent can.
    pub spans: Vec<(usize, f64)>,
    /// Whether it may go without spans.
    pub switchable: bool,
    /// Whether it goes without spans because somebody says so.
    pub pinned_quiet: bool,
}

/// Something of which enough must be recorded.
#[derive(Clone, Debug, Default)]
pub struct Need {
    /// What each root gives when all its traces are recorded, a second.
    pub from: Vec<(usize, f64)>,
    /// How much is wanted, a second. All there is, where that is less.
    pub want: f64,
    /// The edges that it is about; where none of them has spans there is no need. Empty: it is about none.
    pub edges: Vec<usize>,
    /// Needs of failures yield to others.
    pub failures: bool,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Solution {
    /// By root, 0 to 1.
    pub shares: Vec<f64>,
    /// By edge: true where it goes without spans.
    pub quiet: Vec<bool>,
    /// Spans a second, by budget.
    pub cost: Vec<f64>,
    /// The objective.
    pub value: f64,
    /// Which part of what must be kept the budgets have room for, 0 to 1.
    pub kept: f64,
}

impl Problem {
    /// The best decision that was found. Within the budgets, but for what people pinned.
    pub fn solve(&self) -> Solution {
        if self.budgets.iter().all(|budget| budget.is_infinite()) {
            return self.everything();
        }
        let pinned: Vec<bool> = self.edges.iter().map(|edge| edge.pinned_quiet).collect();
        let all = self.solve_with(&pinned);
        let unbound = |solution: &Solution| solution.shares.iter().all(|share| *share >= 1.0);
        if unbound(&all) {
            return all;
        }
        let order = self.least_worth(&all);
        let with = |n: usize| {
            let mut quiet = pinned.clone();
            order.iter().take(n).for_each(|edge| quiet[*edge] = true);
            self.solve_with(&quiet)
        };
        let mut best = all;
        for n in numbers(order.len()) {
            let solution = with(n);
            if solution.better_than(&best) {
                best = solution;
            }
        }
        self.improve(best)
    }

    /// What nothing bounds.
    fn everything(&self) -> Solution {
        let shares: Vec<f64> = self.roots.iter().map(|root| root.pinned.unwrap_or(1.0)).collect();
        let quiet: Vec<bool> = self.edges.iter().map(|edge| edge.pinned_quiet).collect();
        Solution {
            cost: self.cost_of(&shares, &quiet),
            value: self.value(&shares, &quiet),
            kept: 1.0,
            shares,
            quiet,
        }
    }

    /// Looks once more at each edge by itself, where there are few.
    fn improve(&self, mut best: Solution) -> Solution {
        let free: Vec<usize> = (0..self.edges.len()).filter(|at| self.is_free(*at)).collect();
        if free.len() > TRY_ALL {
            return best;
        }
        for at in free {
            let mut quiet = best.quiet.clone();
            quiet[at] = !quiet[at];
            let other = self.solve_with(&quiet);
            if other.better_than(&best) {
                best = other;
            }
        }
        best
    }

    fn is_free(&self, edge: usize) -> bool {
        let edge = &self.edges[edge];
        edge.switchable && !edge.pinned_quiet && !edge.spans.is_empty()
    }

    /// Edges that may go without spans, those first that say least for their spans.
    fn least_worth(&self, solution: &Solution) -> Vec<usize> {
        let recorded = self.recorded(&solution.shares);
        let worth = |at: usize| {
            let spans: f64 = self.edges[at].spans.iter().map(|(_, spans)| spans).sum();
            let requests = self.requests(at, &solution.shares);
            self.edges[at].weight * self.says(recorded[at]) / (spans * requests).max(f64::MIN_POSITIVE)
        };
        let mut free: Vec<(f64, usize)> = (0..self.edges.len())
            .filter(|at| self.is_free(*at))
            .map(|at| (worth(at), at))
            .collect();
        free.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        free.into_iter().map(|(_, at)| at).collect()
    }

    /// The best shares where these edges go without spans.
    fn solve_with(&self, quiet: &[bool]) -> Solution {
        let costs: Vec<Vec<f64>> = self.roots.iter().map(|root| self.cost(root, quiet)).collect();
        let mut shares: Vec<f64> = self
            .roots
            .iter()
            .map(|root| root.pinned.unwrap_or(LEAST_SHARE))
            .collect();
        let kept = self.keep(&mut shares, &costs, quiet);
        self.keep_failures(&mut shares, &costs, quiet);
        self.spend(&mut shares, &costs, quiet);
        Solution {
            value: self.value(&shares, quiet),
            cost: self.total(&shares, &costs),
            quiet: quiet.to_vec(),
            shares,
            kept,
        }
    }

    /// Spans a second of a root when all its traces are recorded, by budget.
    fn cost(&self, root: &Root, quiet: &[bool]) -> Vec<f64> {
        let mut cost = vec![0.0; self.budgets.len()];
        for (budget, spans) in &root.spans {
            cost[*budget] += spans * root.rate;
        }
        for pass in root.passes.iter().filter(|pass| !quiet[pass.edge]) {
            for (budget, spans) in &self.edges[pass.edge].spans {
                cost[*budget] += spans * pass.requests * root.rate;
            }
        }
        cost
    }

    fn total(&self, shares: &[f64], costs: &[Vec<f64>]) -> Vec<f64> {
        let mut total = vec![0.0; self.budgets.len()];
        for (share, cost) in shares.iter().zip(costs) {
            for (sum, cost) in total.iter_mut().zip(cost) {
                *sum += share * cost;
            }
        }
        total
    }

    fn fits(&self, shares: &[f64], costs: &[Vec<f64>]) -> bool {
        let total = self.total(shares, costs);
        total
            .iter()
            .zip(&self.budgets)
            .all(|(cost, most)| *cost <= most * (1.0 + 1e-9))
    }

    /// Raises shares until everything that must be kept is, or as much of everything as there is room for; which part.
    fn keep(&self, shares: &mut Vec<f64>, costs: &[Vec<f64>], quiet: &[bool]) -> f64 {
        let begun = shares.clone();
        let try_with = |factor: f64| {
            let mut shares = begun.clone();
            for need in self.needs.iter().filter(|need| !need.failures) {
                self.fulfil(need, factor, &mut shares, costs, quiet);
            }
            shares
        };
        let all = try_with(1.0);
        if self.fits(&all, costs) {
            *shares = all;
            return 1.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if self.fits(&try_with(middle), costs) {
                low = middle;
            } else {
                high = middle;
            }
        }
        *shares = try_with(low);
        low
    }

    /// Likewise for failures, each that fits into half of what is left, the cheapest first.
    fn keep_failures(&self, shares: &mut Vec<f64>, costs: &[Vec<f64>], quiet: &[bool]) {
        let spent = self.total(shares, costs);
        let half: Vec<f64> = spent
            .iter()
            .zip(&self.budgets)
            .map(|(spent, most)| f64::midpoint(*spent, *most))
            .collect();
        for need in self.needs.iter().filter(|need| need.failures) {
            let mut with = shares.clone();
            self.fulfil(need, 1.0, &mut with, costs, quiet);
            let total = self.total(&with, costs);
            if total.iter().zip(&half).all(|(cost, most)| cost <= most) {
                *shares = with;
            }
        }
    }

    fn fulfil(&self, need: &Need, factor: f64, shares: &mut [f64], costs: &[Vec<f64>], quiet: &[bool]) {
        if need.is_void(quiet) {
            return;
        }
        let have: f64 = need.from.iter().map(|(root, rate)| shares[*root] * rate).sum();
        let mut missing = need.want * factor - have;
        if missing <= 0.0 {
            return;
        }
        let price = |root: usize, rate: f64| costs[root].first().copied().unwrap_or_default() / rate;
        let mut from: Vec<(f64, usize, f64)> = need
            .from
            .iter()
            .filter(|(root, rate)| *rate > 0.0 && self.roots[*root].pinned.is_none())
            .map(|(root, rate)| (price(*root, *rate), *root, *rate))
            .collect();
        from.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (_, root, rate) in from {
            if missing <= 0.0 {
                break;
            }
            let more = (missing / rate).min(1.0 - shares[root]);
            shares[root] += more;
            missing -= more * rate;
        }
    }

    /// Spends what is left where it says most.
    fn spend(&self, shares: &mut [f64], costs: &[Vec<f64>], quiet: &[bool]) {
        let mut recorded = self.recorded(shares);
        let mut total = self.total(shares, costs);
        let mut heap: BinaryHeap<Gain> = (0..self.roots.len())
            .filter_map(|root| self.gain(root, shares, &recorded, costs, quiet))
            .collect();
        while let Some(best) = heap.pop() {
            let Some(again) = self.gain(best.root, shares, &recorded, costs, quiet) else {
                continue;
            };
            if heap.peek().is_some_and(|next| again.worth < next.worth) {
                heap.push(again);
                continue;
            }
            let root = again.root;
            let cost = &costs[root];
            let room = |(at, cost): (usize, &f64)| (self.budgets[at] - total[at]) / cost;
            let more = cost
                .iter()
                .enumerate()
                .filter(|(_, cost)| **cost > 0.0)
                .map(room)
                .fold(again.to - shares[root], f64::min);
            if more <= 0.0 {
                continue;
            }
            shares[root] += more;
            for (sum, cost) in total.iter_mut().zip(cost) {
                *sum += more * cost;
            }
            for pass in &self.roots[root].passes {
                recorded[pass.edge] += more * self.roots[root].rate * pass.traces * 3600.0;
            }
            heap.extend(self.gain(root, shares, &recorded, costs, quiet));
        }
    }

    /// What the next step of a root is worth for its spans.
    fn gain(
        &self,
        root: usize,
        shares: &[f64],
        recorded: &[f64],
        costs: &[Vec<f64>],
        quiet: &[bool],
    ) -> Option<Gain> {
        let of = &self.roots[root];
        if of.pinned.is_some() || shares[root] >= 1.0 {
            return None;
        }
        let to = (shares[root] * STEP).min(1.0);
        let more = to - shares[root];
        let value = |pass: &Pass| {
            let now = recorded[pass.edge];
            let then = now + more * of.rate * pass.traces * 3600.0;
            self.edges[pass.edge].weight * (self.says(then) - self.says(now))
        };
        let passes = of.passes.iter().filter(|pass| !quiet[pass.edge]);
        let value: f64 = passes.map(value).sum();
        let cost = more * costs[root].first().copied().unwrap_or_default();
        Some(Gain {
            worth: value / cost.max(f64::MIN_POSITIVE),
            root,
            to,
        })
    }

    /// Traces an hour that are recorded of each edge.
    pub fn recorded(&self, shares: &[f64]) -> Vec<f64> {
        let mut recorded = vec![0.0; self.edges.len()];
        for (root, share) in self.roots.iter().zip(shares) {
            for pass in &root.passes {
                recorded[pass.edge] += share * root.rate * pass.traces * 3600.0;
            }
        }
        recorded
    }

    /// Requests a second on an edge that are recorded.
    pub fn requests(&self, edge: usize, shares: &[f64]) -> f64 {
        let of_root = |(root, share): (&Root, &f64)| {
            let passes = root.passes.iter().filter(|pass| pass.edge == edge);
            passes.map(|pass| share * root.rate * pass.requests).sum::<f64>()
        };
        self.roots.iter().zip(shares).map(of_root).sum()
    }

    /// What decisions are worth.
    pub fn value(&self, shares: &[f64], quiet: &[bool]) -> f64 {
        let recorded = self.recorded(shares);
        let edges = self.edges.iter().zip(recorded).zip(quiet);
        edges
            .filter(|(_, quiet)| !**quiet)
            .map(|((edge, n), _)| edge.weight * self.says(n))
            .sum()
    }

    /// Spans a second by budget, of decisions made elsewhere.
    pub fn cost_of(&self, shares: &[f64], quiet: &[bool]) -> Vec<f64> {
        let costs: Vec<Vec<f64>> = self.roots.iter().map(|root| self.cost(root, quiet)).collect();
        self.total(shares, &costs)
    }

    fn says(&self, traces: f64) -> f64 {
        (traces / self.enough.max(1.0)).ln_1p()
    }
}

impl Need {
    /// True where none of its edges has spans.
    pub fn is_void(&self, quiet: &[bool]) -> bool {
        !self.edges.is_empty() && self.edges.iter().all(|edge| quiet[*edge])
    }
}

impl Solution {
    /// By worth alone: what must be kept is kept of edges with spans, so it would be fulfilled best without any.
    fn better_than(&self, other: &Self) -> bool {
        self.value > other.value * (1.0 + 1e-9)
    }
}

/// Each number up to [`TRY_ALL`], then by a tenth more, and the last.
fn numbers(last: usize) -> impl Iterator<Item = usize> {
    let next = move |n: &usize| {
        (*n < last).then(|| {
            if *n < TRY_ALL {
                n + 1
            } else {
                (n + n / 10).min(last)
            }
        })
    };
    std::iter::successors((last > 0).then_some(1), next)
}

/// The next step of a root.
#[derive(Debug)]
struct Gain {
    worth: f64,
    root: usize,
    to: f64,
}

impl Ord for Gain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.worth
            .total_cmp(&other.worth)
            .then(other.root.cmp(&self.root))
    }
}

impl PartialOrd for Gain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Gain {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Gain {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The best of a grid of shares and of all ways to leave edges without spans.
    fn exact(problem: &Problem) -> f64 {
        let grid: Vec<f64> = (0..14).map(|i| 0.6f64.powi(i)).collect();
        let roots = problem.roots.len();
        let mut best = f64::MIN;
        for quiet in 0..1u32 << problem.edges.len() {
            let quiet: Vec<bool> = (0..problem.edges.len()).map(|at| quiet >> at & 1 == 1).collect();
            if (0..quiet.len()).any(|at| quiet[at] && !problem.edges[at].switchable) {
                continue;
            }
            for mut at in 0..grid.len().pow(roots as u32) {
                let share = |_| {
                    let share = grid[at % grid.len()];
                    at /= grid.len();
                    share
                };
                let shares: Vec<f64> = (0..roots).map(share).collect();
                let cost = problem.cost_of(&shares, &quiet);
                if cost.iter().zip(&problem.budgets).all(|(cost, most)| cost <= most) {
                    best = best.max(problem.value(&shares, &quiet));
                }
            }
        }
        best
    }

    fn small() -> impl Strategy<Value = Problem> {
        let edge = (0.5f64..8.0, any::<bool>()).prop_map(|(weight, switchable)| Edge {
            weight,
            spans: vec![(0, 2.0)],
            switchable,
            pinned_quiet: false,
        });
        let pass = (0.0f64..1.0, 1.0f64..30.0);
        let root = (0.01f64..200.0, prop::collection::vec(pass, 4));
        (
            prop::collection::vec(edge, 4),
            prop::collection::vec(root, 1..3),
            0.01f64..0.6,
        )
            .prop_map(|(edges, roots, share)| {
                let root = |(rate, passes): (f64, Vec<(f64, f64)>)| Root {
                    rate,
                    spans: vec![(0, 1.0)],
                    passes: passes
                        .into_iter()
                        .enumerate()
                        .filter(|(_, (traces, _))| *traces > 0.3)
                        .map(|(edge, (traces, calls))| Pass {
                            edge,
                            traces,
                            requests: traces * calls,
                        })
                        .collect(),
                    pinned: None,
                };
                let mut problem = Problem {
                    roots: roots.into_iter().map(root).collect(),
                    edges,
                    needs: Vec::new(),
                    budgets: vec![0.0],
                    enough: 20.0,
                };
                let ones = vec![1.0; problem.roots.len()];
                problem.budgets[0] = share * problem.cost_of(&ones, &[false; 4])[0];
                problem
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn greedy_choices_are_within_three_per_cent_of_the_optimum(problem in small()) {
            let (found, best) = (problem.solve(), exact(&problem));
            prop_assert!(found.value >= 0.97 * best, "{} of {best}", found.value);
            prop_assert!(found.cost[0] <= problem.budgets[0] * (1.0 + 1e-6));
            let told = problem.cost_of(&found.shares, &found.quiet);
            prop_assert!((told[0] - found.cost[0]).abs() <= 1e-6 * told[0].max(1.0));
        }
    }

    /// A busy root and a rare one that alone passes the second edge.
    fn two() -> Problem {
        let pass = |edge| Pass {
            edge,
            traces: 1.0,
            requests: 1.0,
        };
        let root = |rate, edges: &[usize]| Root {
            rate,
            spans: vec![(0, 1.0)],
            passes: edges.iter().copied().map(pass).collect(),
            pinned: None,
        };
        let edge = Edge {
            weight: 1.0,
            spans: vec![(0, 2.0)],
            switchable: true,
            pinned_quiet: false,
        };
        Problem {
            roots: vec![root(100.0, &[0]), root(0.01, &[0, 1])],
            edges: vec![edge.clone(), edge],
            needs: Vec::new(),
            budgets: vec![15.0],
            enough: 20.0,
        }
    }

    #[test]
    fn a_rare_root_is_kept_whole_and_a_busy_one_pays() {
        let solution = two().solve();
        assert!(solution.shares[1] >= 1.0, "{solution:?}");
        assert!(
            (solution.cost[0] - 15.0).abs() < 1e-6,
            "all of the budget is used: {solution:?}"
        );
    }

    #[test]
    fn what_must_be_kept_comes_first_and_where_it_does_not_fit_all_of_it_shrinks_alike() {
        let mut problem = two();
        let need = |root, rate, want| Need {
            from: vec![(root, rate)],
            want,
            edges: Vec::new(),
            failures: false,
        };
        problem.needs = vec![need(0, 100.0, 4.0), need(1, 0.01, 0.2)];
        let solution = problem.solve();
        assert!(solution.kept >= 1.0 && solution.shares[0] >= 0.04, "{solution:?}");
        problem.budgets = vec![6.0];
        let solution = problem.solve();
        assert!(solution.kept < 1.0 || solution.quiet[0], "{solution:?}");
        assert!(solution.cost[0] <= 6.0 + 1e-6, "{solution:?}");
    }

    #[test]
    fn a_second_budget_binds_alone() {
        let mut problem = two();
        problem.budgets = vec![f64::INFINITY, 5.0];
        problem.roots[0].spans.push((1, 1.0));
        let solution = problem.solve();
        assert!((solution.shares[0] - 0.05).abs() < 1e-6, "{solution:?}");
        assert!(solution.shares[1] >= 1.0, "{solution:?}");
    }

    #[test]
    fn what_people_pin_stays() {
        let mut problem = two();
        problem.roots[0].pinned = Some(0.5);
        problem.edges[1].pinned_quiet = true;
        let solution = problem.solve();
        assert!((solution.shares[0] - 0.5).abs() < 1e-9);
        assert!(solution.quiet[1]);
    }
}
