//! A record with context in its headers, sent and received with rdkafka.
//!
//! In: a broker's `host:port` as the argument, default `127.0.0.1:9092`. Out: the trace that both sides are in.
//! Left out on purpose: spans; an application makes them with the SDK that it uses.
//!
//! `cargo run -p tracemap-propagation --example kafka --features rdkafka`

use std::error::Error;
use std::time::Duration;

use propagation::{CorrelationId, Propagator, SpanContext};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

const TOPIC: &str = "tracemap-example";

fn main() -> Result<(), Box<dyn Error>> {
    let broker = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let propagator = Propagator::default();
    let mut ids = (rand::random::<[u8; 16]>, rand::random::<[u8; 8]>);

    let sending = SpanContext::start(&mut ids, true);
    let correlation = CorrelationId::from_trace_id(sending.trace_id);
    let mut headers = OwnedHeaders::new();
    propagator.inject(&mut headers, &sending, &correlation, None)?;
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &broker).create()?;
    let record = BaseRecord::to(TOPIC)
        .key("7")
        .payload("an order")
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(Duration::from_secs(10))?;

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        .set("group.id", sending.trace_id.to_string())
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    for message in &consumer {
        let message = message?;
        let Some(headers) = message.headers() else {
            continue;
        };
        let working = propagator.extract(headers).continue_or_start(&mut ids, true);
        println!("work in trace {} as span {}", working.trace_id, working.span_id);
        if working.trace_id == sending.trace_id {
            return Ok(());
        }
    }
    Err("the record never came".into())
}
