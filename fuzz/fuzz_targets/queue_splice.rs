//! What clients and brokers of message queues say, cut anywhere and bent: no panic, and nothing is lost, made up or changed where
//! nothing is to be added.
//!
//! In: a protocol, and what both sides say in turn. Out: a panic where a byte went missing.
//! Left out on purpose: sockets and spans.

#![no_main]

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
struct Said<'a> {
    protocol: u8,
    context: bool,
    said: Vec<(bool, &'a [u8])>,
}

libfuzzer_sys::fuzz_target!(|said: Said<'_>| {
    agent::fuzzing::splice(said.protocol, &said.said, said.context);
});
