//! Clients of `RabbitMQ`, made with lapin: confirms on one side, acknowledgements on the other.
//!
//! In: messages of the ledger. Out: what the broker confirmed, and what it delivered.
//! Left out on purpose: exchanges; the default one leads to the queue of its name.

use std::net::SocketAddr;

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio_stream::StreamExt as _;

use super::ledger::Ledger;
use super::{AGAIN_AFTER, DESTINATION, LOOK_EVERY, in_time, publisher};
use crate::Failure;

/// Deliveries that are not acknowledged yet.
const PREFETCH: u16 = 50;

/// A connection with a channel in confirm mode.
pub(crate) struct Publisher {
    _connection: Connection,
    channel: Channel,
}

async fn connected(to: SocketAddr) -> Result<(Connection, Channel), Failure> {
    let uri = format!("amqp://guest:guest@{to}/%2f?heartbeat=0");
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(DESTINATION.into(), durable, FieldTable::default())
        .await?;
    Ok((connection, channel))
}

impl publisher::Publisher for Publisher {
    const REPEATS_ARE_KNOWN: bool = false;

    async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let (connection, channel) = connected(to).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self {
            _connection: connection,
            channel,
        })
    }

    async fn send(&mut self, numbers: &[u64], ledger: &Ledger) -> Result<(), Failure> {
        let kept = BasicProperties::default().with_delivery_mode(2);
        let mut confirms = Vec::new();
        for number in numbers {
            let (options, payload) = (BasicPublishOptions::default(), ledger.payload(*number));
            let published =
                self.channel
                    .basic_publish("".into(), DESTINATION.into(), options, &payload, kept.clone());
            confirms.push((*number, published.await?));
        }
        for (number, confirm) in confirms {
            if confirm.await?.is_ack() {
                ledger.acknowledged(number);
            }
        }
        Ok(())
    }
}

/// Consumes and acknowledges until the ledger is over.
pub(crate) async fn consume(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    while !ledger.is_over() {
        if until_it_breaks(from, ledger).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

async fn until_it_breaks(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let (_connection, channel) = in_time(connected(from)).await?;
    in_time(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let consumer = channel.basic_consume(
        DESTINATION.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut deliveries = in_time(consumer).await?;
    while !ledger.is_over() {
        let Ok(delivery) = tokio::time::timeout(LOOK_EVERY, deliveries.next()).await else {
            continue;
        };
        let delivery = delivery.ok_or("the consumer was cancelled")??;
        ledger.came(&delivery.data, delivery.redelivered);
        in_time(delivery.ack(BasicAckOptions::default())).await?;
    }
    Ok(())
}
