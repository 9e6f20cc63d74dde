//! The agent between real peers: real sockets on both sides, and the spans as the real intake gets them.

mod http2;
mod inbound;
mod outbound;
mod relay;
mod streams;
mod support;
