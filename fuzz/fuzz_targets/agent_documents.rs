//! What the agent reads from elsewhere: the first bytes of redirected connections, plans, pods.
//!
//! In: any bytes. Out: a panic where reading does, or where more bytes take a verdict back.
//! Left out on purpose: fetching them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    agent::fuzzing::first_bytes(input);
    agent::fuzzing::documents(input);
});
