//! Five brokers with their clients, as the proofs of the agent's queues use them.
//!
//! In: a protocol, and where its clients connect. Out: numbered messages from a publisher to a consumer, each of which
//! connects again by itself for as long as the [`Ledger`](ledger::Ledger) asks for messages.
//! Left out on purpose: agents; to a client one is an address.

pub(crate) mod amqp;
pub(crate) mod broker;
pub(crate) mod kafka;
pub(crate) mod ledger;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod publisher;
pub(crate) mod redis;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Failure;
use ledger::Ledger;

/// What messages go to, or are read from: a topic, queue, subject or stream.
const DESTINATION: &str = "numbers";
/// Longer than one answer takes; a client that waited so long connects anew.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How long a client waits for a message before it looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A protocol that the agent stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Kafka,
    Amqp,
    Nats,
    Redis,
    Mqtt,
}

impl Protocol {
    /// All that the agent knows.
    pub(crate) const ALL: [Self; 5] = [Self::Kafka, Self::Amqp, Self::Nats, Self::Redis, Self::Mqtt];

    /// As the agent's configuration has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Amqp => "amqp",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
        }
    }

    /// Whether the broker keeps the consumer's place without writing every step of it down, so that a kill takes it back. Mosquitto
    /// does so too, and is not killed but ended.
    pub(crate) fn broker_keeps_the_place(self) -> bool {
        matches!(self, Self::Amqp | Self::Nats)
    }

    /// Its clients and what they promise, for a page.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Kafka => "rdkafka, idempotent, `acks=all`, lz4; once each",
            Self::Amqp => {
                "lapin, confirms, a durable queue; more where sent again, marked redelivered, or delivered before a broker was killed"
            }
            Self::Nats => {
                "async-nats, JetStream, `Nats-Msg-Id`; more where marked redelivered, or delivered before a broker was killed"
            }
            Self::Redis => "redis-rs, `XADD` and `XREAD`; more where sent again",
            Self::Mqtt => "rumqttc, `QoS` 1, session kept; more where sent again or marked `DUP`",
        }
    }

    /// Sends the ledger's messages to `to`, in a thread of its own, until it wants no more and all are acknowledged.
    pub(crate) fn publish(self, to: SocketAddr, ledger: &Arc<Ledger>) -> Client {
        let ledger = ledger.clone();
        std::thread::spawn(move || match self {
            Self::Kafka => kafka::publish(to, &ledger),
            Self::Amqp => alone(publisher::publish::<amqp::Publisher>(to, &ledger)),
            Self::Nats => alone(publisher::publish::<nats::Publisher>(to, &ledger)),
            Self::Redis => alone(publisher::publish::<redis::Publisher>(to, &ledger)),
            Self::Mqtt => alone(mqtt::publish(to, &ledger)),
        })
    }

    /// Tells the ledger of messages that came from `from`, in a thread of its own, until the ledger ends.
    pub(crate) fn consume(self, from: SocketAddr, ledger: &Arc<Ledger>) -> Client {
        let ledger = ledger.clone();
        std::thread::spawn(move || match self {
            Self::Kafka => kafka::consume(from, &ledger),
            Self::Amqp => alone(amqp::consume(from, &ledger)),
            Self::Nats => alone(nats::consume(from, &ledger)),
            Self::Redis => alone(redis::consume(from, &ledger)),
            Self::Mqtt => alone(mqtt::consume(from, &ledger)),
        })
    }
}

/// A client under way.
pub(crate) type Client = JoinHandle<Result<(), Failure>>;

/// What a client ended with.
pub(crate) fn ended(client: Client) -> Result<(), Failure> {
    client.join().map_err(|_| "a client panicked, see above")?
}

/// Runs a client to its end, on this thread.
fn alone(client: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(client)
}

/// An answer, if it comes in time.
async fn in_time<T, E: Into<Failure>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    answer.map_err(|_| "no answer in time")?.map_err(Into::into)
}
