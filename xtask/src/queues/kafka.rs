//! Clients of Kafka, made with rdkafka, and its jars.
//!
//! In: messages of the ledger. Out: what the broker acknowledged, and what it delivered; Kafka itself from Maven Central.
//! Left out on purpose: consumer groups, in which whoever was moved to another partition reads again; these read on from where
//! they were.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use serde_json::Value;

use super::ledger::Ledger;
use super::{DESTINATION, LOOK_EVERY};
use crate::{Failure, output, root};

/// Messages at once; the client keeps those that are not acknowledged.
const WINDOW: usize = 64;
const TICK: Duration = Duration::from_millis(1);
/// Longer than any broker is away.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longer than any message of a proof, in bytes.
const LARGEST: &str = "8388608";

fn config(to: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", to.to_string())
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "200")
        .set("message.max.bytes", LARGEST)
        .set("topic.metadata.refresh.interval.ms", "1000");
    config
}

/// Tells the ledger what was delivered.
struct Told(Arc<Ledger>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        if result.is_ok() {
            self.0.acknowledged(*number);
        }
    }
}

/// Publishes until the ledger wants no more and all are acknowledged.
pub(crate) fn publish(to: SocketAddr, ledger: &Arc<Ledger>) -> Result<(), Failure> {
    let producer: BaseProducer<Told> = config(to)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "2")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .create_with_context(Told(ledger.clone()))?;
    while let Some(numbers) = ledger.due(WINDOW) {
        for number in numbers {
            send(&producer, number, ledger)?;
        }
        producer.poll(TICK);
    }
    while producer.in_flight_count() > 0 && !ledger.is_over() {
        producer.poll(LOOK_EVERY);
    }
    match producer.in_flight_count() {
        0 => Ok(()),
        open => Err(format!("{open} messages were never acknowledged").into()),
    }
}

fn send(producer: &BaseProducer<Told>, number: u64, ledger: &Ledger) -> Result<(), Failure> {
    let payload = ledger.payload(number);
    let mut record =
        BaseRecord::<(), [u8], _>::with_opaque_to(DESTINATION, Box::new(number)).payload(&payload);
    loop {
        record = match producer.send(record) {
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if !ledger.is_over() => {
                back
            }
            sent => return sent.map_err(|(error, _)| error.into()),
        };
        producer.poll(LOOK_EVERY);
    }
}

/// Reads on until the ledger is over.
pub(crate) fn consume(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let consumer: BaseConsumer = config(from)
        .set("group.id", "till")
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(DESTINATION, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    while !ledger.is_over() {
        // It tells of leaders that it lost, and finds them again.
        if let Some(Ok(message)) = consumer.poll(LOOK_EVERY) {
            ledger.came(message.payload().unwrap_or_default(), false);
        }
    }
    Ok(())
}

/// The class path; fetched once below `target`, where the agent's tests have it too, and again when `pom.xml` changes.
pub(crate) fn jars() -> Result<String, Failure> {
    let pom = root().join("agent/tests/queues/kafka/pom.xml");
    let wanted = std::fs::read(&pom).map_err(|error| format!("cannot read `{}`: {error}", pom.display()))?;
    let dir = target()?.join("tmp/queues-kafka");
    let (jars, done) = (dir.join("jars"), dir.join("made-of"));
    if !std::fs::read(&done).is_ok_and(|before| before == wanted) {
        let to = format!("-DoutputDirectory={}", jars.display());
        let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
        let words = ["--batch-mode", "--quiet", "-DincludeScope=runtime", &to, plugin];
        output(Command::new("mvn").arg("--file").arg(&pom).args(words))?;
        std::fs::write(done, wanted)?;
    }
    Ok(format!("{}/*", jars.display()))
}

fn target() -> Result<PathBuf, Failure> {
    let words = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let metadata = output(Command::new("cargo").current_dir(root()).args(words))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"].as_str();
    Ok(Path::new(target.ok_or("`cargo metadata` names no target directory")?).to_owned())
}
