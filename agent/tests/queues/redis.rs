//! Redis Streams behind the agent; redis-py, redis-rs and bare sockets before it.
//!
//! In: entries alone, in pipelines and in transactions, in both versions of the protocol; kills; commands that are wrong.
//! Out: what clients saw, beside what they see without an agent, and the spans.
//! Left out on purpose: each form of a command and an answer, see `src/queues/redis/tests.rs`.

use std::net::SocketAddr;
use std::path::Path;

use redis::AsyncCommands as _;
use redis::streams::{StreamReadOptions, StreamReadReply};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::brokers::{AgentProcess, Broker, before, nothing_is_lost, program, python, spans};
use crate::support::{Collector, Seen, soon};

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A server that has written down what it acknowledged.
async fn redis_server() -> Broker {
    Broker::start(command).await
}

fn command(dir: &Path, port: u16) -> Command {
    let mut command = program("redis-server", dir);
    let port = port.to_string();
    let set = ["--bind", "127.0.0.1", "--port", &port, "--save", ""];
    command
        .args(set)
        .args(["--appendonly", "yes", "--appendfsync", "always"]);
    command
}

/// What redis-py got for what it asked.
async fn exchange(port: u16, version: &str) -> Value {
    let told = python("redis_peer.py", &["exchange", &port.to_string(), version]).await;
    serde_json::from_str(&told).expect("a list")
}

/// Takes what was added from the fields of every entry of a stream that may be changed; the spans that they name.
fn take_added(value: &mut Value, parents: &mut Vec<String>) {
    let Value::Array(items) = value else { return };
    let is_added = |item: &Value| {
        let name = item.get(0).and_then(Value::as_str);
        name.is_some_and(|name| ["traceparent", "tracestate", "x-correlation-id"].contains(&name))
    };
    items.retain(|item| {
        if is_added(item) && item[0] == "traceparent" {
            parents.push(item[1].as_str().unwrap_or_default().to_owned());
        }
        !is_added(item)
    });
    for item in items {
        take_added(item, parents);
    }
}

fn told(seen: &Seen, keys: &[&str]) -> String {
    let all: Vec<_> = keys.iter().map(|key| seen.get(key).unwrap_or("-")).collect();
    all.join(" ")
}

/// With their names, in their order.
fn named(all: &[Seen], keys: &[&str]) -> Vec<String> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|seen| seen.span.start_time_unix_nano);
    all.iter()
        .map(|seen| format!("{}: {}", seen.span.name, told(seen, keys)))
        .collect()
}

#[tokio::test]
async fn entries_arrive_as_they_were_but_for_context_and_are_told_in_both_versions() {
    for version in ["2", "3"] {
        let (broker, collector) = (redis_server().await, Collector::start().await);
        let keys = "context: both, inject_streams: ['orders:*']";
        let agent = before("redis", broker.address(), keys, &collector).await;
        let mut with = exchange(agent.queue_addrs[0].port(), version).await;
        let mut parents = Vec::new();
        take_added(&mut with, &mut parents);
        let alone = redis_server().await;
        assert_eq!(with, exchange(alone.port, version).await, "RESP {version}");

        let sent = spans(&collector, 10, |seen| {
            told(seen, &["messaging.operation.type"]) == "send"
        })
        .await;
        let keys = [
            "tracemap.message.places",
            "messaging.message.body.size",
            "error.type",
        ];
        let own = |number: u32| format!("xadd orders:*: redis:orders:7@{number}-1 4 -");
        let expected = [
            "xadd orders:*: redis:orders:7@1-1 9 -".to_owned(),
            own(2),
            "xadd private: redis:private@1-1 4 -".to_owned(),
            "xadd nothing: - 2 no_stream".to_owned(),
            "xadd large: - 2 WRONGTYPE".to_owned(),
        ];
        let expected: Vec<_> = expected.into_iter().chain((3..8).map(own)).collect();
        assert_eq!(named(&sent, &keys), expected, "RESP {version}");
        let is_known = |parent: &String| {
            let is_it =
                |seen: &Seen| parent.starts_with(&format!("00-{}-{}-", seen.trace_id(), seen.span_id()));
            sent.iter().any(is_it)
        };
        // Seven were read with XREAD, four for the group, two claimed.
        assert_eq!(parents.len(), 13, "RESP {version}");
        assert!(parents.iter().all(is_known), "{parents:?}");

        let received = spans(&collector, 7, |seen| {
            ["receive", "process"].contains(&told(seen, &["messaging.operation.type"]).as_str())
        })
        .await;
        let keys = [
            "messaging.operation.type",
            "messaging.consumer.group.name",
            "messaging.batch.message_count",
            "tracemap.message.places",
            "error.type",
        ];
        // What bears context is not looked for by its id.
        let expected = [
            "xread orders:*: receive - 7 - -".to_owned(),
            "xread private: receive - - redis:private@1-1 -".to_owned(),
            "xreadgroup orders:*: process tills - - -".to_owned(),
            "xreadgroup orders:*: receive tills 3 - -".to_owned(),
            "xreadgroup private: receive tills - redis:private@1-1 -".to_owned(),
            "xautoclaim orders:*: process tills - - -".to_owned(),
            "xclaim orders:*: process tills - - -".to_owned(),
        ];
        assert_eq!(named(&received, &keys), expected, "RESP {version}");
        let links: Vec<_> = received.iter().map(|seen| seen.span.links.len()).collect();
        assert_eq!(
            links.iter().sum::<usize>(),
            10,
            "each entry with context that was received is linked to"
        );
    }
}

#[tokio::test]
async fn what_a_consumer_adds_while_it_works_belongs_to_the_entry() {
    let (broker, collector) = (redis_server().await, Collector::start().await);
    let keys = "inject_streams: ['*']";
    // Of different agents: whom a service calls without a request as well, its requests do not explain.
    let of_cart = before("redis", broker.address(), keys, &collector).await;
    let of_till = before("redis", broker.address(), keys, &collector).await;
    let connected = async |address: SocketAddr| {
        let client = redis::Client::open(format!("redis://{address}/?protocol=resp3")).expect("an address");
        client
            .get_multiplexed_async_connection()
            .await
            .expect("a connection")
    };
    let mut cart = connected(of_cart.queue_addrs[0]).await;
    let mut till = connected(of_till.queue_addrs[0]).await;
    let () = till
        .xgroup_create_mkstream("orders", "tills", "0")
        .await
        .expect("a group");
    let id: String = cart.xadd("orders", "*", &[("a", "1")]).await.expect("an entry");
    let options = StreamReadOptions::default().group("tills", "till").count(1);
    let read: StreamReadReply = till
        .xread_options(&["orders"], &[">"], &options)
        .await
        .expect("an entry");
    let entry = &read.keys[0].ids[0];
    let _: String = till.xadd("bills", "*", &[("a", "1")]).await.expect("an entry");
    let _: u64 = till
        .xack("orders", "tills", &[&id])
        .await
        .expect("an acknowledgement");
    let _: String = till.xadd("rests", "*", &[("a", "1")]).await.expect("an entry");

    let named = |name: &'static str| move |seen: &Seen| seen.span.name == name;
    let sent = collector.span(named("xadd orders")).await;
    let work = collector.span(named("xreadgroup orders")).await;
    let bill = collector.span(named("xadd bills")).await;
    let rest = collector.span(named("xadd rests")).await;
    assert_eq!(
        [sent.span.kind, work.span.kind, bill.span.kind],
        [PRODUCER, CONSUMER, PRODUCER]
    );
    assert_eq!((work.parent(), bill.parent()), (sent.span_id(), work.span_id()));
    assert_eq!(
        (rest.parent(), rest.trace_id() == work.trace_id()),
        (String::new(), false)
    );
    let parent: String = entry.get("traceparent").expect("context");
    assert!(parent.contains(&sent.span_id()));
    assert_eq!(
        (entry.id.as_str(), entry.get::<String>("a").as_deref()),
        (id.as_str(), Some("1"))
    );
}

#[tokio::test]
async fn streams_that_nobody_named_stay_as_they_are() {
    let (broker, collector) = (redis_server().await, Collector::start().await);
    let agent = before(
        "redis",
        broker.address(),
        "context: both, inject_streams: ['x*']",
        &collector,
    )
    .await;
    let client = redis::Client::open(format!("redis://{}", agent.queue_addrs[0])).expect("an address");
    let mut client = client
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let id: String = client.xadd("orders", "*", &[("a", "1")]).await.expect("an entry");
    let all: StreamReadReply = client.xread(&["orders"], &["0"]).await.expect("entries");
    assert_eq!(all.keys[0].ids[0].map.len(), 1);
    let sent = collector.span(|seen| seen.span.name == "xadd orders").await;
    let received = collector.span(|seen| seen.span.name == "xread orders").await;
    let place = format!("redis:orders@{id}");
    for seen in [sent, received] {
        assert_eq!(seen.get("tracemap.message.places"), Some(place.as_str()));
    }
}

/// All that comes back to a client that says `bytes` and no more.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut answer = Vec::new();
    let speak = async {
        // It may have been cut off before it had said all.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    soon("the end of the connection", speak).await;
    // Ids that the server chooses are of their time.
    String::from_utf8_lossy(&answer).replace(|digit: char| digit.is_ascii_digit(), "0")
}

#[tokio::test]
async fn what_is_wrong_ends_as_with_the_server_alone() {
    let (broker, collector) = (redis_server().await, Collector::start().await);
    let agent = before("redis", broker.address(), "inject_streams: ['*']", &collector).await;
    for wrong in [
        "*x\r\n",
        "*1\r\n+PING\r\n",
        "*2\r\n$4\r\nXADD\r\n$-1\r\n",
        "*1\r\n$600000000\r\n",
        "*2000000000000\r\n",
        "*-1\r\n*0\r\n\r\nPING\r\n",
        "*4\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n",
        "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$3\r\n0-0\r\n$1\r\na\r\n$1\r\n1\r\n",
        "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\n1xxPING\r\n",
        "*1\r\n$4\r\nEXEC\r\n*1\r\n$7\r\nDISCARD\r\n",
        "MULTI\r\nPING\r\nEXEC\r\n",
        "*1\r\n$5\r\nMULTI\r\n*1\r\n$1\r\nx\r\n*1\r\n$4\r\nEXEC\r\nPING\r\n",
        "*1\r\n$5\r\nRESET\r\n*1\r\n$4\r\nQUIT\r\n",
        "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\nPING\r\n",
        "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\nPING\r\n",
        "set a 'unbalanced\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{5}hello\r\n",
        "nonsense\r\n",
        "*1\r\n$4\r\nPING\r\n",
    ] {
        for len in (1..=wrong.len()).filter(|len| wrong.is_char_boundary(*len)) {
            let said = &wrong.as_bytes()[..len];
            let alone = answer(broker.address(), said).await;
            assert_eq!(
                answer(agent.queue_addrs[0], said).await,
                alone,
                "{}",
                said.escape_ascii()
            );
        }
    }
}

#[tokio::test]
async fn no_acknowledged_entry_is_lost_or_doubled_where_the_agent_is_killed() {
    let broker = redis_server().await;
    let mut agent = AgentProcess::start("redis", broker.address()).await;
    let (port, agent) = (agent.queue.port(), &mut agent);
    nothing_is_lost("redis_peer.py", port, broker.port, async move |progress| {
        for _ in 0..3 {
            progress.goes_on_by(100).await;
            agent.restart().await;
        }
        progress.goes_on_by(100).await;
    })
    .await;
}

#[tokio::test]
async fn no_acknowledged_entry_is_lost_or_doubled_where_the_server_is_killed() {
    let (mut broker, collector) = (redis_server().await, Collector::start().await);
    let agent = before("redis", broker.address(), "inject_streams: ['*']", &collector).await;
    let (port, direct, broker) = (agent.queue_addrs[0].port(), broker.port, &mut broker);
    nothing_is_lost("redis_peer.py", port, direct, async move |progress| {
        for _ in 0..2 {
            progress.goes_on_by(100).await;
            broker.restart(command).await;
        }
        progress.goes_on_by(100).await;
    })
    .await;
}

#[tokio::test]
async fn spans_of_entries_without_an_answer_fail() {
    let (broker, collector) = (redis_server().await, Collector::start().await);
    let agent = before("redis", broker.address(), "", &collector).await;
    // It does nothing for a while, so that the entry has no answer.
    let mut other = TcpStream::connect(broker.address()).await.expect("a connection");
    other
        .write_all(b"CLIENT PAUSE 600000\r\n")
        .await
        .expect("a connection");
    other.read_exact(&mut [0; 5]).await.expect("an answer");
    let mut client = TcpStream::connect(agent.queue_addrs[0])
        .await
        .expect("a connection");
    let said = b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n";
    client.write_all(said).await.expect("a connection");
    drop(client);
    let closed = |seen: &Seen| seen.get("error.type") == Some("connection_closed");
    let lost = collector.span(closed).await;
    assert_eq!(
        (lost.span.name.as_str(), lost.span.kind != CLIENT),
        ("xadd s", true)
    );
}
