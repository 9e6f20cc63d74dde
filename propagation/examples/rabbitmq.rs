//! A message with context in its header table, sent and received with lapin.
//!
//! In: a broker's URI as the argument, default `amqp://127.0.0.1:5672/%2f`. Out: the trace that both sides are in.
//! Left out on purpose: spans; an application makes them with the SDK that it uses.
//!
//! `cargo run -p tracemap-propagation --example rabbitmq --features lapin,examples`

use std::error::Error;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use propagation::{CorrelationId, Propagator, SpanContext};

const QUEUE: &str = "tracemap-example";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = std::env::args().nth(1);
    let broker = broker.unwrap_or_else(|| "amqp://127.0.0.1:5672/%2f".to_owned());
    let propagator = Propagator::default();
    let mut ids = (rand::random::<[u8; 16]>, rand::random::<[u8; 8]>);
    let connection = Connection::connect(&broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let sending = SpanContext::start(&mut ids, true);
    let correlation = CorrelationId::from_trace_id(sending.trace_id);
    let mut headers = FieldTable::default();
    propagator.inject(&mut headers, &sending, &correlation, None)?;
    let properties = BasicProperties::default().with_headers(headers);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), QUEUE.into(), options, b"an order", properties)
        .await?
        .await?;

    while let Some(message) = channel
        .basic_get(QUEUE.into(), BasicGetOptions::default())
        .await?
    {
        let none = FieldTable::default();
        let headers = message.delivery.properties.headers().as_ref().unwrap_or(&none);
        let working = propagator.extract(headers).continue_or_start(&mut ids, true);
        println!("work in trace {} as span {}", working.trace_id, working.span_id);
        message.delivery.ack(BasicAckOptions::default()).await?;
        if working.trace_id == sending.trace_id {
            return Ok(());
        }
    }
    Err("the message never came".into())
}
