//! What can be wrong with a request: it took too long, or it failed. The same rules charge both to a culprit.
//!
//! In: nothing. Out: [`LATENCY`] and [`ERRORS`], each with its series, its thresholds and its words.
//! Left out on purpose: what the rules do with them, which knows no difference.

use map::catalogue as names;

use super::{degraded, degraded_by_dependency, degraded_no_user_impact, errors, unexplained};
use crate::settings::AlertSettings;

/// The series and words of one kind of trouble.
pub(crate) struct Signal {
    /// Name of the group, and of the file that holds it.
    pub(crate) group: &'static str,
    /// What is judged of a request alone, by services and edges.
    pub(super) own: Measure,
    /// What its callers see, by services only: an edge's total is its callee's and its own.
    pub(super) total: Measure,
    /// Judged requests in the window.
    pub(super) judged: &'static str,
    pub(super) own_over: &'static str,
    pub(super) own_degraded: &'static str,
    pub(super) total_degraded: &'static str,
    pub(super) edge_suspect: &'static str,
    pub(super) culprit_explained: &'static str,
    pub(super) culprit_score: &'static str,
    pub(super) edge_charged: &'static str,
    pub(super) culprit: &'static str,
    pub(super) culprit_slows: &'static str,
    pub(super) culprit_owner: &'static str,
    /// Evidence by which an edge that is not degraded is no healthy one either, in the shortest window.
    pub(super) doubts: Option<&'static str>,
    /// What users owe to a culprit in spite of an entry point that looks healthy.
    pub(super) felt: Option<&'static str>,
    /// The least share of requests that are bad.
    pub(super) min_share: fn(&AlertSettings) -> f64,
    pub(super) page: Words,
    pub(super) symptom: Words,
    pub(super) no_user_impact: Words,
    pub(super) unexplained: Words,
    pub(super) said: Said,
}

/// One thing that a request is judged by, with its series.
pub(super) struct Measure {
    pub(super) bad: &'static str,
    pub(super) bad_expected: &'static str,
    pub(super) share: &'static str,
    pub(super) expected: &'static str,
    pub(super) evidence: &'static str,
    /// Which entities are judged by it.
    pub(super) selector: &'static str,
}

/// An alert's name, and what it says in a line.
pub(super) struct Words {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
}

/// Words in the description of an alert.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    /// What is judged of a culprit, as a heading.
    pub(crate) own: &'static str,
    /// The same of who waits for it.
    pub(crate) total: &'static str,
    /// What some of the requests were expected to be, with the verb before it.
    pub(crate) expected: &'static str,
    /// What so many of them did.
    pub(crate) happened: &'static str,
    /// Series of what was judged, and of the measures of own and total.
    pub(crate) judged: &'static str,
    pub(crate) own_series: [&'static str; 3],
    pub(crate) total_series: [&'static str; 3],
    pub(crate) charged: &'static str,
    pub(crate) own_degraded: &'static str,
}

/// Requests that took longer than the learned edge of their operation.
pub(crate) const LATENCY: Signal = Signal {
    group: super::GROUP,
    own: Measure {
        bad: names::OWN_SLOW,
        bad_expected: names::OWN_SLOW_EXPECTED,
        share: names::RECORDED_OWN_SHARE,
        expected: names::RECORDED_OWN_EXPECTED,
        evidence: names::RECORDED_OWN_EVIDENCE,
        selector: "",
    },
    total: Measure {
        bad: names::TOTAL_SLOW,
        bad_expected: names::TOTAL_SLOW_EXPECTED,
        share: names::RECORDED_TOTAL_SHARE,
        expected: names::RECORDED_TOTAL_EXPECTED,
        evidence: names::RECORDED_TOTAL_EVIDENCE,
        selector: r#"{kind="service"}"#,
    },
    judged: names::RECORDED_JUDGED,
    own_over: names::RECORDED_OWN_OVER,
    own_degraded: names::RECORDED_OWN_DEGRADED,
    total_degraded: names::RECORDED_TOTAL_DEGRADED,
    edge_suspect: names::RECORDED_EDGE_SUSPECT,
    culprit_explained: names::RECORDED_CULPRIT_EXPLAINED,
    culprit_score: names::RECORDED_CULPRIT_SCORE,
    edge_charged: names::RECORDED_EDGE_CHARGED,
    culprit: names::RECORDED_CULPRIT,
    culprit_slows: names::RECORDED_CULPRIT_SLOWS,
    culprit_owner: names::RECORDED_CULPRIT_OWNER,
    doubts: Some(names::RECORDED_OWN_EVIDENCE),
    felt: Some(names::RECORDED_CULPRIT_FELT),
    min_share: |settings| settings.min_slow_share,
    page: Words {
        name: degraded::NAME,
        summary: "{{ $labels.culprit }} is slow by itself, and users wait for it",
    },
    symptom: Words {
        name: degraded_by_dependency::NAME,
        summary: "{{ $labels.id }} is slow because it waits for {{ $labels.culprit }}",
    },
    no_user_impact: Words {
        name: degraded_no_user_impact::NAME,
        summary: "{{ $labels.culprit }} is slow by itself, and no user waits for it",
    },
    unexplained: Words {
        name: unexplained::NAME,
        summary: "{{ $labels.id }} is slow, and nothing it waits for explains it",
    },
    said: Said {
        own: "Own time",
        total: "Total time",
        expected: "be slow",
        happened: "were",
        judged: names::RECORDED_JUDGED,
        own_series: [
            names::RECORDED_OWN_EVIDENCE,
            names::RECORDED_OWN_EXPECTED,
            names::RECORDED_OWN_SHARE,
        ],
        total_series: [
            names::RECORDED_TOTAL_EVIDENCE,
            names::RECORDED_TOTAL_EXPECTED,
            names::RECORDED_TOTAL_SHARE,
        ],
        charged: names::RECORDED_EDGE_CHARGED,
        own_degraded: names::RECORDED_OWN_DEGRADED,
    },
};

/// Latency by the mean times of a service graph, of which neither single requests nor critical paths are known.
pub(super) const MEANS: Signal = Signal {
    doubts: None,
    felt: None,
    ..LATENCY
};

/// Requests that failed.
pub(crate) const ERRORS: Signal = Signal {
    group: errors::GROUP,
    own: Measure {
        bad: names::OWN_FAILED,
        bad_expected: names::OWN_FAILED_EXPECTED,
        share: names::RECORDED_OWN_FAILED_SHARE,
        expected: names::RECORDED_OWN_FAILED_EXPECTED,
        evidence: names::RECORDED_OWN_FAILED_EVIDENCE,
        selector: "",
    },
    total: Measure {
        bad: names::JUDGED_FAILED,
        bad_expected: names::JUDGED_FAILED_EXPECTED,
        share: names::RECORDED_FAILED_SHARE,
        expected: names::RECORDED_FAILED_EXPECTED,
        evidence: names::RECORDED_FAILED_EVIDENCE,
        selector: r#"{kind="service"}"#,
    },
    judged: names::RECORDED_ERRORS_JUDGED,
    own_over: names::RECORDED_OWN_FAILED_OVER,
    own_degraded: names::RECORDED_OWN_FAILING,
    total_degraded: names::RECORDED_FAILING,
    edge_suspect: names::RECORDED_ERRORS_EDGE_SUSPECT,
    culprit_explained: names::RECORDED_ERRORS_EXPLAINED,
    culprit_score: names::RECORDED_ERRORS_SCORE,
    edge_charged: names::RECORDED_ERRORS_EDGE_CHARGED,
    culprit: names::RECORDED_ERRORS_CULPRIT,
    culprit_slows: names::RECORDED_ERRORS_FAILS,
    culprit_owner: names::RECORDED_ERRORS_OWNER,
    doubts: Some(names::RECORDED_OWN_FAILED_EVIDENCE),
    felt: None,
    min_share: |settings| settings.min_failed_share,
    page: Words {
        name: errors::PAGE.name,
        summary: "{{ $labels.culprit }} fails by itself, and users get errors for it",
    },
    symptom: Words {
        name: errors::SYMPTOM.name,
        summary: "{{ $labels.id }} fails because {{ $labels.culprit }} does",
    },
    no_user_impact: Words {
        name: errors::NO_USER_IMPACT.name,
        summary: "{{ $labels.culprit }} fails by itself, and no user gets an error for it",
    },
    unexplained: Words {
        name: errors::UNEXPLAINED.name,
        summary: "{{ $labels.id }} fails, and nothing it waits for explains it",
    },
    said: Said {
        own: "Failures of its own",
        total: "Failures",
        expected: "fail",
        happened: "did",
        judged: names::RECORDED_ERRORS_JUDGED,
        own_series: [
            names::RECORDED_OWN_FAILED_EVIDENCE,
            names::RECORDED_OWN_FAILED_EXPECTED,
            names::RECORDED_OWN_FAILED_SHARE,
        ],
        total_series: [
            names::RECORDED_FAILED_EVIDENCE,
            names::RECORDED_FAILED_EXPECTED,
            names::RECORDED_FAILED_SHARE,
        ],
        charged: names::RECORDED_ERRORS_EDGE_CHARGED,
        own_degraded: names::RECORDED_OWN_FAILING,
    },
};
