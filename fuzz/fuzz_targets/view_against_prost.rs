//! Any bytes: the view takes what prost takes and reads the same of it.
//!
//! In: bytes. Out: a panic where the two disagree.
//! Left out on purpose: shapes that bytes reach only by luck; `view_against_prost_bent` begins with those.

#![no_main]

#[path = "../../otlp/tests/differential/agreement.rs"]
mod agreement;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    agreement::agree(body);
});
