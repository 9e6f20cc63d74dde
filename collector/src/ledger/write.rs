//! What the ledger counts of its own work, as families of samples.
//!
//! In: its counters. Out: samples in a [`Scrape`].
//! Left out on purpose: the series of nodes, edges and spans (`families`), and what intake and shards count.

use map::catalogue as names;

use super::Ledger;
use super::counts::Family;
use super::identity::Claim;
use crate::scrape::Scrape;

impl Ledger {
    /// Writes what the ledger counts of its own work.
    pub(crate) fn write_own(&self, out: &mut Scrape<'_>) {
        self.write_outcomes(out);
        self.write_losses(out);
    }

    fn write_outcomes(&self, out: &mut Scrape<'_>) {
        let outcomes = self.counts.outcomes;
        let rejected = Family::Rejected
            .values()
            .iter()
            .map(|r| self.counts.get(Family::Rejected, r))
            .sum();
        let samples = [
            ("mapped", outcomes.kept),
            ("mapped_late", outcomes.late),
            ("duplicate", outcomes.duplicate),
            ("no_service_name", outcomes.no_service),
            ("rejected", rejected),
        ];
        out.family(names::COLLECTOR_SPANS);
        for (outcome, count) in samples {
            out.sample(&[("outcome", outcome)], count as f64);
        }
        if outcomes.beyond > 0 {
            out.sample(&[("outcome", "trace_too_large")], outcomes.beyond as f64);
        }
        out.family(names::COLLECTOR_EVIDENCE);
        for (evidence, count) in self.counts.evidence() {
            out.sample(&[("evidence", evidence)], count as f64);
        }
    }

    fn write_losses(&self, out: &mut Scrape<'_>) {
        let families = [
            (names::COLLECTOR_SPANS_DROPPED, "reason", Family::Rejected),
            (names::COLLECTOR_CORRECTIONS, "kind", Family::Corrections),
            (names::COLLECTOR_OVERFLOW, "label", Family::Overflow),
            (names::COLLECTOR_ENDED, "kind", Family::Ended),
            (names::COLLECTOR_CUT_SHORT, "how", Family::CutShort),
        ];
        for (name, label, family) in families {
            out.family(name);
            for value in family.values() {
                out.sample(&[(label, value)], self.counts.get(family, value) as f64);
            }
        }
        out.single(names::COLLECTOR_UNNAMED_PEERS, self.counts.unnamed_peers as f64);
        let claims = self.identity.addresses().values();
        let shared = claims.filter(|claim| matches!(claim, Claim::Shared(_))).count();
        out.single(names::COLLECTOR_SHARED_ADDRESSES, shared as f64);
    }
}
