//! The key `queues`: brokers that a workload's clients reach through the agent.
//!
//! In: the keys of one listener. Out: typed values with their defaults.
//! Left out on purpose: what is wrong with them together, see `queues/check.rs`.

use ::config::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ClientTlsConfig;
use crate::listen::ListenAddr;

/// A broker, and where the workload's clients connect in its place.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// What the broker speaks.
    pub protocol: QueueProtocol,
    /// Where clients connect; port 0 takes a free one. Other hosts reach it only if an address of this host, or `0.0.0.0`,
    /// is written here.
    pub listen: ListenAddr,
    /// `host:port` of the broker. Of a Kafka cluster any one of its brokers: clients are told of the others at further ports of
    /// `listen`'s address.
    pub upstream: String,
    /// TLS towards the broker; clients speak to the agent without. Default: none.
    #[serde(default)]
    pub upstream_tls: Option<ClientTlsConfig>,
    /// How a message is followed to its consumer. Default `inject`.
    #[serde(default)]
    pub context: QueueContext,
    /// Kafka: the first of the ports at which clients find the brokers that they are told of; each takes the next one that is
    /// free. Default: any free ports.
    #[serde(default)]
    pub broker_ports: Option<u16>,
    /// The largest message, or for Kafka record batch, that the broker takes: what would be larger with context goes without.
    /// Default `1MiB`, as most brokers have it; NATS and MQTT 5 brokers say theirs, which counts then.
    #[serde(default = "default_max_message")]
    pub max_message: ByteSize,
    /// Redis: streams to whose entries fields may be added, which applications see: `["orders", "shop:*"]`, with `*` for any
    /// characters and `?` for one. Default `[]`: none, so that entries are joined by their ids.
    #[serde(default)]
    pub inject_streams: Vec<String>,
}

fn default_max_message() -> ByteSize {
    ByteSize(1 << 20)
}

/// A protocol of brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueProtocol {
    /// Kafka; context stands in record headers.
    Kafka,
    /// AMQP 0-9-1, which `RabbitMQ` speaks; context stands in the table `headers`.
    Amqp,
    /// NATS, core and `JetStream`; context stands in headers, where client and server agree on them.
    Nats,
    /// Redis Streams; context stands in fields of an entry, which applications see, so only where `inject_streams` says so.
    Redis,
    /// MQTT 5, where context stands in user properties; in MQTT 3.1.1 messages have no place for it.
    Mqtt,
}

/// How a message is followed from who sends it to who receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueContext {
    /// By trace context that is added to its metadata, unless it bears some.
    #[default]
    Inject,
    /// By the name that the broker gives it (Kafka's offset, the id of a Redis entry, `JetStream`'s sequence), which both
    /// sides report and the collector joins. Messages stay as they are.
    Join,
    /// By both.
    Both,
}

impl QueueProtocol {
    /// As it is written in the configuration, and on `/metrics`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Amqp => "amqp",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
        }
    }

    /// `messaging.system`.
    pub fn system(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Amqp => "rabbitmq",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
        }
    }

    /// The port that its brokers listen at.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Kafka => 9092,
            Self::Amqp => 5672,
            Self::Nats => 4222,
            Self::Redis => 6379,
            Self::Mqtt => 1883,
        }
    }
}
