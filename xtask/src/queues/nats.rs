//! Clients of NATS, made with async-nats: a stream of `JetStream`, and a durable consumer that pulls.
//!
//! In: messages of the ledger. Out: what the server stored, and what it delivered.
//! Left out on purpose: core NATS, which acknowledges nothing and so promises nothing.

use std::net::SocketAddr;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, Context, stream};
use async_nats::{ConnectOptions, HeaderMap};
use tokio_stream::StreamExt as _;

use super::ledger::Ledger;
use super::{AGAIN_AFTER, DESTINATION, LOOK_EVERY, in_time, publisher};
use crate::Failure;

const STREAM: &str = "NUMBERS";
/// An acknowledgement that was lost makes the server send the message again after this.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(5);
/// A `PUB` that was lost with its connection is not answered.
const STORED_WITHIN: Duration = Duration::from_millis(500);

/// A client that connects anew by itself.
pub(crate) struct Publisher {
    context: Context,
}

async fn connected(to: SocketAddr) -> Result<Context, Failure> {
    let options = ConnectOptions::new()
        .max_reconnects(None)
        .reconnect_delay_callback(|_| AGAIN_AFTER);
    let client = options.connect(format!("nats://{to}")).await?;
    let mut context = jetstream::new(client);
    context.set_timeout(STORED_WITHIN);
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![DESTINATION.to_owned()],
        ..Default::default()
    };
    context.get_or_create_stream(config).await?;
    Ok(context)
}

impl publisher::Publisher for Publisher {
    const REPEATS_ARE_KNOWN: bool = true;

    async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let context = connected(to).await?;
        Ok(Self { context })
    }

    async fn send(&mut self, numbers: &[u64], ledger: &Ledger) -> Result<(), Failure> {
        let mut stored: Vec<(u64, PublishAckFuture)> = Vec::new();
        for number in numbers {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", number.to_string());
            let payload = ledger.payload(*number).into();
            let published = self.context.publish_with_headers(DESTINATION, headers, payload);
            stored.push((*number, published.await?));
        }
        for (number, stored) in stored {
            // The client connects anew by itself, and the message is sent again.
            if stored.await.is_ok() {
                ledger.acknowledged(number);
            }
        }
        Ok(())
    }
}

/// Consumes and acknowledges until the ledger is over.
pub(crate) async fn consume(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    while !ledger.is_over() {
        if Box::pin(until_it_breaks(from, ledger)).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

async fn until_it_breaks(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let context = in_time(connected(from)).await?;
    let stream = in_time(context.get_stream(STREAM)).await?;
    let config = pull::Config {
        durable_name: Some("till".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACKNOWLEDGE_WITHIN,
        ..Default::default()
    };
    let consumer = in_time(stream.get_or_create_consumer("till", config)).await?;
    let pulling = consumer.stream().heartbeat(Duration::from_millis(500));
    let mut messages = in_time(pulling.expires(Duration::from_secs(2)).messages()).await?;
    while !ledger.is_over() {
        let Ok(message) = tokio::time::timeout(LOOK_EVERY, messages.next()).await else {
            continue;
        };
        let message = message.ok_or("the messages ended")??;
        let is_marked = message.info()?.delivered > 1;
        ledger.came(&message.payload, is_marked);
        in_time(message.ack()).await?;
    }
    Ok(())
}
