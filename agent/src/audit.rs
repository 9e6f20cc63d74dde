//! How often a guess was right, measured where the truth is known too.
//!
//! In: whether the guess agreed with exact evidence, one call at a time. Out: whether it may be used, and how sure it is.
//! Left out on purpose: guessing.

/// So many answers weigh in; then older ones begin to fade.
const MEMORY: u32 = 10_000;

/// The record of one way of guessing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Audit {
    floor: f64,
    min_audited: u32,
    audited: u32,
    agreed: u32,
}

impl Audit {
    /// `floor`: the share, 0 to 1, below which the guess is not trusted once `min_audited` answers are known.
    pub(crate) fn new(floor: f64, min_audited: u32) -> Self {
        Self {
            floor,
            min_audited,
            audited: 0,
            agreed: 0,
        }
    }

    /// Takes one answer; true where it is this one that ends the trust.
    pub(crate) fn note(&mut self, agreed: bool) -> bool {
        let before = self.is_trusted();
        if self.audited >= MEMORY.max(self.min_audited.saturating_mul(2)) {
            self.audited /= 2;
            self.agreed /= 2;
        }
        self.audited += 1;
        self.agreed += u32::from(agreed);
        before && !self.is_trusted()
    }

    /// Whether the guess may be used.
    pub(crate) fn is_trusted(&self) -> bool {
        self.audited < self.min_audited.max(1)
            || f64::from(self.agreed) >= self.floor * f64::from(self.audited)
    }

    /// How sure a guess is, 0 to 1, by Laplace's rule of succession: 0.5 while nothing is known.
    pub(crate) fn confidence(&self) -> f64 {
        (f64::from(self.agreed) + 1.0) / (f64::from(self.audited) + 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(agreed: u32, disagreed: u32) -> (Audit, u32) {
        let mut audit = Audit::new(0.99, 100);
        let answers = (0..agreed + disagreed).map(|n| n < agreed);
        let ended = answers.map(|agreed| audit.note(agreed)).filter(|ended| *ended);
        let ended = ended.count() as u32;
        (audit, ended)
    }

    #[test]
    fn below_the_floor_trust_ends_once_and_only_when_enough_is_known() {
        assert!(after(0, 99).0.is_trusted());
        let (audit, ended) = after(98, 2);
        assert_eq!((audit.is_trusted(), ended), (false, 1));
        assert!(after(99, 1).0.is_trusted());
        assert_eq!(after(98, 50).1, 1);
    }

    #[test]
    fn confidence_is_what_was_measured_and_a_half_where_nothing_was() {
        assert!((after(0, 0).0.confidence() - 0.5).abs() < f64::EPSILON);
        assert!((after(98, 0).0.confidence() - 0.99).abs() < f64::EPSILON);
    }

    #[test]
    fn what_went_wrong_long_ago_fades() {
        let mut audit = after(9_000, 1_000).0;
        assert!(!audit.is_trusted());
        for _ in 0..60_000 {
            audit.note(true);
        }
        assert!(audit.is_trusted());
    }
}
