//! The edge hint from anywhere: no text panics, and what is read is written so that it reads the same.
//!
//! In: a value of `tracestate`'s member `tm`, and in a second line a whole list. Out: a panic where a hint does not survive being
//! written into the list and read out of it.
//! Left out on purpose: whose `tracestate` it is; `propagation_headers` has the headers around it.

#![no_main]

use propagation::{EDGE_HINT_KEY, EdgeHint, TraceState};

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (text, members) = input.split_once('\n').unwrap_or((input, ""));
    let state = TraceState::parse(members.as_bytes()).unwrap_or_default();
    for (_, value) in state.members() {
        EdgeHint::parse(value);
    }
    let Some(hint) = EdgeHint::parse(text) else {
        return;
    };
    assert!(!hint.caller.is_empty());
    let Some(value) = hint.value() else {
        return;
    };
    let again = EdgeHint::parse(&value).expect("what we wrote is a hint");
    assert_eq!(again, hint);
    let list = format!("{EDGE_HINT_KEY}={value}");
    let list = TraceState::parse(list.as_bytes()).expect("what we wrote is a member");
    assert!(list.members().any(|member| member == (EDGE_HINT_KEY, &value)));
});
