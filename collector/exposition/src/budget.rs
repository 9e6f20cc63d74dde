//! How many series there may be.
//!
//! In: the labels of each series before it is counted. Out: which of its labels must become [`OVERFLOW`], and how
//! many values were wanted of each.
//! Left out on purpose: the series themselves, and time. A value is let in as long as there is room; whoever ends a
//! series says so, and the room is free again.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash as _, Hasher as _};

use crate::demand::Demand;

/// The label value that stands for all that did not fit.
pub const OVERFLOW: &str = "__overflow__";

/// The largest numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Labels that may be folded, each with the most values it may have over all families together; the one to give
    /// up first comes first. Labels that are not listed come from short closed lists and are never folded.
    pub labels: Vec<(&'static str, usize)>,
    /// Series of one family. A quarter more may come with some labels folded; after that all listed ones are.
    pub series: usize,
}

/// What becomes of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    folded: u64,
}

impl Admission {
    /// True where the label at this place among those asked about must be [`OVERFLOW`]. Only the first 64 can be.
    pub fn folds(self, place: usize) -> bool {
        u32::try_from(place).is_ok_and(|place| self.folded.checked_shr(place).unwrap_or(0) & 1 == 1)
    }

    /// True where the series stays as it is.
    pub fn is_whole(self) -> bool {
        self.folded == 0
    }

    fn fold(&mut self, place: usize) {
        self.folded |= u32::try_from(place)
            .ok()
            .and_then(|place| 1_u64.checked_shl(place))
            .unwrap_or(0);
    }
}

/// What a label needs and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelUse {
    /// The label.
    pub label: &'static str,
    /// Values it has now, [`OVERFLOW`] not counted.
    pub values: usize,
    /// The most values it had at a time; from when its limit was first passed, how many different ones were wanted
    /// since, those it had then included, within about 3 %.
    pub wanted: u64,
    /// How often a value was folded, once for each observation.
    pub folded: u64,
}

/// Keeps series within [`BudgetLimits`].
///
/// It keeps hashes, not texts: about 40 bytes a series. Equal hashes of different series, one chance in 2^64, share
/// one place.
#[derive(Clone, Debug)]
pub struct SeriesBudget<S = RandomState> {
    limits: BudgetLimits,
    hasher: S,
    labels: Vec<LabelValues>,
    families: HashMap<&'static str, HashSet<u64>>,
}

#[derive(Clone, Debug, Default)]
struct LabelValues {
    /// How many series have each value.
    series: HashMap<u64, usize>,
    demand: Option<Demand>,
    most: u64,
    folded: u64,
}

impl LabelValues {
    /// True where the value is known or has room; counts the demand either way.
    fn wants(&mut self, value: u64, limit: usize) -> bool {
        let fits = self.series.contains_key(&value) || self.series.len() < limit;
        if !fits && self.demand.is_none() {
            let mut demand = Demand::default();
            self.series.keys().for_each(|&known| demand.add(known));
            self.demand = Some(demand);
        }
        if let Some(demand) = &mut self.demand {
            demand.add(value);
        }
        fits
    }
}

impl SeriesBudget {
    /// An empty budget.
    pub fn new(limits: BudgetLimits) -> Self {
        Self::with_hasher(limits, RandomState::new())
    }
}

impl<S: BuildHasher> SeriesBudget<S> {
    fn with_hasher(limits: BudgetLimits, hasher: S) -> Self {
        let labels = limits.labels.iter().map(|_| LabelValues::default()).collect();
        Self {
            limits,
            hasher,
            labels,
            families: HashMap::new(),
        }
    }

    /// Which labels of a series must be folded. Asked again, the answer for a series that was let in is the same.
    ///
    /// `family` is the name of the family, `labels` those of the series, always in the same order.
    pub fn admit(&mut self, family: &'static str, labels: &[(&'static str, &str)]) -> Admission {
        let key = self.key(labels, Admission::default());
        if self
            .families
            .get(family)
            .is_some_and(|known| known.contains(&key))
        {
            return Admission::default();
        }
        let mut admission = self.values_that_do_not_fit(labels);
        if admission.is_whole() && self.series_of(family) >= self.limits.series {
            self.fold_next(labels, &mut admission);
        }
        while !admission.is_whole() && !self.has_room(family, labels, admission) {
            if !self.fold_next(labels, &mut admission) {
                break;
            }
        }
        self.count_folded(labels, admission);
        self.enter(family, labels, admission);
        admission
    }

    /// Gives back the room of a series that ended; `labels` as it was let in, folded ones as [`OVERFLOW`].
    pub fn release(&mut self, family: &'static str, labels: &[(&'static str, &str)]) {
        let key = self.key(labels, Admission::default());
        let known = self.families.get_mut(family);
        if known.is_none_or(|known| !known.remove(&key)) {
            return;
        }
        for (label, value) in labels.iter().filter(|(_, value)| *value != OVERFLOW) {
            let hash = self.hasher.hash_one(value);
            let place = self.limits.labels.iter().position(|(listed, _)| listed == label);
            let Some(values) = place.and_then(|place| self.labels.get_mut(place)) else {
                continue;
            };
            if let Some(series) = values.series.get_mut(&hash) {
                *series -= 1;
                if *series == 0 {
                    values.series.remove(&hash);
                }
            }
        }
    }

    /// How many series a family has now.
    pub fn series_of(&self, family: &str) -> usize {
        self.families.get(family).map_or(0, HashSet::len)
    }

    /// What each listed label has and wants.
    pub fn labels(&self) -> impl Iterator<Item = LabelUse> + '_ {
        self.limits
            .labels
            .iter()
            .zip(&self.labels)
            .map(|((label, _), values)| LabelUse {
                label,
                values: values.series.len(),
                wanted: values.demand.as_ref().map_or(values.most, Demand::estimate),
                folded: values.folded,
            })
    }

    /// The series as a hash, those labels that `admission` folds taken as [`OVERFLOW`].
    fn key(&self, labels: &[(&'static str, &str)], admission: Admission) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for (place, (label, value)) in labels.iter().enumerate() {
            label.hash(&mut hasher);
            let value = if admission.folds(place) { OVERFLOW } else { value };
            value.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn values_that_do_not_fit(&mut self, labels: &[(&'static str, &str)]) -> Admission {
        let mut admission = Admission::default();
        for ((listed, limit), values) in self.limits.labels.iter().zip(&mut self.labels) {
            let Some(place) = labels.iter().position(|(label, _)| label == listed) else {
                continue;
            };
            let value = labels.get(place).map_or("", |(_, value)| value);
            if value != OVERFLOW && !values.wants(self.hasher.hash_one(value), *limit) {
                admission.fold(place);
            }
        }
        admission
    }

    /// Folds the first listed label that is not folded yet; false where none is left.
    fn fold_next(&self, labels: &[(&'static str, &str)], admission: &mut Admission) -> bool {
        let listed = self.limits.labels.iter();
        let mut places =
            listed.filter_map(|(listed, _)| labels.iter().position(|(label, _)| label == listed));
        let Some(place) = places.find(|&place| !admission.folds(place)) else {
            return false;
        };
        admission.fold(place);
        true
    }

    /// True where the folded series is there already, or may still come.
    fn has_room(&self, family: &str, labels: &[(&'static str, &str)], admission: Admission) -> bool {
        let known = self.families.get(family);
        self.series_of(family) < self.limits.series + self.limits.series / 4
            || known.is_some_and(|known| known.contains(&self.key(labels, admission)))
    }

    fn count_folded(&mut self, labels: &[(&'static str, &str)], admission: Admission) {
        for ((listed, _), values) in self.limits.labels.iter().zip(&mut self.labels) {
            let place = labels.iter().position(|(label, _)| label == listed);
            values.folded += u64::from(place.is_some_and(|place| admission.folds(place)));
        }
    }

    /// Notes the series as it is let in, and its values.
    fn enter(&mut self, family: &'static str, labels: &[(&'static str, &str)], admission: Admission) {
        let key = self.key(labels, admission);
        let known = self.families.entry(family).or_default();
        if !known.insert(key) {
            return;
        }
        for ((listed, _), values) in self.limits.labels.iter().zip(&mut self.labels) {
            let Some(place) = labels.iter().position(|(label, _)| label == listed) else {
                continue;
            };
            let value = labels.get(place).map_or("", |(_, value)| value);
            if value != OVERFLOW && !admission.folds(place) {
                *values.series.entry(self.hasher.hash_one(value)).or_default() += 1;
                values.most = values.most.max(values.series.len() as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    type Budget = SeriesBudget<BuildHasherDefault<DefaultHasher>>;

    fn budget(labels: &[(&'static str, usize)], series: usize) -> Budget {
        let limits = BudgetLimits {
            labels: labels.to_vec(),
            series,
        };
        Budget::with_hasher(limits, BuildHasherDefault::default())
    }

    /// What a series of `calls` becomes.
    fn let_in(budget: &mut Budget, service: &str, name: &str, kind: &str) -> String {
        let labels = [("service", service), ("span_name", name), ("span_kind", kind)];
        let admission = budget.admit("calls", &labels);
        let values = labels.iter().enumerate();
        let values = values.map(|(i, (_, value))| if admission.folds(i) { OVERFLOW } else { value });
        values.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_beyond_a_labels_limit_are_folded_and_known_ones_stay() {
        let mut budget = budget(&[("span_name", 2)], 100);
        assert_eq!(let_in(&mut budget, "a", "x", "SERVER"), "a x SERVER");
        assert_eq!(let_in(&mut budget, "a", "y", "SERVER"), "a y SERVER");
        assert_eq!(let_in(&mut budget, "a", "z", "SERVER"), "a __overflow__ SERVER");
        assert_eq!(
            let_in(&mut budget, "b", "x", "CLIENT"),
            "b x CLIENT",
            "a known value of another series"
        );
        assert_eq!(let_in(&mut budget, "a", "z", "SERVER"), "a __overflow__ SERVER");
        let label = budget.labels().next().unwrap();
        assert_eq!((label.values, label.wanted, label.folded), (2, 3, 2));
    }

    #[test]
    fn demand_beyond_the_limit_is_told() {
        let mut budget = budget(&[("span_name", 10)], 100_000);
        for i in 0..5_000 {
            let_in(&mut budget, "a", &format!("GET /users/{i}"), "SERVER");
        }
        let label = budget.labels().next().unwrap();
        assert_eq!((label.values, label.folded), (10, 4_990));
        assert!((4_750..=5_250).contains(&label.wanted), "{}", label.wanted);
        assert_eq!(budget.series_of("calls"), 11);
    }

    #[test]
    fn a_full_family_gives_up_the_first_label_first_and_never_grows_past_its_reserve() {
        let mut budget = budget(&[("span_name", 1_000), ("service", 1_000)], 8);
        for i in 0..8 {
            assert_eq!(
                let_in(&mut budget, "a", &i.to_string(), "SERVER"),
                format!("a {i} SERVER")
            );
        }
        assert_eq!(let_in(&mut budget, "a", "8", "SERVER"), "a __overflow__ SERVER");
        assert_eq!(let_in(&mut budget, "b", "8", "SERVER"), "b __overflow__ SERVER");
        assert_eq!(
            let_in(&mut budget, "c", "8", "SERVER"),
            "__overflow__ __overflow__ SERVER"
        );
        assert_eq!(let_in(&mut budget, "b", "9", "SERVER"), "b __overflow__ SERVER");
        assert_eq!(let_in(&mut budget, "a", "3", "SERVER"), "a 3 SERVER");
        assert_eq!(budget.series_of("calls"), 11);
    }

    #[test]
    fn a_series_that_ended_makes_room_for_another() {
        let mut budget = budget(&[("span_name", 1)], 100);
        assert_eq!(let_in(&mut budget, "a", "x", "SERVER"), "a x SERVER");
        assert_eq!(let_in(&mut budget, "b", "x", "SERVER"), "b x SERVER");
        let series = |service| [("service", service), ("span_name", "x"), ("span_kind", "SERVER")];
        budget.release("calls", &series("a"));
        budget.release("calls", &series("a"));
        assert_eq!(
            let_in(&mut budget, "a", "y", "SERVER"),
            "a __overflow__ SERVER",
            "b still has x"
        );
        budget.release("calls", &series("b"));
        assert_eq!(let_in(&mut budget, "a", "y", "SERVER"), "a y SERVER");
        assert_eq!(budget.series_of("calls"), 2);
    }

    #[test]
    fn labels_that_are_not_listed_are_never_folded() {
        let mut budget = budget(&[], 1);
        for kind in ["SERVER", "CLIENT", "INTERNAL"] {
            assert_eq!(let_in(&mut budget, "a", "x", kind), format!("a x {kind}"));
        }
    }

    #[test]
    fn a_place_beyond_the_mask_is_not_folded() {
        let mut admission = Admission::default();
        admission.fold(63);
        admission.fold(64);
        assert!(admission.folds(63) && !admission.folds(64) && !admission.folds(usize::MAX));
    }
}
