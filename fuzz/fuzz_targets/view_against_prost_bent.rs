//! Requests as SDKs write them, then bent and with bytes changed: the view and prost agree on them.
//!
//! In: dice for the request, and changes to its bytes. Out: a panic where the two disagree.
//! Left out on purpose: bytes that are no request at all; `view_against_prost` has those.

#![no_main]

#[path = "../../otlp/tests/differential/agreement.rs"]
mod agreement;
#[path = "../../otlp/tests/differential/shapes.rs"]
mod shapes;

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    changes: [Option<(u16, u8)>; 2],
    dice: &'a [u8],
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    let mut body = shapes::request(case.dice);
    for (at, byte) in case.changes.into_iter().flatten() {
        if !body.is_empty() {
            let at = usize::from(at) % body.len();
            body[at] = byte;
        }
    }
    agreement::agree(&body);
});
