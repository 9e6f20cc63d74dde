//! A request's place: in which trace, below which parent, and what is told of it.
//!
//! In: what a request carried, whom it is for or from, and what its workload knows. Out: an [`Leaving`] or an
//! [`Arriving`]: the context of the agent's span, what travels on, and whether there is a span, a line or nothing.
//! Left out on purpose: headers, and all of HTTP.

use std::time::Instant;

use otlp::encode::{Attributes, LinkRecord};
use propagation::{CorrelationId, EdgeClass, EdgeHint, Extracted, IdSource, Skipped, SpanContext, SpanId};

use crate::config::EdgeMode;
use crate::edges::report::unix_nano;
use crate::exclusive::Candidate;
use crate::governor::Cap;
use crate::hints::{self, Telling};
use crate::peer::Peer;
use crate::telemetry::{ContextResult, Direction, Method, NotCarried, Source};
use crate::trace::{self, Found, Joined};
use crate::workload::Workload;

/// The name of a caller that says nothing.
pub(crate) const UNKNOWN: &str = map::NodeId::UNKNOWN;

/// An outbound request's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leaving {
    pub(crate) joined: Joined,
    pub(crate) method: Method,
    /// How sure the parent is, 0 to 1; absent where there is no evidence.
    pub(crate) confidence: Option<f64>,
    pub(crate) correlation: CorrelationId,
    pub(crate) telling: Told,
    pub(crate) links: Vec<LinkRecord>,
    pub(crate) counted: Counted,
}

/// As what a request or a message was counted, for messages that share its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    direction: Direction,
    /// Of a call, and whether several requests in flight had its correlation id.
    evidence: Option<(Method, bool)>,
    source: Source,
    result: ContextResult,
}

/// An inbound request's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arriving {
    /// That of the agent's span.
    pub(crate) joined: Joined,
    /// What goes on to the service.
    pub(crate) onward: Joined,
    pub(crate) correlation: CorrelationId,
    /// The caller's node id, or [`UNKNOWN`].
    pub(crate) caller: String,
    pub(crate) telling: Told,
    pub(crate) counted: Counted,
}

/// What is told of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) mode: EdgeMode,
    /// A span comes: the mode asks for one, and the trace is recorded.
    pub(crate) span: bool,
    /// The parent of the request, whether or not there is a span.
    pub(crate) parent: Option<SpanId>,
}

/// The place of a call to `peer`, or of a message for it; `operation` is the name that its span would have.
pub(crate) fn outbound(
    workload: &Workload,
    extracted: &Extracted,
    (peer, class): (&Peer, EdgeClass),
    (now, operation): (Instant, impl FnOnce() -> String),
    ids: &mut impl IdSource,
) -> Leaving {
    let (mut found, mut confidence, result) = find(workload, extracted, peer, ids);
    let counted = Counted {
        direction: Direction::Outbound,
        evidence: Some((found.method, found.ambiguous)),
        source: source(extracted),
        result,
    };
    count_more(workload, &peer.authority, counted, 1);
    let restarted = govern(workload, &mut found.joined, now, ids);
    if restarted.is_some() {
        (found.method, confidence) = (Method::None, None);
    } else if matches!(found.method, Method::Context | Method::None) {
        let began = found.joined.context.trace_id;
        sample(workload, extracted, &mut found.joined, operation);
        if found.joined.context.trace_id != began {
            found.correlation = extracted.correlation_or(found.joined.context.trace_id);
        }
    }
    let mode = workload.modes.of(Direction::Outbound, &peer.authority);
    let parent = parent(&found);
    let span = tell(workload, &mut found.joined, (mode, class), ids);
    Leaving {
        joined: found.joined,
        method: found.method,
        confidence,
        correlation: found.correlation,
        telling: Told { mode, span, parent },
        links: restarted.into_iter().collect(),
        counted,
    }
}

/// Counts so many more messages to or from `peer` at the place of one that was counted so.
pub(crate) fn count_more(workload: &Workload, peer: &str, counted: Counted, messages: u64) {
    let shared = &workload.shared;
    if let Some((method, ambiguous)) = counted.evidence {
        shared.metrics.correlation(method, messages);
        if ambiguous {
            shared
                .metrics
                .not_carried_by(NotCarried::CorrelationAmbiguous, messages);
        }
    }
    let names = match counted.direction {
        Direction::Inbound => &shared.callers,
        Direction::Outbound => &shared.callees,
    };
    let edge = (counted.direction, names.label(peer));
    let became = (counted.source, counted.result);
    shared.metrics.edge_context(edge, became, messages);
}

/// Whom the call is below. Where nothing is recorded it is the span whose context was found.
fn parent(found: &Found) -> Option<SpanId> {
    let unrecorded = !found.joined.recorded && found.method != Method::None;
    let of_context = unrecorded.then_some(found.joined.context.span_id);
    found.joined.parent.or(of_context)
}

/// Says in what goes on who calls, and whether a span of it comes; whether one does.
fn tell(
    workload: &Workload,
    joined: &mut Joined,
    (mode, class): (EdgeMode, EdgeClass),
    ids: &mut impl IdSource,
) -> bool {
    let span = joined.recorded && mode == EdgeMode::Span;
    // Messages are counted by their spans and by who receives them.
    let counted = class == EdgeClass::Http && workload.shared.edges.is_some();
    if !joined.recorded && (counted || mode != EdgeMode::Span) {
        // What follows in `tracestate` is new, so the parent must be too (W3C Trace Context, "Mutating the traceparent
        // Field"); the hint says that no span of it will come.
        joined.context = joined.context.child(SpanId::generate(ids));
        joined.inject = true;
    }
    if joined.inject {
        let telling = Telling { class, counted, span };
        hints::tell(&mut joined.context, &workload.node, telling, unix_nano());
    }
    span
}

/// The trace that the call belongs to, with how sure that is and what became of context on its edge.
fn find(
    workload: &Workload,
    extracted: &Extracted,
    peer: &Peer,
    ids: &mut impl IdSource,
) -> (Found, Option<f64>, ContextResult) {
    let mut found = trace::join_outbound(extracted, &workload.live, ids);
    let candidate = workload.exclusive.candidate(&workload.live, &peer.authority);
    let mut confidence = Some(1.0).filter(|_| found.method != Method::None);
    if found.method == Method::None {
        if let Candidate::One(live) = &candidate
            && carries_nothing(extracted)
            && let Some(measured) = workload.exclusive.confidence()
        {
            found.joined = trace::child_of(&live.context, extracted, ids);
            found.correlation = live.correlation.clone();
            found.method = Method::Exclusive;
            confidence = Some(measured);
        }
    } else {
        workload
            .exclusive
            .audit(&candidate, found.joined.context.trace_id);
    }
    let result = match (found.method, &candidate) {
        (Method::Context, _) => carried(extracted),
        (Method::Id | Method::Exclusive, _) => ContextResult::Restored,
        (Method::None, _) if is_invalid(extracted) => ContextResult::Invalid,
        (Method::None, Candidate::NoneInFlight) => ContextResult::Absent,
        (Method::None, _) => ContextResult::Lost,
    };
    (found, confidence, result)
}

/// Whether the call says nothing that could contradict a parent. An id that no request in flight has is somebody else's.
fn carries_nothing(extracted: &Extracted) -> bool {
    extracted.context.is_none()
        && extracted.start.is_none()
        && extracted.correlation.is_none()
        && extracted.decision.is_none()
        && extracted.others.is_empty()
}

/// Begins a trace in place of the one whose parent has gathered enough; the link to that parent.
fn govern(
    workload: &Workload,
    joined: &mut Joined,
    now: Instant,
    ids: &mut impl IdSource,
) -> Option<LinkRecord> {
    let parent = joined.parent.filter(|_| joined.recorded)?;
    let cap = workload
        .governor
        .admit(joined.context.trace_id, parent, now)
        .err()?;
    workload.shared.metrics.restarted(cap);
    let left = std::mem::replace(&mut joined.context, SpanContext::start(ids, true));
    (joined.parent, joined.remote) = (None, false);
    joined.others.clear();
    Some(link(&left, parent, cap))
}

fn link(left: &SpanContext, parent: SpanId, cap: Cap) -> LinkRecord {
    let mut attributes = Attributes::default();
    attributes.push_display("reason", format_args!("merge_cap_{}", cap.as_str()));
    LinkRecord {
        trace_id: *left.trace_id.as_bytes(),
        span_id: *parent.as_bytes(),
        trace_state: left.trace_state.to_string(),
        flags: u32::from(left.flags.bits()),
        attributes,
    }
}

/// Decides on a trace that nobody before us decided on.
fn sample(
    workload: &Workload,
    extracted: &Extracted,
    joined: &mut Joined,
    operation: impl FnOnce() -> String,
) {
    if joined.recorded && extracted.decision.is_none() {
        let ours = extracted.context.is_none() && extracted.start.is_none();
        joined.recorded = workload.share.begin(operation, &mut joined.context, ours);
    }
}

/// The place of a request for the service; `operation` is the name that its span would have.
pub(crate) fn inbound(
    workload: &Workload,
    extracted: &Extracted,
    operation: impl FnOnce() -> String,
    ids: &mut impl IdSource,
) -> Arriving {
    let mut joined = trace::join_inbound(extracted, ids);
    sample(workload, extracted, &mut joined, operation);
    let hint = hints::received(extracted.context.as_ref(), &workload.node);
    let caller = caller(hint.as_ref()).to_owned();
    let mode = workload.modes.of(Direction::Inbound, &caller);
    let span = joined.recorded && mode == EdgeMode::Span;
    let onward = onward(workload, extracted, &joined, hint, span);
    let counted = arrived(extracted);
    count_more(workload, &caller, counted, 1);
    let carried = extracted.context.as_ref().map(|context| context.span_id);
    Arriving {
        correlation: extracted.correlation_or(joined.context.trace_id),
        telling: Told {
            mode,
            span,
            parent: joined.parent.or(carried),
        },
        joined,
        onward,
        caller,
        counted,
    }
}

/// Counts so many messages that bear this and were received together, without a place of their own.
pub(crate) fn count_received(workload: &Workload, extracted: &Extracted, messages: u64) {
    let hint = hints::received(extracted.context.as_ref(), &workload.node);
    count_more(workload, caller(hint.as_ref()), arrived(extracted), messages);
}

fn caller(hint: Option<&EdgeHint>) -> &str {
    hint.map_or(UNKNOWN, |hint| &hint.caller)
}

fn arrived(extracted: &Extracted) -> Counted {
    let result = match extracted.context {
        Some(_) => carried(extracted),
        None if is_invalid(extracted) => ContextResult::Invalid,
        None => ContextResult::Absent,
    };
    Counted {
        direction: Direction::Inbound,
        evidence: None,
        source: source(extracted),
        result,
    }
}

/// What goes on to the service: the agent's span as its parent, and for whom the caller's hint was.
///
/// Where the agent makes no span of a recorded trace, its id is a parent only if the hint can say that it is a quiet one.
/// That says too that the caller counts the edge; where it does not, the caller's own context passes as it came.
fn onward(
    workload: &Workload,
    extracted: &Extracted,
    joined: &Joined,
    hint: Option<EdgeHint>,
    span: bool,
) -> Joined {
    let mut onward = joined.clone();
    if !joined.recorded {
        return onward;
    }
    match (hint, &extracted.context) {
        (Some(hint), _) if span || hint.counted => {
            hints::pass_on(&mut onward.context, hint, &workload.node, !span);
        }
        (_, Some(carried)) if !span => {
            onward.context = carried.clone();
            onward.inject = false;
        }
        _ => {}
    }
    onward
}

/// How a context was carried: by all formats alike, or not.
fn carried(extracted: &Extracted) -> ContextResult {
    let conflicts = |skipped: &Skipped| matches!(skipped, Skipped::ConflictingTraceId { .. });
    if extracted.skipped.iter().any(conflicts) {
        ContextResult::Conflicting
    } else {
        ContextResult::Carried
    }
}

/// Whether some format spoke, and could not be believed.
fn is_invalid(extracted: &Extracted) -> bool {
    let of_context = |skipped: &Skipped| !["correlation", "baggage"].contains(&skipped.format());
    extracted.skipped.iter().any(of_context)
}

fn source(extracted: &Extracted) -> Source {
    let format = extracted.format.filter(|_| extracted.context.is_some());
    format.map_or(Source::None, Source::Format)
}
