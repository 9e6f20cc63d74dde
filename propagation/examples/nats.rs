//! A message with context in its headers, sent and received with async-nats.
//!
//! In: a server's address as the argument, default `127.0.0.1:4222`. Out: the trace that both sides are in.
//! Left out on purpose: spans; an application makes them with the SDK that it uses.
//!
//! `cargo run -p tracemap-propagation --example nats --features async-nats`

use std::error::Error;

use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use propagation::{CorrelationId, Propagator, SpanContext};

const SUBJECT: &str = "tracemap.example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:4222".to_owned());
    let propagator = Propagator::default();
    let mut ids = (rand::random::<[u8; 16]>, rand::random::<[u8; 8]>);
    let client = async_nats::connect(server).await?;
    let mut messages = client.subscribe(SUBJECT).await?;

    let sending = SpanContext::start(&mut ids, true);
    let correlation = CorrelationId::from_trace_id(sending.trace_id);
    let mut headers = HeaderMap::new();
    propagator.inject(&mut headers, &sending, &correlation, None)?;
    client
        .publish_with_headers(SUBJECT, headers, "an order".into())
        .await?;

    while let Some(message) = messages.next().await {
        let headers = message.headers.unwrap_or_default();
        let working = propagator.extract(&headers).continue_or_start(&mut ids, true);
        println!("work in trace {} as span {}", working.trace_id, working.span_id);
        if working.trace_id == sending.trace_id {
            return Ok(());
        }
    }
    Err("the message never came".into())
}
