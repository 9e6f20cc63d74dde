//! The brokers, each a process of its own in a directory of its own, in memory where it can be.
//!
//! In: a setup. Out: a broker that listens, and producers for it.
//! Left out on purpose: clusters. One node is the least that a broker can cost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::measure::Producer;
use crate::process::{Contestant, free_addresses};
use crate::{Failure, amqp, kafka, mqtt, nats, redis};

/// A broker with a way to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    KafkaPlain,
    KafkaLz4,
    KafkaJoin,
    Amqp,
    Nats,
    Redis,
    Mqtt,
}

impl Setup {
    pub(crate) const ALL: [Self; 7] = [
        Self::KafkaPlain,
        Self::KafkaLz4,
        Self::KafkaJoin,
        Self::Amqp,
        Self::Nats,
        Self::Redis,
        Self::Mqtt,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KafkaPlain => "kafka, plain, inject",
            Self::KafkaLz4 => "kafka, lz4, inject",
            Self::KafkaJoin => "kafka, plain, join",
            Self::Amqp => "amqp, inject",
            Self::Nats => "nats, inject",
            Self::Redis => "redis, join",
            Self::Mqtt => "mqtt 5, inject",
        }
    }

    pub(crate) fn is_kafka(self) -> bool {
        matches!(self, Self::KafkaPlain | Self::KafkaLz4 | Self::KafkaJoin)
    }

    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::KafkaPlain | Self::KafkaLz4 | Self::KafkaJoin => "kafka",
            Self::Amqp => "amqp",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
        }
    }

    pub(crate) fn context(self) -> &'static str {
        match self {
            Self::KafkaJoin | Self::Redis => "join",
            _ => "inject",
        }
    }

    pub(crate) fn producer(self, to: SocketAddr) -> Result<Box<dyn Producer>, Failure> {
        Ok(match self {
            Self::KafkaPlain | Self::KafkaJoin => Box::new(kafka::Kafka::connect(to, false)?),
            Self::KafkaLz4 => Box::new(kafka::Kafka::connect(to, true)?),
            Self::Amqp => Box::new(amqp::Amqp::connect(to)?),
            Self::Nats => Box::new(nats::Nats::connect(to)?),
            Self::Redis => Box::new(redis::Redis::connect(to)?),
            Self::Mqtt => Box::new(mqtt::Mqtt::connect(to)?),
        })
    }
}

/// A broker that runs until this is dropped.
pub(crate) struct Broker {
    pub(crate) process: Contestant,
    pub(crate) address: SocketAddr,
}

impl Broker {
    pub(crate) fn start(setup: Setup, jars: Option<&Path>, dir: &Path) -> Result<Self, Failure> {
        let [address, other, third] = free_addresses()?;
        let port = address.port().to_string();
        let mut command = match setup {
            Setup::KafkaPlain | Setup::KafkaLz4 | Setup::KafkaJoin => kafka::broker(
                jars.ok_or("Kafka needs `--kafka-jars`")?,
                dir,
                address.port(),
                other.port(),
            )?,
            Setup::Amqp => amqp::broker(dir, address.port(), other.port(), third.port()),
            Setup::Nats => with("nats-server", &["-a", "127.0.0.1", "-p", &port]),
            Setup::Redis => with(
                "redis-server",
                &["--bind", "127.0.0.1", "--port", &port, "--save", ""],
            ),
            Setup::Mqtt => {
                let config = dir.join("mosquitto.conf");
                std::fs::write(
                    &config,
                    format!(
                        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n"
                    ),
                )?;
                with("mosquitto", &["-c", &config.display().to_string()])
            }
        };
        command.current_dir(dir);
        let process = Contestant::start(&mut command, &dir.join("log"))?;
        Contestant::listening(setup.name(), address)?;
        Ok(Self { process, address })
    }
}

/// A program of the PATH, or of `/usr/sbin`, where Debian has some of them.
pub(crate) fn with(program: &str, args: &[&str]) -> Command {
    let sbin = Path::new("/usr/sbin").join(program);
    let mut command = if sbin.exists() {
        Command::new(sbin)
    } else {
        Command::new(program)
    };
    command.args(args);
    command
}
