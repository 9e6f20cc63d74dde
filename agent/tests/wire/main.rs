//! The agent between real peers: real sockets on both sides, and the spans as the real intake gets them.

mod buffer;
mod correlation;
mod edges;
mod formats;
mod http2;
mod inbound;
mod modes;
mod outbound;
mod relay;
mod streams;
mod support;
mod w3c;
