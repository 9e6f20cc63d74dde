//! The edge hint on its way through the agent: `tm=` of `tracestate`.
//!
//! In: contexts as they come and as they go on, and whose agent this is. Out: who calls; and contexts that say so.
//! Left out on purpose: any trust in it beyond the name of a caller, and which peers may see it.

use propagation::{EDGE_HINT_KEY, EdgeClass, EdgeHint, SpanContext};

/// What an outbound call says of its own edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Over what.
    pub(crate) class: EdgeClass,
    /// The agent counts the edge.
    pub(crate) counted: bool,
    /// A CLIENT span will come.
    pub(crate) span: bool,
}

/// Who called, as the request says; none where it says nothing, or was meant for somebody else: then a service passed its
/// own caller's hint on.
pub(crate) fn received(context: Option<&SpanContext>, own: &str) -> Option<EdgeHint> {
    let hint = EdgeHint::parse(context?.trace_state.get(EDGE_HINT_KEY)?)?;
    let ours = hint.callee.as_deref().is_none_or(|callee| callee == own);
    ours.then_some(hint)
}

/// Says in `context` who calls, in place of what the application may have passed on. What has no room there takes the old
/// hint away all the same: it names somebody else's caller.
pub(crate) fn tell(context: &mut SpanContext, caller: &str, telling: Telling, now_unix_nano: u64) {
    let hint = EdgeHint {
        caller: caller.to_owned(),
        class: telling.class,
        sent_unix_nano: now_unix_nano,
        counted: telling.counted,
        quiet: telling.counted && !telling.span,
        callee: None,
    };
    write(context, &hint);
}

/// Says in `context`, which goes on to the service, that its hint was meant for `callee`, and whether its parent is a quiet
/// one: the agent makes no span of the request. That the caller made none ends with the agent's own span.
pub(crate) fn pass_on(context: &mut SpanContext, mut hint: EdgeHint, callee: &str, quiet: bool) {
    hint.callee = Some(callee.to_owned());
    hint.quiet = quiet;
    write(context, &hint);
}

fn write(context: &mut SpanContext, hint: &EdgeHint) {
    let written = hint
        .value()
        .is_some_and(|value| context.trace_state.set(EDGE_HINT_KEY, &value).is_ok());
    if !written {
        context.trace_state.remove(EDGE_HINT_KEY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use propagation::TraceState;

    fn context(trace_state: &str) -> SpanContext {
        let mut ids = (|| [1; 16], || [2; 8]);
        SpanContext {
            trace_state: TraceState::parse(trace_state.as_bytes()).expect("a list"),
            ..SpanContext::start(&mut ids, true)
        }
    }

    #[test]
    fn a_call_names_its_caller_and_no_longer_the_callers_caller() {
        let mut context = context("vendor=1,tm=c:web;k:h;t:1;n:1;d:cart");
        let telling = Telling {
            class: EdgeClass::Http,
            counted: true,
            span: true,
        };
        tell(&mut context, "shop/cart", telling, 5_000);
        assert_eq!(
            context.trace_state.as_str(),
            "tm=c:shop/cart;k:h;t:5;n:1,vendor=1"
        );
        let quiet = Telling {
            span: false,
            ..telling
        };
        tell(&mut context, "shop/cart", quiet, 5_000);
        assert_eq!(
            context.trace_state.as_str(),
            "tm=c:shop/cart;k:h;t:5;q:1,vendor=1"
        );
        tell(&mut context, &"x".repeat(200), telling, 5_000);
        assert_eq!(
            context.trace_state.as_str(),
            "vendor=1",
            "rather no caller than a wrong one"
        );
    }

    #[test]
    fn what_goes_on_to_the_service_says_for_whom_it_was_and_is_then_nobody_elses() {
        let mut context = context("tm=c:web;k:h;t:1;n:1");
        let hint = received(Some(&context), "cart").expect("a hint");
        pass_on(&mut context, hint, "cart", false);
        assert_eq!(context.trace_state.as_str(), "tm=c:web;k:h;t:1;n:1;d:cart");
        assert_eq!(received(Some(&context), "stock"), None);
        let again = received(Some(&context), "cart").expect("a hint");
        pass_on(&mut context, again, "cart", true);
        assert_eq!(context.trace_state.as_str(), "tm=c:web;k:h;t:1;q:1;d:cart");
        let again = received(Some(&context), "cart").expect("a hint");
        pass_on(&mut context, again, "cart", false);
        assert_eq!(context.trace_state.as_str(), "tm=c:web;k:h;t:1;n:1;d:cart");
    }
}
