//! The collector's pure core: what traces say, and what becomes of the map and the counters.
//!
//! In: traces written as text (`dsl`). Out: visits, calls, flows, maps and counters as text that a reader checks by eye.
//! Left out on purpose: sockets and the wire format's faults; those are tested in `otlp`.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "`expect!` is rewritten in this form by UPDATE_EXPECT"
)]

mod brokers;
mod calls;
mod dsl;
mod late;
mod naming;
mod odd;
mod properties;
mod scene;
mod system;
mod visits;
