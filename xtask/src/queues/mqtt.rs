//! Clients of an MQTT 5 broker, made with rumqttc: `QoS` 1 both ways, in sessions that outlive their connections.
//!
//! In: messages of the ledger. Out: what the broker acknowledged, and what it delivered.
//! Left out on purpose: `QoS` 2, of which these clients forget half when they connect anew.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

use super::ledger::Ledger;
use super::{AGAIN_AFTER, DESTINATION};
use crate::Failure;

/// Messages under way at once.
const WINDOW: usize = 16;
const TICK: Duration = Duration::from_millis(1);
/// Longer than any message of a proof, in bytes.
const LARGEST: u32 = 16 << 20;
/// Seconds that the broker keeps a session without a connection.
const SESSION: u32 = 3600;
/// The least that the client takes. A client without traffic looks this often whether it should end.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

fn client(name: &str, to: SocketAddr) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, to.ip().to_string(), to.port());
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(SESSION))
        .set_max_packet_size(Some(LARGEST))
        .set_keep_alive(KEEP_ALIVE);
    AsyncClient::new(options, WINDOW)
}

/// Messages that are not acknowledged: not sent yet, and by packet id.
#[derive(Default)]
struct UnderWay {
    queued: RefCell<VecDeque<u64>>,
    sent: RefCell<HashMap<u16, u64>>,
}

impl UnderWay {
    fn number(&self) -> usize {
        self.queued.borrow().len() + self.sent.borrow().len()
    }

    /// The client sent what it had longest, or once more what it sent before it connected anew.
    fn went(&self, packet: u16, ledger: &Ledger) {
        let mut sent = self.sent.borrow_mut();
        if let Some(number) = sent.get(&packet) {
            ledger.repeated(*number, false);
        } else if let Some(number) = self.queued.borrow_mut().pop_front() {
            sent.insert(packet, number);
        }
    }

    fn acknowledged(&self, packet: u16, ledger: &Ledger) {
        if let Some(number) = self.sent.borrow_mut().remove(&packet) {
            ledger.acknowledged(number);
        }
    }
}

/// Publishes until the ledger wants no more and all are acknowledged.
pub(crate) async fn publish(to: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let (client, mut events) = client("cart", to);
    let under_way = UnderWay::default();
    let feed = async {
        // What is published before anybody subscribed is for nobody.
        while !ledger.is_listened_to() && !ledger.is_over() {
            tokio::time::sleep(TICK).await;
        }
        while let Some(numbers) = ledger.due(WINDOW.saturating_sub(under_way.number())) {
            for number in numbers {
                under_way.queued.borrow_mut().push_back(number);
                let payload = ledger.payload(number);
                client
                    .publish(DESTINATION, QoS::AtLeastOnce, false, payload)
                    .await?;
            }
            tokio::time::sleep(TICK).await;
        }
        while under_way.number() > 0 && !ledger.is_over() {
            tokio::time::sleep(TICK).await;
        }
        Ok::<_, Failure>(())
    };
    let speak = async {
        loop {
            match events.poll().await {
                Ok(Event::Outgoing(Outgoing::Publish(packet))) => under_way.went(packet, ledger),
                Ok(Event::Incoming(Packet::PubAck(ack))) => under_way.acknowledged(ack.pkid, ledger),
                Ok(_) => {}
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    };
    // Not cut off before the feed has ended: a packet of which half was written would be forgotten.
    tokio::select! { fed = feed => fed?, () = speak => {} }
    match under_way.number() {
        0 => Ok(()),
        open => Err(format!("{open} messages were never acknowledged").into()),
    }
}

/// Consumes until the ledger is over; the client acknowledges by itself.
pub(crate) async fn consume(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let (client, mut events) = client("till", from);
    while !ledger.is_over() {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                client.subscribe(DESTINATION, QoS::AtLeastOnce).await?;
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => ledger.listens(),
            Ok(Event::Incoming(Packet::Publish(message))) => ledger.came(&message.payload, message.dup),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
    Ok(())
}
