//! NATS with `JetStream` behind the agent; nats-py, async-nats and bare sockets before it.
//!
//! In: messages of core and `JetStream`, requests; kills; lines that are wrong. Out: what clients saw, beside what they see
//! without an agent, and the spans.
//! Left out on purpose: each form of a line, see `src/queues/nats/tests.rs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_stream::StreamExt as _;

use crate::brokers::{AgentProcess, Broker, before, nothing_is_lost, program, python, spans};
use crate::support::{Collector, Seen, read_until, soon, until_metric};

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A server that keeps its streams across restarts; `more` are lines of its configuration.
pub(crate) async fn nats_server(more: &str) -> Broker {
    Broker::start(|dir, port| command(dir, port, more)).await
}

fn command(dir: &Path, port: u16, more: &str) -> Command {
    let file = dir.join("nats.conf");
    let store = dir.join("streams");
    let lines = format!(
        "listen: '127.0.0.1:{port}'\njetstream {{ store_dir: '{}' }}\n{more}\n",
        store.display()
    );
    std::fs::write(&file, lines).expect("a configuration");
    let mut command = program("nats-server", dir);
    command.arg("-c").arg(file);
    command
}

/// What nats-py's clients got from each other.
async fn exchange(port: u16) -> Value {
    let port = port.to_string();
    let told = python("nats_peer.py", &["exchange", &port, &port]).await;
    serde_json::from_str(&told).expect("an object")
}

/// Takes what was added from behind the message's own headers; the span that it names.
fn take_added(message: &mut Value) -> String {
    let headers = message["headers"].as_array_mut().expect("a list");
    let is_own =
        |pair: &&Value| pair[0] != "traceparent" && pair[0] != "x-correlation-id" && pair[0] != "tracestate";
    let own = headers.iter().take_while(is_own).count();
    let added = headers.split_off(own);
    let parent = added.iter().find(|pair| pair[0] == "traceparent");
    let parent = parent.unwrap_or_else(|| panic!("no context in {message}"));
    assert!(
        added.iter().any(|pair| pair[0] == "x-correlation-id"),
        "{added:?}"
    );
    parent[1].as_str().expect("text").to_owned()
}

fn told<'a>(seen: &'a Seen, keys: &[&str]) -> Vec<&'a str> {
    keys.iter().map(|key| seen.get(key).unwrap_or("-")).collect()
}

#[tokio::test]
async fn messages_arrive_as_they_were_but_for_context_and_are_one_trace_each() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = before("nats", broker.address(), "context: both", &collector).await;
    let mut with = exchange(agent.queue_addrs[0].port()).await;
    let mut parents = Vec::new();
    for kind in ["core", "stream"] {
        let messages = with[kind].as_array_mut().expect("a list");
        parents.extend(messages.iter_mut().map(take_added));
    }
    let alone = nats_server("").await;
    assert_eq!(with, exchange(alone.port).await);
    assert_eq!(
        with["answers"],
        json!(["1.5", "nobody", [1, false], [2, false], [2, true]])
    );

    // Four messages, a request, one to nobody, and three to the stream, of which it took two.
    let sent = spans(&collector, 9, |seen| seen.span.kind == PRODUCER).await;
    let received = spans(&collector, 7, |seen| seen.span.kind == CONSUMER).await;
    assert_eq!((parents.len(), sent.len(), received.len()), (7, 9, 7));
    for parent in parents {
        let is_it = |seen: &&Seen| parent.starts_with(&format!("00-{}-{}-", seen.trace_id(), seen.span_id()));
        let producer = sent
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no span of {parent}"));
        let consumer = received.iter().find(|seen| seen.parent() == producer.span_id());
        let consumer = consumer.unwrap_or_else(|| panic!("nobody processed {parent}"));
        assert_eq!(consumer.trace_id(), producer.trace_id());
        let keys = [
            "messaging.destination.name",
            "messaging.message.body.size",
            "correlation.id",
        ];
        assert_eq!(told(consumer, &keys), told(producer, &keys));
    }
    let keys = [
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "messaging.consumer.group.name",
        "messaging.message.id",
        "tracemap.message.places",
        "server.address",
        "error.type",
    ];
    let of = |all: &[Seen], name: &str| {
        let named = all.iter().filter(|seen| seen.span.name == name);
        let mut told: Vec<_> = named.map(|seen| told(seen, &keys).join(" ")).collect();
        told.sort_unstable();
        told
    };
    let address = "127.0.0.1";
    let expected = [
        (
            &sent,
            "publish shop.orders.*",
            vec![format!("nats publish send - - - {address} -"); 4],
        ),
        (
            &received,
            "deliver shop.orders.*",
            vec![format!("nats deliver process tills - - {address} -"); 4],
        ),
        (
            &sent,
            "publish rates.get",
            vec![format!("nats publish send - - - {address} -")],
        ),
        (
            &received,
            "deliver rates.get",
            vec![format!("nats deliver process - - - {address} -")],
        ),
        (
            &sent,
            "publish nobody.there",
            vec![format!("nats publish send - - - {address} no_responders")],
        ),
        (
            &sent,
            "publish bills.new",
            vec![
                format!("nats publish send - - nats:BILLS@1 {address} -"),
                // The stream had it before.
                format!("nats publish send - seven - {address} -"),
                format!("nats publish send - seven nats:BILLS@2 {address} -"),
            ],
        ),
        (
            &received,
            "deliver bills.new",
            vec![
                format!("nats deliver process till - - {address} -"),
                format!("nats deliver process till seven - {address} -"),
            ],
        ),
    ];
    for (all, name, told) in expected {
        assert_eq!(of(all, name), told, "{name}");
    }
}

#[tokio::test]
async fn messages_that_are_joined_by_their_sequence_stay_as_they_are() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = before("nats", broker.address(), "context: join", &collector).await;
    let alone = nats_server("").await;
    let with = exchange(agent.queue_addrs[0].port()).await;
    assert_eq!(with, exchange(alone.port).await);
    let places = async |name: &str, number: usize| {
        let all = spans(&collector, number, |seen| seen.span.name == name).await;
        let mut places: Vec<_> = all
            .iter()
            .map(|seen| told(seen, &["tracemap.message.places"]).concat())
            .collect();
        places.sort_unstable();
        places
    };
    assert_eq!(
        places("publish bills.new", 3).await,
        ["-", "nats:BILLS@1", "nats:BILLS@2"]
    );
    assert_eq!(
        places("deliver bills.new", 2).await,
        ["nats:BILLS@1", "nats:BILLS@2"]
    );
}

/// A client made with async-nats.
async fn client(address: SocketAddr) -> async_nats::Client {
    soon("a connection", async_nats::connect(format!("nats://{address}")))
        .await
        .expect("a connection")
}

#[tokio::test]
async fn what_a_consumer_sends_while_it_works_belongs_to_the_message() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    // Of different agents: whom a service calls without a request as well, its requests do not explain.
    let of_cart = before("nats", broker.address(), "", &collector).await;
    let of_till = before("nats", broker.address(), "", &collector).await;
    let cart = jetstream::new(client(of_cart.queue_addrs[0]).await);
    let till = client(of_till.queue_addrs[0]).await;
    let orders = jetstream::stream::Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        ..Default::default()
    };
    cart.create_stream(orders).await.expect("a stream");
    let stored = cart
        .publish("orders.42", "x".into())
        .await
        .expect("room for it")
        .await
        .expect("stored");
    assert_eq!(stored.sequence, 1);

    let consumer = pull::Config {
        durable_name: Some("till".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let stream = jetstream::new(till.clone())
        .get_stream("ORDERS")
        .await
        .expect("the stream");
    let consumer = stream.create_consumer(consumer).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let order = soon("the order", messages.next())
        .await
        .expect("a message")
        .expect("a message");
    till.publish("bills", "x".into()).await.expect("room for it");
    order.ack().await.expect("room for it");
    till.publish("rests", "x".into()).await.expect("room for it");
    till.flush().await.expect("a connection");

    let named = |name: &'static str| move |seen: &Seen| seen.span.name == name;
    let sent = collector.span(named("publish orders.*")).await;
    let work = collector.span(named("deliver orders.*")).await;
    let bill = collector.span(named("publish bills")).await;
    let rest = collector.span(named("publish rests")).await;
    assert_eq!((work.parent(), bill.parent()), (sent.span_id(), work.span_id()));
    assert_eq!(
        (work.trace_id(), bill.trace_id()),
        (sent.trace_id(), sent.trace_id())
    );
    assert_eq!(
        (rest.parent(), rest.trace_id() == work.trace_id()),
        (String::new(), false)
    );
    let headers = order
        .headers
        .as_ref()
        .and_then(|headers| headers.get("traceparent"));
    assert!(headers.is_some_and(|parent| parent.as_str().contains(&sent.span_id())));
}

/// Of how many messages a span is.
fn messages(seen: &Seen) -> usize {
    let count = seen.get("messaging.batch.message_count");
    count.map_or(1, |count| count.parse().expect("a number"))
}

/// Waits for the spans of that name until they are of so many messages together.
async fn spans_of(collector: &Collector, name: &str, number: usize) -> Vec<Seen> {
    let found = async {
        loop {
            let mut found = collector.all();
            found.retain(|seen| seen.span.name == name);
            if found.iter().map(messages).sum::<usize>() >= number {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{number} messages in spans"), found).await
}

/// How many of the messages in `delivered` bear the context of each span.
fn bearers(delivered: &str) -> HashMap<(String, String), usize> {
    let mut bearers = HashMap::new();
    for line in delivered.lines() {
        if let Some(parent) = line.strip_prefix("traceparent: 00-") {
            let (trace, rest) = parent.split_once('-').expect("a context");
            let (span, _) = rest.split_once('-').expect("a context");
            *bearers.entry((trace.to_owned(), span.to_owned())).or_default() += 1;
        }
    }
    bearers
}

const PIPELINED: usize = 500;

#[tokio::test]
async fn every_message_of_a_pipeline_bears_the_context_of_a_span_and_is_counted_in_it() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = before("nats", broker.address(), "", &collector).await;
    let messages_of = |number| format!("PUB orders.{number} 200\r\n{}\r\n", "x".repeat(200));
    let said: String = (0..PIPELINED).map(messages_of).collect();
    let got = delivered(&broker, agent.queue_addrs[0], CONNECT, said.as_bytes()).await;
    let bearers = bearers(&got);
    assert_eq!(bearers.values().sum::<usize>(), PIPELINED, "each bears one");

    let sent = spans_of(&collector, "publish orders.*", PIPELINED).await;
    let counted = sent
        .iter()
        .map(|seen| ((seen.trace_id(), seen.span_id()), messages(seen)));
    assert_eq!(counted.collect::<HashMap<_, _>>(), bearers);
    assert!(sent.len() < PIPELINED / 10, "{} spans", sent.len());
    let sized = |seen: &&Seen| seen.get("messaging.message.body.size").is_some();
    assert!(sent.iter().filter(sized).all(|seen| messages(seen) == 1));
    assert!(sent.iter().all(|seen| seen.span.kind == PRODUCER));

    let total = PIPELINED as f64;
    for series in [
        "tracemap_agent_queue_messages_total{direction=\"sent\",outcome=\"ok\",protocol=\"nats\"}".to_owned(),
        "tracemap_agent_correlation_total{method=\"none\"}".to_owned(),
        format!(
            "tracemap_agent_edge_context_total{{direction=\"outbound\",format=\"none\",peer=\"{}\",result=\"absent\"}}",
            broker.address()
        ),
    ] {
        until_metric(&agent, &series, total).await;
    }
}

#[tokio::test]
async fn what_a_client_publishes_without_waiting_is_counted_at_both_ends_and_is_in_one_trace_each() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let of_cart = before("nats", broker.address(), "", &collector).await;
    let of_till = before("nats", broker.address(), "", &collector).await;
    let cart = client(of_cart.queue_addrs[0]).await;
    let till = client(of_till.queue_addrs[0]).await;
    let mut bills = till.subscribe("bills.*").await.expect("room for it");
    // The broker answers in order, so it knows of the subscription once it has said that nobody listens there.
    assert!(till.request("nobody", "".into()).await.is_err());
    for number in 0..PIPELINED {
        let subject = format!("bills.{number}");
        cart.publish(subject, "x".into()).await.expect("room for it");
    }
    cart.flush().await.expect("a connection");
    for _ in 0..PIPELINED {
        soon("a bill", bills.next()).await.expect("a message");
    }
    let sent = spans_of(&collector, "publish bills.*", PIPELINED).await;
    let received = spans_of(&collector, "deliver bills.*", PIPELINED).await;
    assert!(sent.len() < PIPELINED, "none of them share a span");
    assert!(received.iter().all(|seen| seen.span.kind == CONSUMER));
    let mut arrived: HashMap<(String, String), usize> = HashMap::new();
    for seen in &received {
        *arrived.entry((seen.trace_id(), seen.parent())).or_default() += messages(seen);
    }
    let went = sent
        .iter()
        .map(|seen| ((seen.trace_id(), seen.span_id()), messages(seen)));
    assert_eq!(arrived, went.collect());
    let series =
        "tracemap_agent_queue_messages_total{direction=\"received\",outcome=\"ok\",protocol=\"nats\"}";
    until_metric(&of_till, series, PIPELINED as f64).await;
    let series = "tracemap_agent_edge_context_total{direction=\"inbound\",format=\"tracecontext\",peer=\"cart\",result=\"carried\"}";
    until_metric(&of_till, series, PIPELINED as f64).await;
}

/// Everything that a subscriber of the server itself is sent when `said` is said to `address`.
async fn delivered(broker: &Broker, address: SocketAddr, connect: &str, said: &[u8]) -> String {
    let mut subscriber = TcpStream::connect(broker.address()).await.expect("a connection");
    let hello = format!("{CONNECT}SUB > 1\r\nPING\r\n");
    subscriber
        .write_all(hello.as_bytes())
        .await
        .expect("a connection");
    read_until(&mut subscriber, "PONG\r\n").await;
    let mut client = TcpStream::connect(address).await.expect("a connection");
    read_until(&mut client, "\r\n").await;
    client.write_all(connect.as_bytes()).await.expect("a connection");
    client.write_all(said).await.expect("a connection");
    client.write_all(b"PING\r\n").await.expect("a connection");
    read_until(&mut client, "PONG\r\n").await;
    subscriber.write_all(b"PING\r\n").await.expect("a connection");
    read_until(&mut subscriber, "PONG\r\n").await
}

const CONNECT: &str = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";

#[tokio::test]
async fn what_already_bears_context_and_clients_without_headers_are_left_alone() {
    let (broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = before("nats", broker.address(), "", &collector).await;
    let address = agent.queue_addrs[0];
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let block = format!("NATS/1.0 7 x\r\nA:1\r\nTraceparent: {parent}\r\na:  2\r\n\r\n");
    let said = format!(
        "HPUB a.b {} {}\r\n{block}\0\r\n!\r\n",
        block.len(),
        block.len() + 4
    );
    let expected = said.replace("HPUB a.b", "HMSG a.b 1");
    assert_eq!(
        delivered(&broker, address, CONNECT, said.as_bytes()).await,
        expected + "PONG\r\n"
    );
    let said = "pub\ta.b  4\r\n\0\r\n!\r\n";
    let connect = "CONNECT {\"verbose\":false}\r\n";
    let expected = "MSG a.b 1 4\r\n\0\r\n!\r\nPONG\r\n";
    assert_eq!(
        delivered(&broker, address, connect, said.as_bytes()).await,
        expected
    );

    let sent = spans(&collector, 2, |seen| seen.span.name == "publish a.b").await;
    assert!(
        sent.iter().all(|seen| seen.span.kind == CLIENT),
        "nothing was added"
    );
    let linked = sent
        .iter()
        .find(|seen| !seen.span.links.is_empty())
        .expect("a link");
    assert!(parent.contains(&crate::support::hex(&linked.span.links[0].span_id)));
}

#[tokio::test]
async fn a_message_that_fits_only_without_context_goes_without() {
    let (broker, collector) = (nats_server("max_payload: 2000").await, Collector::start().await);
    let agent = before("nats", broker.address(), "", &collector).await;
    let said = |size: usize| {
        let large = |subject: &str| format!("PUB {subject} {size}\r\n{}\r\n", "x".repeat(size));
        [
            "PUB a 1\r\n!\r\n",
            &large("full"),
            "PUB some 1\r\n!\r\n",
            &large("some"),
        ]
        .concat()
    };
    let got = delivered(&broker, agent.queue_addrs[0], CONNECT, said(1_950).as_bytes()).await;
    assert!(
        got.starts_with("HMSG a 1 ") && got.contains("\r\nMSG full 1 1950\r\n"),
        "{got}"
    );
    let full = collector.span(|seen| seen.span.name == "publish full").await;
    assert_eq!(full.span.kind, CLIENT);
    // Of two that share a span one bears its context.
    let some = spans_of(&collector, "publish some", 2).await;
    assert_eq!((some.len(), some[0].span.kind), (1, PRODUCER));
    let series = "tracemap_agent_context_skipped_total{format=\"none\",reason=\"headers_full\"}";
    until_metric(&agent, series, 2.0).await;
}

/// All that comes back to a client that says `bytes` and no more, without what differs between connections.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = read_until(&mut stream, "\r\n").await;
    assert!(answer.starts_with("INFO "), "{answer}");
    answer.clear();
    let mut rest = Vec::new();
    let speak = async {
        // It may have been cut off before it had said all.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut rest).await;
    };
    soon("the end of the connection", speak).await;
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn what_is_wrong_ends_as_with_the_server_alone() {
    let (broker, collector) = (nats_server("max_payload: 2000").await, Collector::start().await);
    let agent = before("nats", broker.address(), "", &collector).await;
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "PUB\r\n",
        "PUB a\r\n",
        "PUB a b c 1\r\n!\r\n",
        "PUB a x\r\n",
        "PUB a -1\r\n",
        "PUB a 12345678901\r\n",
        "PUB a 1\r\n!!\r\n",
        "PUB a 1\r\n!\n",
        "PUB a 3000\r\n",
        "HPUB a 5 3\r\n",
        "HPUB a 3000 3000\r\n",
        "HPUB a 4 5\r\noops!\r\nPING\r\n",
        "MSG a 1 1\r\n!\r\n",
        "SUB\r\n",
        "NONSENSE\r\n",
        "\r\n",
        "PING\nPONG\r\nPING\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        let said = format!("{CONNECT}{wrong}");
        let alone = answer(broker.address(), said.as_bytes()).await;
        assert_eq!(
            answer(agent.queue_addrs[0], said.as_bytes()).await,
            alone,
            "{wrong}"
        );
    }
    for first in [
        "\u{16}\u{3}\u{1}\0\u{5}hello",
        "CONNECT nonsense\r\n",
        "PUB a 1\r\n!\r\nPING\r\n",
    ] {
        let alone = answer(broker.address(), first.as_bytes()).await;
        assert_eq!(
            answer(agent.queue_addrs[0], first.as_bytes()).await,
            alone,
            "{first}"
        );
    }
    let whole = format!("{CONNECT}HPUB a.b 20 21\r\nNATS/1.0\r\nA: 1\r\n\r\n\r\n!\r\nPING\r\n");
    for len in 0..whole.len() {
        let alone = answer(broker.address(), &whole.as_bytes()[..len]).await;
        let said = &whole.as_bytes()[..len];
        assert_eq!(
            answer(agent.queue_addrs[0], said).await,
            alone,
            "cut after {len} bytes"
        );
    }
}

#[tokio::test]
async fn no_stored_message_is_lost_or_doubled_where_the_agent_is_killed() {
    let broker = nats_server("").await;
    let mut agent = AgentProcess::start("nats", broker.address()).await;
    let (port, agent) = (agent.queue.port(), &mut agent);
    nothing_is_lost("nats_peer.py", port, broker.port, async move |progress| {
        for _ in 0..3 {
            progress.goes_on_by(100).await;
            agent.restart().await;
        }
        progress.goes_on_by(100).await;
    })
    .await;
}

#[tokio::test]
async fn no_stored_message_is_lost_or_doubled_where_the_server_is_killed() {
    let (mut broker, collector) = (nats_server("").await, Collector::start().await);
    let agent = before("nats", broker.address(), "", &collector).await;
    let (port, direct, broker) = (agent.queue_addrs[0].port(), broker.port, &mut broker);
    nothing_is_lost("nats_peer.py", port, direct, async move |progress| {
        for _ in 0..2 {
            progress.goes_on_by(100).await;
            broker.restart(|dir, port| command(dir, port, "")).await;
        }
        progress.goes_on_by(100).await;
    })
    .await;
}
