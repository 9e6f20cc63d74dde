//! The agent between real peers: real sockets on both sides, and the spans as the real intake gets them.

mod buffer;
mod conform;
mod correlation;
mod edges;
mod faults;
mod formats;
mod frames;
mod http2;
mod inbound;
mod limits;
mod modes;
mod outbound;
mod pairs;
mod pods;
mod relay;
mod reload;
mod sampling;
mod smuggling;
mod streams;
mod support;
mod tls;
mod w3c;
