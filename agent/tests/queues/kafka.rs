//! A Kafka cluster of three nodes behind the agent, and clients that know one address of it.
//!
//! In: Apache Kafka and its Java client from Maven Central, librdkafka's client and kafka-python. Out: every message once and as
//! it was sent but for its context, a span for each, and clients that stay on the agent.
//! Left out on purpose: making Kafka ready to be run, see `kafka/cluster.rs`.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};

use agent::Running;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::cluster::{Cluster, java};
use crate::brokers::{before, free_port, python, spans};
use crate::support::{Collector, Seen, hex, soon};

const PEER: &str = "kafka_peer.py";
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

/// Trace and span of the `traceparent`s that consumers saw.
fn seen(consumed: &[Value]) -> BTreeSet<String> {
    let of = |message: &Value| {
        message["context"]["traceparent"]
            .as_str()?
            .get(3..52)
            .map(str::to_owned)
    };
    consumed.iter().filter_map(of).collect()
}

fn context(span: &Seen) -> String {
    format!("{}-{}", span.trace_id(), span.span_id())
}

/// The spans that those of `polls` link to.
fn linked(polls: &[Seen]) -> BTreeSet<String> {
    let links = polls.iter().flat_map(|poll| &poll.span.links);
    links
        .map(|link| format!("{}-{}", hex(&link.trace_id), hex(&link.span_id)))
        .collect()
}

fn ports(spans: &[Seen]) -> BTreeSet<&str> {
    spans.iter().filter_map(|seen| seen.get("server.port")).collect()
}

/// As many polls as tell of `number` messages.
async fn polled(collector: &Collector, number: usize) -> Vec<Seen> {
    let messages = |polls: &[Seen]| -> usize {
        let of = |poll: &Seen| {
            poll.get("messaging.batch.message_count")
                .map_or(1, |count| count.parse().expect("a number"))
        };
        polls.iter().map(of).sum()
    };
    let enough = async {
        loop {
            let polls = spans(collector, 1, is("poll")).await;
            if messages(&polls) >= number {
                assert_eq!(messages(&polls), number);
                return polls;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("all messages in polls", enough).await
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
    let sent = spans(&collector, 300, is("send")).await;
    assert_eq!(sent.len(), 300);
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
    let contexts: BTreeSet<_> = sent.iter().map(context).collect();
    assert_eq!(
        seen(&consumed),
        contexts,
        "each message bears the context of its own span"
    );
    let polls = polled(&collector, 300).await;
    assert_eq!(linked(&polls), contexts);
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
    let sent = spans(&collector, 120, is("send")).await;
    assert_eq!(seen(&consumed), sent.iter().map(context).collect());
    assert_eq!(ports(&sent).len(), NODES);
    polled(&collector, 120).await;
    // Without acknowledgements nothing answers, and what follows on the connection is still understood.
    peer("confluent", &agent, &["produce", "none", "none", "30", "0"]).await;
    let consumed = peer("python", &agent, &["consume", "90", "others", "none"]).await;
    assert_eq!(consumed.len(), 90);
    assert_eq!(spans(&collector, 150, is("send")).await.len(), 150);
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
    let sent = spans(&collector, 150, is("send")).await;
    assert_eq!((sent.len(), ports(&sent).len()), (150, NODES));
    let polls = polled(&collector, 120).await;
    assert!(linked(&polls).is_subset(&sent.iter().map(context).collect()));
    agent.stop().await;
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
    assert_eq!(spans(&collector, 120, is("send")).await.len(), 120);
    assert_eq!(linked(&polled(&collector, 60).await), seen(&consumed));
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
    let told = |spans: &[Seen]| -> BTreeSet<String> {
        let of = |seen: &Seen| seen.get("tracemap.message.places").unwrap_or_default().to_owned();
        spans
            .iter()
            .map(of)
            .flat_map(|places| places.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(told(&spans(&collector, 60, is("send")).await), places);
    assert_eq!(told(&polled(&collector, 60).await), places);
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
