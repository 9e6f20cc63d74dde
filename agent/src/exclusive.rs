//! A call that carries nothing, while exactly one request is in flight.
//!
//! In: each outbound call's far side, the requests in flight, and the exact evidence where a call carries some. Out: the
//! one request that the call belongs to, if that is to be believed here.
//! Left out on purpose: likelihood. One request has been alone since it began and the far side is called by requests only,
//! or there is no answer. What is answered is held against exact evidence all the time, and where it is wrong too often
//! nothing is answered any more.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use propagation::TraceId;

use crate::audit::Audit;
use crate::config::CorrelationConfig;
use crate::correlation::{InFlight, Live, LiveRequests};
use crate::telemetry::Metrics;

/// Far sides that are remembered as called without a request; beyond it every far side counts as such.
const MAX_BACKGROUND: usize = 4_096;

/// Longest name that is remembered; who is called by a longer one is never explained.
const MAX_NAME: usize = 256;

/// One workload's rule, with what it learnt.
#[derive(Debug)]
pub(crate) struct Exclusive {
    on: bool,
    service: String,
    metrics: Arc<Metrics>,
    audit: Mutex<Audit>,
    background: Mutex<HashSet<String>>,
}

/// What the rule says of a call.
#[derive(Debug)]
pub(crate) enum Candidate {
    /// It belongs to this request.
    One(Arc<Live>),
    /// Nothing: requests are in flight, and it cannot tell.
    Unclear,
    /// Nothing: no request is in flight.
    NoneInFlight,
}

impl Exclusive {
    pub(crate) fn new(config: &CorrelationConfig, service: String, metrics: Arc<Metrics>) -> Self {
        metrics.exclusive_enabled(&service, config.exclusive);
        Self {
            on: config.exclusive,
            service,
            metrics,
            audit: Mutex::new(Audit::new(config.floor, config.min_audited)),
            background: Mutex::default(),
        }
    }

    /// What the rule says of a call to `peer`, and learns from it who is called without a request.
    pub(crate) fn candidate(&self, live: &LiveRequests, peer: &str) -> Candidate {
        let remembered = peer.len() <= MAX_NAME;
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        match live.in_flight() {
            InFlight::None => {
                if remembered && background.len() < MAX_BACKGROUND && !background.contains(peer) {
                    background.insert(peer.to_owned());
                }
                Candidate::NoneInFlight
            }
            InFlight::Alone(one)
                if remembered && background.len() < MAX_BACKGROUND && !background.contains(peer) =>
            {
                Candidate::One(one)
            }
            InFlight::Alone(_) | InFlight::Several => Candidate::Unclear,
        }
    }

    /// Holds what the rule said against the trace that exact evidence names.
    pub(crate) fn audit(&self, said: &Candidate, truth: TraceId) {
        let Candidate::One(live) = said else { return };
        let agreed = live.context.trace_id == truth;
        self.metrics.exclusive_audited(&self.service, agreed);
        let mut audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = audit.note(agreed);
        if self.on {
            self.metrics.exclusive_enabled(&self.service, audit.is_trusted());
        }
        if self.on && ended {
            self.metrics.exclusive_switched_off(&self.service);
            tracing::warn!(
                service = %self.service,
                "calls that carry nothing begin their own traces: the only request in flight was the wrong parent too often"
            );
        }
    }

    /// How sure an answer is, 0 to 1; `None` where it is not to be used.
    pub(crate) fn confidence(&self) -> Option<f64> {
        let audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        (self.on && audit.is_trusted()).then(|| audit.confidence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use propagation::{CorrelationId, SpanContext};

    fn rule(config: &CorrelationConfig) -> (Exclusive, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        (
            Exclusive::new(config, "cart".to_owned(), metrics.clone()),
            metrics,
        )
    }

    fn enter(live: &Arc<LiveRequests>, trace: u8) -> crate::correlation::LiveGuard {
        let mut ids = (|| [trace; 16], || [1; 8]);
        let context = SpanContext::start(&mut ids, true);
        let id = CorrelationId::from_trace_id(context.trace_id);
        live.enter(context, id).expect("room")
    }

    fn trace(byte: u8) -> TraceId {
        TraceId::from_bytes([byte; 16]).expect("an id")
    }

    #[test]
    fn a_far_side_that_was_once_called_without_a_request_is_never_explained_by_one() {
        let (rule, _) = rule(&CorrelationConfig::default());
        let live = Arc::new(LiveRequests::default());
        assert!(matches!(
            rule.candidate(&live, "clock:80"),
            Candidate::NoneInFlight
        ));
        let _request = enter(&live, 1);
        assert!(matches!(rule.candidate(&live, "clock:80"), Candidate::Unclear));
        assert!(matches!(rule.candidate(&live, "stock:80"), Candidate::One(_)));
        let long = "x".repeat(MAX_NAME + 1);
        assert!(matches!(rule.candidate(&live, &long), Candidate::Unclear));
        let _other = enter(&live, 2);
        assert!(matches!(rule.candidate(&live, "stock:80"), Candidate::Unclear));
    }

    #[test]
    fn a_rule_that_exact_evidence_contradicts_too_often_is_switched_off_once_and_counted() {
        let config = CorrelationConfig {
            min_audited: 10,
            ..CorrelationConfig::default()
        };
        let (rule, metrics) = rule(&config);
        let live = Arc::new(LiveRequests::default());
        let _request = enter(&live, 1);
        let said = rule.candidate(&live, "stock:80");
        for _ in 0..9 {
            rule.audit(&said, trace(1));
        }
        assert_eq!(rule.confidence(), Some(10.0 / 11.0));
        rule.audit(&said, trace(2));
        rule.audit(&said, trace(2));
        assert_eq!(rule.confidence(), None);
        let series = String::from_utf8(metrics.render().expect("text")).expect("text");
        for expected in [
            "tracemap_agent_exclusive_audited_total{result=\"agreed\",service=\"cart\"} 9\n",
            "tracemap_agent_exclusive_audited_total{result=\"disagreed\",service=\"cart\"} 2\n",
            "tracemap_agent_exclusive_switched_off_total{service=\"cart\"} 1\n",
            "tracemap_agent_exclusive_enabled{service=\"cart\"} 0\n",
        ] {
            assert!(series.contains(expected), "{expected} in {series}");
        }
    }

    #[test]
    fn what_the_rule_does_not_answer_is_not_audited() {
        let (rule, metrics) = rule(&CorrelationConfig::default());
        rule.audit(&Candidate::Unclear, trace(1));
        let series = String::from_utf8(metrics.render().expect("text")).expect("text");
        assert!(!series.contains("exclusive_audited_total{"), "{series}");
    }
}
