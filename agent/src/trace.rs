//! Which trace a request belongs to, by evidence alone.
//!
//! In: what the request carried, and the requests in flight. Out: a [`Joined`]: the context of the agent's span, its parent,
//! and whether it is recorded.
//! Left out on purpose: time and likelihood. No parent is invented; what nothing explains begins a trace.

use otlp::encode::{Attributes, LinkRecord};
use propagation::{
    CorrelationId, Decision, Extracted, Format, IdSource, OtherContext, SkyWalking, SpanContext, SpanId,
};

use crate::correlation::{LiveRequests, Match};
use crate::telemetry::Method;

/// `SpanFlags`: the next bit says whether the parent came from another process.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Why a link is there: one of the three words below. Datadog's libraries use the same key.
const LINK_REASON: &str = "reason";
/// The format that names the linked span. Datadog's libraries use the same key.
const LINK_FORMAT: &str = "context_headers";
/// The request named another trace besides the one that was continued.
const REASON_CONFLICT: &str = "terminated_context";
/// The caller is not believed, so its trace was not continued.
const REASON_RESTART: &str = "propagation_behavior_extract";
/// The span is another system's, which has ids of another form.
const REASON_FOREIGN: &str = "foreign_trace";

/// A request's place in a trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Joined {
    /// What travels on: the agent's span, or the caller's where the trace is not recorded.
    pub(crate) context: SpanContext,
    /// The parent of the agent's span.
    pub(crate) parent: Option<SpanId>,
    /// Spans of other traces that the request named as well.
    pub(crate) others: Vec<OtherContext>,
    /// The caller's span in `SkyWalking`'s words.
    pub(crate) skywalking: Option<SkyWalking>,
    /// Whether the parent came with the request, and is not a span of the agent's own.
    pub(crate) remote: bool,
    /// Whether the agent makes a span of the request.
    pub(crate) recorded: bool,
    /// Whether the context must be written. What the caller will not record passes as it came: a parent that nobody
    /// exports helps no one.
    pub(crate) inject: bool,
}

/// An outbound request's place in a trace, with the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) joined: Joined,
    pub(crate) method: Method,
    pub(crate) correlation: CorrelationId,
    /// Several requests in flight had the id that it carried.
    pub(crate) ambiguous: bool,
}

/// Random ids for production.
pub(crate) struct RandomIds;

impl IdSource for RandomIds {
    fn trace_id(&mut self) -> [u8; 16] {
        rand::random()
    }

    fn span_id(&mut self) -> [u8; 8] {
        rand::random()
    }
}

impl Joined {
    /// `SpanFlags` of the agent's span.
    pub(crate) fn span_flags(&self) -> u32 {
        let remote = if self.remote { IS_REMOTE } else { 0 };
        u32::from(self.context.flags.bits()) | HAS_IS_REMOTE | remote
    }

    /// Links of the agent's span.
    pub(crate) fn links(&self) -> Vec<LinkRecord> {
        self.others.iter().map(|other| self.link(other)).collect()
    }

    /// Attributes of the agent's span, with those that its place in a trace adds.
    pub(crate) fn attributes(&self, mut attributes: Attributes) -> Attributes {
        if let Some(seen) = &self.skywalking {
            // The names under which the OpenTelemetry Collector keeps them.
            attributes.push("sw8.trace_id", &seen.trace_id);
            attributes.push("sw8.segment_id", &seen.segment_id);
            attributes.push("sw8.span_id", i64::from(seen.span_id));
        }
        attributes
    }

    fn link(&self, other: &OtherContext) -> LinkRecord {
        let reason = match other.format {
            Format::Sw8 => REASON_FOREIGN,
            _ if self.parent.is_some() => REASON_CONFLICT,
            _ => REASON_RESTART,
        };
        let mut attributes = Attributes::default();
        attributes.push(LINK_REASON, reason);
        attributes.push(LINK_FORMAT, other.format.name());
        LinkRecord {
            trace_id: *other.trace_id.as_bytes(),
            span_id: *other.span_id.as_bytes(),
            trace_state: other.trace_state.as_str().to_owned(),
            flags: u32::from(other.flags.bits()) | HAS_IS_REMOTE | IS_REMOTE,
            attributes,
        }
    }
}

/// The place of an inbound request: it continues what it carried, or begins a trace.
pub(crate) fn join_inbound(extracted: &Extracted, ids: &mut impl IdSource) -> Joined {
    if let (Some(caller), Some(Decision::Drop)) = (&extracted.context, extracted.decision) {
        return Joined {
            context: caller.clone(),
            parent: None,
            others: Vec::new(),
            skywalking: None,
            remote: true,
            recorded: false,
            inject: false,
        };
    }
    let context = extracted.continue_or_start(ids, true);
    let parent = extracted.context.as_ref().map(|caller| caller.span_id);
    Joined {
        recorded: context.flags.is_sampled(),
        context,
        parent,
        others: extracted.others.clone(),
        skywalking: extracted.skywalking.clone(),
        remote: parent.is_some(),
        inject: true,
    }
}

/// The place of an outbound request: what it carried, else the one request in flight whose correlation id it carries, else
/// a new trace.
pub(crate) fn join_outbound(extracted: &Extracted, live: &LiveRequests, ids: &mut impl IdSource) -> Found {
    if let Some(carried) = &extracted.context {
        let joined = join_inbound(extracted, ids);
        let restored = || live.correlation_of(carried);
        let correlation = extracted.correlation.clone().or_else(restored);
        return Found::new(joined, Method::Context, correlation);
    }
    let by_id = match (&extracted.correlation, extracted.decision) {
        (Some(id), None | Some(Decision::Record | Decision::Debug)) => live.by_id(id),
        _ => Match::None,
    };
    let ambiguous = matches!(by_id, Match::Several);
    let Match::One(parent) = by_id else {
        let found = Found::new(
            join_inbound(extracted, ids),
            Method::None,
            extracted.correlation.clone(),
        );
        return Found { ambiguous, ..found };
    };
    Found::new(
        child_of(&parent.context, extracted, ids),
        Method::Id,
        extracted.correlation.clone(),
    )
}

/// A span below one of the agent's own, or nothing but its context where the trace is not recorded.
pub(crate) fn child_of(parent: &SpanContext, extracted: &Extracted, ids: &mut impl IdSource) -> Joined {
    if !parent.flags.is_sampled() {
        return Joined {
            context: parent.clone(),
            parent: None,
            others: Vec::new(),
            skywalking: None,
            remote: false,
            recorded: false,
            inject: true,
        };
    }
    let context = parent.child(SpanId::generate(ids));
    Joined {
        context,
        parent: Some(parent.span_id),
        others: extracted.others.clone(),
        skywalking: extracted.skywalking.clone(),
        remote: false,
        recorded: true,
        inject: true,
    }
}

impl Found {
    fn new(joined: Joined, method: Method, correlation: Option<CorrelationId>) -> Self {
        let correlation =
            correlation.unwrap_or_else(|| CorrelationId::from_trace_id(joined.context.trace_id));
        Self {
            joined,
            method,
            correlation,
            ambiguous: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use propagation::Propagator;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn extract(headers: &[(&'static str, &str)]) -> Extracted {
        let pairs = headers
            .iter()
            .map(|(k, v)| (k.parse().expect("a name"), v.parse().expect("a value")));
        Propagator::default().extract(&pairs.collect::<HeaderMap>())
    }

    fn counted() -> impl IdSource {
        let mut last = 0_u8;
        (
            || [7; 16],
            move || {
                last += 1;
                [last; 8]
            },
        )
    }

    fn in_flight(live: &Arc<LiveRequests>, flags: &str, id: &str) -> (Joined, crate::correlation::LiveGuard) {
        let traceparent = format!("00-{TRACE}-{SPAN}-{flags}");
        let extracted = extract(&[("traceparent", &traceparent), ("x-correlation-id", id)]);
        let joined = join_inbound(&extracted, &mut counted());
        let correlation = extracted.correlation.expect("a correlation id");
        let guard = live.enter(joined.context.clone(), correlation).expect("room");
        (joined, guard)
    }

    #[test]
    fn a_sampled_caller_is_the_parent_and_an_unsampled_one_passes_unchanged() {
        let sampled = join_inbound(
            &extract(&[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]),
            &mut counted(),
        );
        assert_eq!(sampled.parent.map(|id| id.to_string()).as_deref(), Some(SPAN));
        assert_eq!(sampled.span_flags(), 0x301);
        let quiet = join_inbound(
            &extract(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]),
            &mut counted(),
        );
        assert_eq!((quiet.recorded, quiet.inject), (false, false));
        assert_eq!(quiet.context.span_id.to_string(), SPAN);
    }

    #[test]
    fn a_decision_without_ids_begins_a_trace_that_nobody_records() {
        let joined = join_inbound(&extract(&[("b3", "0")]), &mut counted());
        assert!(!joined.recorded && joined.inject && joined.parent.is_none());
        assert!(!joined.context.flags.is_sampled());
    }

    #[test]
    fn a_carried_context_wins_over_a_correlation_id_that_points_elsewhere() {
        let live = Arc::new(LiveRequests::default());
        let (_, _guard) = in_flight(&live, "01", "order-7");
        let carried = format!("00-{}-1111111111111111-01", "a".repeat(32));
        let found = join_outbound(
            &extract(&[("traceparent", &carried), ("x-correlation-id", "order-7")]),
            &live,
            &mut counted(),
        );
        assert_eq!(found.method, Method::Context);
        assert_eq!(
            found.joined.parent.map(|id| id.to_string()).as_deref(),
            Some("1111111111111111")
        );
    }

    #[test]
    fn a_context_without_a_correlation_id_gets_back_that_of_its_request() {
        let live = Arc::new(LiveRequests::default());
        let (inbound, _guard) = in_flight(&live, "01", "order-7");
        let carried = format!("00-{TRACE}-{}-01", inbound.context.span_id);
        let found = join_outbound(&extract(&[("traceparent", &carried)]), &live, &mut counted());
        assert_eq!(found.correlation.as_str(), "order-7");
        assert_eq!(found.joined.parent, Some(inbound.context.span_id));
    }

    #[test]
    fn an_id_of_one_request_in_flight_makes_it_the_parent_and_of_two_makes_none() {
        let live = Arc::new(LiveRequests::default());
        let (inbound, _guard) = in_flight(&live, "01", "order-7");
        let asks = extract(&[("x-correlation-id", "order-7")]);
        let found = join_outbound(&asks, &live, &mut counted());
        assert_eq!(
            (found.method, found.joined.parent),
            (Method::Id, Some(inbound.context.span_id))
        );
        assert_eq!(
            found.joined.span_flags() & IS_REMOTE,
            0,
            "the parent is the agent's own span"
        );
        let (_, _retry) = in_flight(&live, "01", "order-7");
        let found = join_outbound(&asks, &live, &mut counted());
        assert_eq!(
            (found.method, found.joined.parent, found.ambiguous),
            (Method::None, None, true)
        );
        assert_eq!(found.correlation.as_str(), "order-7", "the id itself stays");
    }

    #[test]
    fn a_call_of_an_unrecorded_request_carries_its_context_and_makes_no_span() {
        let live = Arc::new(LiveRequests::default());
        let (_, _guard) = in_flight(&live, "00", "order-7");
        let found = join_outbound(
            &extract(&[("x-correlation-id", "order-7")]),
            &live,
            &mut counted(),
        );
        assert!(!found.joined.recorded && found.joined.inject);
        assert_eq!(found.joined.context.span_id.to_string(), SPAN);
    }
}
