//! A client of Kafka in Rust, made with rdkafka: an idempotent producer, and a consumer of a group.
//!
//! In: the address of a broker, what to send. Out: where each message lies, and each as it came.
//! Left out on purpose: judging them; the tests do that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use crate::support::PATIENCE;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A header; a value may be null.
pub(crate) type Pair = (String, Option<Vec<u8>>);

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Came {
    /// Partition and offset.
    pub(crate) at: (i32, i64),
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<Pair>,
}

/// A message to send.
pub(crate) struct Sent {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<Pair>,
}

/// Where messages lie, in the order in which that was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(i32, i64)>>>);

impl ClientContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().expect("it is delivered");
        let mut all = self.0.lock().expect("nobody panics with it");
        all.push((message.partition(), message.offset()));
    }
}

fn config(broker: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.to_string());
    config
}

/// Sends messages in order, idempotently; where each lies.
pub(crate) fn produce(broker: SocketAddr, topic: &str, codec: &str, messages: &[Sent]) -> Vec<(i32, i64)> {
    let told = Told::default();
    let producer: BaseProducer<Told> = config(broker)
        .set("client.id", "rdkafka")
        .set("enable.idempotence", "true")
        .set("compression.type", codec)
        .set("linger.ms", "5")
        .create_with_context(told.clone())
        .expect("a producer");
    for message in messages {
        let mut headers = OwnedHeaders::new();
        for (key, value) in &message.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        let mut record = BaseRecord::to(topic)
            .key(&message.key)
            .headers(headers)
            .partition(0);
        record.payload = message.payload.as_ref();
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("room for it");
    }
    producer.flush(PATIENCE).expect("all are delivered");
    std::mem::take(&mut told.0.lock().expect("nobody panics with it"))
}

/// The first `number` messages of a topic, for a group of their own.
pub(crate) fn consume(broker: SocketAddr, topic: &str, number: usize) -> Vec<Came> {
    let consumer: BaseConsumer = config(broker)
        .set("group.id", format!("tills-{number}-of-{topic}"))
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let (until, mut all) = (Instant::now() + PATIENCE, Vec::new());
    while all.len() < number {
        assert!(Instant::now() < until, "{} of {number} messages came", all.len());
        // It tells of coordinators that are not there yet, and finds them.
        let Some(Ok(message)) = consumer.poll(LOOK_EVERY) else {
            continue;
        };
        let headers = message.headers().map_or(Vec::new(), |headers| {
            let owned = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
            headers.iter().map(owned).collect()
        });
        all.push(Came {
            at: (message.partition(), message.offset()),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
        });
    }
    all
}
