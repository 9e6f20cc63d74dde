//! Every listener of agent and collector, with everything that knocks at it and must not come in.
//!
//! In: the real programs, with certificates and tokens and without; `curl`, `openssl` and bare sockets as callers. Out: a failed
//! test where one door is open.
//! Left out on purpose: brokers' listeners, through which a broker's own authentication passes; and how long slow callers are
//! borne, which is tested beside the servers with shorter times (`otlp/tests/wire/doors.rs`, `agent/tests/wire/limits.rs`).

mod open;
mod peers;
mod proxy;
mod push;
mod secured;
mod tenants;
