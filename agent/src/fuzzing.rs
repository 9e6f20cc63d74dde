//! Parsers of the agent as the fuzzer reaches them; built for it alone (`--cfg fuzzing`).
//!
//! In: bytes. Out: a panic where what always holds does not.
//! Left out on purpose: anything that the rest of the agent could use.

use bytes::BytesMut;

use crate::queues::Fuzzed;
use crate::{plan, pods, transparent};

/// Bytes of client (`true`) and broker in turn. Where nothing is to be added, what goes on is what came.
///
/// # Panics
/// Where it is not.
pub fn splice(protocol: u8, said: &[(bool, &[u8])], context: bool) {
    let mut fuzzed = Fuzzed::new(protocol, context);
    let mut sides = [
        (BytesMut::new(), BytesMut::new()),
        (BytesMut::new(), BytesMut::new()),
    ];
    let mut came = [Vec::new(), Vec::new()];
    for (from_client, bytes) in said {
        let side = usize::from(!from_client);
        let (input, out) = &mut sides[side];
        input.extend_from_slice(bytes);
        came[side].extend_from_slice(bytes);
        if !fuzzed.take(*from_client, input, out) {
            break;
        }
    }
    for (side, ((input, out), came)) in sides.iter().zip(came).enumerate() {
        if fuzzed.changes_nothing(side == 0) {
            assert!(
                [&out[..], &input[..]].concat() == came,
                "bytes were changed, lost or made up"
            );
        }
    }
}

/// What a connection begins with.
///
/// # Panics
/// Where more bytes take a verdict back.
pub fn first_bytes(bytes: &[u8]) {
    transparent::fuzz_first_bytes(bytes);
}

/// A plan, and what an API server says of pods.
pub fn documents(bytes: &[u8]) {
    let _ = plan::Plan::read(bytes);
    pods::fuzz_line(bytes);
}
