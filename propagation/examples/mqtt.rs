//! A message with context in its user properties, sent and received with rumqttc.
//!
//! In: a broker's port on 127.0.0.1 as the argument, default 1883. Out: the trace that both sides are in.
//! Left out on purpose: spans; an application makes them with the SDK that it uses.
//!
//! `cargo run -p tracemap-propagation --example mqtt --features rumqttc`

use std::error::Error;

use propagation::{CorrelationId, Propagator, SpanContext};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

const TOPIC: &str = "tracemap/example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(1883), |port| port.parse())?;
    let propagator = Propagator::default();
    let mut ids = (rand::random::<[u8; 16]>, rand::random::<[u8; 8]>);
    let (client, mut events) = AsyncClient::new(MqttOptions::new(TOPIC, "127.0.0.1", port), 10);
    client.subscribe(TOPIC, QoS::AtLeastOnce).await?;

    let sending = SpanContext::start(&mut ids, true);
    let correlation = CorrelationId::from_trace_id(sending.trace_id);
    let mut properties = PublishProperties::default();
    propagator.inject(&mut properties, &sending, &correlation, None)?;
    client
        .publish_with_properties(TOPIC, QoS::AtLeastOnce, false, "an order", properties)
        .await?;

    loop {
        let Event::Incoming(Packet::Publish(message)) = events.poll().await? else {
            continue;
        };
        let properties = message.properties.unwrap_or_default();
        let working = propagator.extract(&properties).continue_or_start(&mut ids, true);
        println!("work in trace {} as span {}", working.trace_id, working.span_id);
        if working.trace_id == sending.trace_id {
            return Ok(());
        }
    }
}
