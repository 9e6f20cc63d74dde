//! An entry with context among its fields, added and read with redis.
//!
//! In: a server's URL as the argument, default `redis://127.0.0.1:6379`. Out: the trace that both sides are in.
//! Left out on purpose: spans; an application makes them with the SDK that it uses.
//!
//! `cargo run -p tracemap-propagation --example redis_streams --features redis`

use std::error::Error;

use propagation::{CorrelationId, Propagator, SpanContext};
use redis::Commands as _;
use redis::streams::StreamReadReply;

const STREAM: &str = "tracemap-example";

fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::args().nth(1);
    let server = server.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let propagator = Propagator::default();
    let mut ids = (rand::random::<[u8; 16]>, rand::random::<[u8; 8]>);
    let mut connection = redis::Client::open(server)?.get_connection()?;

    let sending = SpanContext::start(&mut ids, true);
    let correlation = CorrelationId::from_trace_id(sending.trace_id);
    let mut fields = vec![("order".to_owned(), "7".to_owned())];
    propagator.inject(&mut fields, &sending, &correlation, None)?;
    let _: Option<String> = connection.xadd(STREAM, "*", &fields)?;

    let read: Option<StreamReadReply> = connection.xread(&[STREAM], &["0"])?;
    for entry in read
        .into_iter()
        .flat_map(|read| read.keys)
        .flat_map(|key| key.ids)
    {
        let working = propagator.extract(&entry).continue_or_start(&mut ids, true);
        println!("work in trace {} as span {}", working.trace_id, working.span_id);
        if working.trace_id == sending.trace_id {
            return Ok(());
        }
    }
    Err("the entry never came".into())
}
