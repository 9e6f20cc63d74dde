//! What leaves the crate, read by others: messages declared a second time, a scripted receiver, a real Prometheus.
//!
//! In: scrapes. Out: what each reader makes of them.
//! Left out on purpose: the text formats byte by byte, which stand beside their encoders.

mod cost;
mod messages;
mod peer;
mod prometheus;
mod protobuf;
mod receiver;
mod requests;
mod scene;
mod sender;
