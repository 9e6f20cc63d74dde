//! A Kafka cluster of three nodes behind the agent, and clients that know one address of it.
//!
//! In: Apache Kafka and its Java client from Maven Central, librdkafka's client for Python, rdkafka and kafka-python. Out: every message once and as
//! it was sent but for its context, a span for each batch, and clients that stay on the agent.
//! Left out on purpose: making Kafka ready to be run, see `kafka/cluster.rs`.

mod cluster;
mod rust;

use std::collections::{BTreeMap, BTreeSet};

use agent::Running;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::cluster::{Cluster, java};
use crate::brokers::{before, free_port, python, spans};
use crate::support::{Collector, Seen, attributes, hex, soon};

const PEER: &str = "kafka_peer.py";
const MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// Kafka's three brokers stand at three ports.
const NODES: usize = 3;

async fn peer(client: &str, agent: &Running, words: &[&str]) -> Vec<Value> {
    let address = agent.queue_addrs[0].to_string();
    let told = python(PEER, &[&[client, address.as_str()], words].concat()).await;
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
    told.lines().map(read).collect()
}

fn is(operation: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.get("messaging.operation.name") == Some(operation)
}

/// How often each message came, by topic and number. All of them are as they were sent.
fn times(consumed: &[Value]) -> BTreeMap<(String, u64), usize> {
    let mut out = BTreeMap::new();
    for message in consumed {
        assert_eq!(
            (&message["same"], &message["first"], &message["own"]),
            (&Value::Bool(true), &Value::Bool(true), &Value::Bool(true)),
            "{message}"
        );
        let topic = message["at"][0].as_str().expect("a topic").to_owned();
        *out.entry((topic, message["number"].as_u64().expect("a number")))
            .or_default() += 1;
    }
    out
}

fn once_each(topics: &[&str], number: u64) -> BTreeMap<(String, u64), usize> {
    let of = |topic: &&str| {
        let topic = (*topic).to_owned();
        (0..number).map(move |number| ((topic.clone(), number), 1))
    };
    topics.iter().flat_map(of).collect()
}

/// Trace and span of the `traceparent` that a consumer saw.
fn seen_by(message: &Value) -> Option<String> {
    let parent = message["context"]["traceparent"].as_str()?;
    parent.get(3..52).map(str::to_owned)
}

/// Those of all of them.
fn seen(consumed: &[Value]) -> BTreeSet<String> {
    consumed.iter().filter_map(seen_by).collect()
}

fn context(span: &Seen) -> String {
    format!("{}-{}", span.trace_id(), span.span_id())
}

/// The spans that those of `polls` link to, and of how many messages each is.
fn linked(polls: &[Seen]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for link in polls.iter().flat_map(|poll| &poll.span.links) {
        let count = attributes(&link.attributes)
            .remove(MESSAGE_COUNT)
            .map_or(1, |count| count.parse().expect("a number"));
        *out.entry(format!("{}-{}", hex(&link.trace_id), hex(&link.span_id)))
            .or_default() += count;
    }
    out
}

/// What the broker named.
fn named(span: &Seen) -> String {
    span.get("tracemap.message.places").expect("a place").to_owned()
}

fn ports(spans: &[Seen]) -> BTreeSet<&str> {
    spans.iter().filter_map(|seen| seen.get("server.port")).collect()
}

/// How many messages the spans are of.
fn messages<'a>(spans: impl IntoIterator<Item = &'a Seen>) -> usize {
    let of = |span: &Seen| {
        let count = span.get(MESSAGE_COUNT);
        count.map_or(1, |count| count.parse().expect("a number"))
    };
    spans.into_iter().map(of).sum()
}

/// As many spans of `operation` as tell of `number` messages.
async fn of(collector: &Collector, operation: &'static str, number: usize) -> Vec<Seen> {
    let enough = async {
        loop {
            let told = spans(collector, 1, is(operation)).await;
            if messages(&told) >= number {
                assert_eq!(messages(&told), number);
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("all messages in spans", enough).await
}

async fn polled(collector: &Collector, number: usize) -> Vec<Seen> {
    of(collector, "poll", number).await
}

async fn sent(collector: &Collector, number: usize) -> Vec<Seen> {
    of(collector, "send", number).await
}

/// How many messages bear the context of each span, as consumers saw it.
fn borne(consumed: &[Value]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for context in consumed.iter().filter_map(seen_by) {
        *out.entry(context).or_default() += 1;
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_as_they_were_sent_with_context_in_every_compression() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    let topics = ["none", "gzip", "snappy", "lz4", "zstd"];
    peer("confluent", &agent, &[&["create"], &topics[..]].concat()).await;
    for codec in topics {
        let produced = peer("confluent", &agent, &["produce", codec, codec, "60"]).await;
        assert_eq!(produced.len(), 60);
    }
    let sent = sent(&collector, 300).await;
    assert!(
        sent.len() < 150,
        "{} spans of 300 messages in batches",
        sent.len()
    );
    assert_eq!(
        ports(&sent).len(),
        NODES,
        "clients stay on the agent for every broker"
    );
    for span in &sent {
        assert_eq!((span.span.kind, span.status()), (4, 0), "{span:?}");
        assert_eq!(span.get("messaging.system"), Some("kafka"));
        assert_eq!(span.get("messaging.operation.type"), Some("send"));
        assert!(topics.contains(&span.get("messaging.destination.name").expect("a topic")));
        assert!(span.get("messaging.destination.partition.id").is_some());
        assert_eq!(span.get("messaging.client.id"), Some("confluent"));
    }
    let consumed = peer(
        "confluent",
        &agent,
        &[&["consume", "300", "readers"], &topics[..]].concat(),
    )
    .await;
    assert_eq!(times(&consumed), once_each(&topics, 60));
    let batches: BTreeMap<_, _> = sent
        .iter()
        .map(|span| (context(span), messages([span])))
        .collect();
    assert_eq!(
        borne(&consumed),
        batches,
        "each message bears the context of its batch's span"
    );
    let polls = polled(&collector, 300).await;
    assert_eq!(linked(&polls), batches);
    assert!(
        polls
            .iter()
            .all(|poll| poll.span.kind == 3 && poll.get("messaging.operation.type") == Some("receive"))
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_python_alone_speaks_through_the_agent() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    let topics = ["none", "gzip"];
    peer("python", &agent, &["create", "none", "gzip"]).await;
    for codec in topics {
        let produced = peer("python", &agent, &["produce", codec, codec, "60"]).await;
        assert_eq!(produced.len(), 60);
    }
    let consumed = peer("python", &agent, &["consume", "120", "readers", "none", "gzip"]).await;
    assert_eq!(times(&consumed), once_each(&topics, 60));
    let told = sent(&collector, 120).await;
    assert_eq!(seen(&consumed), told.iter().map(context).collect());
    assert_eq!(ports(&told).len(), NODES);
    polled(&collector, 120).await;
    // Without acknowledgements nothing answers, and what follows on the connection is still understood.
    peer("confluent", &agent, &["produce", "none", "none", "30", "0"]).await;
    let consumed = peer("python", &agent, &["consume", "90", "others", "none"]).await;
    assert_eq!(consumed.len(), 90);
    sent(&collector, 150).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_client_speaks_through_the_agent() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    let told = java("Peer.java", &[&agent.queue_addrs[0].to_string(), "90"]).await;
    let expected = "produced 90\ncommitted 30\nconsumed 120, with context 120, as sent 120\n";
    assert_eq!(told, expected);
    // Thirty more were sent in a transaction that was aborted.
    let sent = sent(&collector, 150).await;
    assert_eq!(ports(&sent).len(), NODES);
    let polls = polled(&collector, 120).await;
    let contexts: BTreeSet<_> = sent.iter().map(context).collect();
    assert!(linked(&polls).keys().all(|context| contexts.contains(context)));
    agent.stop().await;
}

/// Messages with keys that repeat, a null header, an empty value and a tombstone, and none that bears context.
fn orders(number: u32) -> Vec<rust::Sent> {
    let order = |number: u32| rust::Sent {
        key: number.to_string().into_bytes(),
        payload: match number % 5 {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(format!("\0order {number} ").repeat(10).into_bytes()),
        },
        headers: [("colour", Some("red")), ("number", None), ("colour", Some(""))]
            .into_iter()
            .take(number as usize % 4)
            .map(|(key, value)| (key.to_owned(), value.map(|value| value.as_bytes().to_vec())))
            .collect(),
    };
    (0..number).map(order).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_speaks_through_the_agent_idempotently_and_its_events_stay_as_they_are() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    let address = agent.queue_addrs[0];
    peer("confluent", &agent, &["create", "none", "lz4", "snappy"]).await;
    let mut contexts = BTreeSet::new();
    for topic in ["none", "lz4", "snappy"] {
        let exchange = move || {
            let produced = rust::produce(address, topic, topic, &orders(60));
            (produced, rust::consume(address, topic, 60))
        };
        let (produced, consumed) = tokio::task::spawn_blocking(exchange).await.expect("no panic");
        // In the order in which they were sent, each once.
        let places: Vec<_> = (0..60).map(|offset| (0, offset)).collect();
        assert_eq!(produced, places, "{topic}");
        for (order, came) in orders(60).iter().zip(&consumed) {
            assert_eq!(
                (Some(&order.key), &order.payload),
                (came.key.as_ref(), &came.payload)
            );
            let (own, added) = came.headers.split_at(order.headers.len());
            assert_eq!(own, order.headers, "{came:?}");
            let parent = added.iter().find(|(key, _)| key == "traceparent");
            let parent = parent.and_then(|(_, value)| value.as_deref());
            let parent = parent.and_then(|value| std::str::from_utf8(value).ok());
            contexts.insert(parent.expect("context")[3..52].to_owned());
        }
        let got: Vec<_> = consumed.iter().map(|came| came.at).collect();
        assert_eq!(got, places, "{topic}");
    }
    let sent = sent(&collector, 180).await;
    assert_eq!(contexts, sent.iter().map(context).collect());
    assert_eq!(sent[0].get("messaging.client.id"), Some("rdkafka"));
    let polls = polled(&collector, 180).await;
    assert_eq!(linked(&polls).values().sum::<usize>(), 180);
    events_stay_as_they_are(address, &collector).await;
    agent.stop().await;
}

/// A trace and a span, of which there are some that end with a digit each.
fn foreign(digit: usize) -> [String; 2] {
    [
        format!("0af7651916cd43dd8448eb211c80319{digit}"),
        format!("b7ad6b716920333{digit}"),
    ]
}

/// Events in binary and structured mode, and a message with B3: each is in the trace that it names, and is given no other.
async fn events_stay_as_they_are(address: std::net::SocketAddr, collector: &Collector) {
    let header = |key: &str, value: String| vec![(key.to_owned(), Some(value.into_bytes()))];
    let parent = |digit: usize| {
        let [trace, span] = foreign(digit);
        format!("00-{trace}-{span}-01")
    };
    let [trace, span] = foreign(3);
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"2\",\"traceparent\":\"{}\"}}",
        parent(2)
    );
    let messages = [
        (header("ce_traceparent", parent(1)), "an order".to_owned()),
        (
            header("content-type", "application/cloudevents+json".to_owned()),
            event,
        ),
        (header("b3", format!("{trace}-{span}-1")), "an order".to_owned()),
    ];
    let sent = messages.map(|(headers, payload)| rust::Sent {
        key: b"event".to_vec(),
        payload: Some(payload.into_bytes()),
        headers,
    });
    let exchange = move || {
        rust::produce(address, "none", "none", &sent);
        (sent, rust::consume(address, "none", 63))
    };
    let (sent, consumed) = tokio::task::spawn_blocking(exchange).await.expect("no panic");
    for (number, (event, came)) in sent.iter().zip(&consumed[60..]).enumerate() {
        assert_eq!(event.payload, came.payload);
        let (own, added) = came.headers.split_at(event.headers.len());
        assert_eq!(own, event.headers);
        let context = added
            .iter()
            .find(|(key, _)| key == "traceparent" || key.contains("b3"));
        assert_eq!(context, None, "{came:?}");
        let [trace, span] = foreign(number + 1);
        let in_it = |seen: &Seen| seen.trace_id() == trace && is("send")(seen);
        let told = &spans(collector, 1, in_it).await[0];
        let links: Vec<_> = told.span.links.iter().map(|link| hex(&link.span_id)).collect();
        assert_eq!((told.span.kind, links), (3, vec![span]), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_stay_whole_and_what_was_aborted_is_not_received() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    peer("confluent", &agent, &["create", "orders"]).await;
    let produced = peer("confluent", &agent, &["transactions", "orders"]).await;
    assert_eq!(
        produced.len(),
        120,
        "two transactions that were committed and two that were aborted"
    );
    let consumed = peer("confluent", &agent, &["consume", "60", "readers", "orders"]).await;
    let committed = (0..30)
        .chain(60..90)
        .map(|number| (("orders".to_owned(), number), 1))
        .collect();
    assert_eq!(times(&consumed), committed);
    sent(&collector, 120).await;
    assert_eq!(linked(&polled(&collector, 60).await), borne(&consumed));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_messages_stay_as_they_are_and_both_sides_name_the_same_places() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "context: join", &collector).await;
    peer("confluent", &agent, &["create", "orders"]).await;
    let produced = peer("confluent", &agent, &["produce", "orders", "lz4", "60"]).await;
    let consumed = peer("confluent", &agent, &["consume", "60", "readers", "orders"]).await;
    assert_eq!(times(&consumed), once_each(&["orders"], 60));
    assert!(
        consumed
            .iter()
            .all(|message| message["context"] == serde_json::json!({}))
    );
    let place = |at: &Value| format!("kafka:orders/{}@{}", at["produced"][0], at["produced"][1]);
    let places: BTreeSet<String> = produced.iter().map(place).collect();
    // A batch has the name of its first message, and who got it says how many of its messages came: `NAME+N`.
    let batches: BTreeMap<String, usize> = sent(&collector, 60)
        .await
        .iter()
        .map(|span| (named(span), messages([span])))
        .collect();
    assert!(batches.keys().all(|name| places.contains(name)), "{batches:?}");
    let mut got: BTreeMap<String, usize> = BTreeMap::new();
    for names in polled(&collector, 60).await.iter().map(named) {
        for name in names.split(' ') {
            let (name, times) = name.split_once('+').unwrap_or((name, "1"));
            *got.entry(name.to_owned()).or_default() += times.parse::<usize>().expect("a number");
        }
    }
    assert_eq!(got, batches);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_costs_no_message_and_doubles_none() {
    let mut cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    peer("confluent", &agent, &["create", "orders"]).await;
    let killed = async {
        spans(&collector, 100, is("send")).await;
        cluster.kill(2).await;
    };
    let (produced, ()) = tokio::join!(peer("confluent", &agent, &["slowly", "orders", "400"]), killed);
    assert_eq!(produced.len(), 400);
    let consumed = peer("confluent", &agent, &["consume", "400", "readers", "orders"]).await;
    assert_eq!(times(&consumed), once_each(&["orders"], 400));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_costs_no_message_and_doubles_none() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let start = async |listen: u16, brokers: u16| {
        crate::support::start(&format!(
            "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, outbound: {{ listen: '127.0.0.1:0' }},
               export: {{ endpoint: '{}', delay: 0s }},
               queues: [{{ protocol: kafka, listen: '127.0.0.1:{listen}', upstream: '{}', broker_ports: {brokers} }}] }}",
            collector.endpoint(),
            cluster.address()
        ))
        .await
    };
    let (listen, brokers) = (free_port(), free_port());
    let agent = start(listen, brokers).await;
    peer("confluent", &agent, &["create", "orders"]).await;
    let address = format!("127.0.0.1:{listen}");
    let words = ["confluent", address.as_str(), "slowly", "orders", "300"];
    let replaced = async {
        spans(&collector, 100, is("send")).await;
        agent.stop().await;
        start(listen, brokers).await
    };
    let (produced, agent) = tokio::join!(python(PEER, &words), replaced);
    assert_eq!(produced.lines().count(), 300);
    let consumed = peer("confluent", &agent, &["consume", "300", "readers", "orders"]).await;
    assert_eq!(times(&consumed), once_each(&["orders"], 300));
    agent.stop().await;
}

/// What comes back for `bytes` until the connection ends, or until nobody may say more on it.
async fn answered(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let read = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut answer).await
    };
    // A broker that does not like what it reads resets.
    let _ = soon("an end", read).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_client_says_ends_as_with_the_broker_alone() {
    let cluster = Cluster::start().await;
    let collector = Collector::start().await;
    let agent = before("kafka", cluster.address(), "", &collector).await;
    let versions = b"\0\0\0\x0b\0\x12\0\0\0\0\0\x05\0\x01x";
    let [whole, cut] = [versions.as_slice(), &versions[..9]];
    let unknown = b"\0\0\0\x0b\x01\x2c\0\0\0\0\0\x05\0\x01x";
    let oversized = b"\x7f\xff\xff\xf0\0\0\0\x09\0\0\0\x05\0\x01x";
    let negative = b"\xff\xff\xff\xf0\0\0\0\x09\0\0\0\x05\0\x01x";
    let produce = b"\0\0\0\x12\0\0\0\x09\0\0\0\x05\0\x01x\0\xff\xff\xff\xff\xff\xff";
    let says = [
        cut,
        unknown,
        oversized,
        negative,
        produce,
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ];
    for bytes in says {
        let alone = answered(cluster.address(), bytes).await;
        assert_eq!(answered(agent.queue_addrs[0], bytes).await, alone, "{bytes:?}");
    }
    let alone = answered(cluster.address(), whole).await;
    let through = answered(agent.queue_addrs[0], whole).await;
    assert_eq!(through.len(), alone.len(), "only versions differ");
    agent.stop().await;
}
